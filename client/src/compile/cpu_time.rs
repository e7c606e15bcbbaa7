//! Processor time, for the lines that say how long a pass took.

use std::fmt;
use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// Processor time spent in user and in kernel mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    user: Duration,
    system: Duration,
}

impl CpuTime {
    /// Of this process so far.
    pub(crate) fn of_self() -> Self {
        read(Whose::Own)
    }

    /// Of the children that have been waited for so far.
    pub(crate) fn of_children() -> Self {
        read(Whose::Children)
    }

    /// What was spent after `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    /// In the form that test suites read: `Nusr/Nsys/Nreal ms`.
    pub(crate) fn with_real(self, real: Duration) -> impl fmt::Display {
        let [user, system, real] = [self.user, self.system, real].map(|time| time.as_millis());
        format!("{user}usr/{system}sys/{real}real ms")
    }
}

#[derive(Clone, Copy)]
enum Whose {
    Own,
    Children,
}

fn read(whose: Whose) -> CpuTime {
    // Zero figures are a small loss; no run may fail for want of them.
    let stat = fs::read("/proc/self/stat").unwrap_or_default();
    parse(
        &String::from_utf8_lossy(&stat),
        whose,
        clock_ticks_per_second(),
    )
    .unwrap_or_default()
}

/// Fields 14 to 17 of proc_pid_stat(5): utime, stime, cutime, cstime.
fn parse(stat: &str, whose: Whose, ticks_per_second: u64) -> Option<CpuTime> {
    // The second field, the command name, may contain blanks and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: Vec<u64> = after_name
        .split_ascii_whitespace()
        .skip(UTIME - AFTER_NAME)
        .take(4)
        .map_while(|field| field.parse().ok())
        .collect();
    let time = |at: usize| {
        let milliseconds = ticks
            .get(at)?
            .checked_mul(1000)?
            .checked_div(ticks_per_second)?;
        Some(Duration::from_millis(milliseconds))
    };
    let first = match whose {
        Whose::Own => 0,
        Whose::Children => 2,
    };
    Some(CpuTime {
        user: time(first)?,
        system: time(first + 1)?,
    })
}

const UTIME: usize = 14;
const AFTER_NAME: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "1 (a) b) S 2 3 4 5 6 7 8 9 10 11 120 130 140 150 16 17";
        let own = parse(stat, Whose::Own, 100).unwrap();
        let children = parse(stat, Whose::Children, 100).unwrap();
        assert_eq!(
            own.with_real(Duration::from_millis(7)).to_string(),
            "1200usr/1300sys/7real ms"
        );
        assert_eq!(
            children.since(own).with_real(Duration::ZERO).to_string(),
            "200usr/200sys/0real ms"
        );
    }

    #[test]
    fn an_unreadable_line_has_no_time() {
        assert_eq!(parse("", Whose::Own, 100), None);
        assert_eq!(parse("1 (a) S 2", Whose::Own, 100), None);
    }
}
