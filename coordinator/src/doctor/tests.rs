//! What a diagnosis makes of what a worker found.

use stap_protocol::job;

use super::*;

fn layer(name: &str, state: LayerState, detail: &str) -> job::Layer {
    job::Layer {
        name: name.to_owned(),
        state,
        detail: detail.to_owned(),
    }
}

fn tried(name: &str, available: bool) -> Tried {
    Tried {
        name: name.to_owned(),
        available,
        detail: if available { "it holds" } else { "it fails" }.to_owned(),
        remedy: if available { "" } else { "mend it" }.to_owned(),
    }
}

fn judgement(class: &str, refusal: Option<&str>) -> Judgement {
    Judgement {
        class: class.to_owned(),
        layers: vec![
            layer("cgroup", LayerState::Absent, "it fails"),
            layer("landlock", LayerState::Absent, "ABI 2; 3 is needed"),
            layer("seccomp", LayerState::Enforced, "145 system calls are left"),
        ],
        refusal: refusal.map(str::to_owned),
    }
}

fn examination() -> Examination {
    Examination {
        tried: vec![
            tried("cgroup", false),
            tried("landlock", true),
            tried("seccomp", true),
        ],
        swap_is_bounded: None,
        judgements: vec![
            judgement("strict", Some("the policy strict requires cgroup")),
            judgement("strict", Some("the policy strict requires cgroup")),
            judgement("shared-host", None),
        ],
        targets: Vec::new(),
        unusable: Vec::new(),
        obstacle: Some("no program is started".to_owned()),
    }
}

fn diagnosis(examined: Result<Examination, StartError>) -> Diagnosis {
    let choice = PolicyChoice::Class("strict".to_owned());
    let policy = Policy::builtin("strict").unwrap();
    Diagnosis::of(
        &choice,
        &policy,
        examined,
        vec![Finding::ok("kernel", "Linux")],
    )
}

#[test]
fn a_layer_is_told_with_what_the_policy_says_and_what_the_worker_decided() {
    let diagnosis = diagnosis(Ok(examination()));
    let [cgroup, landlock, seccomp] = diagnosis.layers.as_slice() else {
        panic!("{diagnosis:?}");
    };
    assert_eq!(
        (cgroup.demand.as_str(), cgroup.detail.as_str()),
        ("require", "it fails")
    );
    assert_eq!(cgroup.remedy, "mend it");
    // The host has it, and this policy wants more of it.
    assert!(landlock.available && !landlock.in_force);
    assert_eq!(landlock.detail, "ABI 2; 3 is needed");
    assert!(seccomp.in_force);
    assert!(!diagnosis.policy.met);
    let [strict, shared_host] = diagnosis.classes.as_slice() else {
        panic!("{diagnosis:?}");
    };
    assert_eq!(strict.missing, ["cgroup", "landlock"]);
    assert!(shared_host.met && shared_host.missing.is_empty());
    assert_eq!(shared_host.without, ["cgroup", "landlock"]);
}

#[test]
fn without_a_worker_nothing_is_met_and_the_reason_is_told() {
    let diagnosis = diagnosis(Err(StartError::Missing {
        program: "stap-worker",
        here: "/here".into(),
    }));
    assert!(!diagnosis.policy.met);
    assert!(
        diagnosis
            .policy
            .refusal
            .as_ref()
            .unwrap()
            .contains("not installed")
    );
    let text = text::of(&diagnosis, false);
    assert!(
        text.contains("cannot be met here: stap-worker is not installed"),
        "{text}"
    );
}

/// Scripts of operators read these names.
#[test]
fn the_names_of_the_json_form_stay() {
    let json = serde_json::to_value(diagnosis(Ok(examination()))).unwrap();
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(
        keys(&json),
        "classes format host layers not_served obstacle policy targets uid version"
    );
    assert_eq!(keys(&json["policy"]), "class file met refusal");
    assert_eq!(
        keys(&json["layers"][0]),
        "available demand detail in_force name remedy"
    );
    assert_eq!(keys(&json["host"][0]), "detail name remedy state");
    assert_eq!(
        keys(&json["classes"][0]),
        "class met missing refusal without"
    );
    assert_eq!(json["host"][0]["state"], "ok");
    assert_eq!(json["format"], 1);
}
