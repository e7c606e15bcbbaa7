//! The promises of the scheduler, with an executor that does what the test says.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use stap_protocol::job::Usage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::expected::FIRST_SHORT;
use super::*;

mod turns;

/// Runs jobs until the test lets them end, and tells the test what it was given and what was dropped.
struct Stage {
    slots: Arc<Semaphore>,
    end: Semaphore,
    took: Mutex<Usage>,
    outcome: Mutex<Outcome>,
    events: mpsc::Sender<String>,
    kept: AtomicUsize,
}

struct Dropped<'a>(&'a Stage, String, bool);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if !self.2 {
            self.0
                .events
                .try_send(format!("cancelled {}", self.1))
                .unwrap();
        }
    }
}

impl Executor for Stage {
    type Slot = OwnedSemaphorePermit;

    async fn ready(&self) -> Result<Self::Slot, NotReady> {
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_closed| NotReady)
    }

    async fn execute(&self, _slot: Self::Slot, job: Job) -> Report {
        self.events
            .try_send(format!("started {}", job.request))
            .unwrap();
        let mut dropped = Dropped(self, job.request, false);
        self.end.acquire().await.unwrap().forget();
        dropped.2 = true;
        Report {
            outcome: self.outcome.lock().unwrap().clone(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            files: Vec::new(),
            private_directories: Vec::new(),
            usage: *self.took.lock().unwrap(),
            is_whole: true,
        }
    }

    fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

/// One that compiles nothing.
pub(super) fn job(request: &str) -> Job {
    Job {
        request: request.to_owned(),
        target: stap_protocol::target::TargetName {
            release: "6.1.0".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        },
        arguments: vec![b"-p2".to_vec()],
        files: Vec::new(),
        locale: Vec::new(),
        to_be_signed: false,
    }
}

fn peer(last: u8) -> Peer {
    IpAddr::from([192, 0, 2, last]).into()
}

struct Play {
    scheduler: Scheduler,
    stage: Arc<Stage>,
    events: Mutex<mpsc::Receiver<String>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

fn play(slots: usize, bounds: Bounds) -> Play {
    play_with(slots, bounds, Headroom::unknown())
}

fn play_with(slots: usize, bounds: Bounds, headroom: Headroom) -> Play {
    let (sender, events) = mpsc::channel(64);
    let stage = Arc::new(Stage {
        slots: Arc::new(Semaphore::new(slots)),
        end: Semaphore::new(0),
        took: Mutex::default(),
        outcome: Mutex::new(Outcome::Exited { code: 0 }),
        events: sender,
        kept: AtomicUsize::new(0),
    });
    let stop = CancellationToken::new();
    let (scheduler, task) = Scheduler::new(
        Arc::clone(&stage),
        bounds,
        headroom,
        Experience::default(),
        stop.clone(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(task);
    Play {
        scheduler,
        stage,
        events: Mutex::new(events),
        stop,
        tasks,
    }
}

impl Play {
    async fn event(&mut self) -> String {
        self.events.get_mut().unwrap().recv().await.unwrap()
    }

    fn has_event(&mut self) -> bool {
        !self.events.get_mut().unwrap().is_empty()
    }
}

fn bounds(queue: usize, per_peer: usize) -> Bounds {
    Bounds {
        queue,
        per_peer,
        slots: NonZeroUsize::MIN,
    }
}

#[tokio::test]
async fn a_second_peer_s_only_job_is_next() {
    let mut play = play(1, bounds(8, 8));
    let mut tickets = Vec::new();
    for (owner, name) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1")] {
        tickets.push(play.scheduler.submit(peer(owner), job(name)).await.unwrap());
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(play.event().await);
        play.stage.end.add_permits(1);
    }
    assert_eq!(
        order,
        ["started a1", "started b1", "started a2", "started a3"]
    );
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let mut play = play(1, bounds(1, 8));
    let _runs = play.scheduler.submit(peer(1), job("runs")).await.unwrap();
    assert_eq!(play.event().await, "started runs");
    let _waits = play.scheduler.submit(peer(1), job("waits")).await.unwrap();
    let refusal = play
        .scheduler
        .submit(peer(2), job("refused"))
        .await
        .unwrap_err();
    assert!(matches!(refusal, Refusal::QueueFull { retry } if retry >= SOON));
}

#[tokio::test]
async fn one_peer_cannot_take_more_than_its_share() {
    let play = play(1, bounds(8, 2));
    let _first = play.scheduler.submit(peer(1), job("1")).await.unwrap();
    let _second = play.scheduler.submit(peer(1), job("2")).await.unwrap();
    let refusal = play.scheduler.submit(peer(1), job("3")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::PeerBusy { jobs: 2, .. }));
    let _other = play.scheduler.submit(peer(2), job("4")).await.unwrap();
}

// On two threads, so that the end of a job and what its owner does next race.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_heard_of_the_end_of_his_job_has_room_for_the_next() {
    let mut play = play(1, bounds(8, 1));
    play.stage.end.add_permits(1000);
    for number in 0..1000 {
        let name = number.to_string();
        let ticket = play.scheduler.submit(peer(1), job(&name)).await.unwrap();
        ticket.report().await.unwrap();
        assert_eq!(play.event().await, format!("started {name}"));
    }
}

#[tokio::test]
async fn beside_a_thousand_jobs_an_only_one_waits_for_one_running_job() {
    let mut play = play(2, bounds(4096, 4096));
    let mut tickets = Vec::new();
    for number in 0..1000 {
        let name = format!("a{number}");
        tickets.push(play.scheduler.submit(peer(1), job(&name)).await.unwrap());
    }
    assert_eq!(play.event().await, "started a0");
    assert_eq!(play.event().await, "started a1");
    tickets.push(play.scheduler.submit(peer(2), job("b")).await.unwrap());
    play.stage.end.add_permits(1);
    assert_eq!(play.event().await, "started b");
}

#[tokio::test]
async fn a_peer_may_have_half_as_many_jobs_waiting_as_there_are_free_places() {
    let mut play = play(1, bounds(12, 100));
    let mut tickets = vec![play.scheduler.submit(peer(1), job("runs")).await.unwrap()];
    assert_eq!(play.event().await, "started runs");
    let mut waiting = [0; 4];
    for owner in [1, 2, 3] {
        while let Ok(ticket) = play.scheduler.submit(peer(owner), job("waits")).await {
            tickets.push(ticket);
            waiting[usize::from(owner)] += 1;
        }
    }
    assert_eq!(waiting, [0, 4, 3, 2]);
    let refusal = play.scheduler.submit(peer(1), job("7")).await.unwrap_err();
    assert!(matches!(refusal, Refusal::ShareUsed { waiting: 4, .. }));
    let _newcomer = play.scheduler.submit(peer(4), job("8")).await.unwrap();
}

#[tokio::test]
async fn the_time_to_come_back_grows_with_the_queue_and_with_how_long_jobs_take() {
    let mut play = play(1, bounds(64, 2));
    let mut tickets = Vec::new();
    let mut told = Vec::new();
    for owner in [1, 2, 3] {
        for _ in 0..2 {
            tickets.push(play.scheduler.submit(peer(owner), job("x")).await);
        }
        let refused = play.scheduler.submit(peer(1), job("x")).await.unwrap_err();
        let (Refusal::PeerBusy { retry, .. } | Refusal::QueueFull { retry }) = refused else {
            panic!("{refused:?}");
        };
        told.push(retry);
    }
    assert_eq!(told, [FIRST_SHORT, FIRST_SHORT * 2, FIRST_SHORT * 3]);
    assert_eq!(play.event().await, "started x");
    play.stage.took.lock().unwrap().wall = Duration::from_secs(3600);
    play.stage.end.add_permits(1);
    assert_eq!(play.event().await, "started x");
    assert_eq!(play.scheduler.outlook(), LATE, "it has a bound");
}

#[tokio::test]
async fn dropping_a_ticket_cancels_a_running_job() {
    let mut play = play(1, bounds(8, 8));
    let ticket = play.scheduler.submit(peer(1), job("1")).await.unwrap();
    assert_eq!(play.event().await, "started 1");
    drop(ticket);
    assert_eq!(play.event().await, "cancelled 1");
}

#[tokio::test]
async fn a_cancelled_job_that_waits_is_never_started_and_frees_its_place() {
    let mut play = play(1, bounds(1, 2));
    let _runs = play.scheduler.submit(peer(1), job("runs")).await.unwrap();
    assert_eq!(play.event().await, "started runs");
    let waits = play.scheduler.submit(peer(1), job("waits")).await.unwrap();
    drop(waits);
    let _next = play.scheduler.submit(peer(1), job("next")).await.unwrap();
    play.stage.end.add_permits(1);
    assert_eq!(play.event().await, "started next");
}

#[tokio::test]
async fn stopping_ends_every_ticket() {
    let mut play = play(1, bounds(8, 8));
    let runs = play.scheduler.submit(peer(1), job("runs")).await.unwrap();
    let waits = play.scheduler.submit(peer(1), job("waits")).await.unwrap();
    assert_eq!(play.event().await, "started runs");
    play.stop.cancel();
    play.tasks.join_all().await;
    assert_eq!(runs.report().await.unwrap_err(), Refusal::Stopped);
    assert_eq!(waits.report().await.unwrap_err(), Refusal::Stopped);
    assert_eq!(
        play.scheduler
            .submit(peer(1), job("late"))
            .await
            .unwrap_err(),
        Refusal::Stopped
    );
}

#[tokio::test]
async fn without_an_executor_what_runs_is_still_told_and_what_waits_is_stopped() {
    let mut play = play(1, bounds(8, 8));
    let runs = play.scheduler.submit(peer(1), job("runs")).await.unwrap();
    let waits = play.scheduler.submit(peer(1), job("waits")).await.unwrap();
    assert_eq!(play.event().await, "started runs");
    play.stage.slots.close();
    play.stage.end.add_permits(1);
    assert_eq!(
        runs.report().await.unwrap().outcome,
        Outcome::Exited { code: 0 }
    );
    assert_eq!(waits.report().await.unwrap_err(), Refusal::Stopped);
    play.tasks.join_all().await;
}

/// Memory that a test gives and takes.
#[derive(Clone, Debug, Default)]
struct Free(Arc<AtomicU64>);

impl Free {
    fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn headroom(&self) -> Headroom {
        let free = self.clone();
        Headroom::told_by(move || Some(free.0.load(Ordering::Relaxed)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_beside_others_waits_for_memory_and_the_first_does_not() {
    let free = Free::default();
    let mut play = play_with(4, bounds(8, 8), free.headroom());
    let mut tickets = Vec::new();
    for name in ["1", "2", "3"] {
        tickets.push(play.scheduler.submit(peer(1), job(name)).await.unwrap());
    }
    assert_eq!(play.event().await, "started 1");
    // Enough for the second only, which must not count on what the first has not taken yet.
    free.set(appetite::FIRST * 3 - 1);
    assert_eq!(play.event().await, "started 2");
    tokio::time::sleep(LATE).await;
    assert!(!play.has_event());
    free.set(appetite::FIRST * 3);
    assert_eq!(play.event().await, "started 3");
}

#[tokio::test(start_paused = true)]
async fn what_is_done_behind_a_job_has_its_memory_too() {
    let free = Free::default();
    free.set(appetite::FIRST * 2 - 1);
    let mut play = play_with(2, bounds(8, 8), free.headroom());
    play.stage.kept.store(1, Ordering::Relaxed);
    let _ticket = play.scheduler.submit(peer(1), job("1")).await.unwrap();
    tokio::time::sleep(LATE).await;
    assert!(!play.has_event(), "it would be beside what is done there");
    free.set(appetite::FIRST * 2);
    assert_eq!(play.event().await, "started 1");
}

#[tokio::test(start_paused = true)]
async fn an_end_makes_room_and_shows_what_jobs_take() {
    let free = Free::default();
    free.set(appetite::FIRST * 2);
    let mut play = play_with(4, bounds(8, 8), free.headroom());
    play.stage.took.lock().unwrap().peak_memory = Some(appetite::FIRST * 4);
    let mut tickets = Vec::new();
    for name in ["1", "2", "3", "4"] {
        tickets.push(play.scheduler.submit(peer(1), job(name)).await.unwrap());
    }
    assert_eq!(play.event().await, "started 1");
    assert_eq!(play.event().await, "started 2");
    play.stage.end.add_permits(1);
    tokio::time::sleep(LATE).await;
    let early = play.events.get_mut().unwrap().try_recv();
    assert!(
        early.is_err(),
        "they take four times as much as was thought"
    );
    play.stage.end.add_permits(1);
    assert_eq!(play.event().await, "started 3", "alone, one always may");
}
