//! Pass 5 and the end of a client: rows S33, S34, S35b, S36e, S36f, S48, X1 to X4 and X8.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use stap_tests::command::Running;
use stap_tests::lab::{self, HELLO, Lab};
use stap_tests::process;
use stap_tests::wait;
use stap_tests::world;

#[test]
fn s33a_s34_s48_pass_five_runs_the_module_here() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let directory = lab.alice().home().join("w");
        lab.alice().write("w/.keep", "");
        let client = lab
            .alice()
            .command("stap-client")
            .args(["-e", HELLO])
            .directory(&directory);
        client.run().exits(0).prints("Hello World!\n");
        let calls = lab.alice().staprun_calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert_eq!(calls[0].directory, directory);
        let module = Path::new(calls[0].arguments.last().unwrap());
        assert!(
            module.is_absolute() && module.extension() == Some("ko".as_ref()),
            "{calls:?}"
        );
        assert!(
            !module.exists(),
            "it was in the temporary directory, which is gone"
        );
    });
}

#[test]
fn s33b_pass_four_leaves_the_module_and_runs_nothing() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        lab.alice()
            .client(["-p4", "-e", HELLO])
            .exits(0)
            .prints("stap_4242.ko\n");
        assert_eq!(lab.alice().home_files(), ["stap_4242.ko"]);
        let module = fs::read(lab.alice().home().join("stap_4242.ko")).unwrap();
        assert!(module.starts_with(b"\x7fELF"));
        assert_eq!(lab.alice().staprun_calls(), []);
    });
}

#[test]
fn s35b_a_failed_run_exits_with_one() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let client = lab
            .alice()
            .command("stap-client")
            .args(["-e", HELLO])
            .env("FAKE_RC", "3");
        client
            .run()
            .exits(1)
            .prints("Hello World!\n")
            .says("exited with status: 3");
    });
}

#[test]
fn s36e_options_of_the_run_reach_staprun() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let options = [
            "-vvv", "-o", "o.txt", "-x", "1", "-s", "4", "-S", "1,2", "-F", "-e", HELLO,
        ];
        lab.alice().client(options).exits(0);
        let calls = lab.alice().staprun_calls();
        let arguments = &calls[0].arguments;
        for expected in [
            &["-v", "-v"][..],
            &["-o", "o.txt"],
            &["-t", "1"],
            &["-b", "4"],
            &["-D"],
            &["-S", "1,2"],
        ] {
            let found = arguments
                .windows(expected.len())
                .any(|window| window == expected);
            assert!(found, "{expected:?} in {arguments:?}");
        }
    });
}

#[test]
fn s36f_a_command_is_one_argument() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        lab.alice().client(["-c", "ls -l", "-e", HELLO]).exits(0);
        let calls = lab.alice().staprun_calls();
        assert!(
            calls[0]
                .arguments
                .windows(2)
                .any(|pair| pair == ["-c", "ls -l"]),
            "{calls:?}"
        );
    });
}

#[test]
fn x1_an_interrupt_of_the_group_ends_the_run_well() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let client = long_run(lab);
        client.signal_group(Signal::INT);
        client.finish().exits(0).prints("started\ngot INT\n");
        assert_eq!(lab.temporary_files(), Vec::<String>::new());
    });
}

#[test]
fn x2_an_interrupt_of_the_client_alone_ends_the_run_well() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let client = long_run(lab);
        client.signal(Signal::INT);
        client.finish().exits(0).prints("started\ngot TERM\n");
        assert_eq!(lab.temporary_files(), Vec::<String>::new());
    });
}

#[test]
fn x2_a_termination_of_the_client_ends_the_run_and_exits_with_one() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        let client = long_run(lab);
        client.signal(Signal::TERM);
        let ended = client.finish();
        ended
            .exits(1)
            .prints("started\ngot TERM\n")
            .says("terminated by signal");
        assert_eq!(lab.temporary_files(), Vec::<String>::new());
    });
}

/// A client whose module runs until it is told to stop.
fn long_run(lab: &Lab) -> Running {
    let staprun = Path::new(world::STANDINS).join("sleepstaprun");
    let client = lab
        .alice()
        .command("stap-client")
        .args(["-e", HELLO])
        .own_group();
    let mut client = client.env("SYSTEMTAP_STAPRUN", staprun).start();
    client.wait_for_stdout("started\n");
    client
}

#[test]
fn x3_an_interrupt_during_the_compile_ends_both_sides() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let client = lab
            .alice()
            .command("stap-client")
            .args(["-e", "/* sleep_forever */"]);
        let client = client.own_group().start();
        wait::until_true("stap is at work", || !process::named("sleep").is_empty());
        client.signal_group(Signal::INT);
        client.finish().exits(1).prints_nothing();
        assert_eq!(lab.alice().staprun_calls(), []);
        wait::until_true("the job was killed", || process::named("sleep").is_empty());
        wait::until_true("nothing is left", || lab.temporary_files().is_empty());
        assert!(server.is_alive());
        lab.alice().client(["-p1", "-e", HELLO]).exits(0);
    });
}

#[test]
fn x4_output_goes_to_the_callers_directory() {
    lab::inside(|lab| {
        lab.serve(lab.alice());
        lab.alice().write("w/.keep", "");
        let directory = lab.alice().home().join("w");
        let client = lab
            .alice()
            .command("stap-client")
            .args(["-o", "rel.txt", "-e", HELLO]);
        client.directory(&directory).run().exits(0);
        assert_eq!(
            fs::read_to_string(directory.join("rel.txt")).unwrap(),
            "Hello World!\n"
        );
    });
}

#[test]
fn x8_six_clients_at_once_are_all_served() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        let start = |_| {
            lab.alice()
                .command("stap-client")
                .args(["-p1", "-e", HELLO])
                .start()
        };
        let clients: Vec<_> = (0..6).map(start).collect();
        for client in clients {
            client.finish().exits(0).prints("# parse tree dump\n");
        }
        assert_eq!(server.requests().len(), 6, "{}", server.said());
    });
}
