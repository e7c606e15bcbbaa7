//! The conversation with a running worker.
//!
//! One task owns the socket and the table of jobs. Everybody else sends it a message and waits for
//! the answer; whoever stops waiting has cancelled the job.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::process::ChildStderr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use stap_protocol::job::{FromWorker, Job, JobId, MAX_FRAME, Outcome, Report, ToWorker, Usage};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

use super::lines::{Lines, log_line};
use super::process::encode;
use super::witness::{Answer, MOST_QUESTIONS, Question, Witness};
use crate::executor::{Executor, NotReady};

/// The worker of this host, as an [`Executor`].
#[derive(Clone, Debug)]
pub struct LocalWorker {
    slots: Arc<Semaphore>,
    submissions: mpsc::Sender<Submission>,
    witness: Witness,
    kept: Arc<AtomicUsize>,
}

/// Room for one job in the worker.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// A job on its way to the worker.
struct Submission {
    job: Box<Job>,
    slot: Slot,
    cancelled: CancellationToken,
    done: oneshot::Sender<Report>,
}

impl LocalWorker {
    /// Makes an executor and the task that serves it. The task ends with the reason why the worker
    /// cannot be used any more; when `stop` is cancelled it closes the socket, which makes the worker
    /// kill its jobs and exit.
    ///
    /// # Errors
    /// When the socket or the pipe cannot be watched.
    pub fn connect(
        socket: UnixStream,
        slots: NonZeroUsize,
        stop: CancellationToken,
    ) -> io::Result<(Self, impl Future<Output = io::Error> + Send)> {
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixStream::from_std(socket)?;
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(MAX_FRAME)
            .new_codec();
        let (sink, stream) = Framed::new(socket, codec).split();
        let (sender, submissions) = mpsc::channel(slots.get());
        let (outgoing, messages) = mpsc::channel(slots.get() * MESSAGES_PER_SLOT + MOST_QUESTIONS);
        let (witness, questions) = Witness::new();
        let free = Arc::new(Semaphore::new(slots.get()));
        let kept = Arc::<AtomicUsize>::default();
        let link = Link {
            frames: stream,
            outgoing,
            submissions,
            questions,
            asked: HashMap::new(),
            jobs: HashMap::new(),
            kept: HashMap::new(),
            told: Arc::clone(&kept),
            cancellations: JoinSet::new(),
            last: 0,
            last_question: 0,
        };
        let worker = Self {
            slots: Arc::clone(&free),
            submissions: sender,
            witness,
            kept,
        };
        let task = async move {
            let end = tokio::select! {
                () = stop.cancelled() => io::Error::other("the server stops"),
                end = link.run() => end,
                end = write(sink, messages) => end,
            };
            free.close();
            end
        };
        Ok((worker, task))
    }
}

impl LocalWorker {
    /// Whom to ask what jobs see.
    #[must_use]
    pub fn witness(&self) -> Witness {
        self.witness.clone()
    }
}

impl Executor for LocalWorker {
    type Slot = Slot;

    async fn ready(&self) -> Result<Slot, NotReady> {
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map(|permit| Slot { _permit: permit })
            .map_err(|_closed| NotReady)
    }

    async fn execute(&self, slot: Slot, job: Job) -> Report {
        let cancelled = CancellationToken::new();
        let _cancels_when_dropped = cancelled.clone().drop_guard();
        let (done, report) = oneshot::channel();
        let submission = Submission {
            job: Box::new(job),
            slot,
            cancelled,
            done,
        };
        if self.submissions.send(submission).await.is_err() {
            return fault("the worker was gone before the job reached it");
        }
        report
            .await
            .unwrap_or_else(|_gone| fault("the worker went away during the job"))
    }

    fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

/// A job that the worker knows.
struct Running {
    done: oneshot::Sender<Report>,
    /// Held until the worker says that the last process is gone, and that it does not keep it.
    slot: Slot,
}

struct Link {
    frames: SplitStream<Frames>,
    outgoing: mpsc::Sender<Vec<u8>>,
    submissions: mpsc::Receiver<Submission>,
    questions: mpsc::Receiver<Question>,
    /// Questions without an answer yet, by their numbers.
    asked: HashMap<u64, oneshot::Sender<Answer>>,
    jobs: HashMap<JobId, Running>,
    /// Of jobs that are done, whose slots the worker still needs.
    kept: HashMap<JobId, Slot>,
    /// How many those are.
    told: Arc<AtomicUsize>,
    cancellations: JoinSet<JobId>,
    last: u64,
    last_question: u64,
}

type Frames = Framed<tokio::net::UnixStream, LengthDelimitedCodec>;

impl Link {
    async fn run(mut self) -> io::Error {
        loop {
            // Every arm is cancel-safe: receiving from a channel, a framed stream and a set of
            // tasks loses nothing when another arm wins.
            let step = tokio::select! {
                Some(submission) = self.submissions.recv() => self.submit(submission),
                Some(question) = self.questions.recv(), if self.asked.len() < MOST_QUESTIONS => {
                    self.ask(question)
                }
                Some(id) = self.cancellations.join_next() => self.cancel(id),
                frame = self.frames.next() => self.hear(frame),
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    fn submit(&mut self, submission: Submission) -> io::Result<()> {
        let Submission {
            job,
            slot,
            cancelled,
            done,
        } = submission;
        if cancelled.is_cancelled() {
            return Ok(());
        }
        self.last += 1;
        let id = JobId(self.last);
        let message = encode(&ToWorker::Run { id, job })?;
        if message.len() > MAX_FRAME {
            answer(
                done,
                fault("the job is larger than a message to the worker can be"),
            );
            return Ok(());
        }
        self.jobs.insert(id, Running { done, slot });
        self.cancellations.spawn(async move {
            cancelled.cancelled().await;
            id
        });
        self.send(message)
    }

    fn ask(&mut self, question: Question) -> io::Result<()> {
        self.last_question += 1;
        let (number, target) = (self.last_question, question.target);
        self.asked.insert(number, question.answer);
        self.send(encode(&ToWorker::Identify { number, target })?)
    }

    /// Also hears of jobs that ended by themselves, whose tokens are cancelled last of all.
    fn cancel(&mut self, id: Result<JobId, JoinError>) -> io::Result<()> {
        let id = id.map_err(io::Error::other)?;
        if !self.jobs.contains_key(&id) {
            return Ok(());
        }
        self.send(encode(&ToWorker::Cancel { id })?)
    }

    fn hear(&mut self, frame: Option<io::Result<BytesMut>>) -> io::Result<()> {
        let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)??;
        match postcard::from_bytes(&frame).map_err(io::Error::other)? {
            FromWorker::Done {
                id,
                report,
                keeps_slot,
            } => {
                if let Some(Running { done, slot }) = self.jobs.remove(&id) {
                    self.kept.extend(keeps_slot.then_some((id, slot)));
                    self.told.store(self.kept.len(), Ordering::Relaxed);
                    answer(done, *report);
                }
                Ok(())
            }
            FromWorker::Released { id } => {
                self.kept.remove(&id);
                self.told.store(self.kept.len(), Ordering::Relaxed);
                Ok(())
            }
            FromWorker::Identity { number, identity } => {
                if let Some(asked) = self.asked.remove(&number)
                    && asked.send(identity).is_err()
                {
                    tracing::debug!("nobody waits any more to know what jobs see");
                }
                Ok(())
            }
            FromWorker::Started { id } => {
                tracing::debug!(job = id.0, "the worker started a job");
                Ok(())
            }
            FromWorker::Ready(_) | FromWorker::NotReady { .. } | FromWorker::Examined(_) => {
                Err(io::Error::other("the worker introduced itself twice"))
            }
            FromWorker::Warmed(_) => Err(io::Error::other("the worker warms unasked")),
        }
    }

    /// Never waits: a task that waits for the worker to read, while the worker waits for it to read,
    /// would wait for ever.
    fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        self.outgoing
            .try_send(message)
            .map_err(|_full| io::Error::other("the worker does not read"))
    }
}

/// Writes what the link has to say, at the speed at which the worker reads.
async fn write(
    mut frames: SplitSink<Frames, Bytes>,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
) -> io::Error {
    while let Some(message) = outgoing.recv().await {
        if let Err(error) = frames.send(message.into()).await {
            return error;
        }
    }
    io::Error::other("the server stops")
}

fn answer(done: oneshot::Sender<Report>, report: Report) {
    if done.send(report).is_err() {
        tracing::debug!("a cancelled job is gone");
    }
}

/// Logs what a program writes on its stderr.
///
/// # Errors
/// When the pipe cannot be watched or read.
pub async fn relay(program: &str, stderr: ChildStderr) -> io::Result<()> {
    let log = |line: &str| log_line(program, line);
    let mut pipe = tokio::process::ChildStderr::from_std(stderr)?;
    let mut lines = Lines::default();
    let mut chunk = [0; 4096];
    loop {
        let length = pipe.read(&mut chunk).await?;
        if length == 0 {
            lines.end(log);
            return Ok(());
        }
        lines.feed(chunk.get(..length).unwrap_or_default(), log);
    }
}

/// The report of a job that the worker could not run.
fn fault(reason: &str) -> Report {
    Report {
        outcome: Outcome::WorkerFault {
            reason: reason.to_owned(),
        },
        stdout: Vec::new(),
        stderr: Vec::new(),
        files: Vec::new(),
        private_directories: Vec::new(),
        usage: Usage::default(),
        is_whole: false,
    }
}

/// A job is run, then cancelled; a few more may wait while the worker is slow to read.
const MESSAGES_PER_SLOT: usize = 16;
