//! Waiting for something to become true. A wait ends as soon as it does, and names itself when not.

use std::time::{Duration, Instant};

/// How long anything may take that the specification gives no time for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How many times slower than a real machine this one is. Whoever starts tests in an emulated one says
/// so.
pub const SLOWNESS: &str = "STAP_TEST_SLOWNESS";

/// How long something may take on this machine that may take `time` on a real one.
#[must_use]
pub fn patient(time: Duration) -> Duration {
    time * slowness()
}

/// What [`SLOWNESS`] says, to be passed on to programs that are started without this environment.
#[must_use]
pub fn slowness() -> u32 {
    let slowness = std::env::var(SLOWNESS).ok();
    slowness.and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// How often a condition is looked at that cannot wake us.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `attempt` returns a value.
///
/// # Panics
/// After [`patient`] [`PATIENCE`], with what was waited for.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let patience = patient(PATIENCE);
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {patience:?} in vain until {what}"
        );
        std::thread::sleep(INTERVAL);
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// After [`patient`] [`PATIENCE`], with what was waited for.
pub fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}

/// Waits until `condition` holds, and returns whether it came to that within [`PATIENCE`].
pub fn within_patience(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patient(PATIENCE);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(INTERVAL);
    }
    true
}
