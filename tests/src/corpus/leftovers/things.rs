//! Things that would stay when a job is gone.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use anyhow::ensure;
use stap_jail::layer::Layer;

use super::{case, held};
use crate::corpus::bench::Without;
use crate::corpus::service::Service;
use crate::corpus::{Case, Control, Field, Guard, Verdict, marked};

/// Things that are no processes.
pub(super) fn cases() -> Vec<Case> {
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

fn on_disk(field: &Field) -> anyhow::Result<Rc<Service>> {
    let changes = [("mount", "\"off\""), ("proc", "\"off\"")];
    field.serve("on-disk", &changes, &["--max-threads=1"])
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
