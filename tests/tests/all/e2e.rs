//! Real scripts, compiled by the real stap in a jail of ours and by the same stap without us: the same
//! exit status, the same output, the same diagnostics. Rows S36i and S55 are among them.

use std::fs;

use stap_tests::finished::Finished;
use stap_tests::lab::{self, HELLO, Lab, User};
use stap_tests::requirement;
use stap_tests::root::{self, Bare};
use stap_tests::server::Server;

/// How stap is called, and what must come of it both ways.
struct Case<'a> {
    name: &'static str,
    arguments: &'a [&'static str],
    outcome: Outcome,
}

enum Outcome {
    /// Success, with the same output and diagnostics.
    Success,
    /// Failure with the same diagnostics, this among them.
    Failure(&'static str),
    /// Failure that our server foresees: it says at least this, too.
    Refusal(&'static str),
}

use Outcome::{Failure, Refusal, Success};

const fn case(
    name: &'static str,
    outcome: Outcome,
    arguments: &'static [&'static str],
) -> Case<'static> {
    Case {
        name,
        arguments,
        outcome,
    }
}

const BEGIN_END: &str = "probe begin { exit() } probe end { println(\"bye\") }";
const TIMER: &str =
    "global n probe timer.ms(100) { if (++n == 3) exit() } probe end { println(n) }";
const TAPSET: &str = "probe begin { println(greeting()) exit() }";
const ARGUMENTS: &str = "probe begin { println(@1, $2) exit() }";
const UNQUOTED: &str = "probe begin { printf(Hello World!\\n); exit() }";
const NOT_C: &str = "function f() %{ this is not C %} probe begin { f() }";

const CASES: &[Case<'_>] = &[
    case("begin and end", Success, &["-p4", "-e", BEGIN_END]),
    case("a timer with a global", Success, &["-p4", "-e", TIMER]),
    case(
        "a user tapset",
        Success,
        &["-p2", "-I", "tapset", "-e", TAPSET],
    ),
    case("a script file", Success, &["-p2", "hello.stp"]),
    case(
        "script arguments",
        Success,
        &["-p2", "-e", ARGUMENTS, "two words", "42"],
    ),
    case("a parse tree", Success, &["-p1", "-e", HELLO]),
    case("a listing", Success, &["-l", "begin"]),
    case("a listing with variables", Success, &["-L", "timer.ms(1)"]),
    case(
        "S55: no quotes",
        Failure("Pass 1: parse failed"),
        &["-p1", "-e", UNQUOTED],
    ),
    case(
        "pass 1",
        Failure("Pass 1: parse failed"),
        &["-p4", "-e", "probe begin { x = }"],
    ),
    case(
        "pass 1 of a file",
        Failure("Pass 1: parse failed"),
        &["-p4", "broken.stp"],
    ),
    case(
        "pass 2",
        Failure("Pass 2: analysis failed"),
        &["-p4", "-e", "probe nosuch.point { }"],
    ),
    case(
        "pass 3",
        Failure("Pass 3: translation failed"),
        &["-p4", "-e", "probe begin { break }"],
    ),
    case(
        "pass 4",
        Failure("Pass 4: compilation failed"),
        &["-p4", "-g", "-e", NOT_C],
    ),
    case("no script", Failure("script must be specified"), &["-p4"]),
    case(
        "a missing script",
        Failure("is missing"),
        &["-p4", "nonexistent.stp"],
    ),
    case(
        "two scripts",
        Failure("Only one script"),
        &["-p4", "-e", HELLO, "-e", HELLO],
    ),
    case(
        "S36i: no such option",
        Refusal("unrecognized option '--no-such'"),
        &["--no-such", "-p1", "-e", HELLO],
    ),
];

/// Files of both homes.
const FILES: [(&str, &str); 3] = [
    (
        "tapset/greeting.stp",
        "function greeting() { return \"good day\" }\n",
    ),
    ("hello.stp", "probe begin { println(\"hello\") exit() }\n"),
    ("broken.stp", "probe begin {\n  println(\"hello\"\n}\n"),
];

#[test]
fn scripts_give_what_bare_stap_gives() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let bare = Bare::prepare(lab, lab.alice());
        for (path, content) in FILES {
            lab.alice().write(path, content);
            let inside = bare.home().join(path);
            fs::create_dir_all(inside.parent().unwrap()).unwrap();
            fs::write(inside, content).unwrap();
        }
        let server = root::serve(lab.alice());
        let release = &root::releases()[0];
        let differences: Vec<_> = CASES
            .iter()
            .filter_map(|case| difference(lab, &server, &bare, release, case))
            .collect();
        let failed = differences.len();
        assert!(
            differences.is_empty(),
            "{failed} of {} differ:\n{}",
            CASES.len(),
            differences.join("\n")
        );
    });
}

/// Compiles a script both ways.
pub(crate) fn a_script_gives_what_bare_stap_gives(
    lab: &Lab,
    server: &Server,
    bare: &Bare,
    script: &'static str,
) {
    let arguments = ["-p4", "-e", script];
    let case = Case {
        name: script,
        outcome: Success,
        arguments: &arguments,
    };
    let differs = difference(lab, server, bare, &root::releases()[0], &case);
    assert_eq!(differs, None);
}

/// Runs a case both ways and shows both when they differ.
fn difference(
    lab: &Lab,
    server: &Server,
    bare: &Bare,
    release: &str,
    case: &Case<'_>,
) -> Option<String> {
    let arguments = [&["-r", release], case.arguments].concat();
    let expected = bare.stap(&arguments);
    let served = client(lab.alice(), server, &arguments);
    let same = comparable(&served.out()) == comparable(&expected.out())
        && comparable(&served.err()) == comparable(&expected.err());
    let both = |status, text: &str| {
        [&expected, &served]
            .iter()
            .all(|ran| ran.code() == Some(status) && ran.err().contains(text))
    };
    let as_promised = match case.outcome {
        Success => same && both(0, ""),
        Failure(text) => same && both(1, text),
        Refusal(text) => both(1, text),
    };
    let shown = || format!("== {}\nbare:\n{expected}\nserved:\n{served}", case.name);
    (!as_promised).then(shown)
}

fn client(user: User, server: &Server, arguments: &[&str]) -> Finished {
    let at = format!("--server={}", server.address());
    let client = user.command("stap-client").arg(at).args(arguments);
    // Nothing of a tracepoint is warm: stap compiles every tracepoint header of the kernel first.
    client.deadline(lab::SLOW).run()
}

/// Takes out what must differ: where the server keeps files, the number in a module's name, and what
/// the client says about the server. Order counts, but for the passes' own order on two streams.
fn comparable(text: &str) -> Vec<String> {
    let own = |line: &&str| {
        !line.starts_with("Passes: via server failed.") && !root::is_said_by_chance(line)
    };
    text.lines().filter(own).map(comparable_line).collect()
}

fn comparable_line(line: &str) -> String {
    let is_end = |end: char| end.is_whitespace() || "'\"[](),:".contains(end);
    line.split_inclusive(is_end)
        .map(|word| {
            let (body, end) = word.split_at(word.trim_end_matches(is_end).len());
            format!("{}{end}", comparable_word(body))
        })
        .collect()
}

/// A module of the client's own naming, a path of the server, or a file of the request, which is
/// called by its whole path there.
fn comparable_word(word: &str) -> String {
    let name = word.rsplit('/').next().unwrap_or(word);
    if let Some(rest) = name.strip_prefix("stap_") {
        let is_own = |digit: char| digit.is_ascii_hexdigit() || digit == '_';
        return format!("stap_N{}", rest.trim_start_matches(is_own));
    }
    let sent = ["script/home/alice/", "tapset/home/alice/"];
    sent.iter()
        .find_map(|prefix| word.strip_prefix(prefix))
        .unwrap_or(word)
        .to_owned()
}

#[test]
fn comparable_text_keeps_what_matters() {
    assert_eq!(
        comparable("stap_0a1b_12.ko\n"),
        comparable("/home/a/.systemtap/cache/c8/stap_99ff_3.ko")
    );
    assert_eq!(
        comparable("at script/home/alice/x.stp:1:2"),
        comparable("at x.stp:1:2")
    );
    assert_ne!(
        comparable("stap_1_src.c:4: error"),
        comparable("stap_1_src.c:5: error")
    );
    assert_ne!(comparable("a\nb"), comparable("b\na"));
}

#[test]
fn two_kernels_are_served_at_once_and_each_client_gets_its_own() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let server = root::serve(lab.alice());
        let releases = root::releases();
        assert!(releases.len() >= 2, "the root has {releases:?}");
        root::wait_until_served(lab.alice(), &server, &releases);
        let start = |(number, release): (usize, &String)| {
            let directory = lab.alice().write(format!("{number}/.keep"), "");
            let script = format!("probe begin {{ println({number}) exit() }}");
            let arguments = ["-p4", "-m", "answer", "-r", release, "-e", &script];
            let client = lab.alice().command("stap-client").args(arguments);
            client
                .directory(directory.parent().unwrap())
                .deadline(lab::SLOW)
                .start()
        };
        let asked: Vec<_> = releases
            .iter()
            .cycle()
            .take(2 * releases.len())
            .enumerate()
            .collect();
        let clients: Vec<_> = asked.iter().copied().map(start).collect();
        for client in clients {
            client.finish().exits(0).prints("answer.ko\n");
        }
        for (number, release) in asked {
            let module = lab
                .alice()
                .home()
                .join(number.to_string())
                .join("answer.ko");
            let magic = vermagic(&fs::read(module).unwrap());
            assert!(
                magic.starts_with(&format!("{release} ")),
                "client {number} got {magic}"
            );
        }
    });
}

/// The kernel that a module names in its `.modinfo`.
fn vermagic(module: &[u8]) -> String {
    let key = b"vermagic=";
    let start = module
        .windows(key.len())
        .position(|window| window == key)
        .unwrap()
        + key.len();
    let value = module[start..].split(|byte| *byte == 0).next().unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}
