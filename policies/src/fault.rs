//! What is wrong with a policy file, shown under the offending word.

use std::fmt;
use std::ops::Range;

/// Why a text is no policy: everything that was found wrong with it, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    first: Fault,
    others: Vec<Fault>,
}

/// One thing in a policy file that is wrong, or that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    reason: String,
    place: Option<Place>,
}

/// Where in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    text: String,
    width: usize,
}

impl PolicyError {
    /// A fault of the whole text.
    pub(crate) fn whole(reason: impl Into<String>) -> Self {
        Self::from(Fault::whole(reason))
    }

    /// All of `faults`, or `None` if there are none.
    pub(crate) fn of(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by_key(|fault| (fault.line(), fault.column()));
        let left_out = faults.len().saturating_sub(MAX_FAULTS);
        faults.truncate(MAX_FAULTS);
        if left_out > 0 {
            faults.push(Fault::whole(format!("and {left_out} more faults")));
        }
        let mut faults = faults.into_iter();
        let first = faults.next()?;
        Some(Self {
            first,
            others: faults.collect(),
        })
    }

    /// Everything that is wrong, in the order of the file.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// What is wrong first, without the place.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.first.reason()
    }

    /// The line of the first fault, counted from 1, where it can be pinned to one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.first.line()
    }

    /// The column in characters of the first fault, counted from 1, where it can be pinned to one.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.first.column()
    }
}

impl Fault {
    /// A fault of the whole text.
    pub(crate) fn whole(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            place: None,
        }
    }

    /// A fault of the part of `text` at `span`.
    pub(crate) fn at(text: &str, span: &Range<usize>, reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            place: Place::of(text, span),
        }
    }

    pub(crate) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        Self {
            reason: error.message().trim().replace('\n', ", "),
            place: error.span().and_then(|span| Place::of(text, &span)),
        }
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The line, counted from 1, where the fault can be pinned to one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The column in characters, counted from 1, where the fault can be pinned to one.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.column)
    }
}

impl Place {
    fn of(text: &str, span: &Range<usize>) -> Option<Self> {
        let before = text.get(..span.start)?;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_text = text[start..].lines().next().unwrap_or_default();
        let column = text[start..span.start].chars().count() + 1;
        let shown = text.get(span.clone())?.lines().next().unwrap_or_default();
        Some(Self {
            line: before.matches('\n').count() + 1,
            column,
            text: line_text.chars().take(MAX_SHOWN).map(harmless).collect(),
            width: shown.chars().count().clamp(1, MAX_SHOWN),
        })
    }
}

impl From<Fault> for PolicyError {
    fn from(first: Fault) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

impl std::error::Error for PolicyError {}

/// Every fault, each beginning on a line of its own.
impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(formatter)?;
        self.others
            .iter()
            .try_for_each(|fault| write!(formatter, "\n{fault}"))
    }
}

/// `line 7, column 8: what is wrong`, then the line itself with the word marked.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Place {
            line,
            column,
            text,
            width,
        }) = &self.place
        else {
            return formatter.write_str(&self.reason);
        };
        let gutter = line.to_string().len();
        writeln!(formatter, "line {line}, column {column}: {}", self.reason)?;
        writeln!(formatter, "{line} | {text}")?;
        let (indent, mark) = (column - 1, "^".repeat(*width));
        write!(formatter, "{:gutter$} | {:indent$}{mark}", "", "")
    }
}

/// A tab would move the mark, and a control character could move the reader's cursor.
fn harmless(character: char) -> char {
    if character.is_control() {
        ' '
    } else {
        character
    }
}

/// Lines and marks are cut here; a longer one would not help the reader.
const MAX_SHOWN: usize = 160;
/// Faults that are told at once; a text with more is no policy that somebody meant.
const MAX_FAULTS: usize = 20;
