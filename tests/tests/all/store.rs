//! Results that are kept: what comes again is what came before, and nothing else ever does.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;
use stap_tests::finished::Finished;
use stap_tests::lab::{self, User};
use stap_tests::process;
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::server::{Server, fresh_log, log_option};
use stap_tests::wait;
use stap_tests::world::TARGET_ROOT;

use crate::authorize::authorize;
use crate::manager::{SERVICE, service_account};
use crate::tracepoints::costs;

/// What a client got: what it saw, and its module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: Option<i32>,
    stdout: String,
    stderr: String,
    pub(crate) module: Vec<u8>,
}

/// Asks for a module of this name in a directory of its own.
pub(crate) fn ask(user: User, server: &Server, directory: &str, script: &str) -> Got {
    ask_with(user, server, directory, script, &[])
}

fn ask_with(user: User, server: &Server, directory: &str, script: &str, more: &[&str]) -> Got {
    let release = &root::releases()[0];
    let at = format!("--server={}", server.address());
    let place = user.write(format!("{directory}/.keep"), "");
    let place = place.parent().unwrap();
    let arguments = ["-p4", "-m", "kept", "-r", release, "-e", script];
    let client = user
        .command("stap-client")
        .arg(at)
        .args(arguments)
        .args(more);
    let finished: Finished = client.directory(place).deadline(lab::SLOW).run();
    Got {
        status: finished.code(),
        stdout: finished.out(),
        stderr: finished.err(),
        module: fs::read(place.join("kept.ko")).unwrap_or_default(),
    }
}

/// The words that the log has for each answer, in order.
pub(crate) fn origins(server: &Server) -> Vec<String> {
    let said = server.said();
    let words = said.lines().filter_map(|line| {
        let (_, word) = line.split_once("store=\"")?;
        Some(word.split('"').next()?.to_owned())
    });
    words.collect()
}

fn entries(user: User) -> Vec<PathBuf> {
    let files = fs::read_dir(root::results(user)).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

pub(crate) const ONE: &str = "probe begin { println(\"one\") exit() }";
const THREE: &str = "probe begin { println(\"three\") exit() }";
const TWO: &str = "probe begin { println(\"two\") exit() }";

#[test]
fn a_hit_equals_the_miss_and_runs_nothing() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let server = root::serve(alice);
        let first = ask(alice, &server, "first", ONE);
        assert_eq!(first.status, Some(0), "{first:?}");
        assert!(first.module.starts_with(b"\x7fELF"));
        let second = ask(alice, &server, "second", ONE);
        assert_eq!(first, second);
        let other = ask(alice, &server, "other", TWO);
        assert_ne!(other.module, first.module);
        // Who wants to know hears of it, and stap's own words are those of the job that was run.
        let verbose = |directory| ask_with(alice, &server, directory, TWO, &["-v"]).stderr;
        let (made, kept) = (verbose("made"), verbose("kept"));
        assert!(
            made.contains("(store: miss)") && kept.contains("(store: hit)"),
            "{made}{kept}"
        );
        let of_stap = |said: &str| {
            said.lines()
                .find(|line| line.starts_with("Pass 4"))
                .map(str::to_owned)
        };
        assert_eq!(of_stap(&made), of_stap(&kept));
        assert!(of_stap(&made).is_some(), "{made}");
        assert_eq!(origins(&server), ["miss", "hit", "miss", "miss", "hit"]);
        // It is there for the next server, too, after an end without any warning.
        process::signal(server.pid, rustix::process::Signal::KILL);
        let next = root::serve(alice);
        assert_eq!(ask(alice, &next, "third", ONE), first);
        assert_eq!(origins(&next), ["hit"]);
    });
}

#[test]
fn eight_equal_requests_at_once_are_one_compile() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let server = root::serve(alice);
        ask(alice, &server, "warm", TWO);
        let release = &root::releases()[0];
        let at = format!("--server={}", server.address());
        let start = |number: u32| {
            let place = alice.write(format!("{number}/.keep"), "");
            let arguments = ["-p4", "-m", "kept", "-r", release, "-e", ONE];
            let client = alice.command("stap-client").arg(&at).args(arguments);
            client
                .directory(place.parent().unwrap())
                .deadline(lab::SLOW)
                .start()
        };
        let clients: Vec<_> = (0..8).map(start).collect();
        let mut modules = Vec::new();
        for (number, client) in clients.into_iter().enumerate() {
            client.finish().exits(0).prints("kept.ko\n");
            let module = alice.home().join(number.to_string()).join("kept.ko");
            modules.push(fs::read(module).unwrap());
        }
        modules.dedup();
        assert_eq!(modules.len(), 1, "equal requests got different modules");
        let origins = origins(&server);
        let misses = origins.iter().skip(1).filter(|word| *word == "miss");
        assert_eq!((misses.count(), origins.len()), (1, 9), "{origins:?}");
    });
}

#[test]
fn a_target_that_is_changed_under_a_running_server_is_compiled_for_anew() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        root::make_writable(lab);
        let alice = lab.alice();
        // The other tests are to find what was recorded for the root as it is.
        let server = root::serve_making(alice);
        let inside = |path: &str| Path::new(TARGET_ROOT).join(path);
        ask(alice, &server, "before", ONE);
        assert_eq!(ask(alice, &server, "again", ONE).status, Some(0));
        // In place, with the same length, and its time put back.
        // Each module includes it, and its comments decide nothing.
        let header = root::header("include/linux/module.h");
        let was = fs::metadata(&header).unwrap().modified().unwrap();
        let text = fs::read_to_string(&header).unwrap();
        assert!(text.contains("GPL"));
        fs::write(&header, text.replacen("GPL", "gpl", 1)).unwrap();
        let file = fs::File::options().write(true).open(&header).unwrap();
        file.set_modified(was).unwrap();
        drop(file);
        assert_eq!(ask(alice, &server, "header", ONE).status, Some(0));
        // Another stap in its place, as a package manager puts it there.
        let (stap, new) = (inside("usr/bin/stap"), inside("usr/bin/stap.new"));
        fs::copy(&stap, &new).unwrap();
        fs::rename(&new, &stap).unwrap();
        assert_eq!(ask(alice, &server, "stap", ONE).status, Some(0));
        assert_eq!(ask(alice, &server, "at last", ONE).status, Some(0));
        assert_eq!(origins(&server), ["miss", "hit", "miss", "miss", "hit"]);
        // stap looks for its probes by its own time; nobody but the server has made them anew.
        let [before, header, stap] = costs(&server)[..] else {
            panic!("{}", server.said());
        };
        let bound = 3.0 * before;
        assert!(header < bound && stap < bound, "{before} {header} {stap}");
        assert_eq!(server.said().matches("; its jobs wait").count(), 1);
    });
}

#[test]
fn what_was_replayed_is_not_given_out_where_the_policy_has_make_run() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let (replaying, making) = (root::serve(alice), root::serve_making(alice));
        for server in [&replaying, &making, &replaying, &making] {
            assert_eq!(ask(alice, server, "asked", ONE).status, Some(0));
        }
        for server in [&replaying, &making] {
            assert_eq!(origins(server), ["miss", "hit"], "{}", server.said());
        }
    });
}

#[test]
fn what_saw_its_target_change_is_not_kept() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        root::make_writable(lab);
        let alice = lab.alice();
        let server = root::serve_making(alice);
        ask(alice, &server, "before", TWO);
        let header = root::header("include/linux/module.h");
        let text = fs::read_to_string(&header).unwrap();
        let mut changed = false;
        let got = std::thread::scope(|scope| {
            let client = scope.spawn(|| ask(alice, &server, "meanwhile", ONE));
            let compiles = || !process::named("stap").is_empty();
            changed = wait::within_patience(|| compiles() || client.is_finished());
            fs::write(&header, text.replacen("GPL", "gpl", 1)).unwrap();
            client.join().unwrap()
        });
        assert!(changed && got.status == Some(0), "{got:?}");
        server.logs("the result is not kept: the target changed while it was made");
        let next = ask(alice, &server, "next", ONE);
        assert_eq!(next.status, Some(0), "{next:?}");
        assert_eq!(origins(&server), ["miss"; 3]);
    });
}

#[test]
fn an_entry_that_is_not_as_it_was_written_is_dropped_and_the_log_says_why() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let (alice, bob) = (lab.alice(), lab.bob());
        let server = root::serve(alice);
        let good = ask(alice, &server, "good", ONE);
        type Change = fn(&Path, User);
        let changes: [(&str, Change); 4] = [
            ("was altered", |entry, _| {
                let mut content = fs::read(entry).unwrap();
                let middle = content.len() / 2;
                content[middle] ^= 1;
                fs::write(entry, content).unwrap();
            }),
            ("cut short", |entry, _| {
                let content = fs::read(entry).unwrap();
                fs::write(entry, &content[..content.len() / 3]).unwrap();
            }),
            ("another user's", |entry, bob| {
                fs::set_permissions(entry, fs::Permissions::from_mode(0o644)).unwrap();
                std::os::unix::fs::chown(entry, Some(bob.id), Some(bob.id)).unwrap();
            }),
            ("a link", |entry, bob| {
                let poison = bob.write("poison", fs::read(entry).unwrap());
                fs::remove_file(entry).unwrap();
                symlink(poison, entry).unwrap();
            }),
        ];
        for (number, (reason, change)) in changes.into_iter().enumerate() {
            let [entry] = &entries(alice)[..] else {
                panic!("there is one result, not {:?}", entries(alice));
            };
            change(entry, bob);
            let again = ask(alice, &server, &format!("again-{number}"), ONE);
            assert_eq!(again.module, good.module, "{reason}");
            let dropped = server.logs("a kept result is dropped");
            assert!(server.said().contains(reason), "{reason}: {dropped}");
        }
        assert_eq!(origins(&server), ["miss"; 5]);
        let mode = fs::metadata(&entries(alice)[0])
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn a_full_disk_costs_nobody_an_answer() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let results = root::results(alice);
        fs::create_dir_all(&results).unwrap();
        let small = c"mode=700,size=64k";
        rustix::mount::mount("lab", &results, "tmpfs", MountFlags::empty(), Some(small)).unwrap();
        std::os::unix::fs::chown(&results, Some(alice.id), Some(alice.id)).unwrap();
        let server = root::serve(alice);
        let first = ask(alice, &server, "first", ONE);
        assert_eq!(first.status, Some(0));
        server.logs("the result is not kept: it cannot be written: No space left on device");
        assert_eq!(entries(alice), [""; 0].map(PathBuf::from));
        assert_eq!(ask(alice, &server, "second", ONE).module, first.module);
        assert_eq!(origins(&server), ["miss", "miss"]);
    });
}

#[test]
fn two_servers_share_one_directory() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let (one, other) = (root::serve(alice), root::serve(alice));
        let first = ask(alice, &one, "first", ONE);
        assert_eq!(ask(alice, &other, "second", ONE), first);
        ask(alice, &other, "third", TWO);
        ask(alice, &one, "fourth", TWO);
        assert_eq!(origins(&one), ["miss", "hit"]);
        assert_eq!(origins(&other), ["hit", "miss"]);
        assert_eq!(entries(alice).len(), 2);
        // Both at the same moment: either of them may be the first to keep it.
        let (here, there) = std::thread::scope(|scope| {
            let here = scope.spawn(|| ask(alice, &one, "here", THREE));
            (ask(alice, &other, "there", THREE), here.join().unwrap())
        });
        assert_eq!(here, there);
        assert_eq!(here.status, Some(0), "{here:?}");
        assert_eq!(ask(alice, &one, "fifth", THREE), here);
        assert_eq!(origins(&one).last().map(String::as_str), Some("hit"));
        assert_eq!(entries(alice).len(), 3);
    });
}

#[test]
fn results_of_users_are_apart_where_the_policy_wants_it() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let (alice, bob) = (lab.alice(), lab.bob());
        let shared = "scope    = \"shared\"";
        let personal = stap_policy::builtin::PERSONAL;
        assert!(personal.contains(shared));
        let apart = personal.replace(shared, "scope    = \"user\"");
        let policy = alice.write("apart.toml", apart);
        let server = root::serve_under(alice, policy.to_str().unwrap());
        authorize(lab, bob);
        for (user, directory) in [(alice, "a"), (bob, "a"), (alice, "b"), (bob, "b")] {
            assert_eq!(ask(user, &server, directory, ONE).status, Some(0));
        }
        let expected = if server.said().contains("are told apart by the kernel") {
            ["miss", "miss", "hit", "hit"]
        } else {
            // Without the kernel's word both are one address.
            ["miss", "hit", "hit", "hit"]
        };
        assert_eq!(origins(&server), expected);
    });
}

#[test]
fn a_server_that_root_started_keeps_results_as_the_account_that_it_becomes() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        service_account();
        let root = lab.root();
        let log = fresh_log(root);
        let roots = format!("--root={TARGET_ROOT}");
        let start = root
            .command("stap-start-server")
            .without_env("SYSTEMTAP_STAP")
            .args([&log_option(&log), &roots, "--policy=personal"]);
        let server = Server::started(&start.deadline(lab::SLOW).run(), log);
        let at = format!("--server={}", server.address());
        let release = &root::releases()[0];
        for _ in 0..2 {
            let arguments = [&at, "-p2", "-r", release, "-e", ONE];
            let client = root.command("stap-client").args(arguments);
            client.deadline(lab::SLOW).run().exits(0);
        }
        assert_eq!(origins(&server), ["miss", "hit"]);
        let results = Path::new("/var/cache/stap-server/results");
        let entries = lab::list(results);
        assert_eq!(entries.len(), 1);
        for path in [results.to_owned(), results.join(&entries[0])] {
            let metadata = fs::metadata(path).unwrap();
            assert_eq!(metadata.uid(), SERVICE);
            assert_eq!(metadata.mode() & 0o077, 0);
        }
    });
}
