//! The hostile corpus: what somebody who can make a compile job run any code tries, and what holds it.
//!
//! A [`Case`] names its [`Goal`], what must hold it, and the words of the reason. [`run`] carries each
//! out against a server with everything on, where it must be contained for that reason; and once
//! more with what holds it taken away, where it must succeed, so that no case passes by accident.
//!
//! How arbitrary code gets into a job: the program `hostile-stap` stands in for stap
//! (`SYSTEMTAP_STAP`), so an attack is a word in a request, and runs in the jail that the real worker
//! builds under the real policy. [`field`] is what it finds there: secrets, neighbours, listeners.
//! [`service`] is the server under attack, [`mod@bench`] a jail of the worker's own making with layers of
//! our choice, [`traces`] what must be the same before and after.
//!
//! Each family is a file that lists its cases; [`all`] joins them.

pub mod bench;
pub mod case;
pub mod code;
pub mod door;
pub mod field;
pub mod groups;
pub mod guard;
pub mod heard;
pub mod leftovers;
pub mod limits;
pub mod loot;
pub mod marked;
pub mod packages;
pub mod payload;
pub mod place;
pub mod planted;
pub mod results;
pub mod run;
pub mod score;
pub mod scripts;
pub mod service;
mod several;
mod shared;
pub mod situation;
pub mod stock;
pub mod table;
pub mod traces;
mod warm;

pub use self::case::{Case, Control, Family, Goal, Verdict};
pub use self::field::Field;
pub use self::guard::{Guard, Held};
pub use self::payload::payload;
pub use self::situation::{Against, Situation, Who};

/// Every case of every family, in the order in which they run.
#[must_use]
pub fn all() -> Vec<Case> {
    let families = [
        code::cases(),
        limits::cases(),
        leftovers::cases(),
        packages::cases(),
        door::cases(),
        results::cases(),
        scripts::cases(),
    ];
    families.into_iter().flatten().collect()
}
