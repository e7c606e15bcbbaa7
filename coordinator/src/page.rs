//! Text for a terminal: at most a hundred columns wide, and coloured where somebody looks at it.

use std::io::{self, IsTerminal as _};

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Should be better.
    Doubtful,
    /// Not as it has to be.
    Bad,
}

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    colored: bool,
}

impl Page {
    pub(crate) fn new(colored: bool) -> Self {
        Self {
            text: String::new(),
            colored,
        }
    }

    /// A line that begins with a coloured word.
    pub(crate) fn marked(&mut self, mark: Mark, word: &str, text: &str) {
        self.block(Some((mark, word)), MARGIN, text);
    }

    /// Something below a marked line.
    pub(crate) fn under(&mut self, text: &str) {
        self.block(None, MARGIN, text);
    }

    /// A name and a value.
    pub(crate) fn item(&mut self, name: &str, value: &str) {
        self.block(Some((Mark::Note, name)), NAMES, value);
    }

    /// A marked word, a name, and what there is to say.
    pub(crate) fn finding(&mut self, mark: Mark, word: &str, name: &str, text: &str) {
        let name = format!("{name:width$}", width = NAMES - 2);
        let text = format!("{name}  {text}");
        self.hanging(Some((mark, word)), MARGIN, NAMES, &text);
    }

    /// Something below a finding.
    pub(crate) fn beside(&mut self, text: &str) {
        self.block(None, MARGIN + NAMES, text);
    }

    /// A paragraph.
    pub(crate) fn text(&mut self, text: &str) {
        self.block(None, 0, text);
    }

    /// A heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.gap();
        self.paint("1", text);
        self.text.push('\n');
    }

    /// An empty line between two parts.
    pub(crate) fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn block(&mut self, label: Option<(Mark, &str)>, margin: usize, text: &str) {
        self.hanging(label, margin, 0, text);
    }

    /// Lines of `text` at a margin, all but the first further in by `hang`.
    fn hanging(&mut self, label: Option<(Mark, &str)>, margin: usize, hang: usize, text: &str) {
        let mut rows = wrapped(text, WIDTH - margin, hang).into_iter();
        let label_width = label.map_or(0, |(_, word)| word.chars().count());
        if let Some((mark, word)) = label {
            self.paint(mark.color(), word);
        }
        // A label that leaves no room has a line of its own.
        if label_width >= margin && label.is_some() && margin > 0 {
            self.text.push('\n');
            self.row(margin, rows.next().as_deref());
        } else {
            self.row(margin - label_width.min(margin), rows.next().as_deref());
        }
        for row in rows {
            self.row(margin, Some(&row));
        }
    }

    fn row(&mut self, margin: usize, text: Option<&str>) {
        let text = text.unwrap_or_default();
        if !text.is_empty() {
            self.text.push_str(&" ".repeat(margin));
            self.text.push_str(text);
        }
        self.text.push('\n');
    }

    fn paint(&mut self, color: &str, text: &str) {
        if self.colored && !color.is_empty() {
            self.text
                .push_str(&["\u{1b}[", color, "m", text, "\u{1b}[0m"].concat());
        } else {
            self.text.push_str(text);
        }
    }
}

impl Mark {
    fn color(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Note => "",
            Self::Doubtful => "33",
            Self::Bad => "31",
        }
    }
}

/// Whether stdout is a terminal of somebody who did not say that he wants no colours.
pub(crate) fn is_colored() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    !unwanted && !dumb && io::stdout().is_terminal()
}

/// Breaks a text between words; a word that is longer than a line is cut.
fn wrapped(text: &str, width: usize, hang: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut column = 0;
    for word in text.split_inclusive(' ') {
        for piece in pieces(word, width - hang) {
            let (length, bare) = (piece.chars().count(), piece.trim_end().chars().count());
            if column + bare > width && column > 0 {
                rows.push(" ".repeat(hang));
                column = hang;
            }
            if let Some(row) = rows.last_mut() {
                row.push_str(&piece);
            }
            column += length;
        }
    }
    rows.iter().map(|row| row.trim_end().to_owned()).collect()
}

fn pieces(word: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().map(harmless).collect();
    let pieces = letters.chunks(width.max(1));
    pieces.map(|piece| piece.iter().collect()).collect()
}

/// What comes from elsewhere must not move the cursor.
fn harmless(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}

const WIDTH: usize = 100;
/// Where text begins beside a marked word.
const MARGIN: usize = 9;
/// Where values begin beside names.
const NAMES: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_too_wide_whatever_is_on_it() {
        let mut page = Page::new(false);
        for text in [
            "short",
            &"word ".repeat(100),
            &"x".repeat(1000),
            "",
            "a\nb\tc",
        ] {
            page.marked(Mark::Good, "yes", text);
            page.finding(Mark::Bad, "no", "a name that is longer than others", text);
            page.item("name", text);
            page.beside(text);
            page.text(text);
        }
        let text = page.finish();
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line.trim_end(), line);
        }
        assert_eq!(text.matches('x').count(), 5000);
    }

    #[test]
    fn colour_is_where_it_is_wanted_only() {
        let written = |colored| {
            let mut page = Page::new(colored);
            page.marked(Mark::Bad, "no", "text");
            page.finish()
        };
        assert_eq!(written(false), "no       text\n");
        assert_eq!(written(true), "\u{1b}[31mno\u{1b}[0m       text\n");
    }
}
