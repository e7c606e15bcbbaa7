//! The matrix as Markdown, from what the last run of the tests found.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::column::{Column, Pair};
use super::difference::{expected, reasons};
use super::record::Record;
use super::rows::{ROWS, Row};
use super::sameness::EXCEPTIONS;
use super::verdict::{PAIRS, References, Verdict};

/// The suites whose stock SystemTap is tried, and its versions.
pub const RELEASES: [(&str, &str); 3] =
    [("bookworm", "4.8"), ("trixie", "5.1"), ("testing", "5.6")];

/// What was found with one release.
struct Found {
    version: String,
    references: Vec<References>,
    records: Vec<Record>,
}

/// Writes what the tests have found and kept below a directory.
///
/// # Errors
/// When an answer is missing, or answers come from different builds.
pub fn found(kept: &Path) -> anyhow::Result<String> {
    let releases = RELEASES.map(|(suite, _)| {
        Found::read(&kept.join(suite))
            .with_context(|| format!("the tests with {suite} have not run"))
    });
    let releases = releases.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let mut builds = releases
        .iter()
        .flat_map(|found| found.records.iter().map(|record| &record.build));
    let first = builds.next();
    ensure!(
        builds.all(|build| Some(build) == first),
        "the answers come from different builds of the tests: run them all"
    );
    let versions: Vec<_> = releases
        .iter()
        .map(|found| found.version.as_str())
        .collect();
    let cell = |pair: usize, release: usize, row: &Row| releases[release].verdict(pair, row);
    Ok(text(&versions, cell))
}

/// Writes what is expected.
#[must_use]
pub fn promised() -> String {
    let versions = RELEASES.map(|(_, version)| version);
    text(&versions, |pair, release, row| {
        let (pair, _) = PAIRS[pair];
        let asked = Column::Pair(pair).has(row);
        let difference = expected(pair, versions[release], row);
        asked.then(|| difference.map_or(Verdict::Equal, |difference| difference.verdict))
    })
}

impl Found {
    fn read(warm: &Path) -> anyhow::Result<Self> {
        let read = |column: Column| {
            Record::read(warm, column).with_context(|| format!("no answers of {}", column.name()))
        };
        let records = PAIRS
            .map(|(pair, _)| read(Column::Pair(pair)))
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()?;
        let references = PAIRS.map(|(pair, _)| {
            let [bare, stock] = References::columns(pair).map(read);
            anyhow::Ok(References {
                bare: bare?,
                stock: stock?,
            })
        });
        Ok(Self {
            version: records
                .first()
                .map(|record| record.version.clone())
                .unwrap_or_default(),
            references: references.into_iter().collect::<anyhow::Result<_>>()?,
            records,
        })
    }

    fn verdict(&self, pair: usize, row: &Row) -> Option<Verdict> {
        let answer = self.records[pair].answer(row)?;
        self.references[pair].judge(row, answer)
    }
}

/// The table, its reasons and what is not compared.
fn text(versions: &[&str], verdict: impl Fn(usize, usize, &Row) -> Option<Verdict>) -> String {
    let titles = PAIRS.map(|(_, title)| title).join(" | ");
    let mut text = format!(
        "Stock SystemTap {}.\n\n| command line | {titles} |\n|---{}|\n",
        versions.join(", "),
        "|---".repeat(PAIRS.len())
    );
    for row in ROWS {
        write!(text, "| {} |", row.name).expect("text grows");
        for (number, (pair, _)) in PAIRS.iter().enumerate() {
            let cells: Vec<_> = (0..versions.len())
                .map(|release| cell(*pair, versions[release], row, verdict(number, release, row)))
                .collect();
            write!(text, " {} |", merged(versions, &cells)).expect("text grows");
        }
        text.push('\n');
    }
    text.push_str("\nThe reasons:\n\n");
    for (number, reason) in (1..).zip(reasons()) {
        writeln!(text, "{number}. {reason}").expect("text grows");
    }
    text.push_str("\nNot compared, in any column:\n\n");
    for exception in EXCEPTIONS {
        writeln!(text, "* {}: {}", exception.what, exception.why).expect("text grows");
    }
    text
}

fn cell(pair: Pair, version: &str, row: &Row, verdict: Option<Verdict>) -> String {
    let reason = expected(pair, version, row).map(|difference| difference.reason);
    let number = reasons()
        .iter()
        .position(|other| Some(*other) == reason)
        .map_or(0, |place| place + 1);
    match verdict {
        None => String::new(),
        Some(Verdict::Equal) => "=".to_owned(),
        Some(Verdict::AsStock) => format!("as stock ({number})"),
        Some(Verdict::Differs) => format!("differs ({number})"),
    }
}

/// One cell for all versions where they agree.
fn merged(versions: &[&str], cells: &[String]) -> String {
    match cells {
        [first, rest @ ..] if rest.iter().all(|cell| cell == first) => first.clone(),
        _ => {
            let each = versions
                .iter()
                .zip(cells)
                .map(|(version, cell)| format!("{version}: {cell}"));
            each.collect::<Vec<_>>().join("<br>")
        }
    }
}

/// Replaces the matrix in a text.
///
/// # Errors
/// When it has no marks for it.
pub fn put_into(text: &str, matrix: &str) -> anyhow::Result<String> {
    crate::corpus::table::put_between(text, BEGIN, matrix)
}

const BEGIN: &str = "<!-- written by interop-matrix -->";
