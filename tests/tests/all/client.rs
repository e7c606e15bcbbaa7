//! What `stap-client` sends, where to, and what it prints: rows S6, S8, S31, S32, S35, S36, S38, S49,
//! S50, M4 to M7, M9, X6 and X7.

use std::fs;
use std::path::Path;

use stap_tests::lab::{self, HELLO, Lab, list};
use stap_tests::mdns::Avahi;
use stap_tests::process;
use stap_tests::translator::Seen;
use stap_tests::world;

const PARSED: &str = "# parse tree dump\n";
const NO_ADVERTISEMENT: &str = "--no-advertise";

#[test]
fn s6_server_database_pass_and_arguments_together() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let at = format!("--server={}", server.address());
        let trusting = format!("--ssl={}", lab.alice().client_database().display());
        let ran = lab
            .alice()
            .client([&at, &trusting, "-p1", "-e", HELLO, "a", "b"]);
        ran.exits(0).prints(PARSED);
    });
}

#[test]
fn s8_the_server_runs_stap_once_with_the_script_as_one_argument() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let ran = lab.alice().client(["-p2", "-e", HELLO]);
        ran.exits(0).prints("# probes\n");
        assert!(Seen::by(&ran).has("-e", HELLO), "{ran}");
        assert_eq!(server.requests().len(), 1, "{}", server.said());
    });
}

#[test]
fn s31_an_incompatible_server_is_not_chosen() {
    lab::inside(|lab| {
        let avahi = Avahi::start(lab);
        let _foreign = avahi.publish("x", 65001, &["sysinfo=9.9.9 x86_64"]);
        trust_some_server(lab);
        let refused = lab.alice().client(["-p1", "-e", HELLO]);
        refused
            .exits(1)
            .prints_nothing()
            .says("Unable to find a server");
    });
}

/// Makes alice's database usable, so that it is not the reason for a refusal.
fn trust_some_server(lab: &Lab) {
    lab.serve_with(lab.alice(), []).stop();
    stap_tests::wait::until_true("the stopped server is forgotten", || {
        lab.alice().command("stap-find-servers").run().code() == Some(1)
    });
}

#[test]
fn s32_each_pass_prints_its_own_result() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let expected = [
            "# parse tree dump\n",
            "# probes\n",
            "/* C */\n",
            "stap_4242.ko\n",
        ];
        for (pass, printed) in (1..).zip(expected) {
            let option = format!("-p{pass}");
            lab.alice()
                .client([&option, "-e", HELLO])
                .exits(0)
                .prints(printed);
        }
        assert_eq!(lab.alice().staprun_calls(), []);
    });
}

#[test]
fn s35a_a_failed_compile_exits_with_one() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let failed = lab.alice().client(["-p2", "-e", "/* exit_with=7 */"]);
        failed.exits(1).says("parse error: fake");
        assert_eq!(lab.alice().staprun_calls(), []);
    });
}

#[test]
fn s35c_no_server_exits_with_one() {
    lab::inside(|lab| {
        trust_some_server(lab);
        lab.alice()
            .client(["-p1", "-e", HELLO])
            .exits(1)
            .prints_nothing();
    });
}

#[test]
fn s36a_options_of_stap_and_tapsets_reach_it() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let tapset = lab
            .alice()
            .write("tapset/deep/hello.stp", "function hello() {}");
        let directory = lab.alice().home().join("tapset").display().to_string();
        let ran = lab
            .alice()
            .client(["-v", "-w", "-DFOO=1", "-I", &directory, "-p2", "-e", HELLO]);
        let seen = Seen::by(&ran);
        ran.exits(0).prints("# probes\n");
        for (option, value) in [("-v", ""), ("-w", ""), ("-D", "FOO=1"), ("-p", "2")] {
            assert!(seen.has(option, value), "{option}{value}: {ran}");
        }
        assert!(seen.has("-I", &format!("tapset{directory}")), "{ran}");
        assert!(
            seen.files.contains(&format!("tapset{}", tapset.display())),
            "{ran}"
        );
    });
}

#[test]
fn s36b_hostile_arguments_arrive_byte_for_byte() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let script = r#"a'b "c" \ ; * $(id)"#;
        let operands = ["x;y", "p q", "", "-n", "new\nline", "*"];
        let ran = lab
            .alice()
            .client(["-p1", "-e", script, "--"].iter().chain(&operands));
        let seen = Seen::by(&ran);
        assert!(seen.has("-e", script), "{ran}");
        assert_eq!(seen.script_arguments(), operands, "{ran}");
        ran.exits(0);
    });
}

#[test]
fn s36c_values_may_be_attached_apart_or_bundled() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        for pass in [
            &["-p", "2"][..],
            &["-p2"],
            &["-vp2"],
            &["--vp", "001", "-p2"],
            &["--vp=001", "-p2"],
        ] {
            let ran = lab.alice().client(pass.iter().chain(&["-e", HELLO]));
            ran.exits(0).prints("# probes\n");
            assert!(Seen::by(&ran).script_arguments().is_empty(), "{ran}");
        }
    });
}

#[test]
fn s36d_listings_need_no_script_and_run_nothing() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        for option in ["-l", "-L"] {
            let ran = lab.alice().client([option, "syscall.open"]);
            ran.exits(0).prints("syscall.open\n");
            assert!(
                !Seen::by(&ran).has("-p", "4"),
                "stap refuses a listing with a pass: {ran}"
            );
        }
        assert_eq!(lab.alice().staprun_calls(), []);
    });
}

#[test]
fn s36g_a_named_module_is_left_in_the_directory() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        lab.alice()
            .client(["-p4", "-m", "foo", "-e", HELLO])
            .exits(0)
            .prints("foo.ko\n");
        assert_eq!(lab.alice().home_files(), ["foo.ko"]);
    });
}

#[test]
fn s36h_kept_files_are_announced_once() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let kept = lab.alice().client(["-k", "-p4", "-e", HELLO]);
        let said = kept.exits(0).err();
        let announced: Vec<_> = said
            .lines()
            .filter_map(|line| {
                line.strip_prefix("Keeping temporary directory \"")?
                    .strip_suffix('"')
            })
            .collect();
        assert_eq!(announced.len(), 1, "{kept}");
        let directory = Path::new(announced[0]);
        assert!(
            list(directory).contains(&"stap_4242.ko".to_owned()),
            "{:?}",
            list(directory)
        );
        fs::remove_dir_all(directory).unwrap();

        lab.alice()
            .client(["-p4", "-e", HELLO])
            .exits(0)
            .never_says("Keeping");
        assert_eq!(lab.temporary_files(), Vec::<String>::new());
    });
}

#[test]
fn s38a_a_script_file_and_its_arguments_are_packaged() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        lab.alice().write("s.stp", HELLO);
        let ran = lab.alice().client(["-p1", "s.stp", "one", "two words"]);
        ran.exits(0).prints(PARSED);
        let seen = Seen::by(&ran);
        assert_eq!(seen.client_arguments()[0], "script/home/alice/s.stp");
        assert_eq!(seen.script_arguments(), ["one", "two words"]);
        assert!(
            seen.files.contains(&"script/home/alice/s.stp".to_owned()),
            "{ran}"
        );
        ran.says(&format!("script/home/alice/s.stp {}", HELLO.len()));
    });
}

#[test]
fn s38b_a_script_on_stdin_is_packaged() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let client = lab.alice().command("stap-client").args(["-p1", "-"]);
        let ran = client.input("probe begin {}").run();
        ran.exits(0).prints(PARSED);
        assert!(
            Seen::by(&ran).files.contains(&"script/-".to_owned()),
            "{ran}"
        );
    });
}

#[test]
fn s38c_what_follows_two_dashes_belongs_to_the_script() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        lab.alice().write("s.stp", HELLO);
        let ran = lab.alice().client(["-p1", "--", "s.stp", "-v"]);
        ran.exits(0)
            .prints(PARSED)
            .never_says("Using a compile server");
        assert_eq!(Seen::by(&ran).script_arguments(), ["-v"]);
    });
}

#[test]
fn s49_m4_a_host_without_a_port_means_what_it_announces() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        for host in ["labhost", "localhost", world::ADDRESS, "labhost.local"] {
            let option = format!("--server={host}");
            lab.alice()
                .client([&option, "-e", HELLO])
                .exits(0)
                .prints("Hello World!\n");
        }
    });
}

#[test]
fn s50_m5_a_host_with_a_port_needs_no_announcement() {
    lab::inside(|lab| {
        let server = lab.serve_with(lab.alice(), [NO_ADVERTISEMENT]);
        lab.alice()
            .run("stap-find-servers", ["--all"])
            .exits(1)
            .prints_nothing();
        for host in ["labhost", "localhost", world::ADDRESS] {
            let option = format!("--server={host}:{}", server.port);
            lab.alice()
                .client([&option, "-e", HELLO])
                .exits(0)
                .prints("Hello World!\n");
        }
    });
}

#[test]
fn m6_only_the_named_server_is_contacted() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let refused = lab
            .alice()
            .client(["--server=10.9.9.9:1", "-p1", "-e", HELLO]);
        refused
            .exits(1)
            .prints_nothing()
            .says("Unable to connect to a server");
        assert_eq!(server.requests(), Vec::<String>::new());
    });
}

#[test]
fn m7_named_servers_are_tried_in_their_order() {
    lab::inside(|lab| {
        let first = lab.serve_with(lab.alice(), []);
        let second = lab.serve_with(lab.alice(), []);
        let [one, two] =
            [&first, &second].map(|server| format!("--server=localhost:{}", server.port));
        lab.alice()
            .client(["--server=nosuchhost", &one, "-p1", "-e", HELLO])
            .exits(0)
            .prints(PARSED);
        lab.alice()
            .client([&two, &one, "-p1", "-e", HELLO])
            .exits(0)
            .prints(PARSED);
        assert_eq!(first.requests().len(), 1, "{}", first.said());
        assert_eq!(second.requests().len(), 1, "{}", second.said());
    });
}

#[test]
fn m9_a_missing_value_is_an_error() {
    lab::inside(|lab| {
        for name in ["server", "ssl"] {
            for option in [format!("--{name}="), format!("--{name}")] {
                let refused = lab.alice().client([&option, "-p1", "-e", HELLO]);
                refused
                    .exits(1)
                    .prints_nothing()
                    .says(&format!("Missing argument to --{name}"));
            }
        }
    });
}

#[test]
fn x6_version_and_help_need_no_server() {
    lab::inside(|lab| {
        for (option, word) in [
            ("-V", "stap-client"),
            ("-h", "--server"),
            ("--help", "--ssl"),
        ] {
            let told = lab.alice().client([option]);
            assert!(told.exits(0).out().contains(word), "{told}");
        }
    });
}

#[test]
fn x7_a_pass_that_does_not_exist_is_an_error() {
    lab::inside(|lab| {
        lab.alice()
            .client(["-p9", "-e", "x"])
            .exits(1)
            .prints_nothing()
            .says("Invalid pass number");
        lab.alice()
            .client(["-p", "0", "-e", "x"])
            .exits(1)
            .says("Invalid pass number");
        assert_eq!(process::named("stap-serverd"), []);
    });
}
