//! What became of each target, for people: a line for each.

use stap_protocol::text::escape;

use super::Row;

/// The table, without a newline at its end.
pub(super) fn of(rows: &[Row]) -> String {
    let cells: Vec<[String; 4]> = rows.iter().map(cells).collect();
    let titles = TITLES.map(str::to_owned);
    let lines: Vec<_> = std::iter::once(&titles).chain(&cells).collect();
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let line = |cells: &[String; 4]| {
        let [target, result, time, rest] = cells;
        format!(
            "{target:<0$}  {result:<1$}  {time:>2$}  {rest}",
            widths[0], widths[1], widths[2]
        )
    };
    let lines: Vec<_> = lines.into_iter().map(line).collect();
    lines.join("\n")
}

fn cells(row: &Row) -> [String; 4] {
    let took = row.took.map(|took| format!("{:.2} s", took.as_secs_f64()));
    let (result, rest) = match &row.error {
        Some(error) => ("failed", error.clone()),
        None => ("ok", row.saved.first().cloned().unwrap_or_default()),
    };
    [
        row.label(),
        result.to_owned(),
        took.unwrap_or_else(|| "-".to_owned()),
        match rest.is_empty() {
            true => "-".to_owned(),
            false => rest,
        },
    ]
}

/// The line that says why a compile failed: the first that speaks of an error, else the first.
pub(super) fn first_error(stderr: &[u8]) -> String {
    let mut lines = stderr.split(|byte| *byte == b'\n');
    let speaks = |line: &&[u8]| {
        let mut windows = line.windows(ERROR.len());
        windows.any(|window| window.eq_ignore_ascii_case(ERROR))
    };
    match lines.find(speaks) {
        Some(line) => escape(line),
        None => first_line(stderr),
    }
}

/// The first line that is not empty, fit to be shown.
pub(super) fn first_line(text: &[u8]) -> String {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    match lines.find(|line| !line.is_empty()) {
        Some(line) => escape(line),
        None => "it is not said why".to_owned(),
    }
}

const TITLES: [&str; 4] = ["TARGET", "RESULT", "TIME", "MODULE OR REASON"];
const ERROR: &[u8] = b"error:";
