//! What the jobs of a target see, put into one number.
//!
//! The coordinator keeps results, and may give one out again only while a job would find everything as
//! it was. The rule has no list of important files that could lack one: everything counts that the jail
//! shows of the target's root, the server's own options and programs, and of this host's kernel what a
//! job can tell. It is looked at once ([`scan`]); after that the kernel says whether anything happened
//! ([`watch`]), so that asking again costs a few system calls. Where the kernel cannot say, everything
//! is looked at again for whoever asks.

mod kernel;
mod scan;
mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use sha2::{Digest, Sha256};
use stap_jail::plan::{VISIBLE, VISIBLE_ETC};
use stap_protocol::target::{TargetIdentity, TargetName};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::scan::Digest256;
pub use self::scan::ScanError;
use self::watch::{Gap, Watch};
use crate::station::Station;

/// What was last seen of each root.
#[derive(Debug, Default)]
pub struct Sights {
    roots: StdMutex<HashMap<PathBuf, Arc<Root>>>,
    asked: AtomicU64,
}

/// What is known of one root.
#[derive(Debug, Default)]
struct Root {
    last: Mutex<Option<Look>>,
}

/// One look at everything.
#[derive(Debug)]
struct Look {
    digest: Digest256,
    /// What the kernel does not tell by events.
    ground: Vec<u8>,
    watch: Result<Watch, Gap>,
    /// Whoever asked up to this number asked before the look began.
    covers: u64,
}

/// Why nobody can say what jobs of a target see.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// No such target.
    #[error("there is no target {0}")]
    Target(TargetName),
    /// What the operator put in its place may read whatever it wants.
    #[error("stap is replaced, and what the replacement goes by is not known")]
    Replaced,
    /// It cannot be looked at.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A part of this host cannot be read.
    #[error("{0}")]
    Host(String),
}

impl Sights {
    /// Looks, or makes sure that nothing changed since the last look. What is returned held at some
    /// moment after the call began.
    ///
    /// # Errors
    /// When it cannot be known; nothing may then be kept, or given out again.
    pub async fn identify(
        &self,
        station: &Station,
        target: &TargetName,
    ) -> Result<TargetIdentity, Unknown> {
        let seen = self.look_at(station, target).await?;
        let mut digest = Sha256::new();
        // Under a policy that has make run, nobody gets what was replayed.
        let replays = [u8::from(station.replays)];
        for field in [FORMAT, station.view(), station.programs(), &replays, &seen] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        Ok(TargetIdentity(digest.finalize().into()))
    }

    /// The same without the server's own programs, layers and options, for what is only compiled.
    ///
    /// # Errors
    /// As [`Self::identify`].
    pub async fn look_at(
        &self,
        station: &Station,
        target: &TargetName,
    ) -> Result<[u8; 32], Unknown> {
        // The number is drawn first: a look that begins after it is recent enough.
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let served = station.catalogue.find(target);
        let served = served.ok_or_else(|| Unknown::Target(target.clone()))?;
        if !served.can_be_warmed {
            return Err(Unknown::Replaced);
        }
        let places = places(station, &served.target.root);
        let seen = self.seen(&served.target.root, places, number).await?;
        let kernel =
            kernel::told(&served.target.name, station.shows_kernel()).map_err(|error| {
                Unknown::Host(format!("this host's kernel cannot be told: {error}"))
            })?;
        let mut digest = Sha256::new();
        for field in [
            target.to_string().as_bytes(),
            served.named.as_bytes(),
            served.target.build_id.as_bytes(),
            served.target.stap_version.as_bytes(),
            &kernel,
            &seen,
        ] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        Ok(digest.finalize().into())
    }

    async fn seen(
        &self,
        root: &Path,
        places: Vec<PathBuf>,
        number: u64,
    ) -> Result<Digest256, Unknown> {
        let known = self.root(root);
        let mut last = known.last.lock().await;
        let ground = ground(&places).map_err(|error| {
            Unknown::Host(format!("the mounts of this host cannot be read: {error}"))
        })?;
        if let Some(look) = last.as_ref().filter(|look| look.holds(&ground, number)) {
            return Ok(look.digest);
        }
        let is_first = last.is_none();
        // Its watches are of no more use, and the kernel gives only so many.
        *last = None;
        let covers = self.asked.load(Ordering::SeqCst);
        let began = Instant::now();
        let looked = tokio::task::spawn_blocking(move || look(&places, ground, covers)).await;
        let look = looked.map_err(|error| Unknown::Host(error.to_string()))??;
        tell(root, &look, is_first, began);
        let digest = look.digest;
        *last = Some(look);
        Ok(digest)
    }

    fn root(&self, path: &Path) -> Arc<Root> {
        // Nobody can panic while holding it, and a map is a map even so.
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(roots.entry(path.to_owned()).or_default())
    }
}

impl Look {
    fn holds(&self, ground: &[u8], number: u64) -> bool {
        if self.ground != ground {
            return false;
        }
        match &self.watch {
            Ok(watch) => watch.is_quiet(),
            // A look that began after the question is an answer to it.
            Err(_) => number <= self.covers,
        }
    }
}

fn look(places: &[PathBuf], ground: Vec<u8>, covers: u64) -> Result<Look, ScanError> {
    let mut watch = Watch::begin();
    let digest = scan::scan(places, watch.as_mut().ok())?;
    let watch = watch.and_then(|watch| match watch.gap() {
        Some(gap) => Err(gap),
        None => Ok(watch),
    });
    Ok(Look {
        digest,
        ground,
        watch,
        covers,
    })
}

fn tell(root: &Path, look: &Look, is_first: bool, began: Instant) {
    let (root, took) = (root.display(), began.elapsed());
    match &look.watch {
        Ok(_) => {
            tracing::info!("looked at all that jobs see of {root} in {took:.2?}; it is watched");
        }
        Err(gap) if is_first => tracing::warn!(
            "looked at all that jobs see of {root} in {took:.2?}, and have to look again for each request: {gap}"
        ),
        Err(_) => tracing::debug!("looked at all that jobs see of {root} in {took:.2?}"),
    }
}

/// Everything that the jail shows: of the root, and besides.
fn places(station: &Station, root: &Path) -> Vec<PathBuf> {
    let etc = VISIBLE_ETC.iter().map(|name| Path::new("etc").join(name));
    let shown = VISIBLE.iter().map(PathBuf::from).chain(etc);
    let mut places: Vec<_> = shown.map(|path| root.join(path)).collect();
    let binds = station.binds.iter();
    places.extend(binds.map(|bind| bind.source.as_path().to_owned()));
    places
}

/// What can change under a watch without a word: what the places themselves are, and what is mounted
/// over or below them.
fn ground(places: &[PathBuf]) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::MetadataExt as _;
    let stamp = |place: &PathBuf| {
        let of = std::fs::symlink_metadata(place).ok()?;
        Some(format!("{} {} {}\n", of.dev(), of.ino(), of.ctime_nsec()))
    };
    let mut ground: String = places.iter().filter_map(stamp).collect();
    for line in std::fs::read_to_string("/proc/self/mountinfo")?.lines() {
        // proc(5): the fifth field is where it is mounted.
        let place = line.split(' ').nth(4).map(Path::new);
        if place.is_some_and(|at| places.iter().any(|place| touches(at, place))) {
            ground.push_str(line);
            ground.push('\n');
        }
    }
    Ok(ground.into_bytes())
}

/// Whether a mount can decide what is seen at or below a place.
fn touches(mount: &Path, place: &Path) -> bool {
    mount.starts_with(place) || place.starts_with(mount)
}

/// Names this build of the programs that start jobs; they decide about results, too.
pub(crate) fn programs(jail: &Path) -> std::io::Result<Vec<u8>> {
    let own = std::env::current_exe()?;
    let stamps = [scan::stamp_of(&own)?, scan::stamp_of(jail)?];
    Ok(stamps.join("\n").into_bytes())
}

impl Station {
    /// Whether jobs see a `/proc` that tells of the kernel.
    fn shows_kernel(&self) -> bool {
        !self.jail.has_own_proc()
    }
}

/// Changes whenever the list of fields, or how a job is started, does.
const FORMAT: &[u8] = b"stap sight 3";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn seen(sights: &Sights, directory: &Path, number: u64) -> Digest256 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let places = vec![directory.to_owned()];
        runtime
            .block_on(sights.seen(directory, places, number))
            .unwrap()
    }

    #[test]
    fn a_quiet_root_is_looked_at_once_and_a_changed_one_again() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("module.h"), "1").unwrap();
        let sights = Sights::default();
        let first = seen(&sights, directory.path(), 1);
        assert_eq!(seen(&sights, directory.path(), 2), first);
        fs::write(directory.path().join("module.h"), "22").unwrap();
        let second = seen(&sights, directory.path(), 3);
        assert_ne!(second, first);
        assert_eq!(seen(&sights, directory.path(), 4), second);
    }

    #[test]
    fn another_directory_in_the_place_of_the_first_is_seen() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("usr");
        fs::create_dir(&place).unwrap();
        let sights = Sights::default();
        let first = seen(&sights, &place, 1);
        fs::rename(&place, parent.path().join("old")).unwrap();
        fs::create_dir(&place).unwrap();
        assert_ne!(seen(&sights, &place, 2), first);
    }

    #[test]
    fn without_a_watch_only_a_later_look_is_an_answer() {
        let look = Look {
            digest: [0; 32],
            ground: Vec::new(),
            watch: Err(Gap::Elsewhere(0)),
            covers: 7,
        };
        assert!(look.holds(b"", 7));
        assert!(!look.holds(b"", 8));
        assert!(!look.holds(b"mounted over", 7));
    }

    #[test]
    fn mounts_count_above_and_below_what_is_shown() {
        let place = Path::new("/srv/root/usr");
        for (mount, counts) in [
            ("/", true),
            ("/srv/root/usr/src", true),
            ("/srv/root/usr", true),
            ("/srv/root/usr2", false),
            ("/home", false),
        ] {
            assert_eq!(touches(Path::new(mount), place), counts, "{mount}");
        }
    }
}
