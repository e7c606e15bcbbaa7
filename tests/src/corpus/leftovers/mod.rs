//! What a job leaves behind: processes that want to live on, whoever dies first, and things that
//! would stay.

use std::rc::Rc;

use anyhow::{Context as _, ensure};
use stap_jail::layer::Layer;

use super::bench::Without;
use super::service::Service;
use super::{Case, Control, Family, Field, Goal, Guard, Held, Verdict, marked};
use crate::process::Process;
use crate::wait;

mod deaths;
mod things;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let families = [outliving(), deaths::cases(), things::cases()];
    families.into_iter().flatten().collect()
}

/// Processes that their job does not wait for.
#[expect(clippy::too_many_lines, reason = "a list, one case after the other")]
fn outliving() -> Vec<Case> {
    vec![
        daemon(
            "daemon",
            "daemon",
            "a process in a session of its own",
            "a stock server kills nothing that its jobs leave",
        ),
        daemon(
            "ignore-signals",
            "stubborn",
            "a process that ignores signals",
            "",
        ),
        daemon(
            "stopped-process",
            "stopped-tree",
            "a process that is stopped",
            "",
        ),
        case(
            "breed-at-the-deadline",
            "a tree that grows while it is killed",
            "compiler-explorer#429",
            vec![
                held(Guard::Layer(Layer::Pid), GONE),
                held(Guard::Group, GONE),
            ],
            "item:whole-tree kill",
            |field| {
                let (service, mark) = (hurried(field)?, marked::mark());
                let reply = service.run(&field.filled(&format!("breed {mark}"))?)?;
                let stderr = String::from_utf8_lossy(&reply.stderr).into_owned();
                ensure!(
                    stderr.contains("limit 'wall'"),
                    "it ended otherwise: {stderr}"
                );
                Ok(nothing_runs(&mark))
            },
            |field| {
                // With time to be seen in. It ends when nobody wants it any more.
                let (service, mark) = (unhurried(field)?, marked::mark());
                let words = field.filled(&format!("breed {mark}"))?;
                service.run_and_hang_up(&words, || marked::with(&mark).len() >= BRED)?;
                ensure!(
                    wait::within_patience(|| marked::with(&mark).is_empty()),
                    "it goes on without its client"
                );
                Ok(Control::Succeeded {
                    how: format!("until then ({BRED} processes were seen)"),
                })
            },
        ),
        case(
            "kill-the-watchers",
            "a job whose watchers are dead",
            "",
            vec![held(Guard::Layer(Layer::Pid), "lives on")],
            "item:pid 1",
            |field| field.service()?.attack(&field.filled("kill-the-watchers")?),
            |field| {
                let mark = marked::mark();
                field.bare(
                    field.situation.job_uid(),
                    &field.filled(&format!("daemon {mark}"))?,
                )?;
                let victim = marked::with(&mark).pop().context("a process to kill")?;
                let words = field.filled(&format!("kill {}", victim.pid))?;
                let verdict = field.bare(field.situation.job_uid(), &words)?;
                marked::end(&mark);
                ensure!(matches!(verdict, Verdict::Escaped { .. }), "{verdict:?}");
                Ok(Control::Succeeded {
                    how: "as the same user without a jail".to_owned(),
                })
            },
        ),
    ]
}

/// A process that is left behind when its job ends by itself.
fn daemon(name: &'static str, order: &'static str, of: &'static str, lesson: &'static str) -> Case {
    case(
        name,
        of,
        lesson,
        vec![
            held(Guard::Layer(Layer::Pid), GONE),
            held(Guard::Group, GONE),
            held(Guard::Rung("adopt"), GONE),
        ],
        "rung:adopt",
        move |field| {
            let mark = marked::mark();
            let service = field.service()?;
            let left = service.attack(&field.filled(&format!("{order} {mark}"))?)?;
            ensure!(
                matches!(left, Verdict::Escaped { .. }),
                "nothing was left: {left:?}"
            );
            Ok(nothing_runs(&mark))
        },
        move |field| demonstrate(field, order),
    )
}

/// Each of the guards is enough without the others; without any, the process lives on.
fn demonstrate(field: &Field, order: &str) -> anyhow::Result<Control> {
    let who = field.situation.who;
    let mut jails = vec![
        Without::layers(who, []).group(),
        Without::layers(who, [Layer::Pid]).group(),
    ];
    if field.has(Guard::Group) {
        jails.push(Without::layers(who, [Layer::Pid]));
    }
    for without in jails {
        let mark = marked::mark();
        let left = field.bench(&without, &field.filled(&format!("{order} {mark}"))?)?;
        ensure!(
            matches!(left, Verdict::Escaped { .. }),
            "nothing was left: {left:?}"
        );
        let verdict = nothing_runs(&mark);
        marked::end(&mark);
        ensure!(
            matches!(verdict, Verdict::Contained { .. }),
            "without {without}: {verdict:?}"
        );
    }
    let mark = marked::mark();
    field.bare(
        field.situation.job_uid(),
        &field.filled(&format!("{order} {mark}"))?,
    )?;
    let verdict = nothing_runs(&mark);
    marked::end(&mark);
    Ok(match verdict {
        Verdict::Escaped { .. } => Control::Succeeded {
            how: "as the same user without a jail".to_owned(),
        },
        other => Control::Failed {
            why: format!("as the same user without a jail: {other:?}"),
        },
    })
}

fn hurried(field: &Field) -> anyhow::Result<Rc<Service>> {
    let changes = [("wall", "\"1 s\""), ("processes", "64")];
    field.serve("hurried", &changes, &["--max-threads=1"])
}

fn unhurried(field: &Field) -> anyhow::Result<Rc<Service>> {
    field.serve("unhurried", &[("processes", "64")], &["--max-threads=1"])
}

fn nothing_runs(mark: &str) -> Verdict {
    let left = marked::with(mark);
    if left.is_empty() {
        return Verdict::Contained {
            reason: GONE.to_owned(),
        };
    }
    let shown = |process: &Process| format!("{} {}", process.pid, process.command_line());
    Verdict::Escaped {
        how: left.iter().map(shown).collect::<Vec<_>>().join(", "),
    }
}

fn held(by: Guard, says: &'static str) -> Held {
    Held {
        by,
        says,
        only: None,
    }
}

fn case(
    name: &'static str,
    of: &'static str,
    lesson: &'static str,
    guards: Vec<Held>,
    covers: &'static str,
    attempt: impl Fn(&Field) -> anyhow::Result<Verdict> + 'static,
    control: impl Fn(&Field) -> anyhow::Result<Control> + 'static,
) -> Case {
    Case {
        name,
        family: Family::Leftovers,
        goal: Goal::Outlive(of),
        lesson,
        guards,
        covers: vec![covers],
        attempt: Box::new(attempt),
        control: Box::new(control),
    }
}

/// More than a tree that does not grow has.
const BRED: usize = 8;
/// Looked for without waiting.
const GONE: &str = "no process of the job runs";
