//! Numbers as a person reads them, in Markdown, so that they can be kept.

use std::time::Duration;

use crate::account::Account;

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

    fn median(&self) -> Duration {
        self.sorted[self.sorted.len() / 2]
    }

    /// What 99 of 100 are at most.
    fn slow(&self) -> Duration {
        self.sorted[(self.sorted.len() * 99 / 100).min(self.sorted.len() - 1)]
    }

    fn least(&self) -> Duration {
        self.sorted[0]
    }

    /// The median, and what it is the median of.
    fn show(&self) -> String {
        let (least, most) = (self.least(), self.sorted[self.sorted.len() - 1]);
        format!(
            "{} ({} .. {})",
            show(self.median()),
            show(least),
            show(most)
        )
    }
}

/// Prints what is bare beside what is served. Where other work disturbs, the least is what is left
/// of the truth about time on the wall.
pub(crate) fn comparison(title: &str, rows: &[(&str, Series, Series)]) {
    println!("\n{title}\n");
    println!("| time | bare | served | ratio of medians | ratio of least |");
    println!("|---|---|---|---|---|");
    for (name, bare, served) in rows {
        let ratio = |of: fn(&Series) -> Duration| of(served).as_secs_f64() / of(bare).as_secs_f64();
        let (medians, least) = (ratio(Series::median), ratio(Series::least));
        let (bare, served) = (bare.show(), served.show());
        println!("| {name} | {bare} | {served} | {medians:.3} | {least:.3} |");
    }
}

/// A kind of script, and what it costs bare and served.
pub(crate) type Row = (&'static str, Series, Series);

/// Prints one row for each kind, and the median of all ratios.
pub(crate) fn kinds(title: &str, rows: Vec<Row>) {
    println!("\n{title}\n");
    println!("| script | bare | served | ratio of medians |");
    println!("|---|---|---|---|");
    let mut ratios = Vec::new();
    for (name, bare, served) in rows {
        let ratio = served.median().as_secs_f64() / bare.median().as_secs_f64();
        println!(
            "| {name} | {} | {} | {ratio:.3} |",
            bare.show(),
            served.show()
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "| median of {} | | | {:.3} |\n",
        ratios.len(),
        ratios[ratios.len() / 2]
    );
}

/// Prints whose time it was, as means.
pub(crate) fn parts(title: &str, sum: Account, runs: usize) {
    println!("\n{title}\n");
    println!("| part | processor |");
    println!("|---|---|");
    mean("`stap-client`", sum.ours, runs);
    mean("`stap-serverd`", sum.coordinator, runs);
    mean("`stap-worker`", sum.worker, runs);
    mean("the jail and all in it", sum.jailed, runs);
}

/// Prints what a kept result costs.
pub(crate) fn kept(runs: usize, bytes: usize, walls: &Series, cost: Account) {
    println!("\nA kept result of {bytes} bytes, {runs} times, each on a connection of its own\n");
    println!("| part | |");
    println!("|---|---|");
    single("connect, ask, read the answer", walls);
    println!("| of it, half take at most | {} |", show(walls.median()));
    println!("| and 99 of 100 at most | {} |", show(walls.slow()));
    mean("`stap-serverd`, processor", cost.coordinator, runs);
    mean("`stap-worker`, processor", cost.worker, runs);
    mean("jails", cost.jailed, runs);
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

fn show(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    if milliseconds < 100.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{milliseconds:.0} ms")
    }
}
