//! `stap-serverd --doctor`, `--may` and `--check-policy`: what an operator is told, on hosts that lack
//! something.
//!
//! A host without a layer is a user namespace in which the kernel refuses it: its root sets the
//! sysctl, and an ordinary user in it asks the doctor.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use stap_tests::lab::{self, Lab};
use stap_tests::wait;

fn doctor(lab: &Lab, options: &[&str]) -> (i32, Value) {
    let asked = lab
        .alice()
        .command("stap-serverd")
        .args(["--doctor", "--json"])
        .args(options)
        .run();
    let json =
        serde_json::from_str(&asked.out()).unwrap_or_else(|error| panic!("{error}: {asked}"));
    (asked.code().unwrap(), json)
}

/// What the doctor says of one layer.
fn layer<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let layers = diagnosis["layers"].as_array().unwrap();
    let found = layers.iter().find(|layer| layer["name"] == name);
    found.unwrap_or_else(|| panic!("nothing about {name} in {diagnosis:#}"))
}

fn finding<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let findings = diagnosis["host"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["name"] == name);
    found.unwrap_or_else(|| panic!("nothing about {name} in {diagnosis:#}"))
}

fn class<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let classes = diagnosis["classes"].as_array().unwrap();
    classes.iter().find(|class| class["class"] == name).unwrap()
}

/// Runs the doctor as alice in a user namespace that allows none of some namespaces.
fn doctor_without(lab: &Lab, kinds: &[&str], options: &[&str]) -> Output {
    let alice = lab.alice();
    let home = alice.home();
    let identity = home.metadata().unwrap();
    let closed: String = kinds
        .iter()
        .map(|kind| format!("echo 0 > /proc/sys/user/max_{kind}_namespaces || exit 9; "))
        .collect();
    let script = format!(
        "{closed}exec setpriv --reuid {} --regid {} --clear-groups env HOME={} stap-serverd --doctor {}",
        identity.uid(),
        identity.gid(),
        home.display(),
        options.join(" ")
    );
    let path = alice.run("printenv", ["PATH"]).out();
    let mut child = Command::new("unshare")
        // A program that is started before its uid means anything has no powers; the next one has.
        .args(["--user", "sh", "-c", "read go; exec sh -c \"$0\"", &script])
        .env_clear()
        .env("PATH", path.trim())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let process = format!("/proc/{}", child.id());
    let namespace = |process: &str| fs::read_link(Path::new(process).join("ns/user")).unwrap();
    let own = namespace("/proc/self");
    wait::until_true("it is in a namespace of its own", || {
        namespace(&process) != own
    });
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("{process}/{map}"), "0 0 65536").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child.wait_with_output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_doctor_says_what_a_server_that_starts_says() {
    lab::inside(|lab| {
        let (status, diagnosis) = doctor(lab, &[]);
        assert_eq!(status, 0, "{diagnosis:#}");
        assert_eq!(diagnosis["policy"]["met"], true);
        let server = lab.serve(lab.alice());
        let log = server.said();
        for layer in diagnosis["layers"].as_array().unwrap() {
            let name = layer["name"].as_str().unwrap();
            let state = if layer["in_force"] == true {
                "enforced"
            } else {
                "absent"
            };
            let line = format!("isolation: {name} is {state}: ");
            assert!(log.contains(&line), "the log does not say {line}\n{log}");
        }
    });
}

#[test]
fn the_doctor_leaves_nothing_behind_and_changes_nothing() {
    lab::inside(|lab| {
        let state = || {
            (
                lab.alice().home_files(),
                lab.temporary_files(),
                fs::read_to_string("/proc/self/mounts").unwrap(),
            )
        };
        let before = state();
        let groups = own_groups();
        // A shell that goes into groups of its own first, so that what other tests have meanwhile does not count.
        let enter = groups
            .iter()
            .map(|group| format!("echo $$ > {}/cgroup.procs; ", group.display()));
        let script = enter.collect::<String>() + "exec stap-serverd --doctor --json";
        let asked = lab.root().command("sh").args(["-c", &script]).run();
        asked.exits(0);
        let diagnosis: Value = serde_json::from_str(&asked.out()).unwrap();
        for group in &groups {
            let left: Vec<_> = fs::read_dir(group)
                .unwrap()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.file_type().unwrap().is_dir())
                .collect();
            assert!(left.is_empty(), "{left:?}");
            fs::remove_dir(group).unwrap();
        }
        if let Some(memory) = groups
            .iter()
            .find(|group| group.starts_with("/sys/fs/cgroup/memory"))
        {
            let tried = layer(&diagnosis, "cgroup")["detail"].as_str().unwrap();
            assert!(
                tried.contains(memory.to_str().unwrap()),
                "it was tried elsewhere: {tried}"
            );
        }
        doctor(lab, &[]);
        assert_eq!(state(), before);
    });
}

/// A new group in each hierarchy of a host with version 1; none where everything is in one, which is
/// tried in a guest.
fn own_groups() -> Vec<PathBuf> {
    let world = fs::metadata("/proc/self/ns/pid").unwrap().ino();
    let hierarchies = ["memory", "pids", "cpu", "cpuacct", "unified"];
    hierarchies
        .iter()
        .map(|name| Path::new("/sys/fs/cgroup").join(name))
        .filter(|hierarchy| hierarchy.is_dir())
        .map(|hierarchy| {
            let group = hierarchy.join(format!("doctor-{world}"));
            fs::create_dir(&group).unwrap();
            group
        })
        .collect()
}

#[test]
fn a_host_without_user_namespaces_is_told_so_with_the_remedy() {
    lab::inside(|lab| {
        let output = doctor_without(lab, &["user"], &["--json"]);
        let diagnosis = json(&output);
        assert_eq!(output.status.code(), Some(1), "{diagnosis:#}");
        let user = layer(&diagnosis, "user");
        assert_eq!(
            (&user["available"], &user["in_force"]),
            (&false.into(), &false.into())
        );
        assert!(
            user["remedy"]
                .as_str()
                .unwrap()
                .contains("user.max_user_namespaces > 0")
        );
        let cause = finding(&diagnosis, "namespaces");
        assert_eq!(cause["state"], "bad");
        assert_eq!(cause["detail"], "user.max_user_namespaces=0");
        let refusal = diagnosis["policy"]["refusal"].as_str().unwrap();
        assert!(refusal.contains("shared-host requires"), "{refusal}");
        assert_eq!(class(&diagnosis, "shared-host")["met"], false);
        // Landlock and the filter are enough for one's own machine.
        assert_eq!(class(&diagnosis, "personal")["met"], true, "{diagnosis:#}");
        let output = doctor_without(lab, &["user"], &["--json", "--policy", "personal"]);
        assert_eq!(output.status.code(), Some(0), "{:#}", json(&output));
    });
}

#[test]
fn each_namespace_that_is_missing_is_named_and_no_other() {
    lab::inside(|lab| {
        for (kind, name) in [
            ("pid", "pid"),
            ("net", "net"),
            ("ipc", "ipc"),
            ("uts", "uts"),
            ("mnt", "mount"),
        ] {
            let output = doctor_without(lab, &[kind], &["--json"]);
            let diagnosis = json(&output);
            assert_eq!(
                output.status.code(),
                Some(1),
                "without {kind}: {diagnosis:#}"
            );
            assert_eq!(layer(&diagnosis, name)["available"], false);
            let missing = class(&diagnosis, "shared-host")["missing"]
                .as_array()
                .unwrap()
                .clone();
            // Without mounts a user namespace is worth nothing.
            if kind != "mnt" {
                assert_eq!(missing, [name], "without {kind}: {diagnosis:#}");
            }
            assert!(
                missing.contains(&name.into()),
                "without {kind}: {missing:?}"
            );
        }
        let output = doctor_without(lab, &["cgroup"], &["--json"]);
        let diagnosis = json(&output);
        assert_eq!(
            output.status.code(),
            Some(0),
            "shared-host only tries it: {diagnosis:#}"
        );
        let missing = &class(&diagnosis, "strict")["missing"];
        assert!(
            missing
                .as_array()
                .unwrap()
                .contains(&"cgroup-namespace".into()),
            "{missing}"
        );
    });
}

#[test]
fn the_table_fits_a_hundred_columns_and_has_no_colour_in_a_pipe() {
    lab::inside(|lab| {
        let output = doctor_without(lab, &["user", "net"], &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("The policy 'shared-host' cannot be met here"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    });
}

#[test]
fn questions_that_cannot_be_answered_have_a_status_of_their_own() {
    lab::inside(|lab| {
        for arguments in [
            &["--doctor", "--policy", "lax"][..],
            &["--doctor", "--polcy=strict"],
            &["--doctor=yes"],
            &["--may"],
            &["--may", "--policy", "/no/such/file", "--", "stap", "x.stp"],
            &["--may", "--target", "..", "--", "stap", "x.stp"],
            &["--check-policy", "/no/such/file"],
            &["--check-policy", "lax"],
            &["--check-policy"],
        ] {
            let asked = lab.alice().command("stap-serverd").args(arguments).run();
            asked.exits(2);
            assert!(asked.err().contains("ERROR: "), "{asked}");
        }
    });
}

#[test]
fn a_policy_that_is_checked_shows_all_its_faults() {
    lab::inside(|lab| {
        let good = stap_policy::builtin::STRICT;
        let alice = lab.alice();
        let check = |text: &str| {
            let file = alice.write("policy.toml", text);
            let file = file.to_str().unwrap();
            alice.run("stap-serverd", ["--check-policy", file])
        };
        let faulty = check(
            &good
                .replace("wall            =", "wal =")
                .replace("cpu             = \"120 s\"", "cpu = \"2 d\""),
        );
        faulty.exits(1);
        let said = faulty.out();
        assert!(said.contains("did you mean `wall`?"), "{said}");
        assert!(
            said.contains("| cpu = \"2 d\"") && said.contains("^^^^^"),
            "{said}"
        );
        let doubtful =
            check(&good.replace("workspace       = \"128 MiB\"", "workspace = \"2 GiB\""));
        doubtful.exits(0);
        assert!(doubtful.out().contains("warning: "), "{doubtful}");
        assert!(doubtful.out().contains("more than `memory`"), "{doubtful}");
        check(good).exits(0);
    });
}

#[test]
fn what_may_run_is_what_a_server_runs() {
    lab::inside(|lab| {
        let alice = lab.alice();
        alice.write("x.stp", "probe begin { exit() }\n");
        // An ordinary user has no control groups here.
        let policy = stap_policy::builtin::STRICT.replace("\"require\"", "\"try\"");
        let policy = alice.write("policy.toml", policy);
        let policy = policy.to_str().unwrap();
        let server = lab.serve_with(lab.alice(), ["--policy", policy]);
        let option = format!("--server={}", server.address());
        for words in [
            &["-p2", "x.stp"][..],
            &["-p2", "-g", "x.stp"],
            &["-p2", "--sign-module", "x.stp"],
        ] {
            let asked = alice
                .command("stap-serverd")
                .args(["--may", "--json", "--policy", policy, "--", "stap"])
                .args(words)
                .run();
            let decision: Value = serde_json::from_str(&asked.out()).unwrap();
            let allowed = decision["allowed"] == true;
            asked.exits(i32::from(!allowed));
            let served = alice.command("stap-client").arg(&option).args(words).run();
            let refusal = decision["refusal"].as_str().unwrap_or("is not allowed");
            assert_eq!(
                served.err().contains(refusal),
                !allowed,
                "{decision:#}\n{served}"
            );
        }
    });
}
