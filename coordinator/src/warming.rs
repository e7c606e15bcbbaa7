//! `--warm`: everything that jobs of the targets would find out, found out before anybody waits for it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use stap_certs::Environment;
use stap_protocol::job::Warming;
use stap_protocol::target::TargetName;

use crate::log;
use crate::options::Options;
use crate::settings::{PolicyText, Surroundings, configuration};
use crate::worker::Conversation;
use crate::{Clock, Failure};

/// What came of a target: why it is not warm, if so.
struct Warmed {
    target: TargetName,
    cold: Option<String>,
}

/// Warms all targets that would be served, one after the other. Returns a line for each, or JSON, and
/// whether all are warm.
///
/// # Errors
/// When there is no worker, or it cannot work, or there is no target.
pub(crate) fn warm(options: &Options, json: bool, clock: Clock) -> Result<(String, bool), Failure> {
    let progress = Progress::on_stderr();
    let destination = match &options.log {
        Some(file) => log::Destination::File(file),
        // The log would tear the line that shows how far it is.
        None if progress.is_live => log::Destination::Nowhere,
        None => log::Destination::Stderr,
    };
    log::start(destination, clock)?;
    let environment = Environment::current();
    let surroundings =
        Surroundings::of_process(environment.home.map(Into::into).or(environment.passwd_home));
    let policy = PolicyText::read(&options.policy)?;
    let (mut worker, readiness) =
        Conversation::begin(configuration(options, &surroundings, &policy)?)?;
    if readiness.targets.is_empty() {
        worker.end();
        return Err(Failure::NoTargets(readiness.unusable));
    }
    // stap finds out everything anew for guru mode, which not every policy allows.
    let variants: &[bool] = if policy.policy.options().allows_guru() {
        &[false, true]
    } else {
        &[false]
    };
    let mut all = Vec::new();
    for target in readiness.targets {
        all.push(warm_one(&mut worker, target.name, variants, &progress)?);
    }
    worker.end();
    let is_warm = all.iter().all(|one| one.cold.is_none());
    Ok((if json { as_json(&all) } else { table(&all) }, is_warm))
}

fn warm_one(
    worker: &mut Conversation,
    target: TargetName,
    variants: &[bool],
    progress: &Progress,
) -> Result<Warmed, Failure> {
    let mut cold = None;
    for &guru in variants {
        let name = if guru {
            format!("{target} (guru mode)")
        } else {
            target.to_string()
        };
        progress.show(&name, "looking");
        loop {
            match worker.warm(target.clone(), guru)? {
                Warming::Underway { done, all } => {
                    progress.show(&name, &format!("{done} of {all}"));
                }
                Warming::Warm => {
                    progress.end(&name, "warm");
                    break;
                }
                Warming::Cold { reason } => {
                    progress.end(&name, &reason);
                    cold = cold.or(Some(reason));
                    break;
                }
            }
        }
    }
    Ok(Warmed { target, cold })
}

fn table(all: &[Warmed]) -> String {
    let mut text = String::new();
    for Warmed { target, cold } in all {
        match cold {
            None => writeln!(text, "{target}\twarm"),
            Some(reason) => writeln!(text, "{target}\tnot warm: {reason}"),
        }
        .expect("writing to a String cannot fail");
    }
    text
}

fn as_json(all: &[Warmed]) -> String {
    let one = |one: &Warmed| {
        serde_json::json!({
            "target": one.target.to_string(),
            "warm": one.cold.is_none(),
            "reason": one.cold,
        })
    };
    let all: Vec<_> = all.iter().map(one).collect();
    let text = serde_json::to_string_pretty(&all).expect("it is plain data");
    text + "\n"
}

/// How far it is: one line that changes, where somebody looks at it, and else a line each time.
struct Progress {
    is_live: bool,
}

impl Progress {
    fn on_stderr() -> Self {
        Self {
            is_live: io::stderr().is_terminal(),
        }
    }

    fn show(&self, name: &str, state: &str) {
        if self.is_live {
            say(&format!("\r\x1b[K{name}: {state}"));
        } else {
            say(&format!("{name}: {state}\n"));
        }
    }

    fn end(&self, name: &str, state: &str) {
        self.show(name, state);
        if self.is_live {
            say("\n");
        }
    }
}

fn say(text: &str) {
    let mut stderr = io::stderr();
    let written = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
    // When stderr is closed there is nobody left to tell.
    written.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warmed() -> [Warmed; 2] {
        let target = |release: &str| TargetName {
            release: release.parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        };
        let reason = "its stap is a replacement".to_owned();
        [
            Warmed {
                target: target("6.1.0-9"),
                cold: None,
            },
            Warmed {
                target: target("7.2.0-1"),
                cold: Some(reason),
            },
        ]
    }

    #[test]
    fn each_target_has_a_line_and_the_reason_why_it_is_not_warm() {
        assert_eq!(
            table(&warmed()),
            "6.1.0-9 x86_64\twarm\n7.2.0-1 x86_64\tnot warm: its stap is a replacement\n"
        );
        let json: serde_json::Value = serde_json::from_str(&as_json(&warmed())).unwrap();
        assert_eq!(json[0]["warm"], true);
        assert_eq!(json[1]["reason"], "its stap is a replacement");
    }
}
