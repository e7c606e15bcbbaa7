//! Attacks on whoever runs at the same time, wherever it is found: on the jobs for the other targets of
//! one request, which all have the same script and know of each other before they begin.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::processes::stop;
use crate::{Attempt, stopped};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["find-held", file, secret, when, _marker] => find(file, secret, when, |_| Ok(())),
        ["alter-held", file, secret, when, _marker] => find(file, secret, when, alter),
        _ => return None,
    })
}

/// Looks for a file that holds `secret` in the working directories of all processes, and does something with
/// it: `at-once`, or `when-continued`, by whoever knows that there is one.
fn find(file: &str, secret: &str, when: &str, act: impl Fn(&Path) -> io::Result<()>) -> Attempt {
    if when == "when-continued" {
        stop()?;
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path().join("cwd").join(file);
        let holds = |text: Vec<u8>| String::from_utf8_lossy(&text).contains(secret);
        if fs::read(&path).is_ok_and(holds) {
            return act(&path).map(|()| format!("{} is a sibling's", path.display()));
        }
    }
    stopped("no process that can be seen has it")
}

fn alter(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(b"altered")
}

/// The order for a job of this kernel, where `on RELEASE ORDER otherwise ORDER` is for all.
pub(crate) fn chosen(words: Vec<String>, server: &[String]) -> Vec<String> {
    if words.first().is_none_or(|word| word != "on") {
        return words;
    }
    let mut releases = server.iter().filter_map(|word| word.strip_prefix("-r"));
    let is_it = words.get(1).map(String::as_str) == releases.next();
    let mut halves = words[2..].split(|word| word == "otherwise");
    let half = if is_it { halves.next() } else { halves.nth(1) };
    half.unwrap_or_default().to_vec()
}
