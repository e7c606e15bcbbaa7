//! What came of a command, and what a test claims about it. A failed claim shows all that was said.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What came of a command.
#[derive(Debug)]
pub struct Finished {
    line: String,
    status: ExitStatus,
    /// All of its stdout.
    pub stdout: Vec<u8>,
    /// All of its stderr.
    pub stderr: Vec<u8>,
}

impl Finished {
    pub(crate) fn new(line: String, status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        Self {
            line,
            status,
            stdout,
            stderr,
        }
    }

    /// The exit status, unless a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    #[must_use]
    pub fn ending_signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// stdout as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stderr as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "exit status\n{self}");
        self
    }

    /// Asserts all of stdout.
    #[track_caller]
    pub fn prints(&self, text: &str) -> &Self {
        assert_eq!(self.out(), text, "stdout\n{self}");
        self
    }

    /// Asserts that stdout is empty.
    #[track_caller]
    pub fn prints_nothing(&self) -> &Self {
        self.prints("")
    }

    /// Asserts a part of stderr.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.err().contains(text), "stderr lacks {text:?}\n{self}");
        self
    }

    /// Asserts that stderr does not contain a text.
    #[track_caller]
    pub fn never_says(&self, text: &str) -> &Self {
        assert!(!self.err().contains(text), "stderr has {text:?}\n{self}");
        self
    }

    /// Asserts that stderr is empty.
    #[track_caller]
    pub fn says_nothing(&self) -> &Self {
        assert!(self.stderr.is_empty(), "stderr is not empty\n{self}");
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "$ {}\n{}", self.line, self.status)?;
        for (name, text) in [("stdout", self.out()), ("stderr", self.err())] {
            for line in text.lines() {
                writeln!(formatter, "{name}| {line}")?;
            }
        }
        Ok(())
    }
}
