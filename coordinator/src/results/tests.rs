//! The promises of the results, with an executor and a witness that do what the test says.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;

use stap_protocol::job::{OutputFile, Usage};
use stap_store::Bounds;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::executor::{Executor, NotReady};
use crate::headroom::Headroom;
use crate::scheduler;

/// Runs jobs until the test lets them end as it says, and tells of each.
struct Stage {
    outcome: Mutex<Outcome>,
    end: Semaphore,
    events: mpsc::Sender<String>,
}

struct Tells<'a>(&'a Stage, String, bool);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        let end = if self.2 { "ended" } else { "cancelled" };
        self.0.events.try_send(format!("{end} {}", self.1)).unwrap();
    }
}

impl Executor for Stage {
    type Slot = ();

    async fn ready(&self) -> Result<(), NotReady> {
        Ok(())
    }

    async fn execute(&self, (): (), job: Job) -> Report {
        let started = format!("started {}", job.request);
        self.events.try_send(started).unwrap();
        let mut tells = Tells(self, job.request.clone(), false);
        self.end.acquire().await.unwrap().forget();
        tells.2 = true;
        report(self.outcome.lock().unwrap().clone(), &job.request)
    }
}

/// A report that tells whose job it was.
fn report(outcome: Outcome, request: &str) -> Report {
    let files = vec![OutputFile {
        name: "x.ko".try_into().unwrap(),
        content: b"module".to_vec(),
    }];
    let files = if outcome == GOOD { files } else { Vec::new() };
    Report {
        outcome,
        stdout: request.as_bytes().to_vec(),
        stderr: Vec::new(),
        files,
        private_directories: Vec::new(),
        usage: Usage::default(),
        is_whole: true,
    }
}

const GOOD: Outcome = Outcome::Exited { code: 0 };
const BAD: Outcome = Outcome::Exited { code: 1 };

pub(super) fn job(request: &str, script: &str) -> Job {
    Job {
        request: request.to_owned(),
        target: TargetName {
            release: "6.1.0".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        },
        arguments: vec![b"-p4".to_vec(), format!("-e{script}").into_bytes()],
        files: Vec::new(),
        locale: Vec::new(),
        to_be_signed: false,
    }
}

fn peer(last: u8) -> Peer {
    IpAddr::from([192, 0, 2, last]).into()
}

struct Play {
    results: Results,
    stage: Arc<Stage>,
    events: mpsc::Receiver<String>,
    seen: Arc<Mutex<Result<TargetIdentity, String>>>,
    directory: tempfile::TempDir,
    _stop: tokio_util::sync::DropGuard,
}

struct Rules {
    scope: Scope,
    failures: Duration,
    per_peer: usize,
}

const RULES: Rules = Rules {
    scope: Scope::Shared,
    failures: Duration::ZERO,
    per_peer: 16,
};

fn shelf(directory: &Path) -> Shelf {
    let bounds = Bounds {
        bytes: 1 << 20,
        entries: 16,
    };
    Shelf::open(&directory.join("results"), bounds, None).unwrap()
}

impl Play {
    fn begin(rules: &Rules) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (sender, events) = mpsc::channel(64);
        let stage = Arc::new(Stage {
            outcome: Mutex::new(GOOD),
            end: Semaphore::new(0),
            events: sender,
        });
        let stop = CancellationToken::new();
        let bounds = scheduler::Bounds {
            queue: 64,
            per_peer: rules.per_peer,
            slots: NonZeroUsize::MIN,
        };
        let (scheduler, desk) = Scheduler::new(
            Arc::clone(&stage),
            bounds,
            Headroom::unknown(),
            scheduler::Experience::default(),
            stop.clone(),
        );
        let (witness, mut questions) = Witness::new();
        let seen = Arc::new(Mutex::new(Ok(TargetIdentity([1; 32]))));
        let tasks = TaskTracker::new();
        tasks.spawn(desk);
        let answer = Arc::clone(&seen);
        tasks.spawn(async move {
            while let Some(question) = questions.recv().await {
                let known = answer.lock().unwrap().clone();
                question.answer.send(known).ok();
            }
        });
        let keeping = Keeping {
            scope: rules.scope,
            shelf: Some(shelf(directory.path())),
            failures: rules.failures,
        };
        Self {
            results: Results::new(scheduler, witness, keeping, tasks),
            stage,
            events,
            seen,
            directory,
            _stop: stop.drop_guard(),
        }
    }

    fn ask(&self, from: u8, job: Job) -> JoinHandle<Result<Found, Refusal>> {
        let results = self.results.clone();
        TaskTracker::new().spawn(async move { results.find(peer(from), job, drop).await })
    }

    /// Asks, and lets the job end if one is started.
    async fn get(&mut self, from: u8, job: Job) -> Found {
        self.stage.end.add_permits(1);
        let found = self.ask(from, job).await.unwrap().unwrap();
        if found.origin == Origin::Hit {
            self.stage.end.forget_permits(1);
        } else {
            for _ in 0..2 {
                self.event().await;
            }
        }
        found
    }

    async fn event(&mut self) -> String {
        self.events.recv().await.unwrap()
    }

    /// Waits until so many have a seat in the only flight.
    async fn seated(&self, count: usize) {
        while self.results.0.flights.seats() != count {
            tokio::task::yield_now().await;
        }
    }
}

fn text(found: &Found) -> &str {
    std::str::from_utf8(&found.report.stdout).unwrap()
}

#[tokio::test]
async fn the_second_of_two_equal_requests_gets_what_the_first_one_got() {
    let mut play = Play::begin(&RULES);
    let first = play.get(1, job("a", "x")).await;
    assert_eq!(first.origin, Origin::Miss);
    let second = play.get(2, job("b", "x")).await;
    assert_eq!(second.origin, Origin::Hit);
    assert_eq!(second.report, first.report);
    let other = play.get(2, job("c", "y")).await;
    assert_eq!((other.origin.clone(), text(&other)), (Origin::Miss, "c"));
}

#[tokio::test]
async fn results_that_nobody_is_charged_for_have_a_bound() {
    let mut play = Play::begin(&RULES);
    play.get(1, job("a", "x")).await;
    let free = || play.results.0.copying.available_permits();
    let all = free();
    let asked: Vec<_> = (0..3).map(|from| play.ask(from, job("b", "x"))).collect();
    let mut found = Vec::new();
    for asked in asked {
        found.push(asked.await.unwrap().unwrap());
    }
    assert!(found.iter().all(|found| found.origin == Origin::Hit));
    assert_eq!(free(), all - 3, "each has a copy");
    drop(found);
    assert_eq!(free(), all);
    for (bytes, mebibytes) in [(0, 1), (100_000, 1), (1 << 20, 1), (32 << 20, 32)] {
        assert_eq!(permits(bytes), mebibytes);
    }
    assert_eq!(permits(u64::MAX), ROOM, "it is alone");
}

#[tokio::test]
async fn a_target_that_changed_is_another_one() {
    let mut play = Play::begin(&RULES);
    play.get(1, job("a", "x")).await;
    *play.seen.lock().unwrap() = Ok(TargetIdentity([2; 32]));
    assert_eq!(play.get(1, job("b", "x")).await.origin, Origin::Miss);
    assert_eq!(play.get(1, job("c", "x")).await.origin, Origin::Hit);
}

#[tokio::test]
async fn what_saw_a_target_change_is_not_kept() {
    let mut play = Play::begin(&RULES);
    let asked = play.ask(1, job("a", "x"));
    assert_eq!(play.event().await, "started a");
    *play.seen.lock().unwrap() = Ok(TargetIdentity([2; 32]));
    play.stage.end.add_permits(1);
    assert_eq!(asked.await.unwrap().unwrap().origin, Origin::Miss);
    play.event().await;
    for identity in [1, 2] {
        *play.seen.lock().unwrap() = Ok(TargetIdentity([identity; 32]));
        assert_eq!(play.get(1, job("b", "x")).await.origin, Origin::Miss);
    }
}

#[tokio::test]
async fn without_knowing_what_jobs_see_nothing_is_kept_and_nobody_is_joined() {
    let mut play = Play::begin(&RULES);
    *play.seen.lock().unwrap() = Err("it cannot be read".to_owned());
    for name in ["a", "b"] {
        let found = play.get(1, job(name, "x")).await;
        assert_eq!(found.origin, Origin::Off("it cannot be read".to_owned()));
        assert_eq!(text(&found), name);
    }
}

#[tokio::test]
async fn equal_requests_at_the_same_time_run_one_job() {
    let mut play = Play::begin(&RULES);
    let asked: Vec<_> = (0..8).map(|from| play.ask(from, job("a", "x"))).collect();
    assert_eq!(play.event().await, "started a");
    play.seated(8).await;
    play.stage.end.add_permits(8);
    let mut origins = Vec::new();
    for asked in asked {
        let found = asked.await.unwrap().unwrap();
        assert_eq!(text(&found), "a");
        origins.push(found.origin);
    }
    let misses = origins.iter().filter(|origin| **origin == Origin::Miss);
    assert_eq!(misses.count(), 1, "{origins:?}");
    assert_eq!(play.event().await, "ended a");
    assert!(play.events.try_recv().is_err(), "a second job ran");
}

#[tokio::test]
async fn a_leaving_leader_does_not_take_the_job_along_and_the_last_one_does() {
    let mut play = Play::begin(&RULES);
    let leader = play.ask(1, job("a", "x"));
    assert_eq!(play.event().await, "started a");
    let (second, third) = (play.ask(2, job("b", "x")), play.ask(3, job("c", "x")));
    play.seated(3).await;
    leader.abort();
    second.abort();
    play.seated(1).await;
    play.stage.end.add_permits(1);
    let found = third.await.unwrap().unwrap();
    assert_eq!((found.origin.clone(), text(&found)), (Origin::Joined, "a"));
    assert_eq!(play.event().await, "ended a");
    let alone = play.ask(1, job("d", "y"));
    assert_eq!(play.event().await, "started d");
    alone.abort();
    assert_eq!(play.event().await, "cancelled d");
    // Who comes now does not wait for a job that is gone.
    assert_eq!(text(&play.get(1, job("e", "y")).await), "e");
}

#[tokio::test]
async fn a_fault_of_ours_is_the_leader_s_alone() {
    let mut play = Play::begin(&RULES);
    let fault = Outcome::WorkerFault {
        reason: "test".to_owned(),
    };
    *play.stage.outcome.lock().unwrap() = fault.clone();
    let leader = play.ask(1, job("a", "x"));
    assert_eq!(play.event().await, "started a");
    let follower = play.ask(2, job("b", "x"));
    play.seated(2).await;
    play.stage.end.add_permits(1);
    let found = leader.await.unwrap().unwrap();
    assert_eq!((found.report.outcome, found.origin), (fault, Origin::Miss));
    assert_eq!(play.event().await, "ended a");
    assert_eq!(play.event().await, "started b");
    *play.stage.outcome.lock().unwrap() = GOOD;
    play.stage.end.add_permits(1);
    let found = follower.await.unwrap().unwrap();
    assert_eq!((found.origin.clone(), text(&found)), (Origin::Miss, "b"));
}

#[tokio::test]
async fn followers_hear_of_a_limit_and_it_is_not_kept() {
    let mut play = Play::begin(&RULES);
    let limit = Outcome::LimitReached {
        limit: "wall".to_owned(),
        value: "300 s".to_owned(),
        class: "test".to_owned(),
        used: None,
        wider: None,
    };
    *play.stage.outcome.lock().unwrap() = limit.clone();
    let asked = [play.ask(1, job("a", "x")), play.ask(2, job("a", "x"))];
    assert_eq!(play.event().await, "started a");
    play.seated(2).await;
    play.stage.end.add_permits(1);
    for asked in asked {
        assert_eq!(asked.await.unwrap().unwrap().report.outcome, limit);
    }
    play.event().await;
    assert_eq!(play.get(1, job("b", "x")).await.origin, Origin::Miss);
}

#[tokio::test]
async fn what_the_leader_is_refused_is_not_refused_to_others() {
    let mut play = Play::begin(&Rules {
        per_peer: 1,
        ..RULES
    });
    let busy = play.ask(1, job("a", "x"));
    assert_eq!(play.event().await, "started a");
    let refused = play.ask(1, job("b", "y")).await.unwrap();
    assert!(matches!(refused, Err(Refusal::PeerBusy { .. })));
    let other = play.ask(2, job("c", "y"));
    assert_eq!(play.event().await, "started c");
    // Waiting for another's job takes no place of one's own.
    let joined = play.ask(1, job("d", "y"));
    play.seated(3).await;
    play.stage.end.add_permits(2);
    for asked in [busy, other] {
        assert_eq!(asked.await.unwrap().unwrap().origin, Origin::Miss);
    }
    assert_eq!(joined.await.unwrap().unwrap().origin, Origin::Joined);
}

#[tokio::test]
async fn results_of_users_are_apart_where_the_policy_wants_it() {
    let mut play = Play::begin(&Rules {
        scope: Scope::User,
        ..RULES
    });
    assert_eq!(play.get(1, job("a", "x")).await.origin, Origin::Miss);
    assert_eq!(play.get(2, job("b", "x")).await.origin, Origin::Miss);
    assert_eq!(text(&play.get(1, job("c", "x")).await), "a");
    assert_eq!(text(&play.get(2, job("d", "x")).await), "b");
    let mut play = Play::begin(&Rules {
        scope: Scope::Off,
        ..RULES
    });
    for name in ["a", "b"] {
        assert_eq!(text(&play.get(1, job(name, "x")).await), name);
    }
}

#[tokio::test]
async fn a_compile_error_is_given_out_again_only_where_the_policy_wants_it() {
    let mut play = Play::begin(&Rules {
        failures: Duration::from_secs(3600),
        ..RULES
    });
    *play.stage.outcome.lock().unwrap() = BAD;
    play.get(1, job("a", "x")).await;
    let again = play.get(1, job("b", "x")).await;
    assert_eq!((again.origin.clone(), text(&again)), (Origin::Hit, "a"));
    let mut play = Play::begin(&RULES);
    *play.stage.outcome.lock().unwrap() = BAD;
    for name in ["a", "b"] {
        assert_eq!(text(&play.get(1, job(name, "x")).await), name);
    }
}

#[tokio::test]
async fn an_altered_entry_costs_one_job_and_no_more() {
    let mut play = Play::begin(&RULES);
    play.get(1, job("a", "x")).await;
    for entry in std::fs::read_dir(play.directory.path().join("results")).unwrap() {
        std::fs::write(entry.unwrap().path(), "another module").unwrap();
    }
    let again = play.get(1, job("b", "x")).await;
    assert_eq!((again.origin.clone(), text(&again)), (Origin::Miss, "b"));
    assert_eq!(text(&play.get(1, job("c", "x")).await), "b");
}

#[tokio::test]
async fn a_bpf_object_is_kept_if_its_client_names_it() {
    let mut play = Play::begin(&RULES);
    for (number, options) in [
        &["--bpf"][..],
        &["--runtime=bpf"],
        &["--runtime=dyninst", "-mx"],
        &["--runtime=bpf", "--runtime=dyninst", "-mx"],
    ]
    .into_iter()
    .enumerate()
    {
        let mut unnamed = job("a", &number.to_string());
        let words = options.iter().map(|word| word.as_bytes().to_vec());
        unnamed.arguments.extend(words);
        for _ in 0..2 {
            let found = play.get(1, unnamed.clone()).await;
            assert!(matches!(found.origin, Origin::Off(_)), "{options:?}");
        }
    }
    for option in ["--bpf", "--runtime=bpf"] {
        let mut named = job("a", "x");
        named
            .arguments
            .extend([option, "-mx"].map(|word| word.as_bytes().to_vec()));
        for origin in [Origin::Miss, Origin::Hit] {
            let found = play.get(1, named.clone()).await;
            assert_eq!(found.origin, origin, "{option}");
        }
    }
}
