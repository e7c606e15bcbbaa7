//! The command line of `stap-jail`.
#![expect(clippy::print_stderr, reason = "a program's own complaints")]

use std::process::ExitCode;

use crate::channel::Inherited;
use crate::launcher;
use crate::probe::{self, Form};

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
        ["--probe", "--encoded"] => probe(Form::Encoded),
        _ => usage("unknown arguments"),
    }
}

fn probe(form: Form) -> ExitCode {
    let answered = probe::try_all()
        .map_err(|cause| cause.to_string())
        .and_then(|layers| {
            probe::write(form, &layers, &mut std::io::stdout()).map_err(|cause| cause.to_string())
        });
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("stap-jail: probing this host: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn usage(why: &str) -> ExitCode {
    eprintln!("stap-jail: {why}\nusage: stap-jail --probe [--json]");
    ExitCode::from(2)
}
