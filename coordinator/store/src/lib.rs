//! Keeps what jobs gave, so that nobody pays twice for the same.
//!
//! A result lies under a [`Key`], which stands for everything that it depends on, in a file that says
//! what it is and whether it is whole ([`entry`]), in a directory that only the server can reach
//! ([`Shelf`]). Nothing here trusts what it reads: an entry that is not exactly as it was written is
//! removed, and the job is done again. Nothing depends on the time of day, either: an entry is valid
//! for ever, because its key changes with everything that it depends on; time only decides which is
//! removed first.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod entry;
pub mod fuzzing;
mod key;
mod shelf;

pub use entry::Flaw;
pub use key::{Key, Tenant};
pub use shelf::{Bounds, NotStored, OpenError, Owner, Shelf, Step};
