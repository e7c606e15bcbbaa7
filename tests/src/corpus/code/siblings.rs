//! The jobs for the other targets of the same request. They have the same script and run at the same
//! time, each in a slot of its own like anybody's.

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use stap_jail::layer::Layer;

use super::slots::{held, holds_its_file, with_victim};
use crate::corpus::bench::Without;
use crate::corpus::service::{Service, said};
use crate::corpus::{
    Against, Case, Control, Family, Field, Goal, Held, Verdict, Who, marked, several,
};
use crate::process::{self, Process};
use crate::wait;

pub(super) fn cases() -> Vec<Case> {
    vec![
        beside(
            "read-a-sibling-targets-workspace",
            Goal::Read("what the job for another target of the request holds"),
            "find-held",
        ),
        beside(
            "alter-a-sibling-targets-workspace",
            Goal::Write("the result of the job for another target of the request"),
            "alter-held",
        ),
    ]
}

fn beside(name: &'static str, goal: Goal, order: &'static str) -> Case {
    const UNSEEN: &str = "no process that can be seen has it";
    Case {
        name,
        family: Family::Code,
        goal,
        lesson: "",
        guards: vec![
            held(Layer::User, UNSEEN),
            held(Layer::Landlock, UNSEEN),
            // Alone it is enough only in jails that root builds.
            Held {
                only: Some(Who::Root),
                ..held(Layer::Mount, UNSEEN)
            },
        ],
        covers: vec!["item:another target of the request"],
        attempt: Box::new(move |field| match field.situation.against {
            Against::Ours => attempt(field, order),
            Against::Stock => Ok(Verdict::Inapplicable {
                why: "it knows of no requests for several targets".to_owned(),
            }),
        }),
        control: Box::new(move |field| control(field, order)),
    }
}

/// Each layer alone keeps it from a job that runs already; without any it gets there.
fn control(field: &Field, order: &str) -> anyhow::Result<Control> {
    let order = field.filled(&aimed(order, "at-once", "none"))?;
    let without = |left: Option<Layer>| {
        let others = ALL.into_iter().filter(|layer| Some(*layer) != left);
        let none = Without::layers(field.situation.who, others);
        let verdict = with_victim(field, |victim| {
            let uid = victim.user().context("the victim has ended")?;
            field.bench_as(uid, &none, &order)
        })?;
        anyhow::Ok((none.to_string(), verdict))
    };
    let alone = match field.situation.who {
        Who::Root => &ALL[..],
        _ => &ALL[..2],
    };
    for layer in alone {
        if let (none, Verdict::Escaped { how }) = without(Some(*layer))? {
            let why = format!("without {none}: {how}");
            return Ok(Control::Failed { why });
        }
    }
    Ok(match without(None)? {
        (none, Verdict::Escaped { .. }) => Control::Succeeded {
            how: format!("without {none}, with the victim's uid"),
        },
        (none, other) => Control::Failed {
            why: format!("without {none}: {other:?}"),
        },
    })
}

fn aimed(order: &str, when: &str, mark: &str) -> String {
    format!("{order} held the-secret-of-the-corpus {when} {mark}")
}

/// What keeps jobs from each other; the last only where root builds jails.
const ALL: [Layer; 3] = [Layer::User, Layer::Landlock, Layer::Mount];

/// One request for two targets: the job for the first attacks that for the second, which waits for it.
fn attempt(field: &Field, order: &str) -> anyhow::Result<Verdict> {
    let (service, targets) = several::serve(field, "siblings", &[], "--max-threads=2", 2)?;
    let (first, mark) = (&targets[0], marked::mark());
    let attack = aimed(order, "when-continued", &mark);
    let script = format!("on {first} {attack} otherwise hold-file held {mark}");
    let package = several::package(&script, &targets)?;
    let service: &Service = &service;
    let bytes = std::thread::scope(|scope| {
        let asked = scope.spawn(|| service.exchange(&package));
        let attacked = side_by_side(&mark, || asked.is_finished());
        marked::end(&mark);
        attacked?;
        asked.join().ok().context("the thread of a request")?
    })?;
    let [stdout, stderr] = several::of(&bytes, first)?;
    said(&stdout, &stderr)
}

/// Lets the attacker go on once the other holds its file, and waits until it has attacked.
fn side_by_side(mark: &str, is_over: impl Fn() -> bool) -> anyhow::Result<()> {
    let mut attacker = None;
    wait::within_patience(|| {
        let jobs = marked::with(mark);
        let is_held = jobs.iter().any(holds_its_file);
        attacker = jobs.into_iter().find(|job| is_held && job.state == 'T');
        attacker.is_some() || is_over()
    });
    let attacker = attacker.context("they never ran side by side")?;
    process::signal(attacker.pid, Signal::CONT);
    let is_there = |job: Process| job.pid == attacker.pid;
    let has_ended = || !marked::with(mark).into_iter().any(is_there);
    ensure!(wait::within_patience(has_ended), "the attacker never ended");
    Ok(())
}
