//! Tries an installation in a Debian system of its own: real systemd, nothing but the unified
//! hierarchy of control groups, ordinary users with user managers.
//!
//! ```text
//! system-trial PART            every check of one part, as a line of JSON each; see `PARTS`
//! ```
//!
//! It needs root and changes the machine that it runs on: it is for the guest that `deploy/guest
//! --system` boots, with the payload that the test module `guest` makes.
#![forbid(unsafe_code)]

mod compile;
mod corpus;
mod machine;
mod reboot;
mod remains;
mod service;
mod started;
mod unit;

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};
use stap_tests::trial;

/// Checks of one boot of the machine, in their order.
type Part = fn(&mut Results) -> anyhow::Result<()>;

const PARTS: &[(&str, Part)] = &[
    ("service", service::short),
    ("service-in-full", service::full),
    ("reboot", reboot::try_out),
    ("started-by-hand", started::try_out),
    ("corpus", corpus::try_out),
    ("compile", compile::try_out),
    ("quickstart", compile::quickstart),
];

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (wanted, more) = words.split_first().context("which part?")?;
    if wanted == HAND_OVER {
        return corpus::hand_over(more);
    }
    let part = PARTS.iter().find(|(name, _)| name == wanted);
    let (_, part) = part.with_context(|| format!("there is no part {wanted}"))?;
    let mut results = Results::default();
    part(&mut results)?;
    Ok(ExitCode::from(u8::from(results.broken > 0)))
}

/// What came of the checks, said as it becomes known.
#[derive(Debug, Default)]
pub(crate) struct Results {
    broken: usize,
}

impl Results {
    /// Makes a check, and says how many milliseconds it took.
    #[expect(clippy::print_stdout, reason = "the test outside reads it")]
    pub(crate) fn check<T: Into<Value>>(
        &mut self,
        name: &str,
        check: impl FnOnce() -> anyhow::Result<T>,
    ) {
        let start = std::time::Instant::now();
        let mut result = trial::result(name, check);
        result["took"] = json!(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.broken += usize::from(result["holds"] != true);
        println!("{result}");
    }
}

/// A role of this program: see [`corpus::hand_over`].
pub(crate) const HAND_OVER: &str = "hand-over";
