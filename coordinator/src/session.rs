//! One connection: a request in, a complete reply out.
//!
//! Whatever goes wrong after the handshake, the client gets a reply that says so, and the log gets
//! one line with the same request id.

mod account;
mod lanes;
mod several;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use stap_policy::Policy;
use stap_protocol::job::{Job, Report, Target};
use stap_protocol::reply::{self, Replies, Reply};
use stap_protocol::request::{DecodeError, Limits, MachineOwnerKeys, Request};
use stap_protocol::signing::messages::Keys;
use stap_protocol::target::TargetName;
use stap_transport::Deadlines;
use stap_transport::server::{Acceptor, Received, ServerStream, TransportError};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::catalogue::Catalogue;
use crate::door::{DoorLog, Event, Visitor};
use crate::intake::{Accepted, Client, accept, meant};
use crate::memory::{Holding, Memory, weight};
use crate::progress::Progress;
use crate::refusal::Refusal;
use crate::reply::compose;
use crate::request_id::{RequestId, RequestIds};
use crate::results::{Found, Results, Turn};
use crate::scheduler::Scheduler;
use crate::seats::Seat;
use crate::signing::{Signature, Signer, Surety};

use self::account::{no_room, note_end, shortened, size};

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
            progress: Progress::new(),
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
            Err(Some(refusal)) => Outgoing::One(self.refuse(&refusal, client, client.id)),
            Ok(Some(package)) => {
                client.seat.delivered();
                tokio::select! {
                    reply = self.answer(package, client, &mut room) => {
                        reply.unwrap_or_else(|refusal| {
                            Outgoing::One(self.refuse(&refusal, client, client.id))
                        })
                    }
                    () = stream.gone_while_told(|| client.progress.next()) => {
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
        client: &Connected,
        room: &mut Holding,
    ) -> Result<Outgoing, Refusal> {
        let seat = &client.seat;
        if seat.crowded() {
            let peer = seat.peer();
            return Err(self.busy(format!("all connections that {peer} may have are at work")));
        }
        let request = self.unpack(package, seat).await?;
        room.set(size(&request))
            .map_err(|full| self.busy(full.to_string()))?;
        if request.wants_progress {
            client.progress.is_wanted();
        }
        let keys = self.keys_for(&request).await?;
        if !request.targets.is_empty() {
            let replies = self.several(&request, &keys, client, room).await;
            return Ok(Outgoing::Several(replies));
        }
        let target = meant(&request, &self.catalogue)?;
        let built = self
            .build(request, target, client.id, &keys, client)
            .await?;
        room.set(weight(&built.report))
            .map_err(|full| self.busy(full.to_string()))?;
        Ok(Outgoing::One(built.reply()))
    }

    /// Does what one request is, for one target.
    async fn build<'a>(
        &self,
        request: Request,
        target: &'a Target,
        id: RequestId,
        keys: &Keys,
        connected: &Connected,
    ) -> Result<Built<'a>, Refusal> {
        let (visitor, peer) = (&connected.visitor, connected.seat.peer());
        let Accepted {
            job,
            record,
            client,
        } = accept(request, target, id, &self.policy, &self.surety, keys)?;
        let target = &target.name;
        let has_lines = self.door.tell(peer, Event::Served, || {
            tracing::info!(address = %visitor, %target, arguments = job.arguments.len(), files = job.files.len(), "request accepted");
        });
        let Found {
            mut report,
            turn,
            origin,
        } = self.run(job, id, connected).await?;
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
        Ok(Built {
            report,
            client,
            target,
            signature,
            origin: origin.of_reply(),
            id,
            _turn: turn,
        })
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

    async fn run(&self, job: Job, id: RequestId, client: &Connected) -> Result<Found, Refusal> {
        let peer = client.seat.peer();
        let tell = |standing| client.progress.standing(id, standing);
        tokio::select! {
            found = self.results.find(peer, job, tell) => found.map_err(|refusal| no_room(refusal, peer)),
            () = self.stop.cancelled() => Err(Refusal::Stopping),
        }
    }

    /// Compressing a reply burns a processor, too.
    async fn send(&self, stream: Stream, reply: Outgoing, client: &Connected) {
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

    fn refuse(&self, refusal: &Refusal, client: &Connected, id: RequestId) -> Reply {
        let address = client.visitor;
        self.door.tell(client.seat.peer(), Event::Refused, || {
            tracing::info!(%address, "request refused: {}", shortened(&refusal.to_string()));
        });
        refusal.reply(id)
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
    progress: Progress,
}

/// What a client is sent.
#[derive(Debug)]
enum Outgoing {
    One(Reply),
    Several(Replies),
}

impl Outgoing {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::One(reply) => reply.encode(),
            Self::Several(replies) => replies.encode(),
        }
    }
}

/// What a job gave, signed, and what its reply has to take into account.
#[derive(Debug)]
struct Built<'a> {
    report: Report,
    client: Client,
    target: &'a TargetName,
    signature: Signature,
    origin: reply::Origin,
    id: RequestId,
    /// Until the report has been charged to the client.
    _turn: Option<Turn>,
}

impl Built<'_> {
    fn reply(self) -> Reply {
        let Self {
            report,
            client,
            target,
            signature,
            origin,
            id,
            _turn,
        } = self;
        compose(report, &client, target, &signature, origin, id)
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

async fn farewell(stream: Stream) {
    if let Err(error) = stream.close().await {
        tracing::debug!(%error, "a client that looked at the certificate left in a hurry");
    }
}

/// More than one processor's worth of unpacking is a flood.
const MOST_UNPACKERS: usize = 4;
