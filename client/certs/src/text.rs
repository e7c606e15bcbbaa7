//! How paths appear in sentences and in commands that a person may paste.

use std::path::Path;

/// Returns the path for a terminal or a log: what could move the cursor or forge a line is replaced.
pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .map(|character| {
            if character.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                character
            }
        })
        .collect()
}

/// Returns the path as one word of a shell command, for hints that a person may paste.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", shown(path).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_forge_a_line_or_end_the_quotation() {
        assert_eq!(
            shown(Path::new("a\nWARNING: b\x1b[2J")),
            "a\u{fffd}WARNING: b\u{fffd}[2J"
        );
        assert_eq!(quoted(Path::new("it's; rm")), r"'it'\''s; rm'");
    }
}
