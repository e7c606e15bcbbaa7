//! The local worker: its process, the conversation with it, and the executor made of both.

mod introduction;
mod lines;
mod link;
mod process;
mod witness;

pub use link::{LocalWorker, Slot, relay};
pub(crate) use process::find;
pub use process::{Conversation, Program, Spawned, StartError, examine, start};
pub use witness::{Answer, Question, Witness};
