//! Options and arguments that are somebody else's to give.

use std::path::Path;

use super::super::heard::Heard;
use super::super::{Case, Field, Goal, Guard};
use super::script::{Script, script};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        script("arguments-for-a-shell", Goal::Reach("a shell on the server"))
            .ask(&[&["-p1", "-e", PRINT, "--"][..], &HOSTILE_ARGUMENTS].concat())
            .lesson("CVE-2009-4273: client arguments reached a shell")
            .held(Guard::Check("no shell"), "parse tree dump")
            .shell("stap -p1 -e 'probe begin { exit() }' -- x;cat @secret@ `cat @secret@` $(cat @secret@)")
            .case(),
        script("script-named-for-a-shell", Goal::Reach("a shell on the server"))
            .ask(&["-p1", "script/$(cat @secret@);`cat @secret@`\n'\"-p4"])
            .with("script/$(cat @secret@);`cat @secret@`\n'\"-p4", PRINT)
            .lesson("CVE-2009-4273")
            .held(Guard::Check("no shell"), "parse failed")
            .shell("echo script/$(cat @secret@)")
            .case(),
        script("environment-by-locale", Goal::Reach("the environment of stap"))
            .ask(&["-p1", "-e", PRINT])
            .locale("LANG=C\nLD_PRELOAD=@secret@\nPATH=@drawer@\nLC_ALL=$(cat @secret@)\nLC_CTYPE=../../..@secret@\n")
            .lesson("CVE-2010-4170: the user's environment in a privileged program")
            .wins(preloads)
            .held(Guard::Check("eight names, plain values"), "LD_PRELOAD")
            .shell("LD_PRELOAD=@secret@ stap -p1 -e 'probe begin { exit() }'")
            .covers("item:environment")
            .case(),
        script("version-that-is-no-number", Goal::Disturb("everybody, by the end of the server"))
            .ask(&["-p1", "-e", PRINT])
            .version("abc")
            .lesson("an assertion about the client's version ends a stock server")
            .held(Guard::Check("versions are read leniently"), "parse tree dump")
            .case(),
        script("macro-for-make", Goal::Reach("a shell of make"))
            .ask(&["-p4", "-DX=$(shell cat @secret@)", "-e", PRINT])
            .lesson("CVE-2010-0412's neighbour")
            .held(Guard::Check("stap's own pattern for -D"), "Safety pattern mismatch")
            .without_control("stap checks this by itself, served or not")
            .case(),
        script("name-for-make", Goal::Reach("a shell of make"))
            .ask(&["-p4", "-m", "x$(shell cat @secret@)", "-e", PRINT])
            .held(Guard::Check("stap's own pattern for -m"), "Safety pattern mismatch")
            .without_control("stap checks this by itself, served or not")
            .case(),
        script("signing-key", Goal::Write("keys in the server's database"))
            .ask(&["-p4", "--sign-module", "-e", PRINT])
            .lesson("every such request makes the stock server a new machine owner key")
            .wins(makes_keys)
            .held(own(), "it would use or make a signing key of the server")
            .case(),
        script("build-tree-of-the-client", Goal::Reach("a makefile of the client's choosing"))
            .ask(&["-p4", "-r", "@drawer@", "-e", PRINT])
            .held(Guard::Check("the target is the one that was asked for"), "contradicts the target of this request")
            .without_control("stap checks this by itself when it is served")
            .case(),
    ];
    cases.extend(REFUSED.iter().map(refused));
    cases
}

/// An option that no client may give: its name here, what it wants, its spelling, what the client is told,
/// and a call of stap that shows what it does when nobody objects.
struct Refused {
    name: &'static str,
    goal: Goal,
    arguments: &'static [&'static str],
    says: &'static str,
    lesson: &'static str,
    bare: &'static [&'static str],
}

const REFUSED: [Refused; 6] = [
    Refused {
        name: "make-variable-compiler",
        goal: Goal::Reach("a program of the client's choosing"),
        arguments: &["-B", "CC=@thief@"],
        says: "it would change how the server runs make",
        lesson: "CVE-2010-0412: -B passes variables to make",
        bare: &["-p4", "-B", "CC=@thief@", "-e", PRINT],
    },
    Refused {
        name: "make-variable-bundled",
        goal: Goal::Reach("a program of the client's choosing"),
        arguments: &["-vwBCC=@thief@"],
        says: "it would change how the server runs make",
        lesson: "CVE-2010-0412: the option hides in a bundle",
        bare: &["-p4", "-vwBCC=@thief@", "-e", PRINT],
    },
    Refused {
        name: "runtime-of-the-client",
        goal: Goal::Reach("a shell of make"),
        arguments: &["-R", "@drawer@$(shell cat @secret@ >&2)"],
        says: "it names files of the server",
        lesson: "-R is pasted into a makefile",
        bare: &[
            "-p4",
            "-R",
            "@drawer@$(shell cat @secret@ >&2)",
            "-e",
            PRINT,
        ],
    },
    Refused {
        name: "remote-host",
        goal: Goal::Reach("other hosts and sockets"),
        arguments: &["--remote=unix:@secret@"],
        says: "it would make the server talk to other hosts",
        lesson: "",
        bare: &["--remote=unix:@secret@", "-e", PRINT],
    },
    Refused {
        name: "abbreviated-option",
        goal: Goal::Write("files in a directory of the server"),
        arguments: &["--tmpdi=@drawer@"],
        says: "it names files of the server",
        lesson: "getopt_long takes abbreviations",
        bare: &["-p3", "--tmpdi=@drawer@", "-e", PRINT],
    },
    Refused {
        name: "directory-of-the-server",
        goal: Goal::Write("files in a directory of the server"),
        arguments: &["--tmpdir=@drawer@"],
        says: "it names files of the server",
        lesson: "",
        bare: &["-p3", "--tmpdir=@drawer@", "-e", PRINT],
    },
];

fn refused(option: &Refused) -> Case {
    let arguments = [option.arguments, &["-p4", "-e", PRINT]].concat();
    let script: Script = script(option.name, option.goal).ask(&arguments);
    script
        .lesson(option.lesson)
        .wins(connects_or_writes)
        .held(own(), option.says)
        .bare(option.bare)
        .case()
}

fn own() -> Guard {
    Guard::Check("options that clients may use")
}

fn preloads(_: &Field, heard: &Heard) -> Option<String> {
    heard
        .stderr
        .contains("cannot be preloaded")
        .then(|| "the loader opens the file".to_owned())
}

fn connects_or_writes(field: &Field, heard: &Heard) -> Option<String> {
    if heard.stderr.contains("error connecting to socket") {
        return Some("it connects".to_owned());
    }
    let drawer = Path::new(field.named("drawer"));
    let mut written = crate::lab::list(drawer);
    written.retain(|name| name.starts_with("stap_"));
    for file in &written {
        // They are not to count for the next case.
        std::fs::remove_file(drawer.join(file)).ok()?;
    }
    Some(format!("it writes {}", written.first()?))
}

/// What a stock server leaves when it is asked for a key.
fn makes_keys(field: &Field, _: &Heard) -> Option<String> {
    let keys = field
        .situation
        .scratch
        .join("stock-home/.systemtap/ssl/server/moks");
    let ours = field.situation.scratch.join("database/moks");
    (keys.exists() || ours.exists()).then(|| "the database has a directory for new keys".to_owned())
}

const PRINT: &str = "probe begin { exit() }";

/// What once broke servers that put command lines together.
const HOSTILE_ARGUMENTS: [&str; 12] = [
    ";cat @secret@",
    "`cat @secret@`",
    "$(cat @secret@)",
    "\ncat @secret@\n",
    "'; cat @secret@ '",
    "\"; cat @secret@ \"",
    "| cat @secret@",
    "&& cat @secret@",
    "< @secret@",
    "--tmpdir=@drawer@",
    "\\`cat @secret@\\`",
    "-R@drawer@",
];
