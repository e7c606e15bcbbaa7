//! Pass 4 without make gives, byte for byte, the module that bare stap gives with it; and what was not
//! recorded is made by make.

use std::fs;

use stap_tests::lab::{self, Lab};
use stap_tests::requirement;
use stap_tests::root::{self, Bare};
use stap_tests::server::Server;

/// A kind of script.
struct Kind {
    /// The name of the module.
    name: &'static str,
    how: How,
    arguments: &'static [&'static str],
}

/// How pass 4 of a script goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Replayed,
    /// By make, because its Makefile or command line was not recorded.
    Unrecorded,
    /// By make, without a word about it, because it is no build of ours.
    Ordinary,
}

use How::{Ordinary, Replayed, Unrecorded};

const fn kind(name: &'static str, how: How, arguments: &'static [&'static str]) -> Kind {
    Kind {
        name,
        how,
        arguments,
    }
}

const HISTOGRAM: &str = "global s probe timer.profile { s <<< cpu() } \
    probe end { print(@hist_log(s)) print(@hist_linear(s, 0, 8, 1)) }";
const TIMERS: &str = "global n probe timer.ms(7), timer.jiffies(3) { n++ } \
    probe timer.s(1) { println(n) exit() }";
const STRINGS: &str = "function twist(s:string) { return substr(s, 1, 3) . sprintf(\"%s-%5d\", s, strlen(s)) } \
    probe begin { println(twist(tokenize(\"a,b,c\", \",\")), str_replace(\"aaa\", \"a\", \"b\")) exit() }";
const REGEX: &str = "probe begin { if (\"abc\" =~ \"a(b|c)*\") println(matched(0)) exit() }";
const PROCFS: &str =
    "global v probe procfs(\"x\").read { $value = v } probe procfs(\"x\").write { v = $value }";
const EMBEDDED: &str = "%{ #include <linux/utsname.h> %} \
    function release:string() %{ /* pure */ strscpy(STAP_RETVALUE, utsname()->release, MAXSTRINGLEN); %} \
    probe begin { println(release()) exit() }";
const PROCESS: &str =
    "probe process(\"/bin/ls\").begin, process(\"/bin/ls\").end { println(pid(), execname()) }";
const LATENCY: &str = "global t, s probe timer.profile { t[tid(), execname()] = gettimeofday_us() } \
    probe timer.ms(100) { foreach ([id, name] in t) s[name] <<< gettimeofday_us() - t[id, name] } \
    probe end { foreach (name in s+) println(name, @count(s[name]), @avg(s[name]), @max(s[name])) }";
const SYSCALL: &str = "probe nd_syscall.openat, nd_syscall.read { println(name, argstr) }";
const TAPSET: &str = "probe begin { println(greeting()) exit() }";

const KINDS: &[Kind] = &[
    kind("hello", Replayed, &["-e", lab::HELLO]),
    kind("histogram", Replayed, &["-e", HISTOGRAM]),
    kind("timers", Replayed, &["-e", TIMERS]),
    kind("strings", Replayed, &["-e", STRINGS]),
    kind("regex", Replayed, &["-e", REGEX]),
    kind("procfs", Replayed, &["-e", PROCFS]),
    kind("process", Replayed, &["-e", PROCESS]),
    kind("latency", Replayed, &["-e", LATENCY]),
    kind("tapset", Replayed, &["-I", "tapset", "-e", TAPSET]),
    kind("embedded", Replayed, &["-g", "-e", EMBEDDED]),
    // A name that occurs in every word.
    kind("o", Replayed, &["-e", lab::HELLO]),
    kind("syscall", Replayed, &["-e", SYSCALL]),
    kind(
        "constant",
        Unrecorded,
        &["-D", "MAXERRORS=3", "-e", lab::HELLO],
    ),
    kind("verbose", Unrecorded, &["-vvv", "-e", lab::HELLO]),
    kind("listing", Ordinary, &["-p3", "-e", lab::HELLO]),
];

#[test]
fn every_kind_of_script_gives_the_module_that_bare_stap_makes() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let bare = Bare::prepare(lab, lab.alice());
        let tapset = "function greeting() { return \"good day\" }\n";
        lab.alice().write("tapset/greeting.stp", tapset);
        fs::create_dir(bare.home().join("tapset")).unwrap();
        fs::write(bare.home().join("tapset/greeting.stp"), tapset).unwrap();
        let server = root::serve(lab.alice());
        let differences: Vec<_> = KINDS
            .iter()
            .filter_map(|kind| difference(lab, &server, &bare, kind).err())
            .collect();
        let shown = differences.join("\n");
        assert!(differences.is_empty(), "{shown}\n{}", server.said());
    });
}

/// Says what is not as promised.
fn difference(lab: &Lab, server: &Server, bare: &Bare, kind: &Kind) -> Result<(), String> {
    let release = &root::releases()[0];
    let arguments = [&["-r", release, "-p4", "-m", kind.name], kind.arguments].concat();
    let before = notes(server).len();
    let expected = bare.stap(&arguments);
    let at = format!("--server={}", server.address());
    let client = lab.alice().command("stap-client").arg(at).args(&arguments);
    let served = client.deadline(lab::SLOW).run();
    if expected.code() != Some(0) || served.code() != Some(0) {
        return Err(format!("{}: bare {expected}\nserved {served}", kind.name));
    }
    let file = format!("{}.ko", kind.name);
    let modules = [bare.home(), lab.alice().home()].map(|home| fs::read(home.join(&file)).ok());
    if modules[0] != modules[1] {
        return Err(format!("{}: the modules differ", kind.name));
    }
    let notes = notes(server).split_off(before);
    let as_promised = match kind.how {
        Replayed => notes == ["replayed"],
        Unrecorded => notes == ["nothing like it was recorded"],
        Ordinary => notes.is_empty(),
    };
    if as_promised {
        return Ok(());
    }
    Err(format!("{}: pass 4 went otherwise: {notes:?}", kind.name))
}

/// What the log says of each job's pass 4.
fn notes(server: &Server) -> Vec<String> {
    let said = server.said();
    let notes = said.lines().filter_map(|line| line.split_once("pass 4: "));
    notes.map(|(_, note)| note.to_owned()).collect()
}
