use super::*;

#[test]
fn the_order_of_the_ladder_changes_only_on_purpose() {
    let order: Vec<_> = LADDER.iter().map(|rung| (rung.stage, rung.name)).collect();
    let launcher = [
        "descriptors",
        "adopt",
        "slot-uid",
        "unprivileged",
        "expendable",
        "user",
        "mount",
        "pid",
        "net",
        "ipc",
    ];
    let launcher = launcher.into_iter().chain(["uts", "cgroup"]);
    let init = [
        "session",
        "root",
        "devices",
        "proc",
        "workspace",
        "files",
        "handover",
        "enter",
    ];
    let init = init.into_iter().chain([
        "rlimits",
        "capabilities",
        "no-new-privs",
        "landlock",
        "hide",
    ]);
    let job = ["seccomp", "announce", "execute"].into_iter();
    let expected: Vec<_> = (launcher.map(|name| (Stage::Launcher, name)))
        .chain(init.map(|name| (Stage::Init, name)))
        .chain(job.map(|name| (Stage::Job, name)))
        .collect();
    assert_eq!(order, expected);
}

#[test]
fn every_layer_has_a_rung() {
    for layer in Layer::ALL {
        assert!(
            LADDER.iter().any(|rung| rung.when == When::With(layer)),
            "{layer}"
        );
    }
}

#[test]
fn nothing_that_protects_the_host_can_be_left_out_by_a_plan() {
    for name in [
        "descriptors",
        "unprivileged",
        "expendable",
        "session",
        "hide",
        "announce",
    ] {
        let rung = LADDER.iter().find(|rung| rung.name == name).unwrap();
        assert_eq!(rung.when, When::Always, "{name}");
    }
}
