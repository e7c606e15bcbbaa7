//! Processor time of the programs that were run.

use std::time::Duration;

/// What programs that have been waited for have used, and their own programs; proc_pid_stat(5) has the numbers of the
/// fields. It is in hundredths of a second, and `None` where there is no `/proc`.
#[must_use]
pub fn spent() -> Option<Duration> {
    spent_in(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

fn spent_in(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(WAITED - STATE);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(TICK * u32::try_from(next()?.checked_add(next()?)?).ok()?)
}

/// The first field behind the name, counted from 1.
const STATE: usize = 3;
/// User time of programs that were waited for; the next is system time.
const WAITED: usize = 16;
/// `USER_HZ` is 100 on every architecture that Debian has stap for.
const TICK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_of_those_that_were_waited_for_count() {
        let stat = "7 (a) b) R 1 1 1 0 -1 4 10 20 30 40 1000 2000 120 5 20 0 1 0 99 0 0";
        assert_eq!(spent_in(stat), Some(Duration::from_millis(1250)));
        for broken in [
            "",
            "7 (a) R 1 1",
            "7 (a) R 1 1 1 0 -1 4 10 20 30 40 1000 2000 x 5",
            "7 (a) R 1 1 1 0 -1 4 10 20 30 40 1000 2000 18446744073709551615 5",
        ] {
            assert_eq!(spent_in(broken), None, "{broken}");
        }
    }

    #[test]
    fn it_grows_by_what_a_program_uses() {
        let before = spent().unwrap();
        let mut shell = std::process::Command::new("/bin/sh");
        let ended = shell.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        assert!(ended.status().unwrap().success());
        assert!(spent().unwrap() > before);
    }
}
