//! Text from strangers, made fit to be shown.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most of a foreign text that is ever shown in one log line or message, in bytes of input.
pub const MAX_SHOWN: usize = 512;

/// What private directories become in the text that a client sees.
pub const SERVER: &[u8] = b"<server>";

/// Returns `bytes` as printable text on one line: no control character, no character that changes
/// the direction or the look of the line, no invalid encoding, and at most [`MAX_SHOWN`] bytes of
/// the original, with `...` where it was cut.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(MAX_SHOWN)];
    let mut line = String::with_capacity(shown.len());
    for chunk in shown.utf8_chunks() {
        chunk
            .valid()
            .chars()
            .for_each(|character| push_escaped(&mut line, character));
        chunk
            .invalid()
            .iter()
            .for_each(|byte| push_byte(&mut line, *byte));
    }
    if shown.len() < bytes.len() {
        line.push_str("...");
    }
    line
}

/// Returns `output` with every mention of one of `directories` replaced by `<server>`.
///
/// A mention is the whole directory, not a longer name that happens to start with it, and longer
/// directories go first, so that a private directory below another one leaves no part behind. The
/// root directory is never concealed: it would take every path of the output with it.
#[must_use]
pub fn conceal<P: AsRef<Path>>(output: &[u8], directories: &[P]) -> Vec<u8> {
    let mut needles: Vec<&[u8]> = directories
        .iter()
        .map(|path| trimmed(path.as_ref().as_os_str()))
        .collect();
    needles.retain(|needle| !needle.is_empty());
    needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));

    let mut shown = Vec::with_capacity(output.len());
    let mut at = 0;
    while let Some(byte) = output.get(at) {
        match needles
            .iter()
            .find(|needle| is_mentioned(output, at, needle))
        {
            Some(needle) => {
                shown.extend_from_slice(SERVER);
                at += needle.len();
            }
            None => {
                shown.push(*byte);
                at += 1;
            }
        }
    }
    shown
}

/// A directory without its trailing slashes; empty for the root.
fn trimmed(path: &OsStr) -> &[u8] {
    let mut bytes = path.as_bytes();
    while let [rest @ .., b'/'] = bytes {
        bytes = rest;
    }
    bytes
}

fn is_mentioned(output: &[u8], at: usize, needle: &[u8]) -> bool {
    let begins = at == 0 || !continues_a_name(output[at - 1]);
    begins
        && output[at..].starts_with(needle)
        && output
            .get(at + needle.len())
            .is_none_or(|byte| !continues_a_name(*byte))
}

/// Whether this byte beside a path would make it part of a longer name. A slash is not among them:
/// what is below a private directory is private, too, and `//tmp` is `/tmp`.
fn continues_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-+~".contains(&byte) || !byte.is_ascii()
}

fn push_escaped(line: &mut String, character: char) {
    match character {
        '\\' => line.push_str("\\\\"),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        other if changes_the_line(other) => line.extend(other.escape_unicode()),
        other => line.push(other),
    }
}

/// Control characters, and the invisible ones that reorder or hide their neighbours.
fn changes_the_line(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

fn push_byte(line: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    line.push_str("\\x");
    line.push(char::from(DIGITS[usize::from(byte >> 4)]));
    line.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_newline_cannot_forge_a_second_log_line() {
        assert_eq!(
            escape(b"-e x\nINFO all is well\r\x1b[2K"),
            "-e x\\nINFO all is well\\r\\u{1b}[2K"
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_as_numbers() {
        assert_eq!(escape(b"caf\xe9 \xc3\xa9 \\"), "caf\\xe9 é \\\\");
    }

    #[test]
    fn a_long_text_is_cut() {
        let line = escape(&[b'x'; MAX_SHOWN + 1]);
        assert_eq!(line.len(), MAX_SHOWN + 3);
        assert!(line.ends_with("x..."));
    }

    #[test]
    fn private_directories_become_server() {
        let output = b"/tmp/w1/stap000000/x.ko\nin /tmp/w1, not /tmp/w10 or /a/tmp/w1: /tmp/w1/";
        assert_eq!(
            conceal(output, &["/tmp/w1/"]),
            b"<server>/stap000000/x.ko\nin <server>, not /tmp/w10 or /a/tmp/w1: <server>/"
        );
    }

    #[test]
    fn the_longest_private_directory_wins_and_the_root_is_never_one() {
        let output = b"/work/out/x and /work/in";
        assert_eq!(
            conceal(output, &["/", "/work", "/work/out"]),
            b"<server>/x and <server>/in"
        );
    }

    proptest! {
        #[test]
        fn an_escaped_text_is_one_printable_line(bytes: Vec<u8>) {
            prop_assert!(!escape(&bytes).chars().any(changes_the_line));
        }

        #[test]
        fn every_mention_and_nothing_else_is_concealed(
            words in prop::collection::vec(prop::sample::select(&["/w", "/wx", "/a/w", "/w/x", "w"]), 0..9)
        ) {
            let shown: Vec<_> = words.iter().map(|word| match *word {
                "/w" => "<server>",
                "/w/x" => "<server>/x",
                other => other,
            }).collect();
            let output = conceal(words.join(" ").as_bytes(), &["/w"]);
            prop_assert_eq!(output, shown.join(" ").into_bytes());
        }

        #[test]
        fn text_without_private_directories_is_unchanged(bytes: Vec<u8>) {
            prop_assert_eq!(conceal(&bytes, &["/a/private/directory"]), bytes);
        }
    }
}
