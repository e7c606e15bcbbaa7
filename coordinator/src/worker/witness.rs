//! Asks the worker what jobs see.

use stap_protocol::target::{TargetIdentity, TargetName};
use tokio::sync::{mpsc, oneshot};

/// Tells what the jobs of a target would find at this moment.
#[derive(Clone, Debug)]
pub struct Witness {
    questions: mpsc::Sender<Question>,
}

/// What a worker is asked; it can be dropped unanswered.
#[derive(Debug)]
pub struct Question {
    /// The target.
    pub target: TargetName,
    /// Hears what stands for all that its jobs see.
    pub answer: oneshot::Sender<Answer>,
}

/// `Err` says, for the log, why it cannot be known.
pub type Answer = Result<TargetIdentity, String>;

impl Witness {
    /// Makes a witness, and the end where its questions come out.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(MOST_QUESTIONS);
        (Self { questions }, asked)
    }

    /// Waits for an answer that was true at some moment after the question.
    ///
    /// # Errors
    /// When it cannot be known: nothing may then be kept, or given out again.
    pub async fn ask(&self, target: &TargetName) -> Answer {
        let gone = || "the worker is gone".to_owned();
        let (answer, answered) = oneshot::channel();
        let question = Question {
            target: target.clone(),
            answer,
        };
        let asked = self.questions.send(question).await;
        asked.map_err(|_closed| gone())?;
        answered.await.map_err(|_dropped| gone())?
    }
}

/// Questions that wait for an answer; the worker answers at once, unless something has changed.
pub(super) const MOST_QUESTIONS: usize = 16;
