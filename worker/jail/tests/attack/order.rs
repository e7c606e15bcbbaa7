//! How an attack is ordered: by words on the command line, or by a script to the stap that this
//! program stands in for.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::siblings;

/// The words of the order. As stap, they are the script behind the mark that separates the server's
/// own options, and `{results}` in them is the directory in which stap leaves its results. `None`
/// when stap is only asked who it is.
pub(crate) fn of(arguments: Vec<String>) -> Option<Vec<String>> {
    if arguments == ["--version"] {
        return None;
    }
    let Some(mark) = arguments.iter().position(|word| word == "--client-options") else {
        return Some(arguments);
    };
    let (server, client) = arguments.split_at(mark);
    let results = server
        .iter()
        .find_map(|word| word.strip_prefix("--tmpdir="));
    let results = results.unwrap_or_default();
    let attached = client.iter().find_map(|word| word.strip_prefix("-e"));
    let apart = client.windows(2).find(|pair| pair[0] == "-e");
    let script = apart.map(|pair| pair[1].as_str()).or(attached);
    let fill = |word: &str| word.replace("{results}", results);
    let words = script.unwrap_or_default().split_whitespace();
    Some(siblings::chosen(words.map(fill).collect(), server))
}

pub(crate) fn introduce() -> ExitCode {
    let line = "Systemtap translator/driver (version 5.6/0.195, stand-in)\n";
    match io::stderr().write_all(line.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_listens) => ExitCode::FAILURE,
    }
}
