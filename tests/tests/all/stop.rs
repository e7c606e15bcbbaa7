//! `stap-stop-server`: rows S4 and S24 to S28.

use rustix::process::Signal;
use stap_tests::command::Invocation;
use stap_tests::lab::{self, AT_ONCE};
use stap_tests::process::{self, Process};
use stap_tests::server::{foreground, fresh_log};
use stap_tests::wait;

#[test]
fn s4_s26_stop_is_silent_and_gives_zero() {
    lab::inside(|lab| {
        let own = lab.serve_with(lab.alice(), []);
        lab.alice()
            .run("stap-stop-server", [own.pid.to_string()])
            .exits(0)
            .prints_nothing();
        let other = lab.serve_with(lab.alice(), []);
        lab.root()
            .run("stap-stop-server", [other.pid.to_string()])
            .exits(0)
            .prints_nothing();
        wait::until_true("both have ended", || !own.is_alive() && !other.is_alive());
    });
}

#[test]
fn s24a_another_process_is_not_a_server() {
    lab::inside(|lab| {
        let sleeper = lab.alice().run_in_background("sleep", "1000");
        let pid = sleeper.pid();
        let refused = lab.alice().run("stap-stop-server", [pid.to_string()]);
        refused
            .exits(1)
            .prints_nothing()
            .says(&format!("{pid} is not a systemtap server"));
        assert!(Process::of(pid).is_some_and(|process| process.is_alive()));
        sleeper.signal(Signal::KILL);
    });
}

#[test]
fn s24b_a_part_of_a_pid_is_not_the_pid() {
    lab::inside(|lab| {
        let server = lab.serve_with(lab.alice(), []);
        let pid = server.pid.to_string();
        let parts =
            (0..pid.len()).flat_map(|start| (start + 1..=pid.len()).map(move |end| (start, end)));
        let parts: Vec<_> = parts
            .map(|(start, end)| &pid[start..end])
            .filter(|part| *part != pid)
            .collect();
        for part in parts.iter().chain(&["1"]) {
            lab.root()
                .run("stap-stop-server", [part])
                .exits(1)
                .prints_nothing();
        }
        assert!(server.is_alive());
    });
}

#[test]
fn s24c_zero_and_minus_one_signal_nobody() {
    lab::inside(|lab| {
        let server = lab.serve_with(lab.alice(), []);
        let sleeper = lab.alice().run_in_background("sleep", "1000");
        for pid in ["0", "-1"] {
            let script = format!("trap 'echo signalled' TERM; stap-stop-server {pid}; echo $?");
            let shell = lab.alice().command("sh").args(["-c", &script]).own_group();
            shell.run().exits(0).prints("1\n");
        }
        assert!(server.is_alive());
        assert!(Process::of(sleeper.pid()).is_some_and(|process| process.is_alive()));
        sleeper.signal(Signal::KILL);
    });
}

#[test]
fn s24d_threads_and_zombies_are_not_servers() {
    lab::inside(|lab| {
        // Our own child, so that it stays a zombie until we look.
        let log = fresh_log(lab.alice());
        let server = foreground(lab.alice(), &log).start();
        let pid = server.pid();
        let thread = wait::until("it has a second thread", || {
            Process::of(pid)?
                .threads()
                .into_iter()
                .find(|thread| *thread != pid)
        });
        lab.alice()
            .run("stap-stop-server", [thread.to_string()])
            .exits(1)
            .prints_nothing();
        assert!(Process::of(pid).is_some_and(|process| process.is_alive()));

        server.signal(Signal::KILL);
        wait::until_true("it is a zombie", || {
            Process::of(pid).is_some_and(|process| process.state == 'Z')
        });
        lab.alice()
            .run("stap-stop-server", [pid.to_string()])
            .exits(1)
            .prints_nothing();
    });
}

#[test]
fn s25_stop_ends_the_server_and_its_announcement() {
    lab::inside(|lab| {
        let server = lab.serve(lab.alice());
        lab.alice()
            .run("stap-stop-server", [server.pid.to_string()])
            .exits(0);
        wait::until_true("it has ended", || !server.is_alive());
        wait::until_true("it is found no more", || {
            lab.alice().run("stap-find-servers", ["--all"]).code() == Some(1)
        });
    });
}

#[test]
fn s27a_stop_without_a_pid_shows_its_usage() {
    lab::inside(|lab| {
        let stop = lab.alice().command("stap-stop-server").run();
        stop.exits(1).prints_nothing().says("Usage:");
    });
}

#[test]
fn s27b_what_is_no_pid_is_refused() {
    lab::inside(|lab| {
        for pid in ["abc", "99999999", "", "12x", "+1", "99999999999999999999"] {
            lab.alice()
                .run("stap-stop-server", [pid])
                .exits(1)
                .prints_nothing();
        }
    });
}

#[test]
fn s27c_a_server_cannot_be_stopped_twice() {
    lab::inside(|lab| {
        let server = lab.serve_with(lab.alice(), []);
        server.stop();
        let again = lab
            .alice()
            .run("stap-stop-server", [server.pid.to_string()]);
        again
            .exits(1)
            .prints_nothing()
            .says("is not a systemtap server");
    });
}

#[test]
fn s28_stop_does_not_wait_for_the_end() {
    lab::inside(|lab| {
        let server = lab.serve_with(lab.alice(), []);
        process::signal(server.pid, Signal::STOP);
        let stop: Invocation = lab
            .alice()
            .command("stap-stop-server")
            .arg(server.pid.to_string());
        stop.deadline(AT_ONCE).run().exits(0).prints_nothing();
        assert!(server.is_alive());
        process::signal(server.pid, Signal::CONT);
        wait::until_true("it has ended", || !server.is_alive());
    });
}
