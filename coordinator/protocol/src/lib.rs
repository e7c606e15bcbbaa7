//! The words that two programs of the compile service share: bytes in, values out.
//!
//! No I/O, no async and no clock live here, so that everything a peer can send is parsed by code that
//! can be tested, and fuzzed, without a socket.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod job;
pub mod target;
