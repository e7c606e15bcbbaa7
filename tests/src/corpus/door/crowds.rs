//! Somebody who wants more than his share, beside others.

use std::rc::Rc;
use std::thread;

use anyhow::Context as _;

use super::caller::{Caller, QUIET};
use super::{Since, Sketch, framed, package, serves_user};
use crate::corpus::service::Service;
use crate::corpus::{Case, Control, Field, Goal, Guard, Verdict, several};

pub(super) fn cases() -> Vec<Case> {
    vec![
        beside_a_single_one(
            "many-jobs-beside-a-single-one",
            "a stock server takes connections in the order in which they come",
            Many::Requests,
        ),
        beside_a_single_one("many-targets-beside-a-single-job", "", Many::Targets),
        refused(&Greedy {
            name: "more-jobs-than-a-share",
            limit: "jobs-per-peer",
            policy: &[("jobs-per-peer", "2")],
            larger: &[("jobs-per-peer", "3")],
            slots: FOUR_SLOTS,
            jobs: 2,
            others: 0,
            says: "it works on 2 requests of user 0 of this host already",
        }),
        refused(&Greedy {
            name: "more-connections-than-a-share",
            limit: "connections-per-peer",
            policy: &[("connections-per-peer", "2"), ("jobs-per-peer", "8")],
            larger: &[("connections-per-peer", "3"), ("jobs-per-peer", "8")],
            slots: FOUR_SLOTS,
            jobs: 2,
            others: 0,
            says: "all connections that user 0 of this host may have are at work",
        }),
        refused(&Greedy {
            name: "more-of-the-queue-than-a-share",
            limit: "queue",
            policy: &[("queue", "6"), ("jobs-per-peer", "64")],
            larger: &[("queue", "12"), ("jobs-per-peer", "64")],
            slots: ONE_SLOT,
            jobs: 3,
            others: 0,
            says: "2 requests of user 0 of this host wait already, and the rest of its queue is for others",
        }),
        refused(&Greedy {
            name: "more-than-the-queue",
            limit: "queue",
            policy: &[("queue", "1")],
            larger: &[("queue", "8")],
            slots: ONE_SLOT,
            jobs: 1,
            others: 1,
            says: "its queue is full",
        }),
    ]
}

/// Somebody whose jobs take all that he may have, and one more.
#[derive(Clone, Copy, Debug)]
struct Greedy {
    name: &'static str,
    limit: &'static str,
    policy: &'static [(&'static str, &'static str)],
    larger: &'static [(&'static str, &'static str)],
    slots: &'static str,
    /// How many he gets.
    jobs: usize,
    /// How many another user has besides.
    others: usize,
    says: &'static str,
}

/// The one more is refused, with the time to come back; under a larger limit it is taken.
fn refused(greedy: &Greedy) -> Case {
    let greedy = *greedy;
    let sketch = Sketch {
        name: greedy.name,
        goal: Goal::Exhaust("what others need"),
        lesson: "a stock server has neither a queue nor shares",
        by: Guard::Limit(greedy.limit),
        says: greedy.says,
    };
    sketch.case(
        move |field| {
            let said = greedy.one_more(field, greedy.policy, Others::Stay)?;
            match said.as_deref() {
                None => Ok(Verdict::Escaped {
                    how: "it was taken".to_owned(),
                }),
                Some(reason) => {
                    let time = reason.split_once("Try again in ").map(|(_, time)| time);
                    let seconds = time.and_then(|time| time.split_once(" s."));
                    let seconds = seconds.context("it is not told when to come back")?;
                    let seconds: u64 = seconds.0.parse()?;
                    anyhow::ensure!((1..=120).contains(&seconds), "in {seconds} s");
                    Ok(Verdict::Contained {
                        reason: reason.to_owned(),
                    })
                }
            }
        },
        move |field| {
            Ok(
                match greedy.one_more(field, greedy.larger, Others::Leave)? {
                    None => Control::Succeeded {
                        how: format!("under {:?}: it is taken", greedy.larger),
                    },
                    Some(why) => Control::Failed { why },
                },
            )
        },
    )
}

/// What those do who came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Stay,
    Leave,
}

impl Greedy {
    /// What the one more is told; `None` when it is taken.
    fn one_more(
        &self,
        field: &Field,
        policy: &[(&'static str, &'static str)],
        leave: Others,
    ) -> anyhow::Result<Option<String>> {
        let server = field.serve("crowded", policy, &[self.slots])?;
        let told = self.told(field, &server, leave);
        drop(server);
        field.close("crowded")?;
        told
    }

    fn told(
        &self,
        field: &Field,
        server: &Service,
        leave: Others,
    ) -> anyhow::Result<Option<String>> {
        let since = Since::now(server);
        let mut callers = Vec::new();
        let others = [(0, self.jobs), (field.situation.ordinary, self.others)];
        for user in others.iter().flat_map(|(user, jobs)| vec![*user; *jobs]) {
            let mut caller = Caller::start(server, user, &[QUIET])?;
            caller.say(&framed("take-time 50000")?)?;
            callers.push(caller);
            since.wait_for("request accepted", callers.len())?;
        }
        let mut more = Caller::connect(server)?;
        let before = Since::now(server);
        more.say(&framed("effective-uid")?)?;
        before.wait("] request ")?;
        if leave == Others::Leave {
            // Whoever only waits for a slot gets one now.
            callers.clear();
        }
        let mut refusal = None;
        let decided = crate::wait::within_patience(|| {
            refusal = before.find("request refused: ");
            refusal.is_some() || before.find("job ended: exit status 0").is_some()
        });
        anyhow::ensure!(decided, "nothing came of it: {:#?}", before.lines());
        if refusal.is_some() && self.slots == FOUR_SLOTS {
            // Another user gets the slot that the greedy one may not have.
            serves_user(server, field.situation.ordinary)?;
        }
        match refusal {
            None => Ok(None),
            Some(_) => {
                let answer = more.hear()?;
                let limits = stap_protocol::reply::ReplyLimits::default();
                let reply = stap_protocol::reply::Reply::decode(&answer, &limits)?;
                let said = String::from_utf8_lossy(&reply.stderr);
                Ok(Some(said.trim_end().to_owned()))
            }
        }
    }
}

/// How somebody comes to many jobs.
#[derive(Clone, Copy, Debug)]
enum Many {
    Requests,
    /// Fewer requests, each for as many targets as a request may have, and longer jobs.
    Targets,
}

impl Many {
    /// Requests, and what one of them is.
    fn requests(self, targets: &[String]) -> anyhow::Result<(usize, Vec<u8>)> {
        Ok(match self {
            Self::Requests => (MANY, package("take-time 30")?),
            Self::Targets => (FEW * 2, several::package("take-time 300", targets)?),
        })
    }

    /// The one that runs, and those that start and end while a request that was accepted is looked for among the
    /// results and put into the queue, which takes as long as the machine is busy.
    fn few(self) -> usize {
        match self {
            Self::Requests => FEW * 4,
            Self::Targets => FEW,
        }
    }
}

/// One user with many jobs beside one with a single job.
fn beside_a_single_one(name: &'static str, lesson: &'static str, many: Many) -> Case {
    let sketch = Sketch {
        name,
        goal: Goal::Disturb("the only job of another user"),
        lesson,
        by: Guard::Check("the scheduler"),
        says: "jobs of the other user went first: ",
    };
    sketch.case(
        move |field| {
            let first = ended_before(field, field.situation.ordinary, many)?;
            let words = format!("jobs of the other user went first: {first}");
            Ok(if first <= many.few() {
                Verdict::Contained { reason: words }
            } else {
                Verdict::Escaped { how: words }
            })
        },
        move |field| {
            let first = ended_before(field, 0, many)?;
            let words = format!("as the same user's: {first} jobs went first");
            Ok(if first <= many.few() {
                Control::Failed { why: words }
            } else {
                Control::Succeeded { how: words }
            })
        },
    )
}

/// How many jobs of root's ended between the acceptance of a job of `user` and its end, on a server that
/// runs one at a time.
fn ended_before(field: &Field, user: u32, many: Many) -> anyhow::Result<usize> {
    let policy = [
        ("connections", "256"),
        ("connections-per-peer", "200"),
        ("queue", "200"),
        ("jobs-per-peer", "200"),
    ];
    let (server, targets) = several::serve(field, "many-jobs", &policy, ONE_SLOT, TARGETS)?;
    let first = count(&server, user, many, &targets);
    drop(server);
    field.close("many-jobs")?;
    first
}

fn count(server: &Rc<Service>, user: u32, many: Many, targets: &[String]) -> anyhow::Result<usize> {
    let since = Since::now(server);
    let (requests, many) = many.requests(targets)?;
    let service: &Service = server;
    let own = thread::scope(|scope| {
        for _ in 0..requests {
            scope.spawn(|| service.exchange(&many));
        }
        since.wait_for("request accepted", requests)?;
        let here = Since::now(service);
        serves_user(service, user)?;
        anyhow::Ok(here)
    })?;
    let lines = own.lines();
    // Others of root's may be accepted meanwhile.
    let mark = format!(" user={user} ");
    let is_own = |line: &&String| line.contains("request accepted") && line.contains(&mark);
    let accepted = lines.iter().find(is_own);
    let id = accepted
        .and_then(|line| line.split(' ').next())
        .context("its number")?;
    let own_end = lines
        .iter()
        .position(|line| line.starts_with(id) && line.contains("job ended"))
        .context("its end")?;
    let ended = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| line.contains("job ended"))
            .count()
    };
    let own_start = lines.iter().position(|line| is_own(&line));
    let (start, waiting) = (own_start.unwrap_or_default(), ended(&lines[own_end + 1..]));
    anyhow::ensure!(user == 0 || waiting > 1, "no other job waited: {lines:#?}");
    Ok(ended(&lines[start..own_end]))
}

/// What the strictest policy allows one request.
const TARGETS: usize = 4;
const ONE_SLOT: &str = "--max-threads=1";
const FOUR_SLOTS: &str = "--max-threads=4";
/// Below what one peer may have waiting in such a queue.
const MANY: usize = 50;
/// Jobs that may go first in any case.
const FEW: usize = 3;
