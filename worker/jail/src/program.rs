//! The command line of `stap-jail`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's own output"
)]

use std::process::ExitCode;

use crate::channel::Inherited;
use crate::{launcher, probe};

/// Runs `stap-jail`.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => match Inherited::take() {
            Ok(inherited) => launcher::run(inherited),
            Err(cause) => usage(&format!(
                "stap-worker starts this program with descriptors 3 to 6 ({cause})"
            )),
        },
        ["--probe"] => probe(Form::Table),
        ["--probe", "--json"] => probe(Form::Json),
        _ => usage("unknown arguments"),
    }
}

#[derive(Clone, Copy)]
enum Form {
    Table,
    Json,
}

fn probe(form: Form) -> ExitCode {
    let layers = match probe::try_all() {
        Ok(layers) => layers,
        Err(cause) => {
            eprintln!("stap-jail: probing this host: {cause}");
            return ExitCode::FAILURE;
        }
    };
    match form {
        Form::Table => print!("{}", probe::Table(&layers)),
        Form::Json => println!("{}", probe::to_json(&layers)),
    }
    ExitCode::SUCCESS
}

fn usage(why: &str) -> ExitCode {
    eprintln!("stap-jail: {why}\nusage: stap-jail --probe [--json]");
    ExitCode::from(2)
}
