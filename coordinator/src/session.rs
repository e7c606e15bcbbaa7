//! One connection: a request in, a complete reply out.
//!
//! Whatever goes wrong after the handshake, the client gets a reply that says so, and the log gets
//! one line with the same request id.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use stap_policy::Policy;
use stap_protocol::job::{Outcome, Report};
use stap_protocol::reply::Reply;
use stap_protocol::request::{DecodeError, Limits, Request};
use stap_transport::Deadlines;
use stap_transport::server::{Acceptor, Received, ServerStream, TransportError};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::catalogue::Catalogue;
use crate::intake::{Accepted, admit};
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::reply::compose;
use crate::request_id::{RequestId, RequestIds};
use crate::scheduler::{Refusal as NoRoom, Scheduler};
use crate::seats::Seat;

/// What all sessions share.
#[derive(Debug)]
pub struct Sessions {
    /// Changes when the certificate is renewed.
    pub acceptor: watch::Receiver<Acceptor>,
    /// How long clients may take.
    pub deadlines: Deadlines,
    /// What a request may cost.
    pub limits: Limits,
    /// What a request may ask for.
    pub policy: Policy,
    /// What there is to build for.
    pub catalogue: Catalogue,
    /// Where jobs go.
    pub scheduler: Scheduler,
    /// Names for requests.
    pub ids: RequestIds,
    /// Unpacking burns a processor, so only so many do it at the same time.
    pub unpackers: Arc<Semaphore>,
    /// Mebibytes of requests that may be held, waiting or running.
    pub memory: Arc<Semaphore>,
    /// Cancelled when no new requests are taken any more.
    pub closing: CancellationToken,
    /// Cancelled when requests under way must be answered at once.
    pub stop: CancellationToken,
}

type Stream = ServerStream<TcpStream>;

/// Room for requests in memory, in mebibytes. A full queue of requests of the usual few kilobytes is
/// far below; this stops a few peers that send the largest ones.
pub const REQUEST_MEMORY: usize = 512;

/// How many requests may be unpacked at the same time: as many as processors could.
#[must_use]
pub fn unpackers() -> Semaphore {
    Semaphore::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

impl Sessions {
    /// Serves one connection to its end.
    pub async fn serve(&self, socket: TcpStream, address: SocketAddr, seat: Seat) {
        let acceptor = self.acceptor.borrow().clone();
        let stream = tokio::select! {
            stream = acceptor.accept(socket, &self.deadlines) => stream,
            () = seat.evicted().cancelled() => return note_eviction(address),
            () = self.closing.cancelled() => return,
        };
        let id = self.ids.next();
        match stream {
            Ok(stream) => {
                let span = info_span!("request", %id);
                self.converse(stream, address, &seat, id)
                    .instrument(span)
                    .await;
            }
            Err(error) => tracing::debug!(%address, %error, "no connection"),
        }
    }

    async fn converse(&self, mut stream: Stream, address: SocketAddr, seat: &Seat, id: RequestId) {
        let request = tokio::select! {
            request = self.read(&mut stream) => request,
            () = seat.evicted().cancelled() => return note_eviction(address),
        };
        let reply = match request {
            Ok(None) => return farewell(stream).await,
            Err(None) => return,
            Err(Some(refusal)) => refuse(&refusal, id, address),
            Ok(Some(package)) => {
                seat.delivered();
                tokio::select! {
                    reply = self.answer(package, id, address, seat) => {
                        reply.unwrap_or_else(|refusal| refuse(&refusal, id, address))
                    }
                    () = stream.gone() => {
                        tracing::info!(%address, "the client left before its answer; its job is cancelled");
                        return;
                    }
                }
            }
        };
        seat.answered();
        send(stream, reply, seat).await;
    }

    /// `Ok(None)` and `Err(None)` need no answer.
    async fn read(&self, stream: &mut Stream) -> Result<Option<Vec<u8>>, Option<Refusal>> {
        let received = tokio::select! {
            received = stream.read_request(self.limits.compressed) => received,
            () = self.closing.cancelled() => return Err(Some(Refusal::Stopping)),
        };
        match received {
            Ok(Received::ProbeOnly) => Ok(None),
            Ok(Received::Request(package)) => Ok(Some(package)),
            Err(TransportError::Frame(error)) => Err(Some(Refusal::from(DecodeError::from(error)))),
            Err(error @ (TransportError::Late(_) | TransportError::Truncated { .. })) => {
                Err(Some(Refusal::Package(error.to_string())))
            }
            Err(error) => {
                tracing::debug!(%error, "no request");
                Err(None)
            }
        }
    }

    async fn answer(
        &self,
        package: Vec<u8>,
        id: RequestId,
        address: SocketAddr,
        seat: &Seat,
    ) -> Result<Reply, Refusal> {
        let peer = seat.peer();
        if seat.crowded() {
            return Err(Refusal::Busy {
                why: format!("{peer} has too many connections"),
                retry: CROWD_RETRY,
            });
        }
        let request = self.unpack(package, seat).await?;
        let _room = self.room_for(&request)?;
        let Accepted { job, client } = admit(request, id, &self.policy, &self.catalogue)?;
        let target = job.target.clone();
        tracing::info!(%address, %target, arguments = job.arguments.len(), files = job.files.len(), "request accepted");
        let report = self.run(peer, job).await?;
        note_end(&report);
        Ok(compose(report, &client, &target, id))
    }

    async fn unpack(&self, package: Vec<u8>, seat: &Seat) -> Result<Request, Refusal> {
        let _own_turn = seat.turn_to_unpack().await;
        let _turn = self
            .unpackers
            .acquire()
            .await
            .expect("the semaphore of unpackers is never closed");
        let limits = self.limits;
        let decoded = tokio::task::spawn_blocking(move || Request::decode(&package, &limits)).await;
        decoded
            .expect("the decoder does not panic on any input")
            .map_err(Refusal::from)
    }

    fn room_for(&self, request: &Request) -> Result<OwnedSemaphorePermit, Refusal> {
        let bytes: usize = request.files.iter().map(|file| file.content.len()).sum();
        let mebibytes = u32::try_from(bytes >> 20)
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let room = Arc::clone(&self.memory).try_acquire_many_owned(mebibytes);
        room.map_err(|_full| Refusal::Busy {
            why: "requests fill its memory".to_owned(),
            retry: MEMORY_RETRY,
        })
    }

    async fn run(&self, peer: Peer, job: stap_protocol::job::Job) -> Result<Report, Refusal> {
        tokio::select! {
            report = async { self.scheduler.submit(peer, job).await?.report().await } => {
                report.map_err(|refusal| no_room(refusal, peer))
            }
            () = self.stop.cancelled() => Err(Refusal::Stopping),
        }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Frame(_) | DecodeError::TooLarge { .. } => {
                Self::TooLarge(error.to_string())
            }
            other => Self::Package(other.to_string()),
        }
    }
}

fn no_room(refusal: NoRoom, peer: Peer) -> Refusal {
    match refusal {
        NoRoom::QueueFull { retry } => Refusal::Busy {
            why: "its queue is full".to_owned(),
            retry,
        },
        NoRoom::PeerBusy { jobs, retry } => Refusal::Busy {
            why: format!("it works on {jobs} requests of {peer} already"),
            retry,
        },
        NoRoom::ShareUsed { waiting, retry } => Refusal::Busy {
            why: format!(
                "{waiting} requests of {peer} wait already, and the rest of its queue is for others"
            ),
            retry,
        },
        NoRoom::Stopped => Refusal::Stopping,
    }
}

fn refuse(refusal: &Refusal, id: RequestId, address: SocketAddr) -> Reply {
    tracing::info!(%address, "request refused: {refusal}");
    refusal.reply(id)
}

fn note_eviction(address: SocketAddr) {
    tracing::info!(%address, "an idle connection gave way to a younger one");
}

fn note_end(report: &Report) {
    let usage = &report.usage;
    let (wall, cpu) = (usage.wall.as_secs_f32(), usage.cpu.as_secs_f32());
    let peak = match usage.peak_memory {
        Some(bytes) => format!("{} MiB", bytes >> 20),
        None => "unknown memory".to_owned(),
    };
    let (outcome, files) = (in_words(&report.outcome), report.files.len());
    tracing::info!("job ended: {outcome}, {wall:.2} s, {cpu:.2} s of CPU, {peak}, {files} results");
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exit status {code}"),
        Outcome::Signalled { signal } => format!("signal {signal}"),
        Outcome::LimitReached {
            limit,
            value,
            used: Some(used),
            ..
        } => format!("limit '{limit}' of {value} reached ({used})"),
        Outcome::LimitReached { limit, value, .. } => format!("limit '{limit}' of {value} reached"),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::WorkerFault { reason } => format!("fault of the worker ({reason})"),
    }
}

async fn farewell(stream: Stream) {
    if let Err(error) = stream.close().await {
        tracing::debug!(%error, "a client that looked at the certificate left in a hurry");
    }
}

/// Compressing a reply burns a processor, too.
async fn send(stream: Stream, reply: Reply, seat: &Seat) {
    let package = tokio::task::spawn_blocking(move || reply.encode())
        .await
        .expect("encoding does not panic");
    let sent = tokio::select! {
        sent = stream.reply(&package) => sent,
        () = seat.evicted().cancelled() => return,
    };
    if let Err(error) = sent {
        tracing::info!(%error, "the reply was not taken");
    }
}

const CROWD_RETRY: std::time::Duration = std::time::Duration::from_secs(5);
const MEMORY_RETRY: std::time::Duration = std::time::Duration::from_secs(10);
