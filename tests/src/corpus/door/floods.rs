//! More of something than anybody needs.

use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::caller::Caller;
use super::{ATTENTION, LESSON, Since, Sketch, serves, serves_user};
use crate::corpus::service::Service;
use crate::corpus::{Case, Control, Field, Goal, Guard, Verdict};
use crate::wait;

pub(super) fn cases() -> Vec<Case> {
    vec![idle_connections(), addresses(), log_lines(), memory()]
}

/// Thousands of connections that say nothing: the server's descriptors and memory stay what they are, and
/// both the same user and another are served.
fn idle_connections() -> Case {
    let sketch = Sketch {
        name: "thousands-of-idle-connections",
        goal: ATTENTION,
        lesson: LESSON,
        by: Guard::Limit("connections"),
        says: "an idle connection gave way to a younger one",
    };
    sketch.case(
        |field| {
            let changes = [("connections", "64"), ("connections-per-peer", "32")];
            let server = field.serve("flooded", &changes, &["--max-threads=2"])?;
            let since = Since::now(&server);
            let most = flood(field, &server)?;
            ensure!(
                most.descriptors < 64 + 32 + 64 && most.mebibytes < 96,
                "the flood costs {most:?}"
            );
            let reason = since.wait("an idle connection gave way")?;
            let reason = format!("{reason} (at most {most})");
            Ok(Verdict::Contained { reason })
        },
        |field| {
            if getrlimit(Resource::Nofile)
                .maximum
                .is_some_and(|most| most < 2 * MANY as u64)
            {
                let why = "this process may not have so many descriptors".to_owned();
                return Ok(Control::Inapplicable { why });
            }
            let changes = [("connections", "8192"), ("connections-per-peer", "8192")];
            let server = field.serve("open", &changes, &["--max-threads=2"])?;
            let most = flood(field, &server)?;
            let how = format!("with 8192 connections: {most}");
            Ok(match most.descriptors > MANY / 2 {
                true => Control::Succeeded { how },
                false => Control::Failed { why: how },
            })
        },
    )
}

/// What a server holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    descriptors: usize,
    mebibytes: usize,
}

impl std::fmt::Display for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            descriptors,
            mebibytes,
        } = self;
        write!(formatter, "{descriptors} descriptors, {mebibytes} MiB")
    }
}

/// Opens the connections, asks for something honest in between, and returns the most that was held.
fn flood(field: &Field, server: &Service) -> anyhow::Result<Held> {
    raise_own_limit()?;
    let mut connections = Vec::with_capacity(MANY);
    let mut most = Held::default();
    for at in 0..MANY {
        connections.push(TcpStream::connect(server.address)?);
        if at % (MANY / 4) == MANY / 8 {
            serves(server)?;
            serves_user(server, field.situation.ordinary)?;
        }
        if at % 250 == 249 {
            let now = held(server)?;
            most.descriptors = most.descriptors.max(now.descriptors);
            most.mebibytes = most.mebibytes.max(now.mebibytes);
        }
    }
    Ok(most)
}

fn held(server: &Service) -> anyhow::Result<Held> {
    let process = format!("/proc/{}", server.pid());
    let status = std::fs::read_to_string(format!("{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|rest| rest.split_whitespace().next());
    let kibibytes: usize = kibibytes.context("the server's memory")?.parse()?;
    Ok(Held {
        descriptors: std::fs::read_dir(format!("{process}/fd"))?.count(),
        mebibytes: kibibytes >> 10,
    })
}

fn raise_own_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = MANY as u64 + 1000;
    if limit.current.is_some_and(|current| current < wanted) {
        let maximum = limit.maximum.map(|most| most.max(wanted));
        let current = Some(wanted);
        setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    }
    Ok(())
}

/// One user from many addresses of this host is one peer.
fn addresses() -> Case {
    let sketch = Sketch {
        name: "many-addresses-of-one-user",
        goal: Goal::Exhaust("the shares of others, from many addresses"),
        lesson: "",
        by: Guard::Check("the kernel's word on whose a connection is"),
        says: "an idle connection gave way to a younger one address=127.0.0.2:",
    };
    let gave_way = |field: &Field, name, share| -> anyhow::Result<Option<String>> {
        let changes = [("connections-per-peer", share)];
        let server = field.serve(name, &changes, &["--max-threads=2"])?;
        let since = Since::now(&server);
        let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
        let from = |address: &&str| from(address, server.address);
        let streams: Vec<_> = addresses.iter().map(from).collect::<anyhow::Result<_>>()?;
        serves_user(&server, field.situation.ordinary)?;
        drop(streams);
        // Each of them is in the log when it has ended, for whatever reason.
        since.wait_for("user=0", addresses.len())?;
        Ok(since.find(sketch.says))
    };
    sketch.case(
        move |field| {
            let reason = gave_way(field, "two-connections", "2")?;
            let reason = reason.context("no connection gave way")?;
            ensure!(reason.ends_with(" user=0"), "{reason}");
            Ok(Verdict::Contained { reason })
        },
        move |field| {
            Ok(match gave_way(field, "four-connections", "4")? {
                None => Control::Succeeded {
                    how: "where one user may have four connections: all three stay".to_owned(),
                },
                Some(why) => Control::Failed { why },
            })
        },
    )
}

fn from(address: &str, to: SocketAddr) -> anyhow::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let near: SocketAddr = format!("{address}:0").parse()?;
    bind(&socket, &near)?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// A flood of events is a bounded number of lines and a sum.
fn log_lines() -> Case {
    let sketch = Sketch {
        name: "thousands-of-lines-in-the-log",
        goal: Goal::Exhaust("the disk with the log"),
        lesson: "",
        by: Guard::Check("the log of the door"),
        says: "without lines of their own: ",
    };
    sketch.case(
        |field| {
            let (lines, sum) = flood_the_log(field)?;
            // The flood may have begun in one minute and ended in the next.
            ensure!(lines <= 2 * 200, "{lines} lines");
            let reason = sum.context("what was not told is not summed up")?;
            Ok(Verdict::Contained { reason })
        },
        |field| {
            // The sum says how many lines there would have been.
            let (lines, sum) = flood_the_log(field)?;
            let sum = sum.context("no sum")?;
            let untold = sum.split_once("of their own: ").map(|(_, rest)| rest);
            let untold: usize = untold
                .and_then(|rest| rest.split(' ').next())
                .context("a number")?
                .parse()?;
            let how = format!("without a budget: {} lines", lines + untold);
            Ok(match untold > lines {
                true => Control::Succeeded { how },
                false => Control::Failed { why: how },
            })
        },
    )
}

/// How many lines there are of so many handshakes that fail, and the sum of the others.
fn flood_the_log(field: &Field) -> anyhow::Result<(usize, Option<String>)> {
    let server = field.serve("logging", &[], &["--max-threads=1"])?;
    for _ in 0..FAILURES {
        drop(TcpStream::connect(server.address)?);
    }
    serves(&server)?;
    let log = server.log.clone();
    drop(server);
    field.close("logging")?;
    let text = std::fs::read_to_string(&log)?;
    std::fs::remove_file(&log)?;
    let told = |words: &str| text.lines().filter(|line| line.contains(words)).count();
    let lines = told(" the handshake failed: ") + told("gave way to a younger one");
    let sum = text
        .lines()
        .find(|line| line.contains("without lines of their own"));
    Ok((
        lines,
        sum.and_then(|line| Some(line.get(super::CTIME..)?.to_owned())),
    ))
}

/// Large requests that never end.
fn memory() -> Case {
    let sketch = Sketch {
        name: "large-requests-that-do-not-end",
        goal: Goal::Exhaust("memory with what is never used"),
        lesson: "",
        by: Guard::Check("the ledger of memory"),
        says: "what is kept for user 0 of this host takes up its share of this server's memory",
    };
    sketch.case(
        |field| {
            let server = large(field)?;
            let since = Since::now(&server);
            let mut first = Caller::connect(&server)?;
            first.say(&body())?;
            let grown = wait::within_patience(|| held(&server).is_ok_and(|now| now.mebibytes > 55));
            ensure!(grown, "the first request was not read");
            let mut second = Caller::connect(&server)?;
            // It may be told before it has said everything.
            drop(second.say(&body()));
            let reason = since.wait("takes up its share")?;
            serves_user(&server, field.situation.ordinary)?;
            Ok(Verdict::Contained { reason })
        },
        |field| {
            let server = large(field)?;
            let since = Since::now(&server);
            let mut only = Caller::connect(&server)?;
            only.say(&body())?;
            only.say(b"x")?;
            let reason = since.wait("request refused: ")?;
            let how = format!("alone, where it is read to its end: {reason}");
            Ok(match reason.contains("takes up its share") {
                false => Control::Succeeded { how },
                true => Control::Failed { why: how },
            })
        },
    )
}

fn large(field: &Field) -> anyhow::Result<std::rc::Rc<Service>> {
    let changes = [("compressed", "\"64 MiB\"")];
    field.serve("large", &changes, &["--max-threads=1"])
}

/// The size of a request, and all of it but the last byte.
fn body() -> Vec<u8> {
    let mut body = (60_u32 << 20).to_be_bytes().to_vec();
    body.resize((60 << 20) + 3, b'x');
    body
}

const MANY: usize = 5000;
const FAILURES: usize = 1500;
