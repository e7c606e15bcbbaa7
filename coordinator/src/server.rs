//! The running server: everything that was prepared, put to work, and taken down in good order.

mod certificate;
mod jobs;
mod signer;

pub(crate) use signer::fingerprints;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use stap_policy::Admission;
use stap_protocol::request::Fingerprint;
use stap_protocol::signing::messages::Keys;
use stap_transport::Deadlines;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Clock;
use crate::announcer::{Announced, Announcer, Host};
use crate::database::{Credentials, Database};
use crate::door::DoorLog;
use crate::headroom::Headroom;
use crate::listener::{Bound, accept};
use crate::memory::Memory;
use crate::peer::{Owners, Peer};
use crate::readiness::Readiness;
use crate::request_id::RequestIds;
use crate::results::Keeping;
use crate::scheduler::Bounds;
use crate::seats::Seats;
use crate::session::{MEMORY, Sessions, unpackers};
use crate::settings::PolicyText;
use crate::signals::Signals;
use crate::signing::{self, Surety};
use crate::worker::{Program, Spawned};

use certificate::Certificate;
use jobs::{Jobs, Terms};

/// All that a server needs, gathered while the process still had one thread and all its rights.
#[derive(Debug)]
pub struct Prepared {
    /// The node name of this host.
    pub nodename: String,
    /// Reads the wall clock.
    pub clock: Clock,
    /// What may be asked for, and how much of it.
    pub policy: PolicyText,
    /// What a request may cost.
    pub limits: stap_protocol::request::Limits,
    /// Jobs at the same time.
    pub slots: NonZeroUsize,
    /// The fixed options of stap, for the announcement.
    pub options: String,
    /// Whether to announce the server at all.
    pub advertise: bool,
    /// Where the certificate comes from.
    pub database: Database,
    /// The certificate.
    pub credentials: Credentials,
    /// The port.
    pub bound: Bound,
    /// Tells the users of this host apart, if it can.
    pub owners: Option<Owners>,
    /// Tells how much memory is left for jobs.
    pub headroom: Headroom,
    /// How many connections this process has descriptors for.
    pub most_connections: usize,
    /// The worker.
    pub worker: Spawned,
    /// Who has the keys for modules.
    pub signer: signing::Spawned,
    /// Its machine owner keys, for the announcement.
    pub machine_owner_keys: Vec<Fingerprint>,
    /// Whether modules may be signed here.
    pub surety: Surety,
    /// What is kept of finished jobs.
    pub keeping: Keeping,
}

/// Why a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Asked,
    /// Its worker is gone.
    WorkerGone,
}

/// Serves until a signal or a fault ends it. `readiness` hears when clients may come.
///
/// # Errors
/// When the server cannot begin to serve.
pub async fn run(prepared: Prepared, readiness: &mut Option<Readiness>) -> anyhow::Result<End> {
    let mut signals = Signals::watch().context("taking over signals")?;
    let port = prepared.bound.address().port();
    let mut house = House::open(prepared)?;
    let opened = tokio::select! {
        opened = house.announce(port) => opened,
        () = signals.stop() => Err(anyhow::anyhow!("stopped before it was ready")),
    };
    let end = match opened {
        Ok(()) => {
            if let Some(readiness) = readiness.take() {
                readiness.ready(port);
            }
            Ok(house.serve(&mut signals).await)
        }
        Err(error) => Err(error),
    };
    tokio::select! {
        () = house.close() => {}
        () = signals.stop() => tracing::info!("asked to stop again; stopping at once"),
    }
    end
}

/// A server in operation.
struct House {
    listener: TcpListener,
    owners: Option<Owners>,
    seats: Seats,
    sessions: Arc<Sessions>,
    tasks: TaskTracker,
    connections: TaskTracker,
    /// Told when a connection has ended.
    served: Arc<Notify>,
    /// Takes no new requests.
    closing: CancellationToken,
    /// Answers the requests under way.
    stop: CancellationToken,
    /// Lets go of the worker.
    release_worker: CancellationToken,
    worker_gone: CancellationToken,
    processes: [Program; 2],
    /// Keys for modules, as they come and go.
    keys: watch::Receiver<Keys>,
    certificate: Certificate,
    /// Under which name to announce the server, unless it is not to be announced.
    host: Option<Host>,
    announced: Option<Announced>,
}

impl House {
    fn open(prepared: Prepared) -> anyhow::Result<Self> {
        let tasks = TaskTracker::new();
        let [closing, stop, release_worker, worker_gone] =
            std::array::from_fn(|_| CancellationToken::new());
        let admission = *prepared.policy.policy.admission();
        let connections = count(admission.connections.get()).min(prepared.most_connections);
        let terms = Terms {
            bounds: bounds(&admission, connections, prepared.slots),
            headroom: prepared.headroom,
            keeping: prepared.keeping,
        };
        let jobs = Jobs::start(
            &tasks,
            prepared.worker,
            terms,
            &release_worker,
            &worker_gone,
        )?;
        let (acceptor, watched) = watch::channel(prepared.credentials.acceptor.clone());
        let certificate = Certificate {
            database: prepared.database,
            credentials: prepared.credentials,
            acceptor,
            clock: prepared.clock,
            options: prepared.options,
            machine_owner_keys: prepared.machine_owner_keys,
            not_before: None,
        };
        let (signing, signer, keys) = signer::start(&tasks, prepared.signer, &release_worker)?;
        let sessions = Sessions {
            acceptor: watched,
            deadlines: deadlines(&admission),
            limits: prepared.limits,
            policy: prepared.policy.policy,
            catalogue: jobs.catalogue,
            scheduler: jobs.scheduler,
            results: jobs.results,
            signer,
            surety: prepared.surety,
            ids: RequestIds::default(),
            unpackers: Arc::new(unpackers()),
            memory: Memory::new(MEMORY),
            door: Arc::default(),
            closing: closing.clone(),
            stop: stop.clone(),
        };
        spawn_door_log(&tasks, Arc::clone(&sessions.door), release_worker.clone());
        let listener = listen(prepared.bound)?;
        Ok(Self {
            listener,
            owners: prepared.owners,
            seats: Seats::new(connections, count(admission.connections_per_peer.get())),
            sessions: Arc::new(sessions),
            tasks,
            connections: TaskTracker::new(),
            served: Arc::default(),
            closing,
            stop,
            release_worker,
            worker_gone,
            processes: [jobs.process, signing],
            certificate,
            keys,
            host: prepared
                .advertise
                .then(|| Host::from_nodename(&prepared.nodename)),
            announced: None,
        })
    }

    async fn announce(&mut self, port: u16) -> anyhow::Result<()> {
        let Some(host) = self.host.take() else {
            tracing::warn!(
                "this server is not announced; clients have to name it with its port {port}"
            );
            return Ok(());
        };
        let announcements = self.certificate.announcements(&self.sessions.catalogue);
        let announced = Announcer::start()?
            .announce(host, port, &announcements)
            .await?;
        announced.log();
        self.announced = Some(announced);
        Ok(())
    }

    async fn serve(&mut self, signals: &mut Signals) -> End {
        let mut renewal = interval(RENEWAL_CHECK);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Dropping a wait for a seat or a connection loses neither.
            tokio::select! {
                () = signals.stop() => return End::Asked,
                () = self.worker_gone.cancelled() => return End::WorkerGone,
                // The timer stands still while the host sleeps, and then a client is the first to come.
                () = async { tokio::select! { _ = renewal.tick() => (), () = self.served.notified() => () } } => {
                    self.certificate.renew_if_due(self.announced.as_ref(), &self.sessions.catalogue);
                }
                Ok(()) = self.keys.changed() => self.announce_keys(),
                () = Announced::name_taken(self.announced.as_ref()) => self.rename(),
                (seat, (socket, address)) = async { (self.seats.free().await, accept(&self.listener).await) } => {
                    let peer = self.peer(&socket, address);
                    let seat = self.seats.take(seat, peer);
                    let (sessions, served) = (Arc::clone(&self.sessions), Arc::clone(&self.served));
                    self.connections.spawn(async move {
                        sessions.serve(socket, address, seat).await;
                        served.notify_one();
                    });
                }
            }
        }
    }

    fn rename(&mut self) {
        let Some(announced) = &mut self.announced else {
            return;
        };
        let announcements = self.certificate.announcements(&self.sessions.catalogue);
        match announced.rename(&announcements) {
            Ok(()) => announced.log(),
            Err(error) => {
                tracing::error!(%error, "this server is not announced any more; restart it");
            }
        }
    }

    fn announce_keys(&mut self) {
        let keys = self.keys.borrow_and_update().clone();
        for warning in &keys.warnings {
            tracing::warn!("{warning}");
        }
        let (announced, catalogue) = (self.announced.as_ref(), &self.sessions.catalogue);
        self.certificate
            .sign_with(fingerprints(&keys), announced, catalogue);
    }

    fn peer(&mut self, socket: &TcpStream, address: SocketAddr) -> Peer {
        match (&mut self.owners, socket.local_addr()) {
            (Some(owners), Ok(own)) => owners.peer(own, address),
            _ => address.ip().into(),
        }
    }

    /// Withdraws the announcement first, so that nobody comes to a closing door.
    async fn close(self) {
        tracing::info!("stopping, with {} connections open", self.connections.len());
        if let Some(announced) = self.announced {
            announced.withdraw().await;
        }
        drop(self.listener);
        self.closing.cancel();
        self.connections.close();
        // Jobs of a worker that is gone end by themselves, and their clients are to hear why.
        let grace = if self.worker_gone.is_cancelled() {
            LAST_WORDS
        } else {
            GRACE
        };
        if timeout(grace, self.connections.wait()).await.is_err() {
            tracing::info!(
                "{} connections are still open; their requests are cancelled",
                self.connections.len()
            );
            self.stop.cancel();
            if timeout(LAST_WORDS, self.connections.wait()).await.is_err() {
                tracing::warn!(
                    "{} clients did not take their answer in time",
                    self.connections.len()
                );
            }
        }
        self.release_worker.cancel();
        for process in self.processes {
            let name = process.name();
            match process.end(WORKER_PATIENCE).await {
                Ok(status) => tracing::info!("{name} has ended ({status})"),
                Err(error) => tracing::warn!(%error, "the end of {name} was not seen"),
            }
        }
        // The worker's last lines are still on their way to the log.
        self.tasks.close();
        if timeout(LAST_WORDS, self.tasks.wait()).await.is_err() {
            tracing::debug!("somebody holds the worker's stderr open");
        }
        tracing::info!("stopped");
    }
}

/// Whoever reads the log learns the port from this line.
fn listen(bound: Bound) -> anyhow::Result<TcpListener> {
    let address = bound.address();
    let listener = bound.listen().context("listening for clients")?;
    tracing::info!("Using network address {address}");
    Ok(listener)
}

/// What was not told when the server stops is told then.
fn spawn_door_log(tasks: &TaskTracker, door: Arc<DoorLog>, over: CancellationToken) {
    tasks.spawn(async move {
        tokio::select! {
            () = door.sum_up_each_minute() => {}
            () = over.cancelled() => door.sum_up(),
        }
    });
}

fn deadlines(admission: &Admission) -> Deadlines {
    Deadlines {
        whole: admission.request_time.duration(),
        ..Deadlines::default()
    }
}

fn bounds(admission: &Admission, connections: usize, slots: NonZeroUsize) -> Bounds {
    let in_use = slots.get() + SPARE_SEATS;
    Bounds {
        // A full queue leaves seats for telling others that it is full.
        queue: count(admission.queue.get())
            .min(connections.saturating_sub(in_use))
            .max(1),
        per_peer: count(admission.jobs_per_peer.get()),
        slots,
    }
}

fn count(value: u64) -> usize {
    usize::try_from(value)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}

/// Connections that are neither queued nor running.
const SPARE_SEATS: usize = 8;
/// How often the certificate's age is looked at; it is renewed days before its end.
const RENEWAL_CHECK: Duration = Duration::from_secs(3600);
/// How long requests under way may go on after the server was asked to stop.
const GRACE: Duration = Duration::from_secs(3);
/// How long their clients then have to take the answer.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the worker has to kill its jobs and exit.
const WORKER_PATIENCE: Duration = Duration::from_secs(3);
