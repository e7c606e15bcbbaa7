//! Whoever dies first, a job dies with him.

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use super::{GONE, case, demonstrate, held, nothing_runs};
use crate::corpus::service::Service;
use crate::corpus::{Case, Guard, Verdict, marked};
use crate::process;
use crate::wait;

/// Whoever dies while a job runs, the job's whole tree dies, too.
pub(super) fn cases() -> Vec<Case> {
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
            let worker = service.worker()?;
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
            // What a worker could not remove because it was killed, the next one does; one that still removes it
            // itself has it locked.
            let is_gone = || process::Process::of(worker).is_none_or(|left| left.state == 'Z');
            ensure!(
                wait::within_patience(is_gone),
                "the worker outlives its server"
            );
            field.start("heir", &[], &["--max-threads=1"])?.stop()?;
            let left = crate::lab::list(&directory);
            ensure!(left.is_empty(), "{} holds {left:?}", directory.display());
            Ok(verdict)
        },
        |field| demonstrate(field, "daemon"),
    )
}
