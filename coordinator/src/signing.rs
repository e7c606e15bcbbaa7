//! What this process has to do with signatures: it starts the program that has the keys, asks it, and
//! has no key of its own but the one of its TLS certificate.
//!
//! [`surety`] says before a job whether its module could be signed, [`link`] is the conversation with
//! `stap-signer`, [`outcome`] puts signatures into the report of a job.

pub mod link;
pub mod outcome;
mod process;
pub mod surety;

pub use link::{Signer, SignerGone};
pub use outcome::Signature;
pub use process::{Spawned, start};
pub use surety::Surety;
