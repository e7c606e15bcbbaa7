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
    let (short, long): (Vec<_>, Vec<_>) = faults.into_iter().unzip();
    assert!(
        count == 0,
        "{count} answers are not as expected:\n{}{}",
        short.concat(),
        long.concat()
    );
}

/// Tells how an answer is not what was expected, in a line or two and at length.
fn fault(
    pair: Pair,
    record: &Record,
    references: &References,
    row: &Row,
) -> Option<(String, String)> {
    let answer = record.answer(row)?;
    let verdict = references.judge(row, answer)?;
    let difference = expected(pair, &record.version, row);
    let wanted = difference.map_or(Verdict::Equal, |difference| difference.verdict);
    if verdict == wanted && difference.is_none_or(|difference| is_said(difference, answer)) {
        return None;
    }
    let mut text = format!("== {}: {verdict:?}, not {wanted:?}\n", row.name);
    let reference = match wanted {
        Verdict::Equal => references.bare.answer(row),
        Verdict::AsStock => references.stock.answer(row),
        Verdict::Differs => None,
    };
    let first = reference.map(|reference| {
        first_difference(&comparable(row, answer), &comparable(row, reference)) + "\n"
    });
    let short = format!("{text}{}", first.unwrap_or_default());
    let all = [
        ("bare", references.bare.answer(row)),
        ("stock", references.stock.answer(row)),
        ("this", Some(answer)),
    ];
    for (who, answer) in all {
        let shown = answer.map(|answer| shown(&comparable(row, answer)));
        writeln!(text, "-- {who}: {}", shown.unwrap_or_default()).expect("text grows");
    }
    Some((short, text))
}

/// The first thing in which an answer is not like another one.
fn first_difference(answer: &Answer, other: &Answer) -> String {
    let line = |what, ours: &str, theirs: &str| {
        let (mut ours, mut theirs) = (ours.lines(), theirs.lines());
        let pairs = std::iter::from_fn(|| match (ours.next(), theirs.next()) {
            (None, None) => None,
            pair => Some(pair),
        });
        let mut unlike = pairs.filter(|(own, other)| own != other);
        let (own, other) = unlike.next()?;
        Some(format!("   {what} has {own:?}, not {other:?}"))
    };
    if answer.status != other.status {
        let Answer { status, err, .. } = answer;
        return format!("   {status:?}, not {:?}: {err:?}", other.status);
    }
    line("stdout", &answer.out, &other.out)
        .or_else(|| line("stderr", &answer.err, &other.err))
        .unwrap_or_else(|| {
            let told = |answer: &Answer| format!("{:?} {}", answer.left, answer.module);
            format!("   left {}, not {}", told(answer), told(other))
        })
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
