//! What a server keeps of its targets (feature probes, recordings of pass 4, queries) never makes a wrong
//! module, whatever happens to it: it is dropped, the compile is done, and the log says why.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;
use rustix::process::Signal;
use stap_tests::command::Invocation;
use stap_tests::lab::{self, User};
use stap_tests::process;
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::server::Server;
use stap_tests::wait;
use stap_tests::world::TARGET_ROOT;

use crate::store::{ONE, ask};
use crate::tracepoints::{TRACEPOINT, entries, with_few_tracepoints, with_few_types};

/// The entries of every kind; a server that has compiled for a tracepoint has them all.
const KINDS: [&str; 5] = ["-owner", "-plain", "pass-4-", "-listing", "-queries-"];

fn is_of_kind(entry: &str, kind: &str) -> bool {
    match kind {
        "-plain" => entry.ends_with(kind) && !entry.starts_with("pass-4-"),
        kind => entry.contains(kind),
    }
}

/// Where entries are.
fn warm(cache: &Path) -> PathBuf {
    cache.join("stap-server/warm")
}

/// The files of an entry, but for its seal, in order.
fn files(cache: &Path, entry: &str) -> Vec<PathBuf> {
    let entry = warm(cache).join(entry);
    let names = lab::list(&entry).into_iter();
    let names = names.filter(|name| !name.starts_with("seal"));
    names.map(|name| entry.join(name)).collect()
}

/// Ends a server without any warning, with its worker, and forgets the results of its jobs.
fn kill(server: &Server, cache: &Path) {
    process::signal(server.pid, Signal::KILL);
    wait::until_true("the worker has ended, too", || {
        process::named("stap-worker").is_empty()
    });
    fs::remove_dir_all(cache.join("stap-server/results")).unwrap();
}

fn serve(user: User, cache: &Path) -> Server {
    root::serve_from(user, cache, "personal")
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn what_is_not_as_it_was_written_is_dropped_and_made_anew_and_the_log_says_why() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        with_few_tracepoints(lab);
        with_few_types();
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let server = serve(alice, &cache);
        let good = ask(alice, &server, "good", TRACEPOINT);
        assert_eq!(good.status, Some(0), "{good:?}");
        root::wait_for_recording(&server, "plain");
        kill(&server, &cache);
        let kept = entries(&cache, "");
        for kind in KINDS {
            let of_kind = kept.iter().any(|entry| is_of_kind(entry, kind));
            assert!(of_kind, "{kind} is missing: {kept:?}");
        }
        type Change = fn(&Path);
        let altered: Change = |file| {
            let mut content = fs::read(file).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 1;
            fs::write(file, content).unwrap();
        };
        let cut: Change = |file| {
            let content = fs::read(file).unwrap();
            fs::write(file, &content[..content.len() / 2]).unwrap();
        };
        for (what, change) in [("altered", altered), ("cut short", cut)] {
            for entry in &kept {
                change(files(&cache, entry).last().unwrap());
            }
            let next = serve(alice, &cache);
            let again = ask(alice, &next, what, TRACEPOINT);
            assert_eq!(again.module, good.module, "{what}");
            let said = next.said();
            let needed = kept.iter().filter(|entry| !entry.ends_with("-owner"));
            for entry in needed {
                let mut lines = said.lines().filter(|line| line.contains(entry.as_str()));
                assert!(
                    lines.any(|line| line.contains("dropped, and made anew")),
                    "{entry} was {what}: {said}"
                );
            }
            root::wait_for_recording(&next, "plain");
            kill(&next, &cache);
            assert_eq!(entries(&cache, ""), kept, "{what}");
        }
        let last = serve(alice, &cache);
        let replayed = ask(alice, &last, "last", TRACEPOINT);
        assert_eq!(replayed.status, Some(0), "{replayed:?}");
        last.logs("pass 4: replayed");
        for word in ["damaged", "warming", "not built yet are 1"] {
            assert!(!last.said().contains(word), "{word}: {}", last.said());
        }
    });
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn two_servers_fill_one_directory_at_the_same_time() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let servers = [serve(alice, &cache), serve(alice, &cache)];
        let start = |(number, server): (usize, &Server)| {
            let place = alice.write(format!("{number}/.keep"), "");
            let at = format!("--server={}", server.address());
            let client = asking(alice, &at).directory(place.parent().unwrap());
            client.deadline(lab::SLOW).start()
        };
        let clients: Vec<_> = servers.iter().enumerate().map(start).collect();
        let mut modules = Vec::new();
        for (number, client) in clients.into_iter().enumerate() {
            client.finish().exits(0);
            let module = alice.home().join(number.to_string()).join("kept.ko");
            modules.push(fs::read(module).unwrap());
        }
        assert_eq!(modules[0], modules[1]);
        for server in &servers {
            root::wait_for_recording(server, "plain");
        }
        let left = entries(&cache, ".pending");
        assert!(left.is_empty(), "{left:?}");
        let next = serve(alice, &cache);
        ask(alice, &next, "next", ONE);
        for word in ["damaged", "warming"] {
            assert!(!next.said().contains(word), "{word}: {}", next.said());
        }
    });
}

/// A client that wants a module of [`ONE`].
fn asking(user: User, at: &str) -> Invocation {
    let release = &root::releases()[0];
    let arguments = [at, "-p4", "-m", "kept", "-r", release, "-e", ONE];
    user.command("stap-client").args(arguments)
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn a_full_disk_and_a_clock_that_was_set_back_cost_time_and_nothing_else() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let cache = alice.home().join("cache");
        let first = serve(alice, &cache);
        let good = ask(alice, &first, "good", ONE);
        root::wait_for_recording(&first, "plain");
        // All of it is from a time that has not come.
        let made = fs::metadata(&cache).unwrap().modified().unwrap();
        let coming = made + std::time::Duration::from_secs(10 * 365 * 86_400);
        let touch = |path: &Path| fs::File::open(path).unwrap().set_modified(coming).unwrap();
        for entry in entries(&cache, "") {
            touch(&warm(&cache).join(&entry));
            files(&cache, &entry).iter().for_each(|file| touch(file));
        }
        let results = cache.join("stap-server/results");
        lab::list(&results)
            .iter()
            .for_each(|result| touch(&results.join(result)));
        let later = serve(alice, &cache);
        assert_eq!(ask(alice, &later, "later", ONE), good);
        assert_eq!(crate::store::origins(&later), ["hit"]);
        let other = "probe begin { println(\"another\") exit() }";
        assert_eq!(ask(alice, &later, "other", other).status, Some(0));
        assert!(!later.said().contains("warming"), "{}", later.said());

        let full = alice.home().join("full");
        let place = warm(&full);
        fs::create_dir_all(&place).unwrap();
        let (none, small) = (MountFlags::empty(), c"mode=700,size=4k");
        rustix::mount::mount("lab", &place, "tmpfs", none, Some(small)).unwrap();
        for path in [&full, &full.join("stap-server"), &place] {
            std::os::unix::fs::chown(path, Some(alice.id), Some(alice.id)).unwrap();
        }
        let poor = serve(alice, &full);
        assert_eq!(ask(alice, &poor, "poor", ONE).module, good.module);
        root::wait_for_recording(&poor, "plain");
        for word in [
            "will have to warm again",
            "will have to record pass 4 again",
        ] {
            let line = poor.logs(word);
            assert!(line.contains("No space left on device"), "{line}");
        }
        assert!(entries(&full, "").is_empty(), "{:?}", entries(&full, ""));
    });
}

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn a_kernel_that_is_upgraded_under_a_running_server_is_in_the_next_module() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        root::make_writable(lab);
        let alice = lab.alice();
        let server = root::serve(alice);
        let before = ask(alice, &server, "before", ONE);
        assert_eq!(before.status, Some(0), "{before:?}");
        // As a package manager does it: each file beside the old one, with a time of its own, then in its place.
        let release = &root::releases()[0];
        let tree = fs::canonicalize(format!("{TARGET_ROOT}/lib/modules/{release}/build")).unwrap();
        let rebuilt = format!("{release}-rebuilt");
        for name in ["Module.symvers", "include/generated/utsrelease.h"] {
            let (old, new) = (tree.join(name), tree.join(format!("{name}.dpkg-new")));
            let text = fs::read_to_string(&old).unwrap();
            let is_release = name.ends_with(".h");
            let text = if is_release {
                text.replacen(release, &rebuilt, 1)
            } else {
                text
            };
            fs::write(&new, text).unwrap();
            let was = fs::metadata(&old).unwrap().modified().unwrap();
            let file = fs::File::options().write(true).open(&new).unwrap();
            file.set_modified(was).unwrap();
            fs::rename(new, old).unwrap();
        }
        let after = ask(alice, &server, "after", ONE);
        assert_eq!(after.status, Some(0), "{after:?}");
        let is_for_it = |module: &[u8]| {
            let mut places = module.windows(rebuilt.len());
            places.any(|place| place == rebuilt.as_bytes())
        };
        assert!(!is_for_it(&before.module) && is_for_it(&after.module));
        assert_eq!(crate::store::origins(&server), ["miss", "miss"]);
    });
}
