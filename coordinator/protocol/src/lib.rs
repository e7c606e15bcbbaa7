//! The words that two programs of the compile service share: bytes in, values out.
//!
//! No I/O, no async and no clock live here, so that everything a peer can send is parsed by code that
//! can be tested, and fuzzed, without a socket. What crosses the network is in [`frame`],
//! [`request`], [`reply`], [`notice`] and [`announcement`]; what crosses to the worker is in [`job`]
//! and, for a worker that only looks, [`examination`]; what crosses to the signer is in [`signing`];
//! [`options`] is the grammar of stap's command line, which client and server have to read alike.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod announcement;
mod archive;
pub mod examination;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
pub mod job;
pub mod locale;
pub mod notice;
pub mod options;
pub mod path;
pub mod reply;
pub mod request;
pub mod signing;
pub mod target;
pub mod text;
pub mod version;

pub use archive::ArchiveError;
