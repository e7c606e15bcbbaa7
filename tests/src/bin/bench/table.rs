//! Numbers as a person reads them, in Markdown, so that they can be kept.

use std::time::Duration;

use crate::account::Account;
use crate::ways::Way;

/// Measurements of the same thing.
pub(crate) struct Series {
    sorted: Vec<Duration>,
}

impl Series {
    pub(crate) fn of(mut measured: Vec<Duration>) -> Self {
        assert!(!measured.is_empty(), "something was measured");
        measured.sort_unstable();
        Self { sorted: measured }
    }

    /// Of medians.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        self.median().as_secs_f64() / other.median().as_secs_f64()
    }

    pub(crate) fn median(&self) -> Duration {
        self.sorted[self.sorted.len() / 2]
    }

    /// What 99 of 100 are at most.
    pub(crate) fn slow(&self) -> Duration {
        self.sorted[(self.sorted.len() * 99).div_ceil(100) - 1]
    }

    /// The median, and what it is the median of.
    fn show(&self) -> String {
        let (least, most) = (self.sorted[0], self.sorted[self.sorted.len() - 1]);
        format!(
            "{} ({} .. {})",
            show(self.median()),
            show(least),
            show(most)
        )
    }
}

/// The larger one of two in the middle.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// A name, and one series for each way.
pub(crate) type Row = (&'static str, Vec<Series>);

/// Prints one row for each thing that was done and one column for each way, with the ratio of one way to the first. Returns
/// the median of all ratios.
pub(crate) fn ways(ways: &[Way], rows: &[Row], compared: usize) -> f64 {
    let titles: Vec<_> = ways.iter().map(|way| way.title()).collect();
    let (titles, rule) = (titles.join(" | "), "---|".repeat(ways.len()));
    let (one, other) = (ways[compared].title(), ways[0].title());
    println!("| | {titles} | {one} / {other} |\n|---|{rule}---|");
    let mut ratios = Vec::new();
    for (name, series) in rows {
        let ratio = series[compared].ratio(&series[0]);
        let cells: Vec<_> = series.iter().map(Series::show).collect();
        println!("| {name} | {} | {ratio:.3} |", cells.join(" | "));
        ratios.push(ratio);
    }
    let median = median(ratios);
    if rows.len() > 2 {
        let empty = "| ".repeat(ways.len());
        println!("| median of {} {empty}| {median:.3} |", rows.len());
    }
    median
}

/// Prints whose time it was, as means.
pub(crate) fn parts(title: &str, accounts: &[Account]) {
    let sum = accounts
        .iter()
        .fold(Account::default(), |sum, one| sum + *one);
    let runs = accounts.len();
    println!("\n{title}\n");
    println!("| part | processor |\n|---|---|");
    mean("`stap-client`", sum.ours, runs);
    mean("`stap-serverd`", sum.coordinator, runs);
    mean("`stap-worker`", sum.worker, runs);
    mean("the jail and all in it", sum.jailed, runs);
}

/// Prints one row.
pub(crate) fn mean(name: &str, sum: Duration, runs: usize) {
    let runs = u32::try_from(runs).expect("nobody waits for that many");
    println!("| {name} | {} |", show(sum / runs));
}

/// Prints one row with its spread.
pub(crate) fn single(name: &str, series: &Series) {
    println!("| {name} (wall) | {} |", series.show());
}

/// The same without its name.
pub(crate) fn cell(series: &Series) -> String {
    series.show()
}

/// As a person reads it.
pub(crate) fn show(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    if milliseconds < 100.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{milliseconds:.0} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(milliseconds: impl IntoIterator<Item = u64>) -> Series {
        Series::of(
            milliseconds
                .into_iter()
                .map(Duration::from_millis)
                .collect(),
        )
    }

    #[test]
    fn a_series_is_told_by_its_middle_and_its_ends() {
        let measured = series([900, 7, 30, 20, 1]);
        assert_eq!(measured.median(), Duration::from_millis(20));
        assert_eq!(measured.show(), "20.0 ms (1.0 ms .. 900 ms)");
        assert!((measured.ratio(&series([80])) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn of_a_hundred_one_is_slower_than_the_slow_one() {
        assert_eq!(series(1..=100).slow(), Duration::from_millis(99));
        assert_eq!(series(1..=101).slow(), Duration::from_millis(100));
        assert_eq!(series([5]).slow(), Duration::from_millis(5));
    }

    #[test]
    fn of_two_in_the_middle_the_larger_is_taken() {
        assert!((median(vec![0.9, 0.1, 0.4, 0.5]) - 0.5).abs() < 1e-9);
    }
}
