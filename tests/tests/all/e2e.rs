//! Real scripts, compiled by the real stap in a jail of ours and by the same stap without us: the same
//! exit status, the same output, the same diagnostics. Rows S36i and S55 are among them.

use std::fs;
use std::path::Path;

use stap_tests::finished::Finished;
use stap_tests::lab::{self, HELLO, Lab, User};
use stap_tests::requirement;
use stap_tests::root::{self, Bare};
use stap_tests::server::Server;

/// A script and how stap is called with it.
struct Case {
    name: &'static str,
    arguments: &'static [&'static str],
    status: i32,
}

const fn good(name: &'static str, arguments: &'static [&'static str]) -> Case {
    Case {
        name,
        arguments,
        status: 0,
    }
}

const fn bad(name: &'static str, arguments: &'static [&'static str]) -> Case {
    Case {
        name,
        arguments,
        status: 1,
    }
}

const CASES: &[Case] = &[
    good(
        "begin and end",
        &[
            "-p4",
            "-e",
            "probe begin { exit() } probe end { println(\"bye\") }",
        ],
    ),
    good(
        "a timer with a global",
        &[
            "-p4",
            "-e",
            "global n probe timer.ms(100) { if (++n == 3) exit() } probe end { println(n) }",
        ],
    ),
    good(
        "a syscall tracepoint",
        &[
            "-p4",
            "-e",
            "probe kernel.trace(\"raw_syscalls:sys_enter\") { println($id) exit() }",
        ],
    ),
    good(
        "a user tapset",
        &[
            "-p2",
            "-I",
            "tapset",
            "-e",
            "probe begin { println(greeting()) exit() }",
        ],
    ),
    good("a script file", &["-p2", "hello.stp"]),
    good(
        "script arguments",
        &[
            "-p2",
            "-e",
            "probe begin { println(@1, $2) exit() }",
            "two words",
            "42",
        ],
    ),
    good("a parse tree", &["-p1", "-e", HELLO]),
    good("a listing", &["-l", "begin"]),
    good("a listing with variables", &["-L", "timer.ms(1)"]),
    bad(
        "S55: the example without quotes",
        &[
            "-p1",
            "-e",
            "probe begin { printf(Hello World!\\n); exit() }",
        ],
    ),
    bad("an error in pass 1", &["-p4", "-e", "probe begin { x = }"]),
    bad("an error in pass 1 of a file", &["-p4", "broken.stp"]),
    bad(
        "an error in pass 2",
        &["-p4", "-e", "probe nosuch.point { }"],
    ),
    bad(
        "an error in pass 3",
        &[
            "-p4",
            "-e",
            "global a[1] probe begin { a[1] = 1 a[2] = 2 } probe end { foreach (k in a) { foreach (j in a) { delete a } } }",
        ],
    ),
    bad(
        "an error in pass 4",
        &[
            "-p4",
            "-g",
            "-e",
            "function f() %{ this is not C %} probe begin { f() }",
        ],
    ),
    bad(
        "S36i: an option that stap does not have",
        &["--no-such", "-p1", "-e", HELLO],
    ),
    bad("no script", &["-p4"]),
    bad("a missing script", &["-p4", "nonexistent.stp"]),
    bad("two scripts", &["-p4", "-e", HELLO, "-e", HELLO]),
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

/// Runs a case both ways and shows both when they differ.
fn difference(
    lab: &Lab,
    server: &Server,
    bare: &Bare,
    release: &str,
    case: &Case,
) -> Option<String> {
    let arguments = [&["-r", release], case.arguments].concat();
    let expected = bare.stap(&arguments);
    let served = client(lab.alice(), server, &arguments);
    let same = expected.code() == Some(case.status)
        && served.code() == expected.code()
        && comparable(&served.out()) == comparable(&expected.out())
        && comparable(&served.err()) == comparable(&expected.err());
    let shown = || format!("== {}\nbare:\n{expected}\nserved:\n{served}", case.name);
    (!same).then(shown)
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
    let own = |line: &&str| !line.starts_with("Passes: via server failed.");
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

/// A module of the client's own naming, a path of the server, or a file of the request.
fn comparable_word(word: &str) -> String {
    let name = word.rsplit('/').next().unwrap_or(word);
    if let Some(rest) = name.strip_prefix("stap_") {
        let suffix =
            rest.trim_start_matches(|digit: char| digit.is_ascii_hexdigit() || digit == '_');
        return format!("stap_N{suffix}");
    }
    match word
        .strip_prefix("script/")
        .or_else(|| word.strip_prefix("tapset/"))
    {
        Some(path) => Path::new("/").join(path).display().to_string(),
        None => word.to_owned(),
    }
}

#[test]
fn comparable_text_keeps_what_matters() {
    assert_eq!(
        comparable("stap_0a1b_12.ko\n"),
        comparable("/home/a/.systemtap/cache/c8/stap_99ff_3.ko")
    );
    assert_eq!(
        comparable("at script/home/alice/x.stp:1:2"),
        comparable("at /home/alice/x.stp:1:2")
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
