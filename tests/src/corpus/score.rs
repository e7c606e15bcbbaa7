//! The score of several runs side by side, as Markdown for the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::run::{Outcome, Score};
use super::table::put_between;
use super::{Against, Family, Situation, Who};

/// One run.
#[derive(Debug)]
pub struct Column {
    title: &'static str,
    outcomes: Vec<Outcome>,
}

impl Column {
    /// The outcomes of a situation.
    #[must_use]
    pub fn new(situation: &Situation, outcomes: Vec<Outcome>) -> Self {
        let title = match (situation.against, situation.who, situation.is_delegated) {
            (Against::Ours, Who::Root, _) => "ours, started by root",
            (Against::Ours, Who::User, true) => "ours, by a user with control groups",
            (Against::Ours, Who::User, false) => "ours, by a user without",
            (Against::Stock, ..) => "stock",
        };
        Self { title, outcomes }
    }

    /// Takes the cases that were not run now from an earlier run, and keeps all for a later one: a score
    /// of everything takes longer than one may want to wait.
    ///
    /// # Errors
    /// When the directory for it cannot be used.
    pub fn completed(mut self, directory: &Path) -> anyhow::Result<Self> {
        let file = directory.join(format!("score of {}", self.title.replace(' ', "-")));
        let earlier = fs::read_to_string(&file).unwrap_or_default();
        let cases = super::all()
            .iter()
            .map(|case| format!("{case:?}"))
            .collect();
        let run: BTreeSet<_> = self.outcomes.iter().map(|one| one.case.clone()).collect();
        let missing: BTreeSet<_> = BTreeSet::difference(&cases, &run).collect();
        let earlier = earlier.lines().filter_map(parsed);
        self.outcomes
            .extend(earlier.filter(|one| missing.contains(&one.case)));
        let lines: Vec<_> = self.outcomes.iter().map(written).collect();
        fs::write(file, lines.concat())?;
        Ok(self)
    }

    fn of<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a Outcome> {
        self.outcomes
            .iter()
            .filter(move |one| self::family(one) == family)
    }
}

/// The part of a case's name that says where it belongs.
fn family(outcome: &Outcome) -> &str {
    let family = outcome.case.split_once('/').map(|(family, _)| family);
    family.unwrap_or_default()
}

/// An outcome as a line of a file.
fn written(outcome: &Outcome) -> String {
    let score = SCORES.iter().position(|score| *score == outcome.score);
    let plain = outcome.line.replace(['\n', '\t'], " ");
    format!("{}\t{}\t{plain}\n", score.unwrap_or_default(), outcome.case)
}

fn parsed(line: &str) -> Option<Outcome> {
    let mut fields = line.splitn(3, '\t');
    let score: usize = fields.next()?.parse().ok()?;
    Some(Outcome {
        score: *SCORES.get(score)?,
        case: fields.next()?.to_owned(),
        line: fields.next()?.to_owned(),
        is_controlled: false,
    })
}

/// Replaces the score in a text.
///
/// # Errors
/// When it has no marks for it.
pub fn put_into(text: &str, score: &str) -> anyhow::Result<String> {
    put_between(text, BEGIN, score)
}

const BEGIN: &str = "<!-- written by hostile-corpus --score -->";

/// Writes the score by family, and then what was not contained, case by case.
#[must_use]
pub fn table(columns: &[Column]) -> String {
    let mut text = head(columns);
    let mut names: Vec<&str> = Family::ALL.into_iter().map(Family::name).collect();
    names.push("after");
    for family in names {
        let cells = columns.iter().map(|column| cell(column, family));
        let cells: Vec<_> = cells.collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            row(&mut text, family, &cells);
        }
    }
    for column in columns {
        for (score, words) in [
            (Score::Escaped, "Escaped, or served"),
            (Score::Inapplicable, "Not applicable"),
            (Score::Broken, "Without proof"),
        ] {
            list(&mut text, column, score, words);
        }
    }
    text
}

fn head(columns: &[Column]) -> String {
    let titles: Vec<_> = columns.iter().map(|column| column.title).collect();
    let rule = "|---".repeat(columns.len() + 1);
    format!("| family | {} |\n{rule}|\n", titles.join(" | "))
}

fn row(text: &mut String, family: &str, cells: &[String]) {
    let cells = cells.join(" | ");
    text.push_str(&["| ", family, " | ", &cells, " |\n"].concat());
}

fn cell(column: &Column, family: &str) -> String {
    let parts = SCORES.iter().filter_map(|score| {
        let count = column.of(family).filter(|one| one.score == *score).count();
        (count > 0).then(|| format!("{count} {}", word(*score, family)))
    });
    parts.collect::<Vec<_>>().join(", ")
}

const SCORES: [Score; 4] = [
    Score::Contained,
    Score::Escaped,
    Score::Inapplicable,
    Score::Broken,
];

/// A package that is served may have done no harm: what is counted is that it was not refused.
fn word(score: Score, family: &str) -> &'static str {
    match score {
        Score::Contained => "contained",
        Score::Escaped if family == Family::Packages.name() => "served",
        Score::Escaped => "**escaped**",
        Score::Inapplicable => "not applicable",
        Score::Broken => "without proof",
    }
}

/// Lists cases by what came of them.
fn list(text: &mut String, column: &Column, score: Score, words: &str) {
    let all = column.outcomes.iter().filter(|one| one.score == score);
    let mut by_line: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for one in all {
        let line: String = one.line.chars().take(MAX_LINE).collect();
        // What an attacker got is not to become a part of the document.
        let line = line.replace(['`', '\n', '\r'], " ");
        by_line.entry(line).or_default().push(&one.case);
    }
    if by_line.is_empty() {
        return;
    }
    let (title, count) = (column.title, by_line.values().map(Vec::len).sum::<usize>());
    write!(text, "\n{words}, {title} ({count}):\n\n").expect("memory takes everything");
    for (line, cases) in by_line {
        let cases = cases.join(", ");
        writeln!(text, "* `{line}`: {cases}").expect("memory takes everything");
    }
}

const MAX_LINE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn column(outcomes: Vec<Outcome>) -> Column {
        Column {
            title: "ours",
            outcomes,
        }
    }

    fn outcome(case: &str, line: &str) -> Outcome {
        Outcome {
            case: case.to_owned(),
            score: Score::Contained,
            is_controlled: false,
            line: line.to_owned(),
        }
    }

    #[test]
    fn a_run_replaces_what_an_earlier_one_says_of_its_cases_and_keeps_the_rest() {
        let directory = std::env::temp_dir().join(format!("score-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let [first, second] = ["code/read-shadow", "limits/swap"];
        let gone = "code/a-case-that-is-no-more";
        let earlier = [first, second, gone].map(|case| outcome(case, "earlier"));
        column(earlier.to_vec()).completed(&directory).unwrap();
        let now = column(vec![outcome(first, "now")]).completed(&directory);
        fs::remove_dir_all(&directory).unwrap();
        let said = now.unwrap().outcomes;
        let said: Vec<_> = said.iter().map(|one| (&*one.case, &*one.line)).collect();
        assert_eq!(said, [(first, "now"), (second, "earlier")]);
    }
}
