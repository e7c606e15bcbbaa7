//! `--list-targets`: what would be served, without serving.

use std::fmt::Write as _;

use stap_certs::Environment;
use stap_protocol::job::Readiness;

use crate::Failure;
use crate::log;
use crate::options::Options;
use crate::settings::{PolicyText, Surroundings, configuration};
use crate::{Clock, worker};

/// Asks the worker what it would serve, and returns that as text.
///
/// # Errors
/// When there is no worker, or it cannot work.
pub(crate) fn list_targets(options: &Options, json: bool, clock: Clock) -> Result<String, Failure> {
    let destination = options
        .log
        .as_deref()
        .map_or(log::Destination::Stderr, log::Destination::File);
    log::start(destination, clock)?;
    let environment = Environment::current();
    let surroundings =
        Surroundings::of_process(environment.home.map(Into::into).or(environment.passwd_home));
    let policy = PolicyText::read(&options.policy)?;
    let spawned = worker::start(configuration(options, &surroundings, &policy)?)?;
    if json {
        let text = serde_json::to_string_pretty(&spawned.readiness)
            .expect("what the worker says is plain data");
        return Ok(text + "\n");
    }
    Ok(table(&spawned.readiness))
}

fn table(readiness: &Readiness) -> String {
    let mut text = String::new();
    for target in &readiness.targets {
        let (root, compiler) = (target.root.display(), &target.compiler);
        writeln!(
            text,
            "{}\troot {root}\tstap {}\t{compiler}\tpass 4 {}",
            target.name,
            target.stap_version,
            target.pass_4_in_words()
        )
        .expect(STRING);
    }
    for unusable in &readiness.unusable {
        writeln!(
            text,
            "not served: {}: {}",
            unusable.build_tree.display(),
            unusable.reason
        )
        .expect(STRING);
    }
    if readiness.targets.is_empty() {
        text.push_str(
            "no targets; install kernel headers and systemtap, or add a root with --root\n",
        );
    }
    text
}

const STRING: &str = "writing to a String cannot fail";
