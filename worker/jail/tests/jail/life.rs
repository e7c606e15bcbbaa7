//! When a jail ends, all of it does.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use stap_jail::layer::Layer;
use stap_jail::plan::JailPath;
use stap_jail::probe;
use stap_jail::report::{Event, JobEnd};

use crate::harness::{Running, Trial, Who, eventually, everybody, is_root, processes_with};

#[test]
fn the_end_of_the_job_is_told_as_it_was() {
    for who in everybody() {
        let shell = |script: &str| {
            Trial::new(who, &[])
                .command(&["/bin/sh", "-c", script])
                .run()
        };
        assert_eq!(shell("exit 0").ended().1, JobEnd::Exited(0));
        assert_eq!(shell("exit 255").ended().1, JobEnd::Exited(255));
        assert_eq!(shell("kill -KILL $$").ended().1, JobEnd::Signalled(9));
        assert_eq!(shell("kill -PIPE $$").ended().1, JobEnd::Signalled(13));
    }
}

#[test]
fn the_time_of_all_the_jobs_processes_is_counted() {
    for who in everybody() {
        let trial = Trial::new(who, &["spin"]);
        let program = trial
            .plan
            .command
            .program
            .as_path()
            .to_str()
            .unwrap()
            .to_owned();
        let outcome = trial
            .command(&["/bin/sh", "-c", &format!("{program} spin & wait")])
            .run();
        assert!(
            outcome.ended().2.user > Duration::from_millis(50),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_job_that_ends_takes_its_daemons_with_it() {
    for (who, layers) in variants() {
        let marker = marker("ended", who, &layers);
        let outcome = with_layers(who, &layers, &["daemon", &marker]).run();
        // The launcher says so only after the last of them is dead, so there is nothing to wait for.
        assert_eq!(outcome.ended().1, JobEnd::Exited(0), "{outcome:?}");
        assert_eq!(processes_with(&marker), 0, "{who:?} {layers:?}");
    }
}

#[test]
fn closing_the_lifeline_kills_everything() {
    for (who, layers) in variants() {
        let marker = marker("lifeline", who, &layers);
        let mut running = started_with_daemon(who, &layers, &marker);
        assert!(processes_with(&marker) > 0, "the daemon runs");
        running.lifeline = None;
        let outcome = running.finish();
        assert!(
            matches!(outcome.events.as_slice(), [Event::Enforced { .. }]),
            "{outcome:?}"
        );
        assert_eq!(processes_with(&marker), 0, "{who:?} {layers:?}");
    }
}

#[test]
fn a_killed_launcher_takes_everything_with_it() {
    for who in everybody() {
        let marker = marker("launcher", who, &[]);
        let mut running = started_with_daemon(who, &Layer::ALL, &marker);
        running.launcher.kill().unwrap();
        running.launcher.wait().unwrap();
        eventually("the end of the jail", || processes_with(&marker) == 0);
        let outcome = running.finish();
        assert!(
            matches!(outcome.events.as_slice(), [Event::Enforced { .. }]),
            "{outcome:?}"
        );
    }
}

/// The jail is somewhere on its ladder, or the job runs, or it has ended: how far each gets is up to
/// the machine, and what is left afterwards is always the same.
#[test]
fn nothing_is_left_at_whatever_moment_the_worker_or_the_launcher_dies() {
    for who in everybody() {
        for pauses in (0..24_u32).map(|n| n * n) {
            let marker = format!("{}-{pauses}", marker("moment", who, &[]));
            let mut running = Trial::new(who, &["stay", &marker]).start();
            (0..pauses).for_each(|_| std::thread::yield_now());
            if pauses % 2 == 0 {
                running.lifeline = None;
            } else {
                running.launcher.kill().unwrap();
            }
            // Comes back when nobody holds a descriptor of the job's any more.
            running.finish();
            assert_eq!(processes_with(&marker), 0, "{who:?} after {pauses} pauses");
        }
    }
}

#[test]
fn a_killed_pid_1_is_reported_as_a_loss() {
    for who in everybody() {
        let marker = marker("pid1", who, &[]);
        let running = started_with_daemon(who, &Layer::ALL, &marker);
        kill_process(child_of(running.launcher.id()), Signal::KILL).unwrap();
        let outcome = running.finish();
        assert!(
            matches!(
                outcome.events.as_slice(),
                [Event::Enforced { .. }, Event::Lost { .. }]
            ),
            "{outcome:?}"
        );
        assert_eq!(processes_with(&marker), 0);
    }
}

#[test]
fn the_job_cannot_end_its_watchers() {
    for who in everybody() {
        let script = "kill -KILL 1; kill -STOP 1; kill -TERM 1; exit 3";
        let outcome = Trial::new(who, &[])
            .command(&["/bin/sh", "-c", script])
            .run();
        assert_eq!(outcome.ended().1, JobEnd::Exited(3), "{outcome:?}");
    }
}

#[test]
fn the_probe_names_every_layer_and_tells_the_truth() {
    let layers = probe::layers(env!("CARGO_BIN_EXE_stap-jail").as_ref()).unwrap();
    assert_eq!(
        layers.iter().map(|probed| probed.layer).collect::<Vec<_>>(),
        Layer::ALL
    );
    for probed in &layers {
        assert_eq!(probed.available, probed.remedy.is_empty(), "{probed:?}");
        let has_abi = probed.available && probed.layer == Layer::Landlock;
        assert_eq!(probed.landlock_abi().is_some(), has_abi, "{probed:?}");
    }
    let slot = layers
        .iter()
        .find(|probed| probed.layer == Layer::SlotUid)
        .unwrap();
    assert_eq!(slot.available, is_root());
    let output = Command::new(env!("CARGO_BIN_EXE_stap-jail"))
        .arg("--probe")
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        Layer::ALL.iter().all(|layer| table.contains(layer.name())),
        "{table}"
    );
}

/// Everybody, with all layers and with no pid namespace to do the killing.
fn variants() -> Vec<(Who, Vec<Layer>)> {
    let without = Layer::ALL
        .into_iter()
        .filter(|layer| *layer != Layer::Pid && !layer.needs().contains(&Layer::Pid));
    let without: Vec<_> = without.collect();
    let both = |who| [(who, Layer::ALL.to_vec()), (who, without.clone())];
    everybody().into_iter().flat_map(both).collect()
}

fn with_layers(who: Who, layers: &[Layer], attack: &[&str]) -> Trial {
    let mut trial = Trial::new(who, attack);
    trial.plan.layers.retain(|layer| layers.contains(layer));
    trial
}

/// A job that has left a daemon behind and stays itself.
fn started_with_daemon(who: Who, layers: &[Layer], marker: &str) -> Running {
    let trial = with_layers(who, layers, &[]);
    let program: &JailPath = &trial.plan.command.program;
    let program = program.as_path().to_str().unwrap().to_owned();
    let script = format!("{program} daemon {marker} && exec {program} stay {marker}");
    let mut running = trial.command(&["/bin/sh", "-c", &script]).start();
    running.wait_for("worked: it stays\nready\n");
    running
}

fn marker(test: &str, who: Who, layers: &[Layer]) -> String {
    format!(
        "marker-{}-{test}-{who:?}-{}",
        std::process::id(),
        layers.len()
    )
}

fn child_of(parent: u32) -> Pid {
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}
