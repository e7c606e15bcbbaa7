//! One client's compile: staged, run in a jail, collected, reported.

mod collect;
mod keep;
mod limits;
mod query;
mod stage;

use std::time::{Duration, Instant};

use stap_driver::shim;
use stap_policy::{Limits, Policy, builtin};
use stap_protocol::job::{Job, JobId, Outcome, OutputFile, Report, Usage};
use stap_protocol::target::TargetName;
use tokio_util::sync::CancellationToken;

use self::collect::Collected;
pub use self::collect::{
    BuildFiles, MAX_PRECOMPILED, MAX_SEED, MAX_SEED_FILES, RESULTS, collect_seed, file_left,
    is_seed, names_left, note, some_names_left,
};
pub use self::stage::{SEED_DIRECTORY, Stage, bind_of, is_visible, version};
use crate::driver::Shown;
use crate::jail::{End, Fault, Finished};
use crate::queries;
use crate::slots::Slot;
use crate::station::Station;
use crate::warm::{Seed, Variant};

/// A job that ended.
#[derive(Debug)]
pub struct Ended {
    /// What the coordinator is told.
    pub report: Report,
    /// Whether it is certain that nothing of it is left, so that another may have its slot.
    pub is_gone: bool,
    /// What it could not use, and its slot is to make for others.
    pub due: Option<Due>,
}

/// A recording of pass 4 that jobs could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    target: TargetName,
    variant: Variant,
}

impl Due {
    /// Records in a slot in which nothing runs.
    ///
    /// # Errors
    ///
    /// When something may be left in it.
    pub async fn record(
        &self,
        station: &Station,
        slot: Slot,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let Some(served) = station.catalogue.find(&self.target) else {
            return Ok(());
        };
        let warmth = &station.warmth;
        let record = warmth.record(station, served, self.variant, slot, stop);
        record.await
    }
}

/// Runs a job to its end. Whatever happens, there is a report.
pub async fn run(
    station: &Station,
    id: JobId,
    job: Job,
    slot: Slot,
    cancelled: &CancellationToken,
) -> Ended {
    match attempted(station, id, job, slot, cancelled).await {
        Ok((report, due)) => Ended {
            report,
            is_gone: true,
            due,
        },
        Err(fault) => {
            let reason = sentence(&fault);
            tracing::error!(reason, "the job could not be run");
            Ended {
                report: bare(Outcome::WorkerFault { reason }),
                is_gone: !matches!(fault, Fault::Leak(_)),
                due: None,
            }
        }
    }
}

async fn attempted(
    station: &Station,
    id: JobId,
    job: Job,
    slot: Slot,
    cancelled: &CancellationToken,
) -> Result<(Report, Option<Due>), Fault> {
    let Some(served) = station.catalogue.find(&job.target) else {
        let reason = format!("no target {}", job.target);
        return Ok((bare(Outcome::WorkerFault { reason }), None));
    };
    let warmth = &station.warmth;
    let seed = || warmth.seed(station, served, &job.arguments, slot, cancelled);
    let mut own = seed().await;
    let before = Instant::now();
    let queries = warmth.queries(station, served, &job, slot, cancelled).await;
    if before.elapsed() > MOMENT {
        // Others may have changed what jobs see while answers were built.
        own = seed().await;
    }
    if let Some(leak) = warmth.leaks.take(slot) {
        return Err(leak);
    }
    let seed = Seed { queries, ..own };
    if cancelled.is_cancelled() {
        return Ok((bare(Outcome::Cancelled), None));
    }
    // What is signed is what make has made, whatever was proven.
    let driver = seed.driver.as_ref().filter(|_| !job.to_be_signed);
    let driver = driver.map(Shown::path);
    let stage = Stage {
        station,
        served,
        slot,
        driver,
    };
    let room = station.jail.room(stage.identity())?;
    let private_directories = stage::private_directories(&room);
    let (limits, class) = limits_of(&job, station);
    let (arguments, job_is_signed) = (job.arguments.clone(), job.to_be_signed);
    let errand = stage.job(id, job, limits, &seed, &room)?;
    let finished = station.jail.run(errand, room, cancelled).await?;
    station.pace.job_ended(finished.usage.cpu);
    if let (Some(_), Some(workspace)) = (driver, &finished.workspace)
        && let Some(how) = note(workspace)
    {
        tracing::info!("pass 4: {}", believable(&how, finished.usage.cpu));
    }
    if let Some(workspace) = &finished.workspace {
        warmth.note_asked(served, &arguments, workspace);
    }
    if let (Some(parent), Some(workspace)) = (&station.keep_in, &finished.workspace) {
        keep::keep(workspace, parent, &limits);
    }
    let mut report = reported(finished, &limits, &class);
    if let (Some(queries), Outcome::Exited { code: 1.. }) = (&seed.queries, &report.outcome) {
        let notes = queries::notes(queries.missing(), &report.stderr);
        add_notes(&mut report.stderr, notes);
    }
    report.private_directories = private_directories;
    // Who compiles nothing, or what fails, has not shown that anybody needs it.
    let needs = seed.is_due && !job_is_signed && report.outcome == Outcome::Exited { code: 0 };
    let variant = Variant::needed_by(&arguments).filter(|_| needs);
    let due = variant.map(|variant| Due {
        target: served.target.name.clone(),
        variant,
    });
    Ok((report, due))
}

/// How long what was looked up holds without another look.
const MOMENT: Duration = Duration::from_secs(1);

/// The limits of a job, and the class that most of them are from.
fn limits_of(job: &Job, station: &Station) -> (Limits, String) {
    let usual = station.jail.limits();
    if !job.to_be_signed {
        return (*usual, station.class.clone());
    }
    let strict = Policy::parse(builtin::STRICT).expect("a test reads every built-in policy");
    let limits = usual.tightened_by(strict.limits());
    (
        limits,
        format!("{} for modules that are signed", strict.class()),
    )
}

/// Turns the end of an errand into what the coordinator is told.
fn reported(finished: Finished, limits: &Limits, class: &str) -> Report {
    let collected = match (finished.end, &finished.workspace) {
        (End::Exited(_), Some(workspace)) => collect::collect(workspace, limits),
        _ => Collected::default(),
    };
    let end = collected.hit.map_or(finished.end, End::Limit);
    let used = match collected.hit {
        Some(_) => collected.used,
        None => limits::used(end, &finished),
    };
    let notes = limits::notes(end, &finished, limits, class);
    let is_whole = notes.is_empty() && collected.hit.is_none() && !collected.has_left;
    let files: Vec<OutputFile> = if collected.hit.is_some() {
        Vec::new()
    } else {
        collected.files
    };
    let mut stderr = finished.stderr.bytes;
    add_notes(&mut stderr, notes);
    Report {
        outcome: outcome(end, used, limits, class),
        stdout: finished.stdout.bytes,
        stderr,
        files,
        private_directories: Vec::new(),
        usage: finished.usage,
        is_whole,
    }
}

/// A job can write its note itself, and took no more time than the kernel counted.
fn believable(note: &str, cpu: Duration) -> &str {
    match shim::time_in(note) {
        Some(compiling) if compiling > cpu => shim::REPLAYED,
        _ => note,
    }
}

/// Adds lines of the server's own to what stap has said.
fn add_notes(stderr: &mut Vec<u8>, notes: Vec<String>) {
    for note in notes {
        if !stderr.is_empty() && !stderr.ends_with(b"\n") {
            stderr.push(b'\n');
        }
        stderr.extend_from_slice(format!("stap-server: {note}\n").as_bytes());
    }
}

fn outcome(end: End, used: Option<String>, limits: &Limits, class: &str) -> Outcome {
    match end {
        End::Exited(code) => Outcome::Exited { code },
        End::Signalled(signal) => Outcome::Signalled { signal },
        End::Cancelled => Outcome::Cancelled,
        End::Limit(limit) => limits::reached(limit, used, limits, class),
    }
}

/// A report of something that never ran.
#[must_use]
pub fn bare(outcome: Outcome) -> Report {
    Report {
        outcome,
        stdout: Vec::new(),
        stderr: Vec::new(),
        files: Vec::new(),
        private_directories: Vec::new(),
        usage: Usage::default(),
        is_whole: false,
    }
}

/// An error with all that caused it, on one line.
#[must_use]
pub fn sentence(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", sentence(source)),
        None => error.to_string(),
    }
}

/// The last line of what a program said; for the log, where a line must stay one.
pub(crate) fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    line.chars()
        .filter(|character| !character.is_control())
        .take(MAX_LINE)
        .collect()
}

const MAX_LINE: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_has_no_more_time_than_its_job_took() {
        let cpu = Duration::from_millis(1500);
        let honest = "replayed, 1500 ms of processor time for compiling";
        let boasting = "replayed, 1501 ms of processor time for compiling";
        assert!(shim::time_in(honest).is_some() && shim::time_in(boasting).is_some());
        assert_eq!(believable(honest, cpu), honest);
        assert_eq!(believable(boasting, cpu), "replayed");
        assert_eq!(
            believable("nothing like it was recorded", cpu),
            "nothing like it was recorded"
        );
    }
}
