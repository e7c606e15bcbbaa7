use proptest::prelude::*;

use super::*;

fn one(number: u8) -> Fingerprint {
    Fingerprint::of(&[number])
}

/// Both sides with everything that the real ones have, in a few words, and a user's wishes.
#[derive(Clone, Debug)]
struct World {
    ours: Set,
    theirs: Set,
    /// How often the store was written, which is what its digest tells.
    writes: u64,
    record: Option<Record>,
    /// What the user wants trusted: the last word on either side.
    wish: Set,
    /// What a crash may have cost: trust that was being given when it happened.
    uncertain: Set,
}

#[derive(Clone, Debug)]
enum Step {
    AddHere(u8),
    RemoveHere(u8),
    AddThere(u8),
    RemoveThere(u8),
    /// Somebody changes the store without a change of trust.
    Touch,
    /// Brings the sides in step, and is killed after so many writes.
    Follow {
        writes: usize,
        programs: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..4_u8;
    prop_oneof![
        number.clone().prop_map(Step::AddHere),
        number.clone().prop_map(Step::RemoveHere),
        number.clone().prop_map(Step::AddThere),
        number.prop_map(Step::RemoveThere),
        Just(Step::Touch),
        (0..12_usize, any::<bool>())
            .prop_map(|(writes, programs)| Step::Follow { writes, programs }),
    ]
}

impl World {
    fn new() -> Self {
        Self {
            ours: Set::new(),
            theirs: Set::new(),
            writes: 0,
            record: None,
            wish: Set::new(),
            uncertain: Set::new(),
        }
    }

    fn digest(&self) -> Fingerprint {
        Fingerprint::of(&self.writes.to_ne_bytes())
    }

    fn plan(&self, wanted: Option<Fingerprint>) -> Plan {
        let sides = Sides {
            ours: self.ours.clone(),
            theirs: self.theirs.clone(),
            distrusted: Set::new(),
            store: self.digest(),
            wanted,
        };
        Plan::of(&sides, self.record.as_ref())
    }

    /// The order of `client::follow`, write for write. False when it was killed.
    fn follow(&mut self, mut writes: usize, programs: bool, wanted: Option<Fingerprint>) -> bool {
        let mut spend = || {
            writes = writes.saturating_sub(1);
            writes > 0
        };
        let plan = self.plan(wanted);
        let may_edit = programs && plan.changes_theirs();
        if may_edit || !plan.pull.is_empty() {
            if !spend() {
                return false;
            }
            let in_step = [&plan.keep, &plan.drop_ours, &plan.drop_theirs];
            self.record = Some(Record {
                store: self.digest(),
                both: in_step.into_iter().flatten().copied().collect(),
                push: if may_edit {
                    plan.push.clone()
                } else {
                    Set::new()
                },
                pull: plan.pull.clone(),
            });
        }
        for one in &plan.pull {
            if !spend() {
                return false;
            }
            self.ours.insert(*one);
        }
        for one in &plan.drop_ours {
            if !spend() {
                return false;
            }
            self.ours.remove(one);
        }
        let mut both: Set = plan.keep.union(&plan.pull).copied().collect();
        if may_edit {
            if !spend() {
                return false;
            }
            self.theirs.extend(&plan.push);
            self.theirs.retain(|one| !plan.drop_theirs.contains(one));
            self.writes += 1;
            both.extend(&plan.push);
        } else {
            both.extend(&plan.drop_theirs);
        }
        if !spend() {
            return false;
        }
        self.record = Some(Record {
            store: self.digest(),
            both,
            push: Set::new(),
            pull: Set::new(),
        });
        true
    }

    /// Whether the record says anything of it.
    fn knows(&self, one: &Fingerprint) -> bool {
        let known = |record: &Record| {
            let sets = [&record.both, &record.push, &record.pull];
            sets.into_iter().any(|set| set.contains(one))
        };
        self.record.as_ref().is_some_and(known)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::AddHere(number) => {
                // As `ClientDatabase::add`: first follow, then write, then follow.
                self.follow(usize::MAX, false, None);
                self.ours.insert(one(*number));
                self.wish.insert(one(*number));
                self.uncertain.remove(&one(*number));
                self.follow(usize::MAX, false, Some(one(*number)));
            }
            Step::RemoveHere(number) => {
                self.follow(usize::MAX, false, None);
                self.ours.remove(&one(*number));
                self.wish.remove(&one(*number));
                self.follow(usize::MAX, false, None);
            }
            Step::AddThere(number) => {
                self.theirs.insert(one(*number));
                self.wish.insert(one(*number));
                self.writes += 1;
                // One that is still to be revoked there cannot be told from one that is added again:
                // the revocation stands.
                if self.knows(&one(*number)) {
                    self.uncertain.insert(one(*number));
                }
            }
            Step::RemoveThere(number) => {
                let was_there = self.theirs.remove(&one(*number));
                self.writes += 1;
                // What our files trust and the store was never seen to trust was not revoked there:
                // nobody looked between its coming and its going.
                let was_seen = self.knows(&one(*number));
                if was_there && (was_seen || !self.ours.contains(&one(*number))) {
                    self.wish.remove(&one(*number));
                }
            }
            Step::Touch => self.writes += 1,
            Step::Follow { writes, programs } => {
                let pushed = self.plan(None).push;
                if !self.follow(*writes, *programs, None) {
                    self.uncertain.extend(pushed);
                }
            }
        }
    }
}

proptest! {
    /// Whatever was added and removed on either side, in whatever order, with or without programs, and
    /// killed wherever: nobody is trusted whom the user does not want trusted any more.
    #[test]
    fn a_revoked_certificate_is_never_trusted_again(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            let trusted: Set = world.plan(None).trusted().copied().collect();
            prop_assert!(
                trusted.is_subset(&world.wish),
                "after {step:?}: {world:?} trusts {trusted:?}"
            );
        }
    }

    /// What is wanted is trusted, on both sides as soon as programs may run, unless a crash came in
    /// between.
    #[test]
    fn what_is_wanted_is_trusted_on_both_sides(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            let trusted: Set = world.plan(None).trusted().copied().collect();
            let certain: Set = world.wish.difference(&world.uncertain).copied().collect();
            prop_assert!(
                certain.is_subset(&trusted),
                "after {step:?}: {world:?} trusts {trusted:?}"
            );
        }
        world.follow(usize::MAX, true, None);
        prop_assert_eq!(&world.ours, &world.theirs);
        let settled = world.plan(None);
        prop_assert!(!settled.changes_ours() && !settled.changes_theirs());
    }
}

#[test]
fn two_databases_that_meet_for_the_first_time_trust_what_either_did() {
    let mut world = World::new();
    world.ours = [one(1)].into();
    world.theirs = [one(2)].into();
    let plan = world.plan(None);
    assert_eq!((plan.push, plan.pull), ([one(1)].into(), [one(2)].into()));
}

#[test]
fn a_mark_of_distrust_withdraws_trust_until_the_user_asks_for_it_again() {
    let sides = |wanted| Sides {
        ours: [one(1)].into(),
        theirs: Set::new(),
        distrusted: [one(1)].into(),
        store: one(9),
        wanted,
    };
    assert_eq!(Plan::of(&sides(None), None).drop_ours, [one(1)].into());
    assert_eq!(Plan::of(&sides(Some(one(1))), None).push, [one(1)].into());
}
