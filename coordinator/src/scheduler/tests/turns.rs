//! Whose turn it is, and what those who wait are told of it.

use super::*;

/// The places that jobs were told last, as `position/waiting` and the wait.
fn places(tickets: &[Ticket]) -> Vec<String> {
    let told = |ticket: &Ticket| match *ticket.standings().borrow() {
        Standing::Taken => "taken".to_owned(),
        Standing::Learning => "learning".to_owned(),
        Standing::Running => "running".to_owned(),
        Standing::Waiting(place) => {
            let Place {
                position,
                waiting,
                wait,
            } = place;
            format!("{position}/{waiting} {wait:?}")
        }
    };
    tickets.iter().map(told).collect()
}

fn compile(name: &str) -> Job {
    Job {
        arguments: vec![b"-p4".to_vec()],
        ..job(name)
    }
}

#[tokio::test(start_paused = true)]
async fn each_that_waits_is_told_its_place_in_the_fair_order_and_when_its_turn_is() {
    let mut play = play(1, bounds(64, 64));
    let mut tickets = Vec::new();
    for (owner, name) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1")] {
        tickets.push(play.scheduler.submit(peer(owner), job(name)).await.unwrap());
    }
    assert_eq!(play.event().await, "started a1");
    // Places are looked up each whole second.
    tokio::time::sleep(SOON * 3 / 2).await;
    let expected = ["running", "2/3 7s", "3/3 11s", "1/3 3s"];
    assert_eq!(places(&tickets), expected);
    // Nobody else hears of it when somebody who waits leaves, and yet the others move up.
    drop(tickets.pop());
    tokio::time::sleep(SOON).await;
    assert_eq!(places(&tickets), ["running", "1/2 2s", "2/2 6s"]);
    // It takes longer than it was expected to.
    tokio::time::sleep(FIRST_SHORT).await;
    assert_eq!(places(&tickets), ["running", "1/2 0ns", "2/2 4s"]);
    play.stage.took.lock().unwrap().wall = FIRST_SHORT * 9;
    play.stage.end.add_permits(1);
    assert_eq!(play.event().await, "started a2");
    tokio::time::sleep(SOON).await;
    assert_eq!(places(&tickets)[1..], ["running", "1/1 7.5s"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_is_done_behind_a_job_is_told_for_how_long() {
    let play = play(0, bounds(8, 8));
    play.stage.kept.store(1, Ordering::Relaxed);
    let ticket = play.scheduler.submit(peer(1), job("1")).await.unwrap();
    tokio::time::sleep(SOON * 3 / 2).await;
    assert_eq!(places(&[ticket]), ["1/1 8s"]);
}

#[tokio::test(start_paused = true)]
async fn where_memory_is_short_the_wait_is_that_of_the_slots_that_can_be_used() {
    let free = Free::default();
    let mut bounds = bounds(8, 8);
    bounds.slots = NonZeroUsize::new(4).unwrap();
    let mut play = play_with(4, bounds, free.headroom());
    let mut tickets = Vec::new();
    for name in ["1", "2", "3"] {
        tickets.push(play.scheduler.submit(peer(1), job(name)).await.unwrap());
    }
    assert_eq!(play.event().await, "started 1");
    tokio::time::sleep(SOON * 3 / 2).await;
    assert_eq!(places(&tickets), ["running", "1/2 3s", "2/2 7s"]);
}

#[tokio::test]
async fn a_compile_is_passed_only_until_its_target_is_warm() {
    let mut play = play(1, bounds(64, 64));
    let mut tickets = Vec::new();
    let mut submit = async |one| tickets.push(play.scheduler.submit(peer(1), one).await.unwrap());
    submit(job("0")).await;
    assert_eq!(
        play.events.get_mut().unwrap().recv().await.unwrap(),
        "started 0"
    );
    for one in [
        compile("first"),
        compile("second"),
        job("1"),
        compile("third"),
        job("2"),
    ] {
        submit(one).await;
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        play.stage.end.add_permits(1);
        order.push(play.event().await);
    }
    assert_eq!(
        order,
        [
            "started 1",
            "started 2",
            "started first",
            "started second",
            "started third"
        ]
    );
    let ended = places(&tickets).join(" ");
    assert_eq!(ended, "running learning running running running running");
    for one in [compile("fourth"), job("3")] {
        tickets.push(play.scheduler.submit(peer(1), one).await.unwrap());
        play.stage.end.add_permits(1);
        order.push(play.event().await);
    }
    assert_eq!(order[5..], ["started fourth", "started 3"]);
}

#[tokio::test]
async fn a_compile_that_could_not_be_run_says_nothing_of_its_target() {
    let mut play = play(1, bounds(64, 64));
    let reason = "no room".to_owned();
    *play.stage.outcome.lock().unwrap() = Outcome::WorkerFault { reason };
    let mut tickets = Vec::new();
    for name in ["first", "second"] {
        tickets.push(play.scheduler.submit(peer(1), compile(name)).await.unwrap());
    }
    assert_eq!(play.event().await, "started first");
    play.stage.end.add_permits(1);
    assert_eq!(play.event().await, "started second");
    assert_eq!(places(&tickets), ["learning", "learning"]);
}
