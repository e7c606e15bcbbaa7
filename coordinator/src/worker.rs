//! The local worker: its process, the conversation with it, and the executor made of both.

mod introduction;
mod lines;
mod link;
mod process;

pub use link::{LocalWorker, Slot, relay};
pub use process::{Spawned, StartError, WorkerProcess, examine, start};
