//! `--check-policy`: whether a policy can be used, and what in it is hardly meant.

use std::fmt::Write as _;
use std::thread::available_parallelism;

use serde::Serialize;
use stap_policy::{Fault, Host};

use crate::Failure;
use crate::doctor::memory_of_host;
use crate::options::{Options, PolicyChoice};
use crate::settings::{PolicyText, SettingsError, slots};

/// Judges a policy: the text, and whether it can be used.
///
/// # Errors
/// When there is no policy to judge.
pub(crate) fn check_policy(
    choice: &PolicyChoice,
    options: &Options,
    json: bool,
) -> Result<(String, bool), Failure> {
    let report = match PolicyText::read(choice) {
        Ok(policy) => Report::of_usable(&policy, &host(options)),
        Err(SettingsError::Policy { source, .. }) if matches!(choice, PolicyChoice::File(_)) => {
            Report {
                faults: source.faults().map(Remark::of).collect(),
                ..Report::default()
            }
        }
        Err(error) => return Err(error.into()),
    };
    let text = if json {
        let json = serde_json::to_string_pretty(&report).expect("a report is plain data");
        json + "\n"
    } else {
        report.in_words(&name_of(choice))
    };
    Ok((text, report.usable))
}

#[derive(Debug, Serialize)]
struct Report {
    /// Raised when a field changes its meaning or goes.
    format: u32,
    usable: bool,
    class: Option<String>,
    faults: Vec<Remark>,
    doubts: Vec<Remark>,
    allowed_options: Vec<String>,
}

/// Something about one place of the file.
#[derive(Debug, Serialize)]
struct Remark {
    line: Option<usize>,
    column: Option<usize>,
    reason: String,
    #[serde(skip)]
    shown: String,
}

impl Report {
    fn of_usable(chosen: &PolicyText, host: &Host) -> Self {
        let policy = &chosen.policy;
        let doubts = policy.doubts(&chosen.text, host);
        Self {
            usable: true,
            class: Some(policy.class().to_owned()),
            doubts: doubts.iter().map(Remark::of).collect(),
            allowed_options: policy.options().allowed().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    fn in_words(&self, name: &str) -> String {
        let mut text = String::new();
        for remark in &self.faults {
            writeln!(text, "error: {name}, {}", remark.shown).expect(STRING);
        }
        for remark in &self.doubts {
            writeln!(text, "warning: {name}, {}", remark.shown).expect(STRING);
        }
        match &self.class {
            Some(class) => writeln!(
                text,
                "policy '{class}' can be used; clients may send: {}",
                self.allowed_options.join(" ")
            ),
            None => writeln!(text, "the policy cannot be used"),
        }
        .expect(STRING);
        text
    }
}

impl Default for Report {
    fn default() -> Self {
        Self {
            format: FORMAT,
            usable: false,
            class: None,
            faults: Vec::new(),
            doubts: Vec::new(),
            allowed_options: Vec::new(),
        }
    }
}

impl Remark {
    fn of(fault: &Fault) -> Self {
        Self {
            line: fault.line(),
            column: fault.column(),
            reason: fault.reason().to_owned(),
            shown: fault.to_string(),
        }
    }
}

fn host(options: &Options) -> Host {
    let processors = available_parallelism().map_or(1, usize::from);
    Host {
        memory: memory_of_host(),
        processors: u64::try_from(processors).unwrap_or(u64::MAX),
        slots: u64::try_from(slots(options).get()).unwrap_or(u64::MAX),
    }
}

fn name_of(choice: &PolicyChoice) -> String {
    match choice {
        PolicyChoice::Class(class) => class.clone(),
        PolicyChoice::File(path) => path.display().to_string(),
    }
}

const FORMAT: u32 = 1;
const STRING: &str = "writing to a String cannot fail";
