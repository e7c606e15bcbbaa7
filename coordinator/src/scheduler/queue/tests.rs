//! The promises of the queue.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn peer(last: u8) -> Peer {
    IpAddr::from([192, 0, 2, last]).into()
}

fn never<T>(_: &T) -> bool {
    false
}

fn run_to_the_end<T>(queue: &mut Queue<T>) -> Option<(Peer, T)> {
    let (peer, item) = queue.pop(never)?;
    queue.ended(peer);
    Some((peer, item))
}

#[test]
fn peers_take_turns_and_each_keeps_its_order() {
    let mut queue = Queue::default();
    for (owner, item) in [
        (1, "a1"),
        (1, "a2"),
        (1, "a3"),
        (2, "b1"),
        (3, "c1"),
        (2, "b2"),
    ] {
        queue.push(peer(owner), item);
    }
    let order: Vec<_> = std::iter::from_fn(|| run_to_the_end(&mut queue))
        .map(|(_, item)| item)
        .collect();
    assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    assert!(queue.is_empty());
}

#[test]
fn whoever_has_nothing_running_is_next() {
    let mut queue = Queue::default();
    (0..1000).for_each(|number| queue.push(peer(1), number));
    let running = [queue.pop(never), queue.pop(never)].map(|one| one.unwrap().0);
    queue.push(peer(2), 2000);
    queue.ended(running[0]);
    assert_eq!(queue.pop(never), Some((peer(2), 2000)));
    // The same when the last of the others has ended before.
    queue.ended(running[1]);
    queue.ended(peer(2));
    let alone = queue.pop(never).unwrap();
    queue.push(peer(3), 3000);
    queue.ended(alone.0);
    assert_eq!(queue.pop(never), Some((peer(3), 3000)));
}

#[test]
fn whoever_has_fewer_running_catches_up() {
    let mut queue = Queue::default();
    (0..8).for_each(|number| queue.push(peer(1), number));
    for _ in 0..4 {
        queue.pop(never);
    }
    (10..18).for_each(|number| queue.push(peer(2), number));
    let owners: Vec<_> = (0..4).map(|_| queue.pop(never).unwrap().0).collect();
    assert_eq!(owners, [peer(2); 4]);
}

#[test]
fn newcomers_without_end_do_not_starve_anybody() {
    let mut queue = Queue::default();
    (0..100).for_each(|number| queue.push(peer(1), number));
    queue.pop(never);
    let mut waited = 0;
    for newcomer in 2..=250 {
        queue.push(peer(newcomer), 1000);
        let (next, _) = run_to_the_end(&mut queue).unwrap();
        waited = if next == peer(1) { 0 } else { waited + 1 };
        assert!(waited <= PATIENCE, "{waited} went first");
    }
}

#[test]
fn what_is_dropped_makes_room_and_is_reported() {
    let mut queue = Queue::default();
    for (owner, item) in [(1, 1), (1, 2), (2, 3), (2, 4)] {
        queue.push(peer(owner), item);
    }
    assert_eq!(queue.retain(|item| *item == 2), [peer(1), peer(2), peer(2)]);
    assert_eq!((queue.len(), queue.peers()), (1, 1));
    assert_eq!((queue.waiting(peer(1)), queue.waiting(peer(2))), (1, 0));
    assert_eq!(queue.pop(never), Some((peer(1), 2)));
    assert_eq!(queue.pop(never), None);
}

/// What is long says so by its sign.
fn negative(item: &i64) -> bool {
    *item < 0
}

#[test]
fn what_is_short_goes_first_where_nobody_has_a_better_right() {
    let mut queue = Queue::default();
    for (owner, item) in [(1, -1), (1, 2), (2, -3), (2, -4), (3, 5), (4, -6)] {
        queue.push(peer(owner), item);
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(negative))
        .map(|(_, item)| item)
        .collect();
    // Whoever has something running does not pass those who have not, however short it is.
    assert_eq!(order, [2, 5, -3, -6, -1, -4]);
}

#[test]
fn short_ones_without_end_pass_a_long_one_sixteen_times_in_its_line() {
    let mut queue = Queue::default();
    queue.push(peer(1), -1);
    let mut passed = 0;
    for number in 1..1000 {
        queue.push(peer(1), number);
        let (_, next) = queue.pop(negative).unwrap();
        queue.ended(peer(1));
        if next == -1 {
            break;
        }
        passed += 1;
    }
    assert_eq!(passed, PATIENCE);
}

#[test]
fn short_ones_of_others_without_end_pass_a_long_one_sixteen_times() {
    let mut queue = Queue::default();
    queue.push(peer(1), -1);
    let mut passed = 0;
    for owner in 2..200 {
        queue.push(peer(owner), 1);
        let (first, _) = queue.pop(negative).unwrap();
        queue.ended(first);
        if first == peer(1) {
            break;
        }
        passed += 1;
    }
    assert_eq!(passed, PATIENCE);
}

/// How long things waited on the average, in seconds, on two slots: ten peers send one every two seconds, of which
/// one in twenty is for a target that nobody has asked for.
fn mean_wait(is_long: impl Fn(&i64) -> bool, seed: u32) -> f64 {
    let mut random = seed;
    let mut dice = |sides: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % sides
    };
    let mut queue = Queue::default();
    let mut free = [0.0_f64; 2];
    let mut running: Vec<(f64, Peer)> = Vec::new();
    let (mut waited, mut count) = (0.0, 0.0);
    let mut arrivals: Vec<(f64, u8, i64)> = Vec::new();
    let mut now = 0.0;
    for number in 1..=2000 {
        now += f64::from(dice(300)) / 100.0;
        let sign = if dice(20) == 0 { -1 } else { 1 };
        let owner = u8::try_from(dice(10)).unwrap();
        arrivals.push((now, owner, sign * number));
    }
    let mut coming = arrivals.iter().peekable();
    while count < 2000.0 {
        let slot = usize::from(free[1] < free[0]);
        let next = coming.peek().map_or(f64::MAX, |next| next.0);
        let now = if queue.is_empty() {
            free[slot].max(next)
        } else {
            free[slot]
        };
        while let Some((_, owner, item)) = coming.next_if(|next| next.0 <= now) {
            queue.push(peer(*owner), *item);
        }
        running.retain(|(end, owner)| {
            let runs = *end > now;
            if !runs {
                queue.ended(*owner);
            }
            runs
        });
        let (owner, item) = queue.pop(&is_long).unwrap();
        let came = arrivals[usize::try_from(item.unsigned_abs()).unwrap() - 1].0;
        waited += now - came;
        count += 1.0;
        free[slot] = now + if item < 0 { 30.0 } else { 1.5 };
        running.push((free[slot], owner));
    }
    waited / count
}

/// What it is good for; `docs/decisions.md` has the figures.
#[test]
fn the_mean_wait_of_a_mixed_crowd_is_shorter_than_in_the_order_of_arrival() {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for seed in 1..=5 {
        before.push(mean_wait(never, seed));
        after.push(mean_wait(negative, seed));
    }
    let mean = |waits: &[f64]| waits.iter().sum::<f64>() / 5.0;
    assert!(mean(&after) * 2.5 < mean(&before), "{before:?} {after:?}");
}

proptest! {
    /// Any mix of jobs that come, start and end: nothing is lost, each peer keeps its order, and
    /// whoever waits with nothing running is passed only by others in the same position, or by
    /// those who have waited too long.
    #[test]
    fn no_peer_waits_while_another_gets_a_second_slot(
        steps in prop::collection::vec((0_u8..3, 1_u8..6), 1..300),
    ) {
        let mut queue = Queue::default();
        let mut running: Vec<Peer> = Vec::new();
        let mut last = HashMap::new();
        let (mut pushed, mut popped) = (0_usize, 0_usize);
        for (step, who) in steps {
            match step {
                0 => {
                    pushed += 1;
                    queue.push(peer(who), pushed);
                }
                1 => {
                    let idle_peer_waits = (1..6)
                        .any(|one| queue.waiting(peer(one)) > 0 && !running.contains(&peer(one)));
                    let overdue = queue.lines.iter().any(|line| line.passed >= PATIENCE);
                    if let Some((owner, number)) = queue.pop(never) {
                        popped += 1;
                        prop_assert!(last.insert(owner, number) < Some(number));
                        prop_assert!(overdue || !(idle_peer_waits && running.contains(&owner)));
                        running.push(owner);
                    }
                }
                _ => {
                    if let Some(owner) = running.pop() {
                        queue.ended(owner);
                    }
                }
            }
            prop_assert_eq!(queue.len(), pushed - popped);
        }
    }

    /// Whoever looks is told the order that comes about, and nobody is told a worse place because somebody else has left.
    #[test]
    fn the_order_is_told_as_it_comes_about(
        steps in prop::collection::vec((0_u8..4, 1_u8..6), 1..60),
        longs in any::<u64>(),
        leaves in any::<prop::sample::Index>(),
    ) {
        let is_long = |number: &usize| longs >> number & 1 == 1;
        let mut queue = Queue::default();
        let mut running: Vec<Peer> = Vec::new();
        for (number, (step, who)) in steps.into_iter().enumerate() {
            match step {
                0 => running.extend(queue.pop(is_long).map(|(owner, _)| owner)),
                1 => running.pop().into_iter().for_each(|owner| queue.ended(owner)),
                _ => queue.push(peer(who), number),
            }
        }
        let told: Vec<usize> = queue.in_order(is_long).into_iter().copied().collect();
        prop_assert_eq!(told.len(), queue.len());
        if !told.is_empty() {
            let left = *leaves.get(&told);
            let mut without = queue.clone();
            without.retain(|item| *item != left);
            let after: Vec<usize> = without.in_order(is_long).into_iter().copied().collect();
            for item in &after {
                let place = |order: &[usize]| order.iter().position(|other| other == item);
                prop_assert!(place(&after) <= place(&told), "{} of {:?}", item, told);
            }
        }
        let taken: Vec<usize> = std::iter::from_fn(|| queue.pop(is_long)).map(|(_, item)| item).collect();
        prop_assert_eq!(told, taken);
    }
}
