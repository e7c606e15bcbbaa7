//! The harness of the tests that need the real thing: built programs, two users, a network.
//!
//! [`lab::inside`] runs a test body in a private world (`world` builds it, `init` is its first
//! process). The body acts as [`lab::User`]s, whose [`command`]s have a clean environment and a
//! deadline, watches [`process`]es, and waits on conditions ([`wait`]), never on the clock. [`peer`]
//! holds the ends of a connection that our own programs would never be, [`root`] runs the real stap
//! side by side with ours, [`staprun`] installs the real staprun for somebody who may run signed modules
//! only, [`requirement`] decides what may be skipped, [`system`] boots a machine with systemd, and
//! [`trial`] is for programs that make their checks where no test can run.
#![forbid(unsafe_code)]

pub mod archive;
pub mod command;
pub mod corpus;
pub mod finished;
pub mod host;
pub mod init;
pub mod interop;
pub mod lab;
pub mod mdns;
pub mod peer;
pub mod process;
pub mod requirement;
pub mod root;
pub mod server;
pub mod staprun;
pub mod system;
pub mod translator;
pub mod trial;
pub mod wait;
pub mod words;
pub mod world;
