//! What can be done to a server by whoever reaches its port: silence, drips, rubbish, disappearing, and
//! crowds.
//!
//! Each case ends with its reason in the log, and a good request is served meanwhile.

mod broken;
mod caller;
mod crowds;
mod floods;
mod jobs;
mod late;
mod relay;
mod silence;

use anyhow::{Context as _, bail};

use self::caller::Caller;
use super::service::{self, Service};
use super::{Against, Case, Control, Family, Field, Goal, Guard, Held, Verdict};
use crate::wait;

/// Every case.
#[must_use]
pub fn cases() -> Vec<Case> {
    let families = [
        late::cases(),
        broken::cases(),
        jobs::cases(),
        crowds::cases(),
        floods::cases(),
        silence::cases(),
    ];
    families.into_iter().flatten().collect()
}

/// The parts of a case that are not how it is carried out.
#[derive(Clone, Copy, Debug)]
struct Sketch {
    name: &'static str,
    goal: Goal,
    /// What it repeats.
    lesson: &'static str,
    by: Guard,
    says: &'static str,
}

impl Sketch {
    fn case(
        self,
        attempt: impl Fn(&Field) -> anyhow::Result<Verdict> + 'static,
        control: impl Fn(&Field) -> anyhow::Result<Control> + 'static,
    ) -> Case {
        Case {
            name: self.name,
            family: Family::Door,
            goal: self.goal,
            lesson: self.lesson,
            guards: vec![Held {
                by: self.by,
                says: self.says,
                only: None,
            }],
            covers: covered(self.name),
            attempt: Box::new(move |field| match field.situation.against {
                Against::Ours => attempt(field),
                Against::Stock => Ok(Verdict::Inapplicable {
                    why: "it is judged by what our server logs".to_owned(),
                }),
            }),
            control: Box::new(control),
        }
    }
}

/// What of the product a case is there for.
fn covered(name: &str) -> Vec<&'static str> {
    let item = match name {
        "thousands-of-idle-connections" => "item:idle connections",
        "hello-byte-by-byte" => "item:half-open handshakes",
        "request-byte-by-byte" => "item:slow senders",
        "reply-that-is-not-read" => "item:slow readers",
        "leaves-while-its-job-runs" => "item:cancelled with its client",
        "many-jobs-beside-a-single-one" => "item:one user beside another",
        "more-jobs-than-a-share" => "item:when to come back",
        "thousands-of-lines-in-the-log" => "item:a bounded log",
        _ => return Vec::new(),
    };
    vec![item]
}

const ATTENTION: Goal = Goal::Exhaust("the server's attention");
const LESSON: &str = "two silent connections stall a stock server for ever";

/// A server for cases that each take one connection.
fn ordinary(field: &Field) -> anyhow::Result<std::rc::Rc<Service>> {
    let changes = [("wall", "\"60 s\"")];
    field.serve("door", &changes, &["--max-threads=2"])
}

/// The package of a request for a job that carries out an order.
fn package(order: &str) -> anyhow::Result<Vec<u8>> {
    let words = ["-p2", "-e", order].map(|word| word.as_bytes().to_vec());
    Ok(service::request(words.into(), Vec::new())?.encode())
}

/// The same with its size in front.
fn framed(order: &str) -> anyhow::Result<Vec<u8>> {
    let package = package(order)?;
    let size = u32::try_from(package.len())?;
    Ok([&size.to_be_bytes()[..], &package].concat())
}

/// Somebody who wants nothing bad is served; an error says why not.
fn serves(server: &Service) -> anyhow::Result<()> {
    let said = server.attack(&["effective-uid".to_owned()])?;
    match said {
        Verdict::Escaped { .. } => Ok(()),
        other => bail!("a good request is not served: {other:?}"),
    }
}

/// The same for somebody who is another user of this host.
fn serves_user(server: &Service, user: u32) -> anyhow::Result<()> {
    let answer = Caller::ask(server, user, &framed("effective-uid")?)?;
    let said = String::from_utf8_lossy(&answer.stdout).into_owned();
    anyhow::ensure!(
        answer.rc == 0 && said.starts_with("worked: "),
        "a good request of user {user} is not served: {said} {}",
        String::from_utf8_lossy(&answer.stderr)
    );
    Ok(())
}

/// The log of a server from here on.
#[derive(Debug)]
struct Since<'a> {
    server: &'a Service,
    lines: usize,
}

impl<'a> Since<'a> {
    fn now(server: &'a Service) -> Self {
        let lines = server.said().lines().count();
        Self { server, lines }
    }

    /// Its lines, without their times.
    fn lines(&self) -> Vec<String> {
        let said = self.server.said();
        let lines = said.lines().skip(self.lines);
        let timeless = lines.filter_map(|line| Some(line.get(CTIME..)?.to_owned()));
        timeless.collect()
    }

    /// The first line that has these words, if there is one.
    fn find(&self, words: &str) -> Option<String> {
        self.lines().into_iter().find(|line| line.contains(words))
    }

    /// Waits for such a line.
    fn wait(&self, words: &str) -> anyhow::Result<String> {
        let mut found = None;
        wait::within_patience(|| {
            found = self.find(words);
            found.is_some()
        });
        found.with_context(|| format!("the log never said {words:?}: {:#?}", self.lines()))
    }

    /// Waits until so many lines have these words.
    fn wait_for(&self, words: &str, times: usize) -> anyhow::Result<()> {
        let count = || {
            self.lines()
                .iter()
                .filter(|line| line.contains(words))
                .count()
        };
        let came = wait::within_patience(|| count() >= times);
        anyhow::ensure!(came, "the log said {words:?} only {} times", count());
        Ok(())
    }
}

/// The bytes of `Fri Nov 27 13:58:42 2026: `.
const CTIME: usize = 26;
