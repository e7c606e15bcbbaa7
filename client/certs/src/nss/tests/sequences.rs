//! Random sequences of changes from both sides, with the real programs, against a model.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    AddHere(usize),
    RemoveHere(usize),
    AddThere(usize),
    RevokeOneThere,
    DistrustThere,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..CERTIFICATES_USED).prop_map(Step::AddHere),
        2 => (0..CERTIFICATES_USED).prop_map(Step::RemoveHere),
        3 => (0..CERTIFICATES_USED).prop_map(Step::AddThere),
        2 => Just(Step::RevokeOneThere),
        1 => Just(Step::DistrustThere),
        2 => Just(Step::Read),
    ]
}

const CERTIFICATES_USED: usize = 4;

proptest! {
    // Each case runs dozens of programs.
    #![proptest_config(Config { cases: 12, max_shrink_iters: 20, ..Config::default() })]

    #[test]
    fn both_sides_trust_what_was_last_wanted(steps in prop::collection::vec(step(), 1..10)) {
        let certificates: Vec<_> =
            (0..CERTIFICATES_USED).map(|n| certificate(&format!("h{n}"))).collect();
        let scene = Scene::with_store();
        let mut wanted = std::collections::BTreeSet::new();
        for step in &steps {
            match step {
                Step::AddHere(n) => {
                    scene.add(&certificates[*n]);
                    wanted.insert(certificates[*n].sha256());
                }
                Step::RemoveHere(n) => {
                    scene.remove(&certificates[*n]);
                    wanted.remove(&certificates[*n].sha256());
                }
                Step::AddThere(n) => {
                    scene.trust_there(&certificates[*n]);
                    wanted.insert(certificates[*n].sha256());
                }
                Step::RevokeOneThere => {
                    if let Some(gone) = scene.revoke_one_there() {
                        wanted.remove(&gone);
                    }
                }
                Step::DistrustThere => {
                    let before = scene.theirs();
                    scene.try_certutil(&["-M", "-n", NICKNAME, "-t", "p,,"]);
                    let after = scene.theirs();
                    wanted.retain(|one| !before.contains(one) || after.contains(one));
                }
                Step::Read => {}
            }
            prop_assert_eq!(scene.trusted(), sorted(wanted.iter().copied()), "after {:?}", step);
        }
        // Whatever comes next brings the store in step too.
        scene.add(&certificates[0]);
        wanted.insert(certificates[0].sha256());
        prop_assert_eq!(scene.theirs(), sorted(wanted.iter().copied()));
        prop_assert_eq!(scene.trusted(), sorted(wanted.iter().copied()));
    }
}
