//! What the tools say to people, in the documented forms.
//!
//! Standard output carries only the documented result of a tool; everything here goes to standard
//! error. Each text may have further lines that say why and what to do; only the first carries the
//! prefix, so that programs can match it.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write};

/// Speaks in the name under which the tool was called.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostics {
    program: String,
}

impl Diagnostics {
    /// Takes the name from the first word of the command line.
    #[must_use]
    pub(crate) fn named(argv0: Option<&OsStr>, fallback: &str) -> Self {
        let program = argv0
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| OsStr::new(fallback));
        Self {
            program: program.to_string_lossy().into_owned(),
        }
    }

    /// The name under which the tool was called.
    #[must_use]
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// Says why the tool cannot do what was asked.
    pub(crate) fn error(&self, text: impl Display) {
        self.plain(format_args!("{}: ERROR: {text}", self.program));
    }

    /// Says what is wrong but does not stop the tool.
    pub(crate) fn warning(&self, text: impl Display) {
        self.plain(format_args!("{}: WARNING: {text}", self.program));
    }

    /// Asks something; the answer comes on the same line.
    #[expect(
        clippy::unused_self,
        reason = "whoever speaks to people holds the diagnostics"
    )]
    pub(crate) fn question(&self, text: &str) {
        io::stderr().write_all(text.as_bytes()).unwrap_or(());
    }

    /// Says a documented line that carries no prefix.
    #[expect(
        clippy::unused_self,
        reason = "whoever speaks to people holds the diagnostics"
    )]
    pub(crate) fn plain(&self, text: impl Display) {
        // One write a line: two tools in one pipeline must not mix their lines.
        let line = format!("{text}\n");
        // When standard error is gone there is nobody left to tell, and the exit status remains.
        io::stderr().write_all(line.as_bytes()).unwrap_or(());
    }
}

/// Writes a tool's result; a reader that went away early is not an error of ours.
///
/// # Errors
///
/// Any other failure, such as a full disk behind a redirection.
pub(crate) fn print_result(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
