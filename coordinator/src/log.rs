//! The server's log: one line per event, in the shape that SystemTap's own test-suite searches.
//!
//! Nothing that a peer sends can end a line or move a cursor: the finished line is escaped as a
//! whole. Job output and environments are never logged; that is the callers' part.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::OFlags;
use rustix::io::Errno;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::Clock;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[error("the log file {} cannot be opened for appending: {source}", path.display())]
pub struct LogError {
    path: PathBuf,
    source: io::Error,
}

/// Where lines go.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// Appended to a file.
    File(&'a Path),
    /// To whoever started the server by hand.
    Stderr,
    /// Nobody wants them.
    Nowhere,
}

/// Sends all events of this process to `destination`.
///
/// # Errors
/// When the file cannot be opened for appending.
pub fn start(destination: Destination<'_>, clock: Clock) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        // The library would tell stderr of a full disk, and panic where nobody reads that any more.
        .log_internal_errors(false)
        .fmt_fields(Fields)
        .event_format(Line {
            clock,
            zone: TimeZone::system(),
        });
    match destination {
        Destination::File(path) => {
            let file = append(path).map_err(|source| LogError {
                path: path.to_owned(),
                source,
            })?;
            builder.with_writer(Mutex::new(file)).init();
        }
        Destination::Stderr => builder.with_writer(io::stderr).init(),
        Destination::Nowhere => {}
    }
    Ok(())
}

/// A FIFO that nobody reads is refused here, and later loses lines: no start and no request waits for
/// the reader of a log.
fn append(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(LOG_MODE)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::NXIO.raw_os_error() => {
            io::Error::other("it is a FIFO that nobody reads; start its reader first")
        }
        _ => error,
    })
}

/// Writes one event as one line: `Mon Nov 23 03:02:01 2026: [request] text key=value`.
struct Line {
    clock: Clock,
    zone: TimeZone,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                write!(text, "[{}] ", fields.fields)?;
            }
        }
        match *event.metadata().level() {
            Level::ERROR => text.push_str("ERROR: "),
            Level::WARN => text.push_str("WARNING: "),
            _ => {}
        }
        context
            .field_format()
            .format_fields(Writer::new(&mut text), event)?;
        writeln!(writer, "{}: {}", self.stamp(), one_line(&text))
    }
}

impl Line {
    /// The form of ctime(3).
    fn stamp(&self) -> String {
        let now = Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        now.to_zoned(self.zone.clone())
            .strftime("%a %b %e %H:%M:%S %Y")
            .to_string()
    }
}

/// Writes the message bare and every other field as ` key=value`; a span's `id` bare, too.
struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut visitor = Visitor {
            text: String::new(),
        };
        fields.record(&mut visitor);
        writer.write_str(visitor.text.trim_start())
    }
}

struct Visitor {
    text: String,
}

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => {
                let message = format!("{value:?}");
                self.text.insert_str(0, &message);
                Ok(())
            }
            "id" => write!(self.text, " {value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
        written.expect("writing to a String cannot fail");
    }
}

/// Makes `text` fit for a single line of a terminal, and bounds it.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(LONGEST_LINE));
    for character in text.chars() {
        if line.len() > LONGEST_LINE {
            line.push_str("...");
            break;
        }
        if character.is_control() || is_invisible(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Characters that reorder or hide their neighbours on a terminal.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The longest log line in bytes; a peer chooses some of its words.
const LONGEST_LINE: usize = 4096;
const LOG_MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn early() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 7)
    }

    fn logged(speak: impl FnOnce()) -> String {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(Fields)
            .event_format(Line {
                clock: early,
                zone: TimeZone::UTC,
            })
            .with_writer(Arc::clone(&file))
            .finish();
        tracing::subscriber::with_default(subscriber, speak);
        let mut file = &*file;
        let mut text = String::new();
        io::Seek::rewind(&mut file).unwrap();
        io::Read::read_to_string(&mut file, &mut text).unwrap();
        text
    }

    #[test]
    fn the_ninth_word_of_the_address_line_is_the_address() {
        let text = logged(|| tracing::info!("Using network address [::]:4711"));
        assert_eq!(
            text,
            "Thu Jan  8 00:00:00 1970: Using network address [::]:4711\n"
        );
        assert_eq!(text.split_whitespace().nth(8), Some("[::]:4711"));
    }

    #[test]
    fn a_request_id_precedes_the_text() {
        let text = logged(|| {
            let _guard = tracing::info_span!("request", id = %"ab-1").entered();
            tracing::info!(rc = 1, "refused");
        });
        assert_eq!(text, "Thu Jan  8 00:00:00 1970: [ab-1] refused rc=1\n");
    }

    #[test]
    fn a_peer_cannot_forge_a_line() {
        let hostile = "x\nMon Jan  1: forged\r\u{1b}[2J\u{202e}";
        let text = logged(|| tracing::info!(argument = %hostile, "{hostile}"));
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains(['\r', '\u{1b}', '\u{202e}']));
    }

    #[test]
    fn nobody_waits_for_the_reader_of_a_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let unread = append(&path).expect_err("nobody reads it");
        assert!(unread.to_string().contains("nobody reads"), "{unread}");
        let _reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path)
            .unwrap();
        let mut log = append(&path).unwrap();
        let full = io::Write::write_all(&mut log, &vec![b'x'; 1 << 20]);
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_line_has_a_bound() {
        assert!(one_line(&"y".repeat(1 << 20)).len() < LONGEST_LINE + 16);
    }
}
