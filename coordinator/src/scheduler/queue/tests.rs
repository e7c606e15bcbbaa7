//! The promises of the queue.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn peer(last: u8) -> Peer {
    IpAddr::from([192, 0, 2, last]).into()
}

fn run_to_the_end<T>(queue: &mut Queue<T>) -> Option<(Peer, T)> {
    let (peer, item) = queue.pop()?;
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
    let running = [queue.pop(), queue.pop()].map(|one| one.unwrap().0);
    queue.push(peer(2), 2000);
    queue.ended(running[0]);
    assert_eq!(queue.pop(), Some((peer(2), 2000)));
    // The same when the last of the others has ended before.
    queue.ended(running[1]);
    queue.ended(peer(2));
    let alone = queue.pop().unwrap();
    queue.push(peer(3), 3000);
    queue.ended(alone.0);
    assert_eq!(queue.pop(), Some((peer(3), 3000)));
}

#[test]
fn whoever_has_fewer_running_catches_up() {
    let mut queue = Queue::default();
    (0..8).for_each(|number| queue.push(peer(1), number));
    for _ in 0..4 {
        queue.pop();
    }
    (10..18).for_each(|number| queue.push(peer(2), number));
    let owners: Vec<_> = (0..4).map(|_| queue.pop().unwrap().0).collect();
    assert_eq!(owners, [peer(2); 4]);
}

#[test]
fn newcomers_without_end_do_not_starve_anybody() {
    let mut queue = Queue::default();
    (0..100).for_each(|number| queue.push(peer(1), number));
    queue.pop();
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
    assert_eq!(queue.pop(), Some((peer(1), 2)));
    assert_eq!(queue.pop(), None);
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
                    if let Some((owner, number)) = queue.pop() {
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
        steps in prop::collection::vec((0_u8..4, 1_u8..6), 1..PATIENCE),
        leaves in any::<prop::sample::Index>(),
    ) {
        let mut queue = Queue::default();
        let mut running: Vec<Peer> = Vec::new();
        for (number, (step, who)) in steps.into_iter().enumerate() {
            match step {
                0 => running.extend(queue.pop().map(|(owner, _)| owner)),
                1 => running.pop().into_iter().for_each(|owner| queue.ended(owner)),
                _ => queue.push(peer(who), number),
            }
        }
        let told: Vec<usize> = queue.in_order().into_iter().copied().collect();
        prop_assert_eq!(told.len(), queue.len());
        if !told.is_empty() {
            let left = *leaves.get(&told);
            let mut without = queue.clone();
            without.retain(|item| *item != left);
            let after: Vec<usize> = without.in_order().into_iter().copied().collect();
            for item in &after {
                let place = |order: &[usize]| order.iter().position(|other| other == item);
                prop_assert!(place(&after) <= place(&told), "{} of {:?}", item, told);
            }
        }
        let taken: Vec<usize> = std::iter::from_fn(|| queue.pop()).map(|(_, item)| item).collect();
        prop_assert_eq!(told, taken);
    }
}
