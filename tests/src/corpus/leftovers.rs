//! What a job leaves behind: processes that want to live on, whoever dies first, and things that
//! would stay.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use stap_jail::layer::Layer;

use super::bench::Without;
use super::service::Service;
use super::{Case, Control, Family, Field, Goal, Guard, Held, Verdict, marked};
use crate::process::{self, Process};
use crate::wait;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let families = [outliving(), deaths(), things()];
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
            "judge0#64",
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
                // Only for as long as it takes to be seen: there its number has no other bound.
                let (service, mark) = (hurried(field)?, marked::mark());
                let words = field.filled(&format!("breed {mark}"))?;
                let (seen, _reply) =
                    marked::meanwhile(&service, &words, &mark, 8, |seen| Ok(seen.len()))?;
                Ok(Control::Succeeded {
                    how: format!("until then ({seen} processes were seen)"),
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

/// Whoever dies while a job runs, the job's whole tree dies, too.
fn deaths() -> Vec<Case> {
    vec![
        death("kill-the-worker", "a job whose worker is dead", |service| {
            process::signal(service.worker()?, Signal::KILL);
            Ok(())
        }),
        death(
            "kill-the-coordinator",
            "a job whose server is dead",
            |service| service.signal(Signal::KILL),
        ),
        death(
            "stop-the-server",
            "a job whose server was told to stop",
            |service| service.signal(Signal::TERM),
        ),
        death(
            "kill-the-launcher",
            "a job whose launcher is dead",
            |service| {
                let worker = service.worker()?;
                let launcher = process::all()
                    .into_iter()
                    .find(|process| process.parent == worker);
                process::signal(launcher.context("a launcher runs")?.pid, Signal::KILL);
                Ok(())
            },
        ),
        death(
            "kill-pid-1",
            "a job whose first process is dead",
            |service| {
                let worker = service.worker()?;
                let all = process::all();
                let child_of = |parent: i32| all.iter().find(|process| process.parent == parent);
                let first = child_of(worker).and_then(|launcher| child_of(launcher.pid));
                process::signal(first.context("a first process runs")?.pid, Signal::KILL);
                Ok(())
            },
        ),
        death("hang-up", "a job whose client is gone", |_service| Ok(())),
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

/// A job of two processes, in two sessions, during which somebody dies.
fn death(name: &'static str, of: &'static str, kill: fn(&Service) -> anyhow::Result<()>) -> Case {
    case(
        name,
        of,
        "an earlier form of this jail trusted PR_SET_PDEATHSIG, which every change of credentials clears",
        vec![held(Guard::Rung("lifeline"), GONE)],
        "item:lifeline",
        move |field| {
            let (service, mark) = (
                field.start("mortal", &[], &["--max-threads=1"])?,
                marked::mark(),
            );
            let words = field.filled(&format!("linger {mark}"))?;
            if name == "hang-up" {
                service.run_and_hang_up(&words, || marked::with(&mark).len() >= 2)?;
            } else {
                // Whether there is a reply depends on who dies.
                let (_killed, _reply) =
                    marked::meanwhile(&service, &words, &mark, 2, |_| kill(&service))?;
            }
            let gone = wait::within_patience(|| marked::with(&mark).is_empty());
            let verdict = nothing_runs(&mark);
            marked::end(&mark);
            ensure!(gone || matches!(verdict, Verdict::Escaped { .. }));
            let directory = field.situation.scratch.join("temporary");
            drop(service);
            // What a worker could not remove because it was killed, the next one does.
            field.start("heir", &[], &["--max-threads=1"])?.stop()?;
            let left = crate::lab::list(&directory);
            ensure!(left.is_empty(), "{} holds {left:?}", directory.display());
            Ok(verdict)
        },
        |field| demonstrate(field, "daemon"),
    )
}

/// Things that are no processes.
fn things() -> Vec<Case> {
    vec![
        thing(
            "leave-shared-memory",
            "System V shared memory",
            "make-shared-memory 1465909250",
            "remove-shared-memory 1465909250",
            &[Layer::Seccomp, Layer::Ipc],
        ),
        thing(
            "leave-semaphores",
            "System V semaphores",
            "make-semaphores 1465909250",
            "remove-semaphores 1465909250",
            &[Layer::Seccomp, Layer::Ipc],
        ),
        thing(
            "leave-a-message-queue",
            "a POSIX message queue",
            "make-queue {unique}-left",
            "remove-queue {unique}-left",
            &[Layer::Seccomp, Layer::Ipc, Layer::Rlimits],
        ),
        thing(
            "leave-a-key",
            "a key in the user's keyring",
            "make-key {unique}-left",
            "remove-key {unique}-left",
            &[Layer::Seccomp, Layer::User],
        ),
        thing(
            "leave-a-file-in-tmp",
            "a file in /tmp",
            "write /tmp/{unique}-left",
            "remove-file /tmp/{unique}-left",
            &[Layer::Mount, Layer::Landlock],
        ),
        case(
            "leave-directories-that-resist",
            "a workspace on disk that cannot be removed",
            "",
            vec![held(Guard::Check("the worker's own removal"), "is empty")],
            "item:files",
            |field| {
                let service = on_disk(field)?;
                let made = service.attack(&field.filled("resist 300")?)?;
                ensure!(matches!(made, Verdict::Escaped { .. }), "{made:?}");
                Ok(emptiness(&field.situation.scratch.join("temporary")))
            },
            |field| {
                let (service, mark) = (on_disk(field)?, marked::mark());
                let words = field.filled(&format!("linger {mark}"))?;
                let directory = field.situation.scratch.join("temporary");
                let (seen, _reply) = marked::meanwhile(&service, &words, &mark, 2, |_| {
                    let seen = emptiness(&directory);
                    marked::end(&mark);
                    Ok(seen)
                })?;
                ensure!(matches!(seen, Verdict::Escaped { .. }), "{seen:?}");
                Ok(Control::Succeeded {
                    how: "to be there while a job runs".to_owned(),
                })
            },
        ),
    ]
}

/// Something that would stay; whether it did is seen by who could take it away.
fn thing(
    name: &'static str,
    of: &'static str,
    make: &'static str,
    remove: &'static str,
    layers: &'static [Layer],
) -> Case {
    case(
        name,
        of,
        "",
        layers
            .iter()
            .map(|layer| held(Guard::Layer(*layer), "nothing is left"))
            .collect(),
        "item:IPC object, keyring entry, file",
        move |field| {
            // What the attack says of itself does not count: in its own namespace it may work.
            field.service()?.attack(&field.filled(make)?)?;
            left(field, remove)
        },
        move |field| {
            let who = field.situation.who;
            for layer in layers {
                let mut others =
                    Without::layers(who, layers.iter().copied().filter(|other| other != layer));
                others.keep(*layer);
                field.bench(&others, &field.filled(make)?)?;
                let verdict = left(field, remove)?;
                ensure!(
                    matches!(verdict, Verdict::Contained { .. }),
                    "{layer} alone (without {others}): {verdict:?}"
                );
            }
            let none = Without::layers(who, layers.iter().copied());
            field.bench(&none, &field.filled(make)?)?;
            Ok(match left(field, remove)? {
                Verdict::Escaped { .. } => Control::Succeeded {
                    how: format!("without {none}"),
                },
                other => Control::Failed {
                    why: format!("without {none}: {other:?}"),
                },
            })
        },
    )
}

fn left(field: &Field, remove: &str) -> anyhow::Result<Verdict> {
    let removed = field.bare(field.situation.job_uid(), &field.filled(remove)?)?;
    Ok(match removed {
        Verdict::Escaped { .. } => Verdict::Escaped {
            how: "it was there when the job had ended".to_owned(),
        },
        Verdict::Contained { reason } => Verdict::Contained {
            reason: format!("nothing is left: {reason}"),
        },
        other @ Verdict::Inapplicable { .. } => other,
    })
}

fn hurried(field: &Field) -> anyhow::Result<std::rc::Rc<Service>> {
    let changes = [
        ("wall", "\"1 s\""),
        ("file", "\"1 MiB\""),
        ("processes", "64"),
    ];
    field.serve("hurried", &changes, &["--max-threads=1"])
}

fn on_disk(field: &Field) -> anyhow::Result<std::rc::Rc<Service>> {
    let changes = [("mount", "\"off\""), ("proc", "\"off\"")];
    field.serve("on-disk", &changes, &["--max-threads=1"])
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

fn emptiness(directory: &Path) -> Verdict {
    match fs::read_dir(directory).map(|entries| entries.flatten().count()) {
        Ok(0) => Verdict::Contained {
            reason: format!("{} is empty", directory.display()),
        },
        found => Verdict::Escaped {
            how: format!("{}: {found:?} entries", directory.display()),
        },
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

/// Looked for without waiting.
const GONE: &str = "no process of the job runs";
