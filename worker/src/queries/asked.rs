//! Which types jobs have had compiled, so that whoever needs them next finds them.
//!
//! What a job has compiled itself is never used: it could be anything. That it was asked for is believed, as the worst
//! that a lie can do is to have something built early that the tapset asks for anyway.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::Ready;
use super::listing::{self, Batch};
use crate::job::{SEED_DIRECTORY, names_left};

/// Places below stap's cache.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<BTreeSet<String>>);

impl Asked {
    /// Takes in what a job has left in its cache and was not shown.
    pub(super) fn note(&self, workspace: &OwnedFd, ready: Option<&Ready>) {
        let cache = Path::new(SEED_DIRECTORY);
        let shown = ready.map_or(&[] as &[_], Ready::links);
        for directory in names_left(workspace, cache) {
            for name in names_left(workspace, &cache.join(&directory)) {
                let place = format!("{directory}/{name}");
                let is_of_types = name.ends_with(".ko") && listing::is_cached(Path::new(&place));
                if is_of_types && !shown.iter().any(|(path, _)| *path == place) {
                    self.add(place);
                }
            }
        }
    }

    fn add(&self, place: String) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() < MAX_PLACES {
            places.insert(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.is_empty()
    }

    /// Whether an answer of the batch was asked for.
    pub(super) fn wants(&self, batch: &Batch) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers = batch.objects.iter();
        answers.any(|object| places.contains(&object.cached))
    }
}

/// The tapset has about twenty; a script may have some of its own, which nobody builds for it.
const MAX_PLACES: usize = 256;
