//! Runs the hostile corpus; see the library's `corpus`, and `--help`.
//!
//! It makes a lab for itself; with `--here` it runs in the world that it finds, such as a guest that is
//! its own.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the score is the result")]

mod options;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use stap_tests::corpus::groups::{self, OwnGroups};
use stap_tests::corpus::run::{self, Outcome, Score};
use stap_tests::corpus::score::{self, Column};
use stap_tests::corpus::{self, Against, Case, Situation, bench, table};
use stap_tests::lab;
use stap_tests::world::WARM;

use crate::options::Options;

fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some(bench::ROLE) {
        words.next();
        return Ok(play(words));
    }
    let options = Options::parse(words)?;
    if options.help {
        print!("{}", options::MANUAL);
        return Ok(ExitCode::SUCCESS);
    }
    let cases = corpus::all();
    if let Some(file) = &options.table {
        let text = std::fs::read_to_string(file)?;
        std::fs::write(file, table::put_into(&text, &cases)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.here {
        return report(run_all(&options, &cases));
    }
    let mut status = Ok(ExitCode::FAILURE);
    let entered = lab::program_inside(|_lab| status = report(run_all(&options, &cases)));
    // Outside, only the status of the inner run is known.
    if std::env::var_os(stap_tests::init::INSIDE).is_some() {
        return status;
    }
    if let Some(file) = &options.score {
        let score =
            std::fs::read_to_string(lab::kept().join(SCORE)).context("reading the score")?;
        let text = std::fs::read_to_string(file)?;
        std::fs::write(file, score::put_into(&text, &score)?)?;
    }
    Ok(entered)
}

/// The caller wants a sentence, not where in this program it was said.
fn play(words: impl Iterator<Item = String>) -> ExitCode {
    match bench::play(words) {
        Ok(ran) => {
            println!("{ran}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let line = format!("{error:#}\n");
            drop(std::io::stderr().write_all(line.as_bytes()));
            ExitCode::FAILURE
        }
    }
}

fn run_all(options: &Options, cases: &[Case]) -> anyhow::Result<Vec<Outcome>> {
    let wanted: Vec<_> = cases.iter().filter(|case| options.wants(case)).collect();
    anyhow::ensure!(!wanted.is_empty(), "no case has such a name");
    let groups = OwnGroups::enter()?;
    let mut ours = Vec::new();
    let mut columns = Vec::new();
    for (who, is_delegated, against) in options.situations() {
        let ordinary = groups::ordinary_uid()?;
        if is_delegated && !groups.can_be_given(ordinary)? {
            println!(
                "not here  delegated: this host has only the unified hierarchy, and this group is not the user's"
            );
            continue;
        }
        groups.give(if is_delegated { ordinary } else { 0 })?;
        let mut situation = Situation {
            who,
            is_delegated,
            against,
            programs: options.programs.clone(),
            scratch: SCRATCH.into(),
            ordinary,
        };
        let name = situation.name();
        situation.scratch = format!("{SCRATCH}-{}-{name}", std::process::id()).into();
        let say = |outcome: &Outcome| show(name, outcome);
        let outcomes = run::situation(&situation, &groups, &wanted, say)?;
        if options.score.is_none() || against == Against::Ours {
            ours.extend(outcomes.clone());
        }
        if options.score.is_some() {
            columns.push(Column::new(&situation, outcomes).completed(Path::new(WARM))?);
        }
    }
    if options.score.is_some() {
        let table = score::table(&columns);
        println!("\n{table}");
        // The file for it may be hidden in here.
        std::fs::write(Path::new(WARM).join(SCORE), table)?;
    }
    Ok(ours)
}

fn show(situation: &str, outcome: &Outcome) {
    let word = match outcome.score {
        Score::Contained => "contained",
        Score::Escaped => "ESCAPED",
        Score::Inapplicable => "not here",
        Score::Broken => "BROKEN",
    };
    println!("{word:<9} {situation} {}: {}", outcome.case, outcome.line);
}

fn report(outcomes: anyhow::Result<Vec<Outcome>>) -> anyhow::Result<ExitCode> {
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        // Said at once: a lab that closes on what a fault has left would hide it.
        Err(error) => {
            println!("BROKEN    the corpus could not be run: {error:#}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let count = |score| outcomes.iter().filter(|one| one.score == score).count();
    let [contained, escaped, inapplicable, broken] = [
        Score::Contained,
        Score::Escaped,
        Score::Inapplicable,
        Score::Broken,
    ]
    .map(count);
    let controlled = outcomes.iter().filter(|one| one.is_controlled).count();
    println!(
        "{contained} contained ({controlled} of them shown to work without what holds them), {escaped} escaped, {inapplicable} not applicable here, {broken} broken"
    );
    Ok(ExitCode::from(u8::from(escaped + broken > 0)))
}

const SCORE: &str = "score.md";
/// Not below `/tmp`, where jobs have their own.
const SCRATCH: &str = "/var/tmp/hostile-corpus";
