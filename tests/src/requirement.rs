//! What the machine must be able to do. Absence of what `STAP_TEST_REQUIRE` names is a failure;
//! absence of anything else skips the test, and says so where `tests/run` looks for it.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Names what must not be skipped, separated by commas; `all` is everything.
const REQUIRED: &str = "STAP_TEST_REQUIRE";
/// A file that collects one line for each skipped test.
const SKIPPED: &str = "STAP_TEST_SKIPPED";
/// An unpacked distribution root with a working stap; see `deploy/target-root`.
const TARGET_ROOT: &str = "STAP_TEST_ROOT";
/// One that boots, with systemd; see `deploy/target-root --system`.
const SYSTEM_ROOT: &str = "STAP_TEST_SYSTEM_ROOT";
/// A root with the kernel headers of another architecture; see `deploy/target-root --arch`.
const CROSS_ROOT: &str = "STAP_TEST_CROSS_ROOT";
/// The unpacked stock compile server of that root's release; see `tests/stock-server`.
const STOCK: &str = "STAP_TEST_STOCK";
/// The same two of other releases, `ROOT=SERVER`, separated by colons; see `tests/run`.
const PEERS: &str = "STAP_TEST_PEERS";

/// Returns whether a test that needs `feature` may go on. If not, the skip is recorded with the
/// reason that `absent` gives.
///
/// # Panics
/// When the feature is required and absent.
#[expect(clippy::print_stderr, reason = "a skip must be seen by the person")]
pub fn met(feature: &str, absent: Option<String>) -> bool {
    let Some(reason) = absent else { return true };
    assert!(
        !is_required(feature),
        "{feature} is required by {REQUIRED} and absent: {reason}"
    );
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED {test}: needs {feature}: {reason}");
    if let Some(file) = std::env::var_os(SKIPPED) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .expect("tests/run made it");
        writeln!(file, "{test}: needs {feature}: {reason}").expect("tests/run made it");
    }
    false
}

/// Whether the absence of a feature is a failure.
#[must_use]
pub fn is_required(feature: &str) -> bool {
    let required = std::env::var(REQUIRED).unwrap_or_default();
    required
        .split(',')
        .any(|name| name == feature || name == "all")
}

/// What a program needs that looks for these things by itself: names of variables, and their values.
#[must_use]
pub fn handed_on() -> Vec<(&'static str, OsString)> {
    let names = [TARGET_ROOT, STOCK, REQUIRED];
    let known = names.map(|name| Some((name, std::env::var_os(name)?)));
    known.into_iter().flatten().collect()
}

/// The distribution root that the end-to-end tests compile in, when one was named.
#[must_use]
pub fn target_root() -> Option<PathBuf> {
    std::env::var_os(TARGET_ROOT).map(PathBuf::from)
}

/// Returns whether the end-to-end tests have a root, recording the skip if not.
#[must_use]
pub fn has_target_root() -> bool {
    let absent = target_root().is_none();
    met(
        "target-root",
        absent.then(|| format!("{TARGET_ROOT} names no unpacked root")),
    )
}

/// The root that boots, when one was named.
#[must_use]
pub fn system_root() -> Option<PathBuf> {
    std::env::var_os(SYSTEM_ROOT).map(PathBuf::from)
}

/// The root for another architecture, recording the skip where there is none.
#[must_use]
pub fn cross_root() -> Option<PathBuf> {
    let found = std::env::var_os(CROSS_ROOT).map(PathBuf::from);
    let absent = found.is_none();
    met(
        "cross-root",
        absent.then(|| format!("{CROSS_ROOT} names no unpacked root")),
    );
    found
}

/// The stock compile server that ours is compared with, when one was named.
#[must_use]
pub fn stock() -> Option<PathBuf> {
    std::env::var_os(STOCK).map(PathBuf::from)
}

/// Records that controls which need a stock server are left out, where there is none.
pub fn look_for_stock() {
    let absent = stock().is_none();
    met(
        "stock",
        absent.then(|| format!("{STOCK} names no unpacked server")),
    );
}

/// Stock SystemTap of one release, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// A root with stap; its last name is the release's.
    pub root: PathBuf,
    /// The packages of its compile server.
    pub server: PathBuf,
}

impl Peer {
    /// Debian's name for the release.
    #[must_use]
    pub fn suite(&self) -> &str {
        let name = self.root.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }

    fn parse(pair: &str) -> Option<Self> {
        let (root, server) = pair.split_once('=')?;
        let are_absolute = [root, server]
            .iter()
            .all(|path| Path::new(path).is_absolute());
        are_absolute.then(|| Self {
            root: root.into(),
            server: server.into(),
        })
    }
}

/// Stock SystemTap of every release that was named, that of the target root first.
///
/// # Panics
/// When the variable cannot be meant.
#[must_use]
pub fn peers() -> Vec<Peer> {
    let own = target_root().zip(stock());
    let own = own.map(|(root, server)| Peer { root, server });
    let named = std::env::var(PEERS).unwrap_or_default();
    let others = named.split(':').filter(|pair| !pair.is_empty());
    let parsed = |pair| Peer::parse(pair).unwrap_or_else(|| panic!("{PEERS} has {pair:?}"));
    own.into_iter().chain(others.map(parsed)).collect()
}

/// Stock SystemTap of a release, recording the skip where it is not there.
#[must_use]
pub fn peer(suite: &str) -> Option<Peer> {
    let found = peers().into_iter().find(|peer| peer.suite() == suite);
    let absent = found.is_none();
    let reason = || format!("neither {TARGET_ROOT} and {STOCK} nor {PEERS} name that of {suite}");
    met("peers", absent.then(reason));
    found
}
