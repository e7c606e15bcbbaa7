//! Nobody pays twice for what stap compiles to learn of tracepoints and types: not another client, not the next
//! server, and not whoever comes after a warm-up that was cut short.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use stap_policy::builtin::PERSONAL;
use stap_tests::command::Invocation;
use stap_tests::finished::Finished;
use stap_tests::lab::{self, Lab, User};
use stap_tests::process;
use stap_tests::requirement;
use stap_tests::root::{self, Bare};
use stap_tests::server::Server;
use stap_tests::wait;
use stap_tests::world::TARGET_ROOT;

use crate::e2e::a_script_gives_what_bare_stap_gives;

pub(crate) const TRACEPOINT: &str =
    "probe kernel.trace(\"raw_syscalls:sys_enter\") { println($id) exit() }";
const ANOTHER: &str = "probe kernel.trace(\"sched_switch\") { println(pid()) exit() }";
const THIRD: &str = "probe kernel.trace(\"sched_switch\") { println(tid()) exit() }";
/// Asks for a member that a process does not have.
const ADDED: &str = "probe kernel.trace(\"sched_switch\") { println($prev->added_here) exit() }";
const STRUCTURE: &str = "\nstruct task_struct {\n";
/// Its header includes one that is only among the kernel's sources.
const WITHOUT_SOURCES: &str = "probe kernel.trace(\"bridge:br_fdb_add\") { exit() }";
const NO_SUCH: &str = "probe kernel.trace(\"bridge:no_such\") { exit() }";
/// Headers with tracepoints that are left, so that it does not take minutes; the kernel's other headers
/// include the rest of them.
const LEFT: [&str; 7] = [
    "bridge.h",
    "percpu.h",
    "sched.h",
    "syscalls.h",
    "tlb.h",
    "xdp.h",
    "xen.h",
];

/// Takes most tracepoints out of the root, as this lab sees it, and returns where the rest is.
pub(crate) fn with_few_tracepoints(lab: &Lab) -> PathBuf {
    with_tracepoints_of(lab, &LEFT)
}

fn with_tracepoints_of(lab: &Lab, left: &[&str]) -> PathBuf {
    root::make_writable(lab);
    let sources = Path::new(TARGET_ROOT).join("usr/src");
    let common = lab::list(&sources)
        .into_iter()
        .find(|name| name.ends_with("-common"))
        .unwrap();
    let common = sources.join(common);
    let events = common.join("include/trace/events");
    for name in lab::list(&events) {
        if !left.contains(&name.as_str()) {
            fs::remove_file(events.join(name)).unwrap();
        }
    }
    let others = lab::list(&common.join("arch")).into_iter();
    for arch in others.filter(|arch| arch != "x86") {
        fs::remove_dir_all(common.join("arch").join(arch)).unwrap();
    }
    events
}

fn ask(user: User, server: &Server, arguments: &[&str]) -> Finished {
    let release = &root::releases()[0];
    let at = format!("--server={}", server.address());
    let client = user.command("stap-client").arg(at);
    let client = client.args(["-r", release]).args(arguments);
    client.deadline(lab::SLOW).run()
}

/// The processor time of each job that has ended, in seconds.
pub(crate) fn costs(server: &Server) -> Vec<f64> {
    let said = server.said();
    let costs = said.lines().filter_map(|line| {
        let (_, job) = line.split_once("job ended: ")?;
        let (before, _) = job.split_once(" s of CPU")?;
        before.rsplit(' ').next()?.parse().ok()
    });
    costs.collect()
}

/// Leaves one set of headers that the tapset casts to, for the same reason.
pub(crate) fn with_few_types() {
    let mut left = vec![Path::new(TARGET_ROOT).join("usr/share/systemtap/tapset")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(lab::list(&path).iter().map(|name| path.join(name)));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("kernel<") && !text.contains("kernel<linux/path.h>") {
            fs::write(&path, text.replace("kernel<", "kernel")).unwrap();
        }
    }
}

/// Headers behind `sched.h` whose tracepoints do not fit into its batch, so that another is built after it.
const BEHIND: [&str; 11] = [
    "signal.h",
    "sock.h",
    "task.h",
    "tcp.h",
    "thermal.h",
    "timer.h",
    "udp.h",
    "vmscan.h",
    "wbt.h",
    "workqueue.h",
    "writeback.h",
];

/// Gives processes the member that they did not have.
fn add_the_member() {
    let header = root::header("include/linux/sched.h");
    let text = fs::read_to_string(&header).unwrap();
    let (before, after) = text.split_once(STRUCTURE).unwrap();
    let added = format!("{before}{STRUCTURE}int added_here;\n{after}");
    fs::write(&header, added).unwrap();
}

/// A command that warms one target, without guru mode, which would have all probed once more.
fn warm(user: User, cache: &Path) -> Invocation {
    warm_with(user, cache, ROOM)
}

/// The same with so much room for recordings.
fn warm_with(user: User, cache: &Path, room: &str) -> Invocation {
    let allowed = "\"-m\", \"-g\"";
    assert!(
        PERSONAL.contains(allowed) && PERSONAL.contains(ROOM),
        "it is written otherwise now"
    );
    let policy = PERSONAL.replace(allowed, "\"-m\"").replace(ROOM, room);
    let policy = user.write("plain.toml", policy);
    let (root, release) = (format!("--root={TARGET_ROOT}"), root::releases().remove(0));
    let command = user.command("stap-serverd").without_env("SYSTEMTAP_STAP");
    let command = command.env("XDG_CACHE_HOME", cache).arg("--warm");
    let command = command.args([&root, &format!("--policy={}", policy.display())]);
    command.args(["-r", &release]).deadline(lab::SLOW)
}

/// How a policy says it.
const ROOM: &str = "kept   = \"2 GiB\"";

/// The entries of a store whose names have a part in common.
pub(crate) fn entries(cache: &Path, part: &str) -> Vec<String> {
    let warm = cache.join("stap-server/warm");
    if !warm.exists() {
        return Vec::new();
    }
    let mut names = lab::list(&warm);
    names.retain(|name| name.contains(part));
    names
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn a_warm_up_that_is_cut_short_goes_on_where_it_was_and_nothing_half_done_is_believed() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        with_few_tracepoints(lab);
        with_few_types();
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let cut_short = warm(alice, &cache).start();
        let has_built = || !entries(&cache, "-queries-").is_empty();
        let in_time = (0..20).any(|_| wait::within_patience(has_built));
        assert!(in_time, "nothing was built: {}", cut_short.finish());
        cut_short.signal(Signal::KILL);
        cut_short.finish();
        wait::until_true("the worker has ended, too", || {
            process::named("stap-worker").is_empty()
        });

        let resumed = warm(alice, &cache).run();
        resumed.exits(0).never_says(": 0 of ");
        let release = &root::releases()[0];
        let said = resumed.err();
        let mut told = said.lines().filter(|line| line.starts_with(release));
        let has_advanced = told.any(|line| line.contains(" of "));
        assert!(has_advanced, "nothing says how far it is: {resumed}");
        assert!(
            resumed.out().starts_with(release) && resumed.out().ends_with("\twarm\n"),
            "{resumed}"
        );
        let built = entries(&cache, "-queries-");
        warm(alice, &cache)
            .run()
            .exits(0)
            .says("that took 0.0ns of CPU");
        assert_eq!(
            entries(&cache, "-queries-"),
            built,
            "something was built again"
        );
        let small = warm_with(alice, &cache, "kept = \"1 MiB\"").run();
        small.exits(1);
        let told = small.out();
        assert!(told.contains("has no room for the recordings"), "{small}");
        assert_eq!(entries(&cache, "pass-4-"), [""; 0], "the bound holds");
    });
}

#[test]
fn what_cannot_be_warmed_is_said_and_gives_another_status() {
    lab::inside(|lab| {
        let alice = lab.alice();
        // The lab's stap is a stand-in, of which nothing can be learnt.
        let warm = alice.command("stap-serverd").arg("--warm").run();
        warm.exits(1);
        let out = warm.out();
        assert!(
            out.contains("\tnot warm: its stap is a replacement"),
            "{warm}"
        );
        let wrong = ["--warm", "--policy=/no/such/policy.toml"];
        alice.command("stap-serverd").args(wrong).run().exits(2);
        let slip = alice.command("stap-serverd").args(["--warm", "--bogus"]);
        let slip = slip.run();
        slip.exits(2).prints_nothing().never_says("ignoring");
        slip.says("'--bogus' is not an option of stap-serverd; nothing was done");
    });
}

#[test]
fn a_tracepoint_costs_what_a_hello_costs_once_anybody_has_asked_for_one() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let events = with_few_tracepoints(lab);
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let server = root::serve_from(alice, &cache, &root::making(alice));
        ask(alice, &server, &["-p2", "-e", lab::HELLO]).exits(0);
        assert!(
            !server.said().contains("queries of tracepoints"),
            "a hello waited for tracepoints: {}",
            server.said()
        );
        ask(alice, &server, &["-p2", "-e", TRACEPOINT]).exits(0);
        ask(alice, &server, &["-p2", "-e", ANOTHER]).exits(0);
        let [hello, first, another] = costs(&server)[..] else {
            panic!("{}", server.said());
        };
        // What was built once for all is no part of the first job, either.
        let bound = 3.0 * hello;
        assert!(
            first < bound && another < bound,
            "{hello} {first} {another}"
        );

        let bare = Bare::prepare(lab, alice);
        a_script_gives_what_bare_stap_gives(lab, &server, &bare, TRACEPOINT);

        // Who asks for one whose header does not compile hears why; others hear nothing of it.
        let told = "stap-server: the tracepoint bridge:br_fdb_add is missing because its header";
        let missing = ask(alice, &server, &["-p2", "-e", WITHOUT_SOURCES]);
        assert!(
            missing.code() == Some(1) && missing.err().contains(told),
            "{missing}"
        );
        assert!(missing.err().contains("br_private.h"), "{missing}");
        let words = missing.err();
        let (_, kept) = words.split_once("in his cache, ").unwrap();
        let kept = cache
            .join("stap-server/warm")
            .join(kept.lines().next().unwrap());
        let kept = fs::read_to_string(kept).unwrap();
        assert!(kept.contains("br_private.h: No such file"), "{kept}");
        let no_such = ask(alice, &server, &["-p2", "-e", NO_SUCH]);
        assert!(no_such.code() == Some(1), "{no_such}");
        assert!(!no_such.err().contains("stap-server:"), "{no_such}");

        // It is there for the next server, too, after an end without any warning.
        process::signal(server.pid, Signal::KILL);
        let next = root::serve_from(alice, &cache, &root::making(alice));
        ask(alice, &next, &["-p2", "-e", THIRD]).exits(0);
        assert!(
            next.said()
                .contains("not built yet are 0 queries of tracepoints"),
            "it was built again: {}",
            next.said()
        );
        assert!(costs(&next)[0] < bound, "{:?}", costs(&next));

        // A header that has changed is another one, and so is whatever includes it.
        ask(alice, &next, &["-p2", "-e", ADDED]).exits(1);
        assert!(events.join("sched.h").exists());
        add_the_member();
        ask(alice, &next, &["-p2", "-e", ADDED]).exits(0);
        next.logs("what was kept is not used: jobs see something else now");
    });
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn a_header_that_changes_while_a_job_waits_for_answers_is_in_what_that_job_sees() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        with_tracepoints_of(lab, &[&LEFT[..], &BEHIND].concat());
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let server = root::serve_from(alice, &cache, "personal");
        let release = &root::releases()[0];
        let at = format!("--server={}", server.address());
        let client = alice.command("stap-client").args([&at, "-r", release]);
        let asking = client.args(["-p2", "-e", ADDED]).deadline(lab::SLOW);
        let asking = asking.start();
        let has_built = || !entries(&cache, "-queries-").is_empty();
        let in_time = (0..20).any(|_| wait::within_patience(has_built));
        assert!(in_time, "nothing was built: {}", server.said());
        // The answer about this structure is there, and the job waits for the next batch.
        add_the_member();
        asking.finish().exits(0);
        server.logs("what jobs see changed while they were built");
    });
}

#[test]
fn a_type_that_a_job_had_to_compile_is_built_for_everybody_who_comes_later() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        with_few_tracepoints(lab);
        with_few_types();
        let alice = lab.alice();
        let server = root::serve_from(alice, &alice.home().join("cache"), "personal");
        let cast = |constant: u32| {
            format!(
                "probe begin {{ println(@cast({constant}, \"path\", \"kernel<linux/path.h>\")->dentry) exit() }}"
            )
        };
        ask(alice, &server, &["-p2", "-e", lab::HELLO]).exits(0);
        ask(alice, &server, &["-p2", "-e", &cast(1)]).exits(0);
        let built = "queries of tracepoints and types need not be compiled any more";
        assert!(!server.said().contains(built), "{}", server.said());
        ask(alice, &server, &["-p2", "-e", &cast(2)]).exits(0);
        server.logs(built);
        ask(alice, &server, &["-p2", "-e", &cast(3)]).exits(0);
        assert_eq!(server.said().matches(built).count(), 1, "built again");
        let [hello, first, second, third] = costs(&server)[..] else {
            panic!("{}", server.said());
        };
        let bound = 3.0 * hello;
        assert!(
            first > bound && second < bound && third < bound,
            "{hello} {first} {second} {third}"
        );
    });
}
