//! TLS for both ends, trusting exactly the certificates it is given.
//!
//! This crate owns what lies between a socket and a package: handshakes, deadlines, the frame around
//! a request, and how a connection ends. What a package holds, and which certificates are trusted, it
//! leaves to others. It is the only crate that names rustls.
//!
//! Each connection carries one request and one reply. A client that kept the ticket of an earlier session may resume it,
//! as with stock servers; nothing has to be remembered about strangers for that. Our own client is a process for each
//! request: it keeps none, and judges a certificate each time.
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
