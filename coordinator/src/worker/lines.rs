//! Splits what the worker, or the signer, writes on its stderr into lines for the log.

use tracing::Level;

/// Logs one line of a program, which begins with how serious it is. The log escapes and bounds it.
pub(super) fn log_line(program: &str, line: &str) {
    match level(line) {
        (Level::ERROR, text) => tracing::error!("{program}: {text}"),
        (Level::WARN, text) => tracing::warn!("{program}: {text}"),
        (_, text) => tracing::info!("{program}: {text}"),
    }
}

/// What is not written by the worker's log, as the last words of a panic, is told as it is.
fn level(line: &str) -> (Level, &str) {
    let line = line.trim();
    match line.split_once(' ') {
        Some(("ERROR", text)) => (Level::ERROR, text),
        Some(("WARN", text)) => (Level::WARN, text),
        Some(("INFO" | "DEBUG" | "TRACE", text)) => (Level::INFO, text),
        _ => (Level::INFO, line),
    }
}

/// Collects bytes until they are a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes; calls `log` with each line that they complete. A line that does not end
    /// is cut.
    pub(super) fn feed(&mut self, bytes: &[u8], mut log: impl FnMut(&str)) {
        for byte in bytes {
            if *byte == b'\n' || self.partial.len() == LONGEST_LINE {
                self.end(&mut log);
            }
            if *byte != b'\n' {
                self.partial.push(*byte);
            }
        }
    }

    /// Calls `log` with what is left at the end.
    pub(super) fn end(&mut self, mut log: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            log(&String::from_utf8_lossy(&self.partial));
            self.partial.clear();
        }
    }
}

/// The longest line that stays one line of the log.
const LONGEST_LINE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_with_its_weight_and_without_the_worker_s_columns() {
        assert_eq!(level(" WARN jobs run cold"), (Level::WARN, "jobs run cold"));
        assert_eq!(level("ERROR job{id=1}: x"), (Level::ERROR, "job{id=1}: x"));
        assert_eq!(level(" INFO warming"), (Level::INFO, "warming"));
        for odd in ["thread 'main' panicked at x", "WARN", ""] {
            assert_eq!(level(odd), (Level::INFO, odd));
        }
    }

    #[test]
    fn lines_are_put_together_and_bounded() {
        let mut lines = Lines::default();
        let mut logged = Vec::new();
        for bytes in [
            &b"one\ntw"[..],
            b"o\n\n",
            &[b'x'; LONGEST_LINE + 1],
            b"\nrest",
        ] {
            lines.feed(bytes, |line| logged.push(line.to_owned()));
        }
        lines.end(|line| logged.push(line.to_owned()));
        assert_eq!(
            logged.iter().map(String::len).collect::<Vec<_>>(),
            [3, 3, LONGEST_LINE, 1, 4]
        );
    }
}
