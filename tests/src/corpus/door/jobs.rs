//! Clients that leave a job behind. It ends at once, with everything that it started.

use super::caller::Caller;
use super::relay::Relay;
use super::{Since, Sketch, framed, ordinary, serves};
use crate::corpus::service::Service;
use crate::corpus::{Case, Control, Field, Goal, Guard, Verdict};
use crate::{process, wait};

pub(super) fn cases() -> Vec<Case> {
    [
        Leaver {
            name: "leaves-while-its-job-runs",
            leave: |caller| caller.leave(),
        },
        Leaver {
            name: "is-killed-while-its-job-runs",
            leave: |caller| {
                drop(caller);
                Ok(())
            },
        },
        Leaver {
            name: "talks-on-while-its-job-runs",
            leave: |mut caller| {
                // The pipe breaks when the server has heard enough.
                while caller.say(&[b'x'; 4096]).is_ok() {}
                Ok(())
            },
        },
    ]
    .into_iter()
    .map(Leaver::case)
    .chain([half_closed()])
    .collect()
}

/// Somebody who does not wait for the answer.
#[derive(Clone, Copy)]
struct Leaver {
    name: &'static str,
    leave: fn(Caller) -> anyhow::Result<()>,
}

impl Leaver {
    fn case(self) -> Case {
        let sketch = Sketch {
            name: self.name,
            goal: Goal::Outlive("the client that asked for it"),
            lesson: "a stock server compiles on for clients that have gone",
            by: Guard::Check("the watch on the connection"),
            says: "the client left before its answer; its job is cancelled",
        };
        sketch.case(
            move |field| self.attempt(field),
            |field| {
                let server = ordinary(field)?;
                let (caller, jails) = with_a_job(&server)?;
                serves(&server)?;
                let how = "for a client that stays: its job runs on".to_owned();
                let runs = process::named("stap-jail").len() >= jails;
                drop(caller);
                gone(&server)?;
                Ok(match runs {
                    true => Control::Succeeded { how },
                    false => Control::Failed {
                        why: "although its client waits".to_owned(),
                    },
                })
            },
        )
    }

    fn attempt(&self, field: &Field) -> anyhow::Result<Verdict> {
        let server = ordinary(field)?;
        let since = Since::now(&server);
        let (caller, _jails) = with_a_job(&server)?;
        (self.leave)(caller)?;
        let reason = since.wait("the client left before its answer")?;
        gone(&server)?;
        serves(&server)?;
        Ok(Verdict::Contained { reason })
    }
}

/// Somebody who ends his half of the connection and goes on listening. Nobody can tell him from somebody
/// who has gone.
fn half_closed() -> Case {
    let sketch = Sketch {
        name: "ends-its-half-while-its-job-runs",
        goal: Goal::Outlive("the client that asked for it"),
        lesson: "",
        by: Guard::Check("the watch on the connection"),
        says: "the client left before its answer; its job is cancelled",
    };
    let attempt = |field: &Field, ends: bool| -> anyhow::Result<Option<String>> {
        let server = ordinary(field)?;
        let since = Since::now(&server);
        let relay = Relay::to(server.address)?;
        let mut caller = Caller::through(relay.address(), &["-nocommands"])?;
        caller.wait_for_handshake()?;
        let jails = start_job(&server, &mut caller)?;
        if ends {
            relay.end_client_half()?;
            let reason = since.wait("the client left before its answer")?;
            gone(&server)?;
            serves(&server)?;
            return Ok(Some(reason));
        }
        serves(&server)?;
        let runs = process::named("stap-jail").len() >= jails;
        drop((caller, relay));
        gone(&server)?;
        Ok((!runs).then(|| "although its client waits".to_owned()))
    };
    sketch.case(
        move |field| match attempt(field, true)? {
            Some(reason) => Ok(Verdict::Contained { reason }),
            None => anyhow::bail!("nothing was logged"),
        },
        move |field| {
            Ok(match attempt(field, false)? {
                None => Control::Succeeded {
                    how: "through a relay that ends nothing: its job runs on".to_owned(),
                },
                Some(why) => Control::Failed { why },
            })
        },
    )
}

/// A client with a job that runs for minutes, and how many processes of jails there are then.
fn with_a_job(server: &Service) -> anyhow::Result<(Caller, usize)> {
    let mut caller = Caller::start(server, 0, &["-nocommands"])?;
    caller.wait_for_handshake()?;
    let jails = start_job(server, &mut caller)?;
    Ok((caller, jails))
}

/// Asks for such a job, and returns how many processes of jails there are when it runs.
fn start_job(server: &Service, caller: &mut Caller) -> anyhow::Result<usize> {
    gone(server)?;
    caller.say(&framed(LONG)?)?;
    let runs = || {
        process::all()
            .iter()
            .any(|one| one.command_line().contains(LONG))
    };
    anyhow::ensure!(wait::within_patience(runs), "the job never ran");
    let jails = process::named("stap-jail").len();
    anyhow::ensure!(jails > 0, "a job runs in a jail");
    Ok(jails)
}

/// Waits until no process of such a job is there any more.
fn gone(server: &Service) -> anyhow::Result<()> {
    let is_there =
        |one: &process::Process| one.name == "stap-jail" || one.command_line().contains(LONG);
    let gone = wait::within_patience(|| !process::all().iter().any(is_there));
    anyhow::ensure!(gone, "processes of the job are left: {}", server.said());
    Ok(())
}

/// The order of such a job; nothing else on this host has it on its command line.
const LONG: &str = "take-time 59123";
