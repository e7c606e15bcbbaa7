//! Which types jobs have had compiled, so that whoever needs them next finds them.
//!
//! What a job has compiled itself is never used: it could be anything. That it was asked for is believed, as the worst
//! that a lie can do is to have something built early that the tapset asks for anyway.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Ready;
use super::listing::{self, Batch, Kind};
use crate::job::{SEED_DIRECTORY, some_names_left};

/// Places below stap's cache.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    asked: BTreeSet<String>,
    /// Those of all answers about types, once they are listed.
    possible: Option<BTreeSet<String>>,
}

impl Asked {
    /// Takes in what a job has left in its cache and is not shown to anybody.
    pub(super) fn note(&self, workspace: &OwnedFd, ready: Option<&Ready>) {
        let cache = Path::new(SEED_DIRECTORY);
        let shown = ready.map_or(&[] as &[_], Ready::links);
        let shown: BTreeSet<&str> = shown.iter().map(|(place, _)| place.as_str()).collect();
        let directories = some_names_left(workspace, cache, MAX_DIRECTORIES).into_iter();
        for directory in directories.filter(|name| listing::is_directory(name)) {
            for name in some_names_left(workspace, &cache.join(&directory), MAX_NAMES) {
                let place = format!("{directory}/{name}");
                let is_of_types = name.ends_with(".ko") && listing::is_cached(Path::new(&place));
                if is_of_types && !shown.contains(place.as_str()) {
                    self.places().add(place);
                }
            }
        }
    }

    /// Takes in what there is at all.
    pub(super) fn know(&self, batches: &[Batch]) {
        let types = batches.iter().filter(|batch| batch.kind == Kind::Types);
        let possible: BTreeSet<_> = types.flat_map(places_of).map(str::to_owned).collect();
        let mut places = self.places();
        places.asked.retain(|place| possible.contains(place));
        places.possible = Some(possible);
    }

    /// Takes in that it is built.
    pub(super) fn forget(&self, batch: &Batch) {
        let mut places = self.places();
        for place in places_of(batch) {
            places.asked.remove(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places().asked.is_empty()
    }

    /// Whether an answer of the batch was asked for.
    pub(super) fn wants(&self, batch: &Batch) -> bool {
        let places = self.places();
        places_of(batch).any(|place| places.asked.contains(place))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn add(&mut self, place: String) {
        let may_be = match &self.possible {
            Some(possible) => possible.contains(&place),
            None => self.asked.len() < MAX_UNLISTED,
        };
        if may_be {
            self.asked.insert(place);
        }
    }
}

fn places_of(batch: &Batch) -> impl Iterator<Item = &str> {
    batch.objects.iter().map(|object| object.cached.as_str())
}

/// stap has one for each pair of hexadecimal digits.
const MAX_DIRECTORIES: usize = 1024;
/// Entries of one of them, of which a job may make as many as it likes.
const MAX_NAMES: usize = 256;
/// Before anybody knows what may be asked.
const MAX_UNLISTED: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::listing::Object;
    use super::*;

    fn batch(kind: Kind, cached: &str) -> Batch {
        Batch {
            kind,
            directory: cached.to_owned(),
            words: Vec::new(),
            files: Vec::new(),
            objects: vec![Object {
                name: "a.ko".to_owned(),
                cached: cached.to_owned(),
                subject: "kernel<a.h>".to_owned(),
            }],
        }
    }

    /// A workspace with files below stap's cache.
    fn workspace(names: &[String]) -> (tempfile::TempDir, OwnedFd) {
        let place = tempfile::tempdir().unwrap();
        for name in names {
            let file = place.path().join(SEED_DIRECTORY).join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "not even an ELF file").unwrap();
        }
        let fd = std::fs::File::open(place.path()).unwrap();
        (place, fd.into())
    }

    fn note(asked: &Asked, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let (_place, fd) = workspace(&names);
        asked.note(&fd, None);
    }

    const REAL: &str = "ab/typequery_ab12_7.ko";
    const OTHER: &str = "cd/typequery_cd34_7.ko";

    #[test]
    fn types_that_are_listed_are_wanted_when_a_job_has_compiled_them_until_they_are_built() {
        let asked = Asked::default();
        let (types, traces) = (batch(Kind::Types, REAL), batch(Kind::Tracepoints, OTHER));
        note(
            &asked,
            &[
                REAL,
                "ab/tracequery_ab12_7.o",
                "ab/stap_1.ko",
                "abc/typequery_ab_1.ko",
                "x",
            ],
        );
        assert!(asked.wants(&types) && !asked.is_empty());
        asked.know(&[types.clone(), traces.clone()]);
        note(&asked, &[OTHER, "ef/typequery_ef56_7.ko"]);
        assert!(asked.wants(&types) && !asked.wants(&traces));
        asked.forget(&types);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_job_that_makes_names_up_keeps_nobody_from_being_heard() {
        let asked = Asked::default();
        let made_up: Vec<_> = (0..300)
            .map(|number| format!("{:02x}/typequery_{number:x}_1.ko", number % 256))
            .collect();
        let (_place, fd) = workspace(&made_up);
        asked.note(&fd, None);
        assert_eq!(asked.places().asked.len(), MAX_UNLISTED);
        asked.know(&[batch(Kind::Types, REAL)]);
        assert!(asked.is_empty(), "none of it exists");
        asked.note(&fd, None);
        assert!(asked.is_empty());
        note(&asked, &[REAL]);
        assert!(asked.wants(&batch(Kind::Types, REAL)));
    }
}
