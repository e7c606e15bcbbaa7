use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use super::*;

pub(crate) fn smallest() -> JailPlan {
    JailPlan {
        layers: BTreeSet::from([Layer::User, Layer::Mount, Layer::Pid, Layer::Proc]),
        landlock_floor: 1,
        identity: Identity::Keep,
        view: View {
            root: "/".try_into().unwrap(),
            binds: Vec::new(),
        },
        workspace: Workspace {
            place: Place::Tmpfs {
                bytes: 1 << 20,
                inodes: 100,
            },
            files: vec![WorkspaceFile {
                path: "request/a.stp".try_into().unwrap(),
                content: vec![0, 255, 10],
            }],
            links: Vec::new(),
        },
        limits: Limits {
            open_files: 64,
            processes: 16,
            file_bytes: 1 << 20,
            cpu: Duration::from_secs(5),
            address_space: None,
        },
        command: Command {
            program: "/bin/true".try_into().unwrap(),
            arguments: vec![b"\xff".to_vec()],
            environment: vec![("HOME".to_owned(), "/work/home".to_owned())],
            directory: "/work".try_into().unwrap(),
        },
    }
}

#[test]
fn a_plan_survives_the_way_to_the_launcher() {
    let mut plan = smallest();
    plan.workspace.files.push(WorkspaceFile {
        path: Path::new(OsStr::from_bytes(b"request/latin-\xe9.stp"))
            .try_into()
            .unwrap(),
        content: Vec::new(),
    });
    assert_eq!(JailPlan::decode(&plan.encode().unwrap()).unwrap(), plan);
}

/// The programs were replaced under a running worker, and variants or fields were added.
#[test]
fn a_plan_of_another_build_is_refused_however_well_it_can_be_read() {
    let mut bytes = smallest().encode().unwrap();
    bytes[7] ^= 1;
    assert!(matches!(
        JailPlan::decode(&bytes),
        Err(PlanError::OtherBuild)
    ));
    let unmarked = postcard::to_stdvec(&smallest()).unwrap();
    assert!(matches!(
        JailPlan::decode(&unmarked),
        Err(PlanError::OtherBuild)
    ));
}

#[test]
fn a_plan_with_anything_behind_it_is_refused() {
    let mut bytes = smallest().encode().unwrap();
    bytes.push(0);
    assert!(matches!(
        JailPlan::decode(&bytes),
        Err(PlanError::TrailingBytes(1))
    ));
}

#[test]
fn a_layer_does_not_come_without_what_it_rests_on() {
    let mut plan = smallest();
    plan.layers.insert(Layer::Seccomp);
    assert!(matches!(
        plan.encode(),
        Err(PlanError::LayerNeeds {
            layer: Layer::Seccomp,
            needed: Layer::NoNewPrivs
        })
    ));
}

#[test]
fn a_slot_is_never_root_and_never_half_named() {
    let mut plan = smallest();
    plan.identity = Identity::Slot {
        uid: 64_000,
        gid: 64_000,
    };
    assert!(matches!(plan.encode(), Err(PlanError::IdentityMismatch)));
    plan.layers.insert(Layer::SlotUid);
    plan.encode().unwrap();
    plan.identity = Identity::Slot {
        uid: 0,
        gid: 64_000,
    };
    assert!(matches!(plan.encode(), Err(PlanError::RootSlot)));
    plan.identity = Identity::Slot {
        uid: 64_000,
        gid: 0,
    };
    assert!(matches!(plan.encode(), Err(PlanError::RootSlot)));
    plan.identity = Identity::Keep;
    assert!(matches!(plan.encode(), Err(PlanError::IdentityMismatch)));
}

#[test]
fn what_only_a_mount_namespace_gives_is_not_promised_without_one() {
    let mut plan = smallest();
    plan.layers = BTreeSet::new();
    assert!(matches!(plan.encode(), Err(PlanError::NeedsMount(_))));
    plan.workspace.place = Place::Directory("/tmp/w".try_into().unwrap());
    plan.encode().unwrap();
    plan.view.root = "/srv/debian".try_into().unwrap();
    assert!(matches!(plan.encode(), Err(PlanError::NeedsMount(_))));
}

#[test]
fn nothing_is_shown_where_the_job_could_not_see_it() {
    for target in ["/tmp/seed", "/work", "/proc/self", "/dev/null"] {
        let mut plan = smallest();
        plan.view.binds.push(Bind {
            source: "/usr".try_into().unwrap(),
            target: target.try_into().unwrap(),
            access: Access::Read,
        });
        assert!(
            matches!(plan.encode(), Err(PlanError::Covered(..))),
            "{target}"
        );
    }
}

#[test]
fn a_link_leads_to_what_a_bind_shows_and_to_nothing_else() {
    let mut plan = smallest();
    plan.view.binds.push(Bind {
        source: "/srv/queries".try_into().unwrap(),
        target: "/queries".try_into().unwrap(),
        access: Access::Read,
    });
    let mut linked = |target: &str| {
        plan.workspace.links = vec![WorkspaceLink {
            path: "home/a".try_into().unwrap(),
            target: target.try_into().unwrap(),
        }];
        plan.encode()
    };
    linked("/queries/a").unwrap();
    for target in ["/etc/passwd", "/queries-of-others/a", "/"] {
        let refusal = linked(target).unwrap_err();
        assert!(matches!(refusal, PlanError::LeadsElsewhere(_)), "{target}");
    }
}

#[test]
fn counts_are_judged() {
    let mut plan = smallest();
    plan.command.arguments = vec![Vec::new(); MAX_ARGUMENTS + 1];
    assert!(matches!(
        plan.encode(),
        Err(PlanError::TooMany {
            what: "arguments",
            ..
        })
    ));
}

#[test]
fn a_path_that_could_lead_out_of_the_workspace_is_no_workspace_path() {
    for path in [
        "",
        ".",
        "..",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/./b",
        "./a",
        "a//b",
        "a/",
        "a\0b",
    ] {
        assert!(
            WorkspacePath::try_from(path).is_err(),
            "{path:?} was accepted"
        );
    }
    for path in [
        format!("{}a", "a/".repeat(path::MAX_DEPTH)),
        "a".repeat(path::MAX_NAME + 1),
    ] {
        let refusal = WorkspacePath::try_from(path.as_str()).unwrap_err();
        assert!(matches!(refusal, PathError::TooLong(_)), "{refusal}");
    }
    WorkspacePath::try_from("request/dir with space/..x.stp").unwrap();
}

#[test]
fn a_jail_path_is_absolute_and_plain() {
    for path in [
        "",
        "usr",
        "/usr/../etc",
        "/usr/./lib",
        "//",
        "/usr//lib",
        "/usr/",
    ] {
        assert!(JailPath::try_from(path).is_err(), "{path:?} was accepted");
    }
    JailPath::try_from("/").unwrap();
    JailPath::try_from("/usr/bin/stap").unwrap();
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let marked = [&shape::MARK, bytes.as_slice()].concat();
        if let Ok(plan) = JailPlan::decode(&marked) {
            prop_assert_eq!(JailPlan::decode(&plan.encode().unwrap()).unwrap(), plan);
        }
    }

    #[test]
    fn a_damaged_plan_is_refused_or_well_formed(at in 0_usize..200, flip in 1_u8..) {
        let mut bytes = smallest().encode().unwrap();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(plan) = JailPlan::decode(&bytes) {
            plan.encode().unwrap();
        }
    }
}
