//! One client's request that changes what another gets: stap's cache is shared by all clients of a stock
//! server, and its key leaves much out.

use super::super::heard::Heard;
use super::super::{Case, Goal, Guard};
use super::script::script;

pub(super) fn cases() -> Vec<Case> {
    let alone = Guard::Check("every job has a cache of its own");
    let helper = "#include \"../../request/tapset/helper.h\"\nstatic const char mark[] __attribute__((used)) = HELPER;";
    vec![
        script(
            "another-helper",
            Goal::Deceive("another client with one's own module"),
        )
        .guru(helper)
        .with("tapset/helper.h", "#define HELPER \"MODULE-OF-A\"\n")
        .guru(helper)
        .with("tapset/helper.h", "#define HELPER \"MODULE-OF-B\"\n")
        .lesson("the key leaves out what is included")
        .wins(|_, heard| carries(heard, "MODULE-OF-A"))
        .held(alone, "rc 0")
        .covers("item:cache")
        .case(),
        script(
            "macros-run-together",
            Goal::Deceive("another client with one's own module"),
        )
        .ask(&["-p4", "-DFOO", "-DBAR=1", "-I", "tapset/t", "-e", CALL])
        .with("tapset/t/f.stp", MARKED)
        .ask(&["-p4", "-DFOOBAR=1", "-I", "tapset/t", "-e", CALL])
        .with("tapset/t/f.stp", MARKED)
        .lesson("the key joins values without lengths")
        .wins(|_, heard| carries(heard, "MODULE-OF-A"))
        .held(alone, "rc 0")
        .case(),
        script(
            "tracepoint-poisoned",
            Goal::Disturb("another client's tracepoints"),
        )
        .ask(&["-p2", "--rlimit-fsize=20000", "-e", TRACE])
        .ask(&["-p2", "-e", TRACE])
        .lesson("a failed tracepoint query is cached as an empty file; 5.6 still does")
        .wins(|_, heard| {
            heard
                .stderr
                .contains("no match")
                .then(|| "the tracepoint is gone for everybody".to_owned())
        })
        .held(
            Guard::Check("options that clients may use"),
            "the server's policy sets the limits",
        )
        .without_control("asking for all tracepoints takes minutes; the score tries it")
        .case(),
    ]
}

const CALL: &str = "probe begin { f() exit() }";
const TRACE: &str = "probe kernel.trace(\"sched:sched_switch\") { exit() }";
const MARKED: &str = "function f() %{ static const char mark[] __attribute__((used)) =\n#ifdef FOOBAR\n\"MODULE-OF-B\"\n#else\n\"MODULE-OF-A\"\n#endif\n; %}";

fn carries(heard: &Heard, mark: &str) -> Option<String> {
    heard
        .holds(mark)
        .then(|| format!("the second client gets {mark}"))
}
