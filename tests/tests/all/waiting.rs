//! What somebody who has to wait for his turn is told, with the real stap.

use rustix::process::Signal;
use stap_tests::command::Running;
use stap_tests::lab::{self, HELLO, User};
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::server::Server;

/// A script that keeps stap and the compiler busy for far longer than anybody here waits.
fn endless() -> String {
    let statement = "printf(\"%d %s\\n\", gettimeofday_ns(), execname())\n";
    format!("probe begin {{\n{}}}", statement.repeat(15_000))
}

fn ask(user: User, server: &Server, arguments: &[&str]) -> Running {
    let at = format!("--server={}", server.address());
    let release = &root::releases()[0];
    let client = user.command("stap-client").args(["-p4", "-r", release]);
    let client = client.arg(at).args(arguments);
    client.deadline(lab::SLOW).start()
}

#[test]
fn whoever_waits_behind_another_is_told_so_and_is_next_when_that_one_leaves() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let server = root::serve_one_at_a_time(alice);
        let script = alice.write("endless.stp", endless());
        let first = ask(alice, &server, &[&script.display().to_string()]);
        server.logs("request accepted");
        let mut told = ask(alice, &server, &["-v", "-e", HELLO, "-m", "told"]);
        told.wait_for_stderr("Waiting in the server's queue: 1 of 1, about ");
        let silent = ask(alice, &server, &["-e", HELLO, "-m", "silent"]);
        first.signal(Signal::INT);
        first.finish().exits(1);
        told.finish().exits(0).prints("told.ko\n");
        let silent = silent.finish();
        silent.exits(0).prints("silent.ko\n");
        assert!(!silent.err().contains("queue"), "{silent}");
    });
}
