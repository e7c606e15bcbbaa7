//! What people see who start the server by hand, or through `stap-start-server`.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes `<argv0>: WARNING: <text>` and `<argv0>: ERROR: <text>` on stderr.
#[derive(Clone, Debug)]
pub struct Console {
    argv0: String,
}

impl Console {
    /// Speaks under the name by which the program was called.
    #[must_use]
    pub fn named(argv0: Option<&OsStr>) -> Self {
        let argv0 = argv0.map_or_else(|| "stap-serverd".into(), OsStr::to_string_lossy);
        Self {
            argv0: argv0.into_owned(),
        }
    }

    /// Something should be better, and the server goes on.
    pub fn warning(&self, text: impl Display) {
        self.say("WARNING", &text);
    }

    /// The server does not start.
    pub fn error(&self, text: impl Display) {
        self.say("ERROR", &text);
    }

    fn say(&self, kind: &str, text: &dyn Display) {
        let line = format!("{}: {kind}: {text}\n", self.argv0);
        // When stderr is closed there is nobody left to tell.
        io::stderr().write_all(line.as_bytes()).unwrap_or_default();
    }
}

/// Writes a result on stdout.
///
/// # Errors
/// When stdout is closed or full.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
