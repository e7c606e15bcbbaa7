//! The promises of `stap-serverd`, against the real program with real TLS.
//!
//! Its worker is a stand-in that does what the script says, so that a test decides when a job runs,
//! ends, or takes the worker down with it. The real worker is tested with the whole product.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod confinement;
mod database;
#[expect(dead_code, reason = "the signer's own tests forge more than this")]
#[path = "../../signer/src/forge.rs"]
mod forge;
mod refusals;
mod server;
mod several;
mod signing;
mod stand_in;
mod stopping;
mod waiting;
mod work;
