//! Runs cases and keeps the score.

use std::fs;
use std::path::Path;

use super::groups::OwnGroups;
use super::service::{self, NoAnswer};
use super::stock::Lacking;
use super::traces::Traces;
use super::{Against, Case, Control, Field, Situation, Verdict};
use crate::wait;

/// What came of one case, and whether that is as it must be.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case.
    pub case: String,
    /// How it counts.
    pub score: Score,
    /// Whether it was shown to work without what holds it.
    pub is_controlled: bool,
    /// Why, for people.
    pub line: String,
}

/// How a case counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Held for the expected reason, and shown to succeed without what holds it.
    Contained,
    /// The attacker got what he wanted, or left something.
    Escaped,
    /// It cannot be tried here.
    Inapplicable,
    /// It proves nothing: another reason than expected, or a control that failed.
    Broken,
}

/// Runs cases in one situation; says each outcome as it comes.
///
/// # Errors
/// When the field cannot be prepared.
pub fn situation(
    situation: &Situation,
    groups: &OwnGroups,
    cases: &[&Case],
    mut say: impl FnMut(&Outcome),
) -> anyhow::Result<Vec<Outcome>> {
    let warm = service::warm_directory(situation);
    let before = Traces::of_host(groups, &warm);
    let mut field = Field::prepare(situation.clone())?;
    let mut outcomes = Vec::new();
    for case in cases {
        let mut outcome = judged(case, &field);
        if let Some(fate) = field.place.revive()
            && situation.against == Against::Stock
        {
            outcome.line = format!("{fate}; {}", outcome.line);
            outcome.score = Score::Escaped;
        }
        say(&outcome);
        outcomes.push(outcome);
    }
    let after = match situation.against {
        Against::Ours => vec![good_job(&field)],
        Against::Stock => Vec::new(),
    };
    field.clear()?;
    for outcome in after
        .into_iter()
        .chain([nothing_left(&before, groups, &warm)])
    {
        say(&outcome);
        outcomes.push(outcome);
    }
    if situation.against == Against::Stock {
        // It has been counted; the lab is not to complain once more.
        clear("/tmp")?;
    }
    Ok(outcomes)
}

/// Removes what is in a directory that is the lab's own.
fn clear(directory: &str) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn judged(case: &Case, field: &Field) -> Outcome {
    let outcome = |score, line| Outcome {
        case: format!("{case:?}"),
        score,
        is_controlled: false,
        line,
    };
    match (case.attempt)(field) {
        Err(error) if is_excused(&error) => outcome(Score::Inapplicable, error.to_string()),
        Err(error) if error.is::<Lacking>() => outcome(Score::Broken, required(&error)),
        Err(error) if error.is::<NoAnswer>() && field.situation.against == Against::Stock => {
            field.place.give_up();
            outcome(Score::Escaped, error.to_string())
        }
        // Much of what is tried with us has no counterpart there, such as a worker.
        Err(error) if field.situation.against == Against::Stock => {
            outcome(Score::Inapplicable, format!("{error:#}"))
        }
        Err(error) => outcome(Score::Broken, format!("could not be tried: {error:#}")),
        Ok(Verdict::Escaped { how }) => outcome(Score::Escaped, how),
        Ok(Verdict::Inapplicable { why }) => outcome(Score::Inapplicable, why),
        Ok(Verdict::Contained { reason }) => held(case, field, &reason),
    }
}

/// Whether it is about something that need not be here.
fn is_excused(error: &anyhow::Error) -> bool {
    let lacking = error.downcast_ref::<Lacking>();
    lacking.is_some_and(|lacking| !lacking.is_required())
}

fn required(error: &anyhow::Error) -> String {
    format!("it is required, and could not be tried: {error}")
}

/// An attack that was held counts only for the expected reason, and if it works otherwise.
fn held(case: &Case, field: &Field, reason: &str) -> Outcome {
    let who = field.situation.who;
    let outcome = |score, is_controlled, line| Outcome {
        case: format!("{case:?}"),
        score,
        is_controlled,
        line,
    };
    // Another server gives other reasons, and cannot be taken apart.
    if field.situation.against == Against::Stock {
        return outcome(Score::Contained, false, reason.to_owned());
    }
    if !case.expects(who, reason) {
        let line = format!("held for another reason than expected: {reason}");
        return outcome(Score::Broken, false, line);
    }
    match (case.control)(field) {
        Ok(Control::Succeeded { how }) => {
            outcome(Score::Contained, true, format!("{reason}; works {how}"))
        }
        Ok(Control::Inapplicable { why }) => {
            let line = format!("{reason}; no control here: {why}");
            outcome(Score::Contained, false, line)
        }
        Ok(Control::Failed { why }) => {
            outcome(Score::Broken, false, format!("{reason}; still held {why}"))
        }
        Err(error) if is_excused(&error) => {
            let line = format!("{reason}; no control here: {error}");
            outcome(Score::Contained, false, line)
        }
        Err(error) => outcome(
            Score::Broken,
            false,
            format!("{reason}; no control: {error:#}"),
        ),
    }
}

/// Whoever wants nothing bad is still served.
fn good_job(field: &Field) -> Outcome {
    let words = ["effective-uid".to_owned()];
    let (score, line) = match field.service().and_then(|service| service.attack(&words)) {
        Ok(Verdict::Escaped { how }) if how == "1000" => (
            Score::Contained,
            "a good job is served as before".to_owned(),
        ),
        other => (
            Score::Escaped,
            format!("a good job is not served: {other:?}"),
        ),
    };
    Outcome {
        case: "after/good-job".to_owned(),
        score,
        is_controlled: false,
        line,
    }
}

/// Whatever was killed may need a moment to be gone.
fn nothing_left(before: &Traces, groups: &OwnGroups, warm: &Path) -> Outcome {
    let mut changes = Vec::new();
    let settled = wait::within_patience(|| {
        changes = Traces::of_host(groups, warm).since(before);
        changes.is_empty()
    });
    let (score, line) = if settled {
        let line = "processes, mounts, cgroups, keys, IPC objects, files and warm state as before";
        (Score::Contained, line.to_owned())
    } else {
        (Score::Escaped, changes.join("; "))
    };
    Outcome {
        case: "after/nothing-left".to_owned(),
        score,
        is_controlled: false,
        line,
    }
}
