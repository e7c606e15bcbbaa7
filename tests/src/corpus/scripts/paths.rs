//! Paths that a request names without having sent them.

use stap_jail::layer::Layer;

use super::super::heard::Heard;
use super::super::{Case, Field, Goal, Guard, loot};
use super::script::script;

pub(super) fn cases() -> Vec<Case> {
    let file = Goal::Read("a file of the server's user");
    let program = Goal::Read("symbols of a program of the server's user");
    let inside = Guard::Check("paths stay inside the request");
    vec![
        script("script-is-a-server-file", file)
            .ask(&["-p1", "@secret@"])
            .lesson("parse errors quote the line")
            .held(inside, "lies outside of the request")
            .case(),
        script("script-climbs-out", file)
            .ask(&["-p1", "script/../../../../../../../../../../..@secret@"])
            .with("script/x.stp", "probe begin { exit() }")
            .held(inside, "lies outside of the request")
            .case(),
        script("script-is-a-link", file)
            .ask(&["-p1", "script/x.stp"])
            .link("script/x.stp", "@secret@")
            .lesson("compiler-explorer#6026, CVE-2024-28185: links lead out")
            .held(Guard::Check("no links in packages"), "is a symbolic link")
            .case(),
        script("tapset-of-the-server", file)
            .ask(&["-p2", "-I", "@drawer@", "-e", "probe begin { x() }"])
            .held(inside, "lies outside of the request")
            .case(),
        script("list-a-program", program)
            .ask(&["-l", "process(\"@program@\").function(\"*\")"])
            .wins(names_symbol)
            .held(Layer::Mount, "rc 1")
            .case(),
        script("command-names-a-program", program)
            .ask(&["-l", "process.function(\"*\")", "-c", "@program@"])
            .lesson("-c gives process probes their program")
            .wins(names_symbol)
            .held(Layer::Mount, "rc 1")
            .case(),
        script(
            "pid-names-a-program",
            Goal::Read("symbols of a neighbour's program"),
        )
        .ask(&["-l", "process.function(\"*\")", "-x", "@neighbour@"])
        .lesson("-x looks at /proc/PID/exe")
        .wins(names_symbol)
        .held(Layer::Pid, "rc 1")
        .case(),
        script("unwind-data-of-a-program", program)
            .ask(&[
                "-p3",
                "-d",
                "@program@",
                "-e",
                "probe begin { println(symname(0)) }",
            ])
            .lesson("-d copies symbols into the module")
            .wins(carries_symbol)
            .held(Layer::Mount, "missing unwind/symbol data")
            .case(),
        script("example-of-the-server", file)
            .ask(&["-p1", "--example", "../../../..@drawer@/private.stp"])
            .held(
                Guard::Check("options that clients may use"),
                "it names a file of the server",
            )
            .without_control("stap looks only below its own examples, served or not")
            .case(),
    ]
}

fn names_symbol(_: &Field, heard: &Heard) -> Option<String> {
    let told = heard.stdout.contains(loot::SYMBOL);
    told.then(|| format!("{} is listed", loot::SYMBOL))
}

fn carries_symbol(_: &Field, heard: &Heard) -> Option<String> {
    heard
        .holds(loot::SYMBOL)
        .then(|| format!("{} is in the reply", loot::SYMBOL))
}
