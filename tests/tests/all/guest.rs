//! What needs another kernel than this host's: modules that a server of ours compiled, loaded by the
//! real staprun on the very kernel that they were compiled for (row S48), and control groups where
//! there is nothing but the unified hierarchy.

use std::path::{Path, PathBuf};

use serde_json::Value;
use stap_tests::command::Invocation;
use stap_tests::lab::{self, HELLO};
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::system::System;
use stap_tests::trial;
use stap_tests::world::{GUEST, PATH, TARGET_ROOT};

const COUNTING: &str = "global s probe timer.ms(50) { s <<< 2; if (@count(s) == 3) exit() } \
     probe end { printf(\"counted %d\\n\", @sum(s)) }";

#[test]
fn s48_two_modules_run_on_their_kernel() {
    if !requirement::has_target_root() || !requirement::met("guest", no_emulator()) {
        return;
    }
    lab::inside(|lab| {
        let server = root::serve(lab.alice());
        let at = format!("--server={}", server.address());
        let release = root::bootable(Path::new(TARGET_ROOT));
        for (name, script, printed) in [
            ("hello", HELLO, "Hello World!\n"),
            ("counting", COUNTING, "counted 6\n"),
        ] {
            let compile = [&at, "-p4", "-m", name, "-r", &release, "-e", script];
            let client = lab.alice().command("stap-client").args(compile);
            client.deadline(lab::SLOW).run().exits(0);
            let module: PathBuf = lab.alice().home().join(format!("{name}.ko"));
            let options = ["--root", TARGET_ROOT, "--kernel", &release];
            let guest = Invocation::new(GUEST)
                .args(options)
                .arg(module)
                .env("PATH", PATH);
            guest.deadline(lab::SLOW).run().exits(0).prints(printed);
        }
        let said = server.said();
        assert_eq!(said.matches("pass 4: replayed").count(), 2, "{said}");
    });
}

#[test]
fn a_module_that_was_signed_for_stapusr_runs_on_its_kernel() {
    if !requirement::has_target_root() || !requirement::met("guest", no_emulator()) {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let server = root::serve(alice);
        let at = format!("--server={}", server.address());
        let release = root::bootable(Path::new(TARGET_ROOT));
        let compile = [
            &at,
            "-p4",
            "--privilege=stapusr",
            "-r",
            &release,
            "-e",
            HELLO,
        ];
        let client = alice.command("stap-client").args(compile);
        let compiled = client.deadline(lab::SLOW).run();
        compiled.exits(0);
        let module = alice.home().join(compiled.out().trim_end());
        server.logs("signer: signed stap_");

        let signature = PathBuf::from(format!("{}.sgn", module.display()));
        let certificate = alice.server_database().join("stap.cert");
        let public = alice.home().join("public.pem");
        let openssl = |arguments: &[&std::ffi::OsStr]| {
            Invocation::new("openssl")
                .args(arguments)
                .env("PATH", PATH)
                .run()
        };
        let words = ["x509", "-inform", "DER", "-pubkey", "-noout", "-in"].map(AsRef::as_ref);
        let key = openssl(&[&words[..], &[certificate.as_ref()]].concat());
        std::fs::write(&public, key.out()).unwrap();
        let words = ["dgst", "-sha256", "-verify"].map(AsRef::as_ref);
        let rest = [
            public.as_ref(),
            "-signature".as_ref(),
            signature.as_ref(),
            module.as_ref(),
        ];
        openssl(&[&words[..], &rest].concat()).exits(0);

        let guest = Invocation::new(GUEST)
            .args(["--root", TARGET_ROOT, "--kernel", &release])
            .arg(module)
            .env("PATH", PATH);
        guest
            .deadline(lab::SLOW)
            .run()
            .exits(0)
            .prints("Hello World!\n");
    });
}

#[test]
fn groups_of_the_unified_hierarchy_limit_and_kill_for_root_and_for_an_ordinary_user() {
    if !requirement::has_target_root() || !requirement::met("guest", no_emulator()) {
        return;
    }
    let root = requirement::target_root().expect("it was required above");
    let release = root::bootable(&root);
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/guest");
    let trial = Invocation::new(guest)
        .arg("--root")
        .arg(root)
        .args(["--kernel", &release, "--run"])
        .arg(env!("CARGO_BIN_EXE_cgroup-trial"))
        .env("PATH", PATH);
    let finished = trial.deadline(lab::SLOW).run();
    finished.exits(0);
    let situations: Vec<Value> = serde_json::from_slice(&finished.stdout).unwrap();
    let counts: Vec<_> = situations.iter().map(|one| checks(one).len()).collect();
    assert_eq!(counts, [10, 10, 10, 10, 10, 10, 10, 1, 1], "{finished}");
    for situation in &situations {
        let broken = trial::broken(checks(situation));
        assert!(broken.is_empty(), "{}: {broken:#?}", situation["situation"]);
    }
}

/// The unit in a Debian system of its own, so far that it is known to work; the rest takes longer and
/// is for `tests/run --full`.
#[test]
fn the_unit_serves_under_systemd_and_leaves_nothing() {
    holds_in_a_system("service", 8);
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn the_unit_survives_what_befalls_it() {
    holds_in_a_system("service-in-full", 14);
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn the_unit_comes_back_with_the_machine() {
    holds_in_a_system("reboot", 2);
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn servers_started_by_hand_have_the_groups_that_they_were_given() {
    holds_in_a_system("started-by-hand", 6);
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn the_corpus_is_contained_where_systemd_made_the_groups() {
    holds_in_a_system("corpus", 3);
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn a_module_of_the_unit_runs_in_the_kernel_that_it_runs_on() {
    holds_in_a_system("compile", 3);
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn the_quickstart_works_where_the_host_is_the_target() {
    holds_in_a_system("quickstart", 1);
}

/// Boots the system and has so many checks of one part made in it.
fn holds_in_a_system(part: &str, count: usize) {
    if !requirement::met("guest", no_emulator()) {
        return;
    }
    let trial = Path::new(env!("CARGO_BIN_EXE_system-trial"));
    let Some(system) = System::prepare(trial) else {
        let reason = "STAP_TEST_SYSTEM_ROOT names no root that boots";
        requirement::met("system-root", Some(reason.to_owned()));
        return;
    };
    let (finished, results) = system.run("system-trial", part);
    let broken = trial::broken(&results);
    assert!(broken.is_empty(), "{broken:#?}\n{finished}");
    finished.exits(0);
    assert_eq!(results.len(), count, "{finished}");
}

fn checks(situation: &Value) -> &[Value] {
    situation["found"].as_array().map_or(&[], Vec::as_slice)
}

fn no_emulator() -> Option<String> {
    let emulator = Path::new("/usr/bin/qemu-system-x86_64");
    (!emulator.exists()).then(|| format!("{} is not installed", emulator.display()))
}
