//! Holds a pair against what is expected of it.

use std::fmt::Write as _;

use super::answer::Answer;
use super::column::{Column, Pair, Scene};
use super::difference::{Difference, expected};
use super::record::Record;
use super::rows::{ROWS, Row};
use super::sameness::comparable;
use super::verdict::{References, STOCK_STOCK, Verdict};
use crate::lab::Lab;

/// Asks everything of a pair, and compares.
///
/// # Panics
/// When an answer is not what is expected, with both.
pub fn hold(lab: &Lab, pair: Pair) {
    let scene = Scene::set(lab);
    let [bare, stock] = References::columns(pair).map(|column| Record::once(&scene, column));
    let record = match pair {
        STOCK_STOCK => stock.clone(),
        _ => Record::new(&scene, Column::Pair(pair)),
    };
    let references = References { bare, stock };
    let asked = ROWS.iter().filter(|row| Column::Pair(pair).has(row));
    let faults: Vec<_> = asked
        .filter_map(|row| fault(pair, &record, &references, row))
        .collect();
    let count = faults.len();
    assert!(
        faults.is_empty(),
        "{count} answers are not as expected:\n{}",
        faults.concat()
    );
}

/// Tells how an answer is not what was expected.
fn fault(pair: Pair, record: &Record, references: &References, row: &Row) -> Option<String> {
    let answer = record.answer(row)?;
    let verdict = references.judge(row, answer)?;
    let difference = expected(pair, &record.version, row);
    let wanted = difference.map_or(Verdict::Equal, |difference| difference.verdict);
    if verdict == wanted && difference.is_none_or(|difference| is_said(difference, answer)) {
        return None;
    }
    let mut text = format!("== {}: {verdict:?}, not {wanted:?}\n", row.name);
    let all = [
        ("bare", references.bare.answer(row)),
        ("stock", references.stock.answer(row)),
        ("this", Some(answer)),
    ];
    for (who, answer) in all {
        let shown = answer.map(|answer| shown(&comparable(row, answer)));
        writeln!(text, "-- {who}: {}", shown.unwrap_or_default()).expect("text grows");
    }
    Some(text)
}

fn is_said(difference: &Difference, answer: &Answer) -> bool {
    difference
        .says
        .is_none_or(|(status, words)| answer.status == Some(status) && answer.err.contains(words))
}

/// As much of an answer as somebody wants to read.
fn shown(answer: &Answer) -> String {
    let lines = |text: &str| {
        text.lines()
            .take(SHOWN)
            .map(|line| format!("\n   | {line}"))
            .collect::<String>()
    };
    let Answer {
        status,
        out,
        err,
        left,
        module,
    } = answer;
    format!(
        "{status:?} {left:?} {module}\n   stdout{}\n   stderr{}",
        lines(out),
        lines(err)
    )
}

const SHOWN: usize = 12;
