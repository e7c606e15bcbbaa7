//! Splits what the worker writes on its stderr into lines for the log.

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
