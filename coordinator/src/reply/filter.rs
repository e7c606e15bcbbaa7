//! Takes out of stap's text what only means something on the server.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Replaces private directories by `<server>`, wherever they stand as a whole path or its beginning.
#[must_use]
pub(super) fn hide_directories(text: &[u8], private: &[PathBuf]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = private
        .iter()
        .map(|path| path.as_os_str().as_bytes())
        .filter(|name| name.len() > 1)
        .collect();
    // The longest first: a directory may lie below another one.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let mut shown = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let begins = shown.last().is_none_or(|previous| !is_name_byte(*previous));
        let hidden = names
            .iter()
            .find_map(|name| rest.strip_prefix(*name))
            .filter(|rest| begins && ends_name(rest));
        if let Some(after) = hidden {
            shown.extend_from_slice(PLACEHOLDER);
            rest = after;
        } else {
            shown.push(*first);
            rest = after;
        }
    }
    shown
}

/// Drops the lines in which stap names a directory that it kept; the client cannot look into it.
#[must_use]
pub(super) fn drop_kept_directory(text: &[u8]) -> Vec<u8> {
    text.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(KEPT))
        .flatten()
        .copied()
        .collect()
}

fn ends_name(rest: &[u8]) -> bool {
    rest.first()
        .is_none_or(|next| *next == b'/' || !is_name_byte(*next))
}

/// What may stand in a path without ending it.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+~".contains(&byte) || !byte.is_ascii()
}

const PLACEHOLDER: &[u8] = b"<server>";
const KEPT: &[u8] = b"Keeping temporary directory";

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str, private: &[&str]) -> String {
        let private: Vec<_> = private.iter().map(PathBuf::from).collect();
        String::from_utf8(hide_directories(text.as_bytes(), &private)).unwrap()
    }

    #[test]
    fn whole_paths_and_their_beginnings_are_hidden() {
        let text = "/work/out/stap_1.ko\nIn file included from /work/out: \"/work/x\"\n/work";
        let expected =
            "<server>/stap_1.ko\nIn file included from <server>: \"<server>/x\"\n<server>";
        assert_eq!(hidden(text, &["/work", "/work/out"]), expected);
    }

    #[test]
    fn names_that_only_look_alike_stay() {
        let text = "/srv/work/a /workspace/b /work.old ./work -I/usr";
        assert_eq!(hidden(text, &["/work", "/", ""]), text);
    }

    #[test]
    fn an_option_with_a_path_attached_is_hidden() {
        assert_eq!(
            hidden("gcc -o=/work/a '/work/b'", &["/work"]),
            "gcc -o=<server>/a '<server>/b'"
        );
    }

    #[test]
    fn the_kept_directory_is_not_mentioned() {
        let text = b"Pass 1\nKeeping temporary directory \"/tmp/stapX\"\nerror: Keeping temporary directory\n";
        assert_eq!(
            drop_kept_directory(text),
            b"Pass 1\nerror: Keeping temporary directory\n"
        );
    }
}
