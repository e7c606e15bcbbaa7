//! TLS for both ends, trusting exactly the certificates it is given.
#![forbid(unsafe_code)]
