//! TLS for both ends, trusting exactly the certificates it is given.
//!
//! This crate owns what lies between a socket and a package: handshakes, deadlines, the frame around
//! a request, and how a connection ends. What a package holds, and which certificates are trusted, it
//! leaves to others. It is the only crate that names rustls.
//!
//! Each connection carries one request and one reply. Sessions are never resumed, on either side: a
//! full handshake per request is a small part of a compile, and it means that a certificate is judged
//! each time and that nothing has to be remembered about strangers.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod client;
mod deadlines;
mod hearing;
mod provider;
pub mod server;
mod trust;

pub use deadlines::{Deadlines, Late, Step};
pub use trust::BadCertificate;
