//! What a job hands back instead of a module. The worker takes it out of a workspace that its job could
//! do anything with, and the coordinator looks at it again.
//!
//! Jobs are `hostile-stap` here, in jails without Landlock, which would keep them from making links and
//! FIFOs in the first place: it is the collector that is tried. The control is a server that packs whatever there is, following links:
//! the stock one.

mod left;

use stap_jail::layer::Layer;

use self::left::{NOTED, result};
use super::{Case, Goal, Guard};
use crate::process;

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let groups = [kinds(), amounts(), modules(), places()];
    groups.into_iter().flatten().collect()
}

/// Files that are none.
fn kinds() -> Vec<Case> {
    let collector = Guard::Check(COLLECTOR);
    vec![
        result("result-link", FILE, "leave-link {results} {secret}")
            .lesson("compiler-explorer#6026: a link in the output directory")
            .held(collector, NOTED)
            .covers("item:results: symbolic links")
            .case(),
        result(
            "result-relative-link",
            FILE,
            "leave-link {results} ../../../../../../../../../..{secret}",
        )
        .lesson("CVE-2024-28185")
        .held(collector, NOTED)
        .case(),
        result(
            "result-hard-link",
            FILE,
            "leave-hard-link {results} {secret}",
        )
        .held(Layer::Mount, "No such file")
        .covers("item:results: hard links")
        .case(),
        result(
            "result-second-name",
            Goal::Deceive("the collector about who else has the file"),
            "leave-second-name {results}",
        )
        .wins(|heard| heard.has_result("x.ko"))
        .held(collector, NOTED)
        .case(),
        result(
            "result-fifo",
            Goal::Disturb("the worker, which would wait for ever"),
            "leave-fifo {results}",
        )
        .held(collector, NOTED)
        .without_control("zip leaves FIFOs out by itself")
        .covers("item:results: FIFOs")
        .case(),
        result(
            "result-device",
            Goal::Exhaust("the worker with endless zeros"),
            "leave-device {results}",
        )
        .held(Layer::User, "Operation not permitted")
        .without_control("an ordinary user makes no devices anywhere")
        .covers("item:results: devices")
        .case(),
        result(
            "result-socket",
            Goal::Disturb("the worker"),
            "leave-socket {results}",
        )
        .held(Layer::Seccomp, "stopped")
        .without_control("nobody can open a socket as a file")
        .case(),
        result(
            "result-directory",
            Goal::Disturb("the worker"),
            "leave-directory {results}",
        )
        .held(collector, NOTED)
        .without_control("a directory gives nothing away")
        .case(),
    ]
}

/// Too much, and names that mean something.
fn amounts() -> Vec<Case> {
    let collector = Guard::Check(COLLECTOR);
    let memory = Goal::Exhaust("the memory of worker, coordinator and client");
    vec![
        result("result-hole", memory, "leave-hole {results} 40")
            .lesson("a sparse file costs its maker nothing")
            .wins(|heard| (heard.bytes.len() > 39 << 20).then(|| "40 MiB came back".to_owned()))
            .held(Guard::Limit("result-bytes"), "'result-bytes'")
            .covers("limit:result-bytes")
            .covers("item:results: sparse files")
            .case(),
        result("result-monster", memory, "leave-hole {results} 1048576")
            .held(Guard::Limit("file"), "'file'")
            .without_control(
                "the lab bounds the size of files, else the stock server would pack a tebibyte",
            )
            .case(),
        result(
            "result-names",
            Goal::Deceive("whoever prints, lists or deletes by name"),
            "leave-names {results}",
        )
        .wins(|heard| {
            (!heard.results.is_empty()).then(|| format!("{} names came back", heard.results.len()))
        })
        .covers("item:results: names")
        .held(collector, "rc 0, 0 results")
        .case(),
        result(
            "result-flood",
            Goal::Exhaust("the worker's time"),
            "leave-many {results} 100000",
        )
        .wins(|heard| (heard.results.len() > 90_000).then(|| "100000 names came back".to_owned()))
        .held(Guard::Limit("workspace-files"), "workspace-files")
        .covers("limit:workspace-files")
        .case(),
        result(
            "result-many-modules",
            Goal::Exhaust("the client"),
            "leave-modules {results} 20",
        )
        .wins(|heard| (heard.results.len() >= 20).then(|| "20 modules came back".to_owned()))
        .held(Guard::Limit("results"), "'results'")
        .covers("limit:results")
        .case(),
    ]
}

/// Modules that are none, or too many.
fn modules() -> Vec<Case> {
    let judge = Guard::Check("the coordinator's look at the module");
    let deceive = Goal::Deceive("the client with something that is no module");
    vec![
        result(
            "result-two-modules",
            Goal::Deceive("the client about which module is meant"),
            "leave-modules {results} 2",
        )
        .wins(|heard| (heard.results.len() >= 2).then(|| "two modules came back".to_owned()))
        .held(judge, "cannot be sent")
        .case(),
        result(
            "result-other-machine",
            deceive,
            "leave-module {results} other-machine",
        )
        .wins(|heard| heard.has_result("x.ko"))
        .held(judge, "another machine")
        .case(),
        result("result-cut-off", deceive, "leave-module {results} cut")
            .wins(|heard| heard.has_result("x.ko"))
            .held(judge, "cut off")
            .case(),
        result(
            "result-executable",
            deceive,
            "leave-module {results} executable",
        )
        .wins(|heard| heard.has_result("x.ko"))
        .held(judge, "not a relocatable object")
        .case(),
    ]
}

/// Results that are elsewhere, and what does not stay as it was.
fn places() -> Vec<Case> {
    let collector = Guard::Check(COLLECTOR);
    vec![
        result(
            "results-lead-elsewhere",
            FILE,
            "replace-results-by-link {results} {drawer}",
        )
        .held(collector, "rc 0, 0 results")
        .covers("item:results: directories that lead elsewhere")
        .case(),
        result(
            "results-are-a-file",
            Goal::Disturb("the worker"),
            "replace-results-by-file {results}",
        )
        .held(collector, "rc 0, 0 results")
        .without_control("there is nothing to gain; the stock server packs the file")
        .case(),
        result(
            "result-changes-late",
            Goal::Deceive("the collector about what it takes"),
            "leave-writer {results}",
        )
        .lesson("CVE-2011-2503: what was checked can still change")
        .wins(|_| still_writes().then(|| "a process still writes to what was taken".to_owned()))
        .held(
            Guard::Check("the tree is dead before anything is read"),
            "rc 0",
        )
        .covers("item:results: files that change")
        .case(),
        result(
            "cache-of-the-next-job",
            Goal::Deceive("the next client's stap by its own cache"),
            "write {job-home}/stapconf_b5_1.h",
        )
        .then("read {job-home}/stapconf_b5_1.h")
        .lesson("an appended stapconf, a forged module: one cache for all is poisonable")
        .wins(|heard| {
            heard
                .stdout
                .contains("worked: 1 bytes")
                .then(|| "the next job reads it".to_owned())
        })
        .held(
            Guard::Check("every job has a cache of its own"),
            "No such file",
        )
        .case(),
    ]
}

fn still_writes() -> bool {
    let all = process::all();
    all.iter()
        .any(|process| process.command_line().contains(" write-on "))
}

const COLLECTOR: &str = "the collector";
const FILE: Goal = Goal::Read("a file of the worker's user");
