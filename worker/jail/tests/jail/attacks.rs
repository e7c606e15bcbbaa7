//! Each layer against the attacks that it is there to stop, each of them shown to work without it.
//!
//! The other layers that would stop the same attack are left out on both sides, so that it is this
//! layer and no other that does.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use stap_jail::layer::Layer::{
    self, Capabilities, CgroupNamespace, Ipc, Landlock, Mount, Net, NoNewPrivs, Pid, Proc, Rlimits,
    Seccomp, User, Uts,
};
use stap_jail::report::JobEnd;

use crate::harness::{Trial, Who, attack_program, everybody, is_root, reachable};
use crate::outcome::Attack;

/// Runs an attack with the layers of `base`, where it must work, and with `layer` and what that
/// needs added, where it must not.
fn stops(layer: Layer, base: &[Layer], trial: impl Fn() -> Trial) {
    let outcome = trial().only(base).run();
    assert_eq!(
        outcome.attack(),
        Attack::Worked,
        "without {layer}: {outcome:?}"
    );
    let mut with = base.to_vec();
    with.push(layer);
    with.extend(layer.needs());
    let outcome = trial().only(&with).run();
    assert_eq!(
        outcome.attack(),
        Attack::Stopped,
        "with {layer}: {outcome:?}"
    );
}

fn attack_secret(who: Who) -> Trial {
    let mut trial = Trial::new(who, &[]);
    let secret = trial.secret();
    let arguments = ["read", secret.to_str().unwrap()];
    trial.plan.command.arguments = arguments.map(|word| word.as_bytes().to_vec()).into();
    trial
}

#[test]
fn another_jobs_files_cannot_be_read() {
    for who in everybody() {
        stops(Mount, &[User], || attack_secret(who));
        stops(Landlock, &[NoNewPrivs], || attack_secret(who));
    }
}

#[test]
fn a_service_of_the_host_cannot_be_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for who in everybody() {
        let trial = || Trial::new(who, &["connect-tcp", &address]);
        stops(Net, &[User], trial);
        stops(Landlock, &[NoNewPrivs], trial);
        stops(Seccomp, &[NoNewPrivs], trial);
    }
}

#[test]
fn an_abstract_socket_of_the_host_cannot_be_reached() {
    let name = format!("stap-jail-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    for who in everybody() {
        let trial = || Trial::new(who, &["connect-abstract", &name]);
        stops(Net, &[User], trial);
        stops(Landlock, &[NoNewPrivs], trial);
        stops(Seccomp, &[NoNewPrivs], trial);
    }
}

#[test]
fn a_process_of_the_same_user_cannot_be_signalled() {
    for who in everybody() {
        for (layer, base) in [(Pid, vec![User]), (Landlock, vec![NoNewPrivs])] {
            for (layers, expected) in [
                (base.clone(), Attack::Worked),
                ([base.as_slice(), &[layer]].concat(), Attack::Stopped),
            ] {
                let mut trial = Trial::new(who, &[]);
                let mut neighbour = trial.neighbour(&["stay", "neighbour"]).spawn().unwrap();
                let pid = neighbour.id().to_string();
                let arguments = ["signal", &pid].map(|word| word.as_bytes().to_vec());
                trial.plan.command.arguments = arguments.into();
                let outcome = trial.only(&layers).run();
                neighbour.kill().unwrap();
                neighbour.wait().unwrap();
                assert_eq!(outcome.attack(), expected, "{layer}: {outcome:?}");
            }
        }
    }
}

#[test]
fn the_hosts_proc_is_out_of_sight() {
    for who in everybody() {
        for path in [
            "/proc/cpuinfo",
            "/proc/sys/kernel/osrelease",
            "/proc/version",
        ] {
            stops(Proc, &[User], || Trial::new(who, &["read", path]));
        }
    }
}

#[test]
fn shared_memory_of_the_same_user_cannot_be_opened() {
    for who in everybody() {
        let key = (0x5700_0000 + std::process::id()).to_string();
        for (layers, expected) in [
            (vec![User], Attack::Worked),
            (vec![User, Ipc], Attack::Stopped),
        ] {
            let trial = Trial::new(who, &["shared-memory", &key]);
            let made = trial
                .neighbour(&["make-shared-memory", &key])
                .output()
                .unwrap();
            assert!(made.status.success(), "{made:?}");
            let outcome = trial.only(&layers).run();
            let remove = ["remove-shared-memory", &key];
            let removed = Command::new(attack_program())
                .args(remove)
                .output()
                .unwrap();
            assert!(removed.status.success(), "{removed:?}");
            assert_eq!(outcome.attack(), expected, "{outcome:?}");
        }
    }
}

#[test]
fn the_host_is_not_known_by_name() {
    let name = rustix::system::uname()
        .nodename()
        .to_str()
        .unwrap()
        .to_owned();
    for who in everybody() {
        stops(Uts, &[User], || Trial::new(who, &["host-name", &name]));
    }
}

#[test]
fn the_cgroup_namespace_is_not_the_hosts() {
    let own = fs::read_link("/proc/self/ns/cgroup").unwrap();
    let own = own.to_str().unwrap();
    for who in everybody() {
        stops(CgroupNamespace, &[User], || {
            Trial::new(who, &["namespace", "cgroup", own])
        });
    }
}

#[test]
fn a_setuid_program_gives_nothing() {
    if !is_root() {
        println!("skipped: only root can make a file that root owns");
        return;
    }
    for who in everybody() {
        let trial = || {
            let mut trial = Trial::new(who, &[]);
            let place = trial.directory.path().join("setuid");
            fs::create_dir(&place).unwrap();
            let program = reachable(&attack_program(), &place);
            fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
            let arguments = ["setuid", program.to_str().unwrap()];
            trial.plan.command.arguments = arguments.map(|word| word.as_bytes().to_vec()).into();
            trial
        };
        stops(NoNewPrivs, &[], trial);
        stops(User, &[], trial);
    }
}

#[test]
fn no_capability_can_be_had_again() {
    for who in everybody() {
        stops(Capabilities, &[User], || Trial::new(who, &["bounding-set"]));
    }
}

#[test]
fn processes_files_and_sizes_are_bounded() {
    for who in everybody() {
        stops(Rlimits, &[User], || Trial::new(who, &["forks", "400"]));
        stops(Rlimits, &[User], || {
            Trial::new(who, &["open-files", "/dev/null", "400"])
        });
    }
}

/// make 4.3 (Debian 12) has the C library do this before each command.
#[test]
fn an_effective_id_may_be_set_to_itself_and_nothing_else() {
    for who in everybody() {
        for kind in ["user", "group"] {
            let attack = |ids: [&str; 3]| {
                let words = [&["identity", kind], &ids[..]].concat();
                Trial::new(who, &words).run().attack()
            };
            assert_eq!(attack(["keep", "own", "keep"]), Attack::Worked, "{kind}");
            for ids in [
                ["keep", "0", "keep"],
                ["own", "own", "own"],
                ["own", "own", "keep"],
                ["keep", "own", "own"],
                ["keep", "keep", "own"],
            ] {
                assert_eq!(attack(ids), Attack::Stopped, "{kind}: {ids:?}");
            }
        }
    }
}

#[test]
fn system_calls_that_no_other_layer_stops_are_stopped() {
    let netlink = ["socket", "16", "3", "0"];
    let vsock = ["socket", "40", "1", "0"];
    let payloads: [&[&str]; 15] = [
        &["unshare-user"],
        &["clone-user"],
        &["clone3-user"],
        &netlink,
        &vsock,
        &["add-key"],
        &["userfaultfd"],
        &["ptrace-child"],
        &["personality"],
        &["huge-pages"],
        &["limit-pid-1"],
        &["grow-pipe"],
        &["own-pipe"],
        &["async-pipe"],
        &["adopt-orphans"],
    ];
    for who in everybody() {
        for payload in payloads {
            let everything_else: Vec<_> =
                Trial::new(who, payload).plan.layers.into_iter().collect();
            let everything_else: Vec<_> = everything_else
                .into_iter()
                .filter(|layer| *layer != Seccomp)
                .collect();
            stops(Seccomp, &everything_else, || Trial::new(who, payload));
        }
        stops(Seccomp, &[NoNewPrivs], || Trial::new(who, &["io-uring"]));
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_another_architecture_are_fatal() {
    for who in everybody() {
        let outcome = Trial::new(who, &["call-as-32-bit"]).without(Seccomp).run();
        if outcome.ended().1 == JobEnd::Signalled(11) {
            println!("skipped: this kernel runs no 32-bit programs");
            continue;
        }
        assert_eq!(outcome.attack(), Attack::Worked);
        let outcome = Trial::new(who, &["call-as-32-bit"]).run();
        assert_eq!(outcome.ended().1, JobEnd::Signalled(31), "{outcome:?}");
    }
}

#[test]
fn no_file_system_can_be_mounted() {
    for who in everybody() {
        let outcome = Trial::new(who, &["mount"]).run();
        assert_eq!(outcome.attack(), Attack::Stopped);
        let outcome = Trial::new(who, &["mount"])
            .only(&[User, Mount, NoNewPrivs, Landlock])
            .run();
        assert_eq!(outcome.attack(), Attack::Stopped, "{outcome:?}");
    }
}
