//! One connection: a request in, a complete reply out.
//!
//! Whatever goes wrong after the handshake, the client gets a reply that says so, and the log gets
//! one line with the same request id.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use stap_policy::Policy;
use stap_protocol::job::{Job, Outcome, Report};
use stap_protocol::reply::Reply;
use stap_protocol::request::{DecodeError, Limits, MachineOwnerKeys, Request};
use stap_protocol::signing::messages::Keys;
use stap_transport::Deadlines;
use stap_transport::server::{Acceptor, Received, ServerStream, TransportError};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::catalogue::Catalogue;
use crate::door::{DoorLog, Event, Visitor};
use crate::intake::{Accepted, admit};
use crate::memory::{Holding, Memory};
use crate::peer::Peer;
use crate::refusal::Refusal;
use crate::reply::compose;
use crate::request_id::{RequestId, RequestIds};
use crate::results::{Found, Origin, Results};
use crate::scheduler::{Refusal as NoRoom, Scheduler};
use crate::seats::Seat;
use crate::signing::{Signature, Signer, Surety};

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
    /// Where their results are from.
    pub results: Results,
    /// Who signs their modules.
    pub signer: Signer,
    /// Whether modules may be signed here.
    pub surety: Surety,
    /// Names for requests.
    pub ids: RequestIds,
    /// Unpacking burns a processor, so only so many do it at the same time.
    pub unpackers: Arc<Semaphore>,
    /// Room for requests and replies.
    pub memory: Memory,
    /// Hears what clients do.
    pub door: Arc<DoorLog>,
    /// Cancelled when no new requests are taken any more.
    pub closing: CancellationToken,
    /// Cancelled when requests under way must be answered at once.
    pub stop: CancellationToken,
}

type Stream = ServerStream<TcpStream>;

/// Room for requests and replies in memory. A full queue of requests of the usual few kilobytes is far
/// below; this stops a few peers that send the largest ones, or do not take their replies.
pub const MEMORY: u64 = 512 << 20;

/// How many requests may be unpacked at the same time: as many as processors could, and few enough for
/// what they unpack to.
#[must_use]
pub fn unpackers() -> Semaphore {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Semaphore::new(processors.min(MOST_UNPACKERS))
}

impl Sessions {
    /// Serves one connection to its end.
    pub async fn serve(&self, socket: TcpStream, address: SocketAddr, seat: Seat) {
        let client = Connected {
            visitor: Visitor {
                address,
                peer: seat.peer(),
            },
            id: self.ids.next(),
            seat,
        };
        let acceptor = self.acceptor.borrow().clone();
        let stream = tokio::select! {
            stream = acceptor.accept(socket, &self.deadlines) => stream,
            () = client.seat.evicted().cancelled() => return self.note_eviction(&client),
            () = self.closing.cancelled() => return,
        };
        match stream {
            Ok(stream) => {
                let span = info_span!("request", id = %client.id);
                self.converse(stream, &client).instrument(span).await;
            }
            Err(error) => self.note(&client, Event::Handshake, &error),
        }
    }

    async fn converse(&self, mut stream: Stream, client: &Connected) {
        let mut room = self.memory.hold(client.seat.peer());
        let request = tokio::select! {
            request = self.read(&mut stream, client, &mut room) => request,
            () = client.seat.evicted().cancelled() => return self.note_eviction(client),
        };
        let reply = match request {
            Ok(None) => return farewell(stream).await,
            Err(None) => return,
            Err(Some(refusal)) => self.refuse(&refusal, client),
            Ok(Some(package)) => {
                client.seat.delivered();
                tokio::select! {
                    reply = self.answer(package, client, &mut room) => {
                        reply.unwrap_or_else(|refusal| self.refuse(&refusal, client))
                    }
                    () = stream.gone() => {
                        let reason = "the client left before its answer; its job is cancelled";
                        return self.note(client, Event::Left, &reason);
                    }
                }
            }
        };
        client.seat.answered();
        self.send(stream, reply, client).await;
    }

    /// `Ok(None)` and `Err(None)` need no answer.
    async fn read(
        &self,
        stream: &mut Stream,
        client: &Connected,
        room: &mut Holding,
    ) -> Result<Option<Vec<u8>>, Option<Refusal>> {
        let mut full = None;
        let charge = |bytes| room.grow(bytes).map_err(|error| full = Some(error)).is_ok();
        let received = tokio::select! {
            received = stream.read_request_within(self.limits.compressed, charge) => received,
            () = self.closing.cancelled() => return Err(Some(Refusal::Stopping)),
        };
        match (received, full) {
            (Ok(Received::ProbeOnly), _) => Ok(None),
            (Ok(Received::Request(package)), _) => Ok(Some(package)),
            (Err(_), Some(full)) => Err(Some(self.busy(full.to_string()))),
            (Err(TransportError::Frame(error)), _) => {
                Err(Some(Refusal::from(DecodeError::from(error))))
            }
            (Err(error @ (TransportError::Late(_) | TransportError::Truncated { .. })), _) => {
                Err(Some(Refusal::Package(error.to_string())))
            }
            (Err(error), _) => {
                self.note(client, Event::NoRequest, &error);
                Err(None)
            }
        }
    }

    async fn answer(
        &self,
        package: Vec<u8>,
        connected: &Connected,
        room: &mut Holding,
    ) -> Result<Reply, Refusal> {
        let Connected { visitor, id, seat } = connected;
        let peer = seat.peer();
        if seat.crowded() {
            return Err(self.busy(format!("all connections that {peer} may have are at work")));
        }
        let request = self.unpack(package, seat).await?;
        room.set(size(&request))
            .map_err(|full| self.busy(full.to_string()))?;
        let keys = self.keys_for(&request).await?;
        let (policy, catalogue) = (&self.policy, &self.catalogue);
        let Accepted {
            job,
            record,
            client,
        } = admit(request, *id, policy, catalogue, &self.surety, &keys)?;
        let target = job.target.clone();
        let has_lines = self.door.tell(peer, Event::Served, || {
            tracing::info!(address = %visitor, %target, arguments = job.arguments.len(), files = job.files.len(), "request accepted");
        });
        let Found { mut report, origin } = self.run(peer, job).await?;
        if has_lines {
            note_end(&report, &origin);
        }
        let signature = match record {
            Some(record) => {
                record
                    .sign(&mut report, &visitor.to_string(), &self.signer)
                    .await
            }
            None => Signature::NotNeeded,
        };
        room.set(weight(&report))
            .map_err(|full| self.busy(full.to_string()))?;
        Ok(compose(
            report,
            &client,
            &target,
            &signature,
            origin.of_reply(),
            *id,
        ))
    }

    /// The machine owner keys of this moment, for a request that asks for one.
    async fn keys_for(&self, request: &Request) -> Result<Keys, Refusal> {
        match request.machine_owner_keys {
            MachineOwnerKeys::NotAsked => Ok(Keys::default()),
            _ => self
                .signer
                .keys()
                .await
                .map_err(|_gone| Refusal::SignerGone),
        }
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

    async fn run(&self, peer: Peer, job: Job) -> Result<Found, Refusal> {
        tokio::select! {
            found = self.results.find(peer, job) => found.map_err(|refusal| no_room(refusal, peer)),
            () = self.stop.cancelled() => Err(Refusal::Stopping),
        }
    }

    /// Compressing a reply burns a processor, too.
    async fn send(&self, stream: Stream, reply: Reply, client: &Connected) {
        let package = tokio::task::spawn_blocking(move || reply.encode())
            .await
            .expect("encoding does not panic");
        let sent = tokio::select! {
            sent = stream.reply(&package) => sent,
            () = client.seat.evicted().cancelled() => return self.note_eviction(client),
        };
        if let Err(error) = sent {
            let reason = format!("the reply was not taken: {error}");
            self.note(client, Event::NotTaken, &reason);
        }
    }

    fn busy(&self, why: String) -> Refusal {
        Refusal::Busy {
            why,
            retry: self.scheduler.outlook(),
        }
    }

    fn refuse(&self, refusal: &Refusal, client: &Connected) -> Reply {
        let address = client.visitor;
        self.door.tell(client.seat.peer(), Event::Refused, || {
            tracing::info!(%address, "request refused: {}", shortened(&refusal.to_string()));
        });
        refusal.reply(client.id)
    }

    fn note_eviction(&self, client: &Connected) {
        let reason = "an idle connection gave way to a younger one";
        self.note(client, Event::Evicted, &reason);
    }

    fn note(&self, client: &Connected, event: Event, reason: &dyn fmt::Display) {
        let address = client.visitor;
        self.door.tell(client.seat.peer(), event, || {
            tracing::info!(%address, "{}", shortened(&reason.to_string()));
        });
    }
}

/// A client with a connection.
#[derive(Debug)]
struct Connected {
    visitor: Visitor,
    id: RequestId,
    seat: Seat,
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

/// What a request keeps in memory.
fn size(request: &Request) -> u64 {
    let files = request.files.iter().map(|file| file.content.len());
    let arguments = request.arguments.iter().map(Vec::len);
    let bytes: usize = files.chain(arguments).map(|bytes| bytes + OVERHEAD).sum();
    (bytes + OVERHEAD) as u64
}

/// What a report, and then the reply that is made of it, keeps in memory.
fn weight(report: &Report) -> u64 {
    let files = report.files.iter().map(|file| file.content.len());
    let texts = [report.stdout.len(), report.stderr.len()];
    let bytes: usize = files.chain(texts).map(|bytes| bytes + OVERHEAD).sum();
    bytes as u64
}

/// What a client is told in full is only begun in the log.
fn shortened(reason: &str) -> &str {
    let end = reason.floor_char_boundary(LONGEST_REASON);
    reason.get(..end).unwrap_or_default()
}

fn note_end(report: &Report, origin: &Origin) {
    let usage = &report.usage;
    let (wall, cpu) = (usage.wall.as_secs_f32(), usage.cpu.as_secs_f32());
    let peak = match usage.peak_memory {
        Some(bytes) => format!("{} MiB", bytes >> 20),
        None => "unknown memory".to_owned(),
    };
    let (outcome, files) = (in_words(&report.outcome), report.files.len());
    let what = match origin {
        Origin::Hit => "a kept result: once",
        Origin::Joined => "joined the job of another request:",
        Origin::Miss | Origin::Off(_) => "job ended:",
    };
    let why = match origin {
        Origin::Off(reason) => format!(" (not kept: {reason})"),
        _ => String::new(),
    };
    tracing::info!(
        store = origin.word(),
        "{what} {outcome}, {wall:.2} s, {cpu:.2} s of CPU, {peak}, {files} results{why}"
    );
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

/// More than one processor's worth of unpacking is a flood.
const MOST_UNPACKERS: usize = 4;
/// What a file or an argument costs besides its bytes, roughly.
const OVERHEAD: usize = 256;
/// Bytes of a reason in the log.
const LONGEST_REASON: usize = 512;
