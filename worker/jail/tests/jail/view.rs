//! What a job finds around it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use stap_jail::layer::Layer;
use stap_jail::plan::{Access, Bind, WorkspaceLink};
use stap_jail::report::JobEnd;

use crate::harness::{LEAKED_DESCRIPTOR, Trial, Who, everybody, is_root};
use crate::outcome::Attack;

#[test]
fn every_layer_of_the_plan_is_in_force_and_reported() {
    for who in everybody() {
        let trial = Trial::new(who, &["effective-uid"]);
        let planned = trial.plan.layers.clone();
        let (held, end, usage) = trial.run().ended();
        assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), planned);
        assert_eq!(end, JobEnd::Exited(0));
        assert!(usage.largest_process > 0);
    }
}

#[test]
fn stdin_is_empty_and_nothing_else_is_open() {
    for who in everybody() {
        let outcome = Trial::new(who, &[]).command(&["/bin/cat"]).run();
        assert_eq!(
            (outcome.ended().1, outcome.stdout.as_str()),
            (JobEnd::Exited(0), "")
        );
        let outcome = Trial::new(who, &[])
            .command(&["/bin/ls", "/proc/self/fd"])
            .run();
        // The fourth is the listing itself.
        assert_eq!(
            outcome.stdout, "0\n1\n2\n3\n",
            "{LEAKED_DESCRIPTOR} was open in the worker"
        );
    }
}

#[test]
fn the_environment_is_the_plans_and_nothing_else() {
    for who in everybody() {
        let outcome = Trial::new(who, &[]).command(&["/usr/bin/env"]).run();
        assert_eq!(outcome.stdout, "PATH=/usr/bin:/bin\n");
    }
}

#[test]
fn the_job_is_an_ordinary_user_alone_on_its_machine() {
    for who in everybody() {
        let outcome = Trial::new(who, &[]).command(&["/usr/bin/id"]).run();
        assert_eq!(
            outcome.stdout,
            "uid=1000(build) gid=1000(build) groups=1000(build)\n"
        );
        let outcome = Trial::new(who, &[]).command(&["/bin/ls", "/proc"]).run();
        let processes = outcome
            .stdout
            .lines()
            .filter(|name| name.parse::<u32>().is_ok());
        // Pid 1 watches and is hidden; the other is the listing.
        assert_eq!(processes.collect::<Vec<_>>(), ["2"]);
        assert!(!outcome.stdout.contains("kallsyms"), "{}", outcome.stdout);
    }
}

/// A C library asks there before it has its heap in them.
#[test]
fn of_sys_there_are_copies_of_what_the_host_says_of_huge_pages() {
    const DIRECTORY: &str = "/sys/kernel/mm/transparent_hugepage";
    let facts = ["enabled", "hpage_pmd_size"].map(|name| format!("{DIRECTORY}/{name}"));
    let of_the_host: String = facts.iter().flat_map(fs::read_to_string).collect();
    for who in everybody() {
        // With it nobody lists the directories above.
        let find = ["/usr/bin/find", "/sys", "-type", "f"];
        let open = Trial::new(who, &[]).without(Layer::Landlock);
        let found = open.command(&find).run().stdout;
        let mut found: Vec<_> = found.lines().collect();
        found.sort_unstable();
        if of_the_host.is_empty() {
            assert_eq!(found, Vec::<&str>::new());
            continue;
        }
        assert_eq!(found, facts);
        let read = ["/bin/cat", &facts[0], &facts[1]];
        let outcome = Trial::new(who, &[]).command(&read).run();
        assert_eq!(outcome.stdout, of_the_host);
    }
}

#[test]
fn a_link_leads_to_what_is_shown_and_nothing_is_written_through_it() {
    for who in everybody() {
        let linked = |attack: &[&str]| {
            let mut trial = Trial::new(who, attack);
            // The job's user may write to it, wherever he can reach it.
            let shown = trial.secret();
            trial.plan.view.binds.push(Bind {
                source: shown.as_path().try_into().unwrap(),
                target: "/shown/file".try_into().unwrap(),
                access: Access::Read,
            });
            trial.plan.workspace.links.push(WorkspaceLink {
                path: "home/deep/link".try_into().unwrap(),
                target: "/shown/file".try_into().unwrap(),
            });
            trial
        };
        let outcome = linked(&[]).command(&["/bin/cat", LINK]).run();
        assert_eq!(outcome.stdout, "the secret of another job", "{outcome:?}");
        let outcome = linked(&["write", LINK]).without(Layer::Landlock).run();
        assert_eq!(outcome.attack(), Attack::Stopped, "{outcome:?}");
        let reason = "Read-only file system";
        assert!(outcome.stdout.contains(reason), "{outcome:?}");
    }
}

const LINK: &str = "/work/home/deep/link";

#[test]
fn jobs_die_before_the_host_does_and_cannot_change_that() {
    for who in everybody() {
        let outcome = Trial::new(who, &[])
            .command(&["/bin/cat", "/proc/self/oom_score_adj"])
            .run();
        assert_eq!(outcome.stdout, "1000\n", "{outcome:?}");
        let change = Trial::new(who, &["write", "/proc/self/oom_score_adj"]);
        let outcome = change.without(Layer::Landlock).run();
        assert_eq!(outcome.attack(), Attack::Stopped, "{outcome:?}");
        assert!(
            outcome.stdout.contains("Read-only file system"),
            "{outcome:?}"
        );
    }
}

/// A core that the host pipes to a program is not kept back by a limit of nothing.
#[test]
fn a_crash_leaves_no_core_also_where_the_host_would_take_one() {
    for who in everybody() {
        let limit = ["/bin/grep", "^Max core file size", "/proc/self/limits"];
        let outcome = Trial::new(who, &[]).command(&limit).run();
        let words: Vec<_> = outcome.stdout.split_whitespace().collect();
        assert_eq!(words[4..6], ["1", "1"], "{outcome:?}");
        let content = ["/bin/cat", "/proc/self/coredump_filter"];
        let outcome = Trial::new(who, &[]).command(&content).run();
        assert_eq!(outcome.stdout, "00000000\n", "{outcome:?}");
    }
}

#[test]
fn no_capability_is_left_in_any_set() {
    for who in everybody() {
        for trial in [
            Trial::new(who, &[]),
            Trial::new(who, &[]).without(Layer::Seccomp),
        ] {
            let outcome = trial
                .command(&["/bin/grep", "^Cap", "/proc/self/status"])
                .run();
            let sets: Vec<_> = outcome.stdout.lines().collect();
            assert_eq!(sets.len(), 5, "{outcome:?}");
            assert!(
                sets.iter().all(|set| set.ends_with("\t0000000000000000")),
                "{sets:?}"
            );
        }
    }
}

#[test]
fn root_gives_every_other_layer_where_there_are_no_user_namespaces() {
    if !is_root() {
        println!("skipped: only root can do without user namespaces");
        return;
    }
    let without = || Trial::new(Who::Root, &[]).without(Layer::User);
    let trial = without().command(&["/bin/grep", "-E", "^(Cap|Uid|Groups)", "/proc/self/status"]);
    let (uid, planned) = (trial.uid, trial.plan.layers.clone());
    let outcome = trial.run();
    assert_eq!(
        outcome.ended().0.into_iter().collect::<BTreeSet<_>>(),
        planned
    );
    let line = |name: &str| {
        outcome
            .stdout
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap()
    };
    assert_eq!(line("Uid:"), format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"));
    assert_eq!(line("Groups:").trim_end(), "Groups:");
    assert_eq!(line("CapPrm:"), "CapPrm:\t0000000000000000");
    assert_eq!(line("CapBnd:"), "CapBnd:\t0000000000000000");
    let outcome = without().command(&["/bin/ls", "/root", "/work/home"]).run();
    assert_eq!(outcome.ended().1, JobEnd::Exited(2), "{outcome:?}");
}

#[test]
fn the_root_holds_what_the_plan_shows_and_cannot_be_written() {
    for who in everybody() {
        let outcome = Trial::new(who, &[])
            .without(Layer::Landlock)
            .command(&["/bin/ls", "/"])
            .run();
        let shown: BTreeSet<_> = outcome.stdout.lines().collect();
        for hidden in ["root", "home", "srv", "run", "opt", "mnt", "media"] {
            assert!(!shown.contains(hidden), "{shown:?}");
        }
        for path in ["/usr/planted", "/etc/planted", "/planted", "/dev/planted"] {
            let outcome = Trial::new(who, &["write", path])
                .without(Layer::Landlock)
                .run();
            assert_eq!(outcome.attack(), Attack::Stopped, "{path}");
        }
        let outcome = Trial::new(who, &["write", "/dev/null"]).run();
        assert_eq!(outcome.attack(), Attack::Worked);
    }
}

#[test]
fn the_worker_collects_after_the_end_what_the_job_wrote() {
    for who in everybody() {
        let script = "cat request/dir/in >response/out; ls -d /work/home /tmp /work/tmp";
        let outcome = Trial::new(who, &[])
            .file("request/dir/in", b"from the client")
            .command(&["/bin/sh", "-c", script])
            .run();
        assert_eq!(
            outcome.stdout, "/tmp\n/work/home\n/work/tmp\n",
            "{outcome:?}"
        );
        assert_eq!(outcome.ended().1, JobEnd::Exited(0));
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let workspace = outcome.workspace.unwrap();
        let file = rustix::fs::openat2(
            &workspace,
            "response/out",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
            within,
        );
        let mut content = String::new();
        File::from(file.unwrap())
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "from the client");
    }
}

#[test]
fn nothing_in_the_workspace_can_be_executed() {
    for who in everybody() {
        let script = "cp /bin/true /work/tmp/t && chmod 700 /work/tmp/t && /work/tmp/t";
        for layers in [Layer::Landlock, Layer::Seccomp] {
            let outcome = Trial::new(who, &[])
                .without(layers)
                .command(&["/bin/sh", "-c", script])
                .run();
            assert_eq!(outcome.ended().1, JobEnd::Exited(126), "{outcome:?}");
        }
    }
}

#[test]
fn the_workspace_ends_where_the_plan_says() {
    for who in everybody() {
        for (attack, outcome) in [
            (["fill", "/work/tmp/f", "10"], Attack::Worked),
            (["fill", "/work/tmp/f", "17"], Attack::Stopped),
            (["many-files", "/work/home", "400"], Attack::Worked),
            (["many-files", "/work/home", "501"], Attack::Stopped),
        ] {
            assert_eq!(
                Trial::new(who, &attack).run().attack(),
                outcome,
                "{attack:?}"
            );
        }
    }
}

#[test]
fn a_jail_leaves_no_mount_on_the_host() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    for who in everybody() {
        Trial::new(who, &["effective-uid"]).run().ended();
    }
    assert_eq!(mounts(), before);
}
