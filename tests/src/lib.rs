//! The promises of the service, tested on the real thing.
#![forbid(unsafe_code)]
