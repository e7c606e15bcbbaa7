//! The job in the next slot, which runs at the same time.

use std::fs;

use anyhow::{Context as _, ensure};
use stap_jail::layer::Layer;
use stap_worker::slots::MAX_SLOTS;

use crate::corpus::bench::Without;
use crate::corpus::service::SECRET;
use crate::corpus::{Case, Control, Family, Field, Goal, Guard, Held, Verdict, Who, marked};
use crate::process::Process;
use crate::wait;

pub(super) fn cases() -> Vec<Case> {
    vec![
        beside(
            "read-another-slots-workspace",
            Goal::Read("the workspace of a job that runs"),
            "search /proc/{pid}/cwd/held the-secret-of-the-corpus",
            vec![
                held(Layer::Mount, "No such file"),
                held(Layer::User, "Permission denied"),
                held(Layer::Landlock, "Permission denied"),
            ],
        ),
        beside(
            "read-another-slots-environment",
            Goal::Read("the environment of a job that runs"),
            "search /proc/{pid}/environ SYSTEMTAP_DIR",
            vec![
                held(Layer::Mount, "No such file"),
                held(Layer::User, "Permission denied"),
                held(Layer::Landlock, "Permission denied"),
            ],
        ),
        beside(
            "signal-another-slots-job",
            Goal::Disturb("a job that runs"),
            "signal {pid}",
            vec![
                held(Layer::Pid, "No such process"),
                held(Guard::Landlock(6), "Operation not permitted"),
            ],
        ),
        beside(
            "trace-another-slots-job",
            Goal::Rule("a job that runs"),
            "trace {pid}",
            vec![
                held(Layer::Seccomp, "Operation not permitted"),
                held(Layer::Pid, "No such process"),
                held(Layer::User, "Operation not permitted"),
                held(Layer::Landlock, "Operation not permitted"),
            ],
        ),
    ]
}

/// An attack on a job in another slot. As root that slot has another uid, too; the control is given
/// the victim's own, so that it is the layers that are tried.
fn beside(name: &'static str, goal: Goal, order: &'static str, guards: Vec<Held>) -> Case {
    let layers: Vec<_> = guards.iter().filter_map(|held| held.by.layer()).collect();
    Case {
        name,
        family: Family::Code,
        goal,
        lesson: "compiler jobs of all users of a stock server share one uid",
        guards,
        covers: vec!["item:another slot's workspace"],
        attempt: Box::new(move |field| {
            let service = field.serve("pair", &[], &["--max-threads=2"])?;
            with_victim(field, |victim| {
                service.attack(&field.filled(&aimed(order, victim))?)
            })
        }),
        control: Box::new(move |field| {
            let none = Without::layers(field.situation.who, layers.iter().copied());
            let verdict = with_victim(field, |victim| {
                let uid = victim.user().context("the victim has ended")?;
                field.bench_as(uid, &none, &field.filled(&aimed(order, victim))?)
            })?;
            Ok(match verdict {
                Verdict::Escaped { .. } => Control::Succeeded {
                    how: format!("without {none}, with the victim's uid"),
                },
                other => Control::Failed {
                    why: format!("without {none}: {other:?}"),
                },
            })
        }),
    }
}

fn aimed(order: &str, victim: &Process) -> String {
    order.replace("{pid}", &victim.pid.to_string())
}

/// Calls `attack` while a job in the first slot holds a secret in its workspace.
pub(super) fn with_victim(
    field: &Field,
    attack: impl FnOnce(&Process) -> anyhow::Result<Verdict>,
) -> anyhow::Result<Verdict> {
    let service = field.serve("pair", &[], &["--max-threads=2"])?;
    let mark = marked::mark();
    let words = field.filled(&format!("hold-file held {mark}"))?;
    let (verdict, _reply) = marked::meanwhile(&service, &words, &mark, 1, |victims| {
        if field.situation.who == Who::Root {
            let (base, uid) = (field.situation.job_uid(), victims[0].user());
            // Other servers of this run hold the first ones.
            let is_a_slots = |uid| (base..base + MAX_SLOTS).contains(&uid);
            ensure!(uid.is_some_and(is_a_slots), "the victim is {uid:?}");
        }
        // It is seen before it does.
        let is_ready = wait::within_patience(|| holds_its_file(&victims[0]));
        ensure!(is_ready, "the victim holds nothing");
        let verdict = attack(&victims[0]);
        marked::end(&mark);
        verdict
    })?;
    Ok(verdict)
}

/// Whether a process that was told to `hold-file held` does by now.
pub(super) fn holds_its_file(job: &Process) -> bool {
    let file = format!("/proc/{}/cwd/held", job.pid);
    fs::read(file).is_ok_and(|held| held == SECRET.as_bytes())
}

pub(super) fn held(by: impl Into<Guard>, says: &'static str) -> Held {
    Held {
        by: by.into(),
        says,
        only: None,
    }
}
