use stap_policy::Policy;

use super::*;

fn probed(absent: &[Layer]) -> Vec<ProbedLayer> {
    let probe = |layer: Layer| {
        let available = !absent.contains(&layer);
        let (detail, remedy) = if available {
            ("ABI 6", "")
        } else {
            ("is not there", "load it")
        };
        ProbedLayer {
            layer,
            available,
            detail: detail.into(),
            remedy: remedy.into(),
        }
    };
    Layer::ALL.into_iter().map(probe).collect()
}

fn decide(class: &str, absent: &[Layer], is_root: bool) -> Result<InForce, LayerError> {
    let policy = Policy::builtin(class).unwrap();
    let no_groups = Err("nobody delegated any".to_owned());
    InForce::decide(class, policy.layers(), &probed(absent), no_groups, is_root)
}

#[test]
fn a_missing_layer_that_is_required_is_named_with_its_remedy() {
    let error = decide("shared-host", &[Layer::Seccomp], false).expect_err("it is required");
    let text = error.to_string();
    assert!(text.contains("shared-host requires"), "{text}");
    assert!(text.contains("seccomp (is not there; load it)"), "{text}");
    assert!(
        decide("strict", &[], false)
            .is_err_and(|error| error.to_string().contains("cgroup (nobody"))
    );
}

#[test]
fn a_missing_layer_that_is_tried_is_reported_and_left_out() {
    let in_force = decide("shared-host", &[Layer::Landlock], false).unwrap();
    assert!(!in_force.layers.contains(&Layer::Landlock));
    let named = |name: &str| {
        in_force
            .report
            .iter()
            .find(|layer| layer.name == name)
            .unwrap()
    };
    assert_eq!(named("landlock").state, LayerState::Absent);
    assert_eq!(named("seccomp").state, LayerState::Enforced);
    assert!(
        named("cgroup").detail.contains("address space"),
        "substitutes are named"
    );
}

#[test]
fn a_layer_goes_with_the_one_that_it_rests_on() {
    let in_force = decide("personal", &[Layer::Pid], false).unwrap();
    assert!(!in_force.layers.contains(&Layer::Proc));
}

#[test]
fn one_of_the_two_layers_that_hide_files_is_always_required() {
    let both = [Layer::Mount, Layer::Landlock];
    let error = decide("personal", &both, false).expect_err("all files are open");
    assert!(matches!(error, LayerError::Open { .. }));
    for one in both {
        assert!(decide("personal", &[one], false).is_ok(), "without {one}");
    }
}

#[test]
fn one_of_the_three_layers_that_end_a_job_for_certain_is_always_required() {
    let error = decide("personal", &[Layer::Pid, Layer::Landlock], false);
    assert!(matches!(error, Err(LayerError::Unending { .. })));
    for one in [Layer::Pid, Layer::Landlock] {
        assert!(decide("personal", &[one], false).is_ok(), "without {one}");
    }
}

#[test]
fn landlock_counts_only_if_it_can_do_what_the_absent_layers_would_have_done() {
    let policy = Policy::builtin("personal").unwrap();
    let decide = |absent: &[Layer], abi: u32| {
        let mut probed = probed(absent);
        for probe in &mut probed {
            probe.detail = format!("ABI {abi}");
        }
        let no_groups = Err("nobody delegated any".to_owned());
        InForce::decide("personal", policy.layers(), &probed, no_groups, false)
    };
    assert_eq!(decide(&[], 1).unwrap().landlock_floor, 1);
    assert!(matches!(
        decide(&[Layer::Mount], 2),
        Err(LayerError::Open { .. })
    ));
    assert_eq!(decide(&[Layer::Mount], 3).unwrap().landlock_floor, 3);
    assert!(matches!(
        decide(&[Layer::Pid], 5),
        Err(LayerError::Unending { .. })
    ));
    assert_eq!(decide(&[Layer::Pid], 6).unwrap().landlock_floor, 6);
}

#[test]
fn no_job_ever_runs_as_root() {
    let error = decide("personal", &[Layer::SlotUid], true).expect_err("it would be root");
    assert!(matches!(error, LayerError::WouldBeRoot(_)));
    decide("personal", &[Layer::SlotUid], false).unwrap();
}
