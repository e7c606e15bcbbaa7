//! Hostile payloads. Each says `worked` when the attack did what it is for, and `stopped` with the
//! reason when something kept it from that. All are bounded, so that they can be run without the
//! layer that is meant to stop them.

mod calls;
mod exhaust;
mod files;
mod ipc;
mod neighbours;
mod order;
mod processes;
mod reach;
mod results;
mod siblings;
mod sockets;

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(arguments) = order::of(std::env::args().skip(1).collect()) else {
        return order::introduce();
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let areas = [
        files::attack,
        sockets::attack,
        processes::attack,
        exhaust::attack,
        neighbours::attack,
        ipc::attack,
        calls::attack,
        reach::attack,
        results::attack,
        siblings::attack,
    ];
    let attempt = areas.iter().find_map(|attack| attack(&arguments));
    let (line, status) = match attempt {
        Some(Ok(how)) => (format!("worked: {how}"), ExitCode::SUCCESS),
        Some(Err(why)) => (format!("stopped: {why}"), ExitCode::from(7)),
        None => (
            format!("there is no attack {arguments:?}"),
            ExitCode::from(2),
        ),
    };
    match say(&line) {
        Ok(()) => status,
        Err(_nobody_listens) => ExitCode::from(3),
    }
}

/// How an attack went: what it got, or what stopped it.
type Attempt = io::Result<String>;

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(io::Error::other)
}

fn stopped<T>(why: impl std::fmt::Debug) -> io::Result<T> {
    Err(io::Error::other(format!("{why:?}")))
}
