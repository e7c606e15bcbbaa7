//! How a listing is kept, so that stap need not be asked again at the next start.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Batch, Kind, Object};
use crate::store::{Store, hexadecimal};

/// A batch as postcard writes it: whether it is about types, the directory, the words, the files, and
/// each object with its place in stap's cache and its subject.
type Kept = (
    bool,
    String,
    Vec<String>,
    Vec<(String, Vec<u8>)>,
    Vec<(String, String, String)>,
);

/// Keeps batches for later workers.
///
/// # Errors
///
/// When they cannot be written; nothing of them is then visible.
pub fn publish(store: &Store, entry: &str, batches: &[Batch]) -> std::io::Result<()> {
    let kept: Vec<Kept> = batches.iter().cloned().map(Batch::kept).collect();
    let content = postcard::to_stdvec(&kept).map_err(std::io::Error::other)?;
    // Whoever lists could not load what is there.
    store.discard(entry)?;
    store.publish(entry, &[(part(&content), content)])
}

/// The batches that an earlier worker kept, if they are as it wrote them.
#[must_use]
pub fn load(store: &Store, entry: &str) -> Option<Vec<Batch>> {
    let files = store.load_as(entry, is_part, MAX_LISTING);
    let [(path, content)] = files.as_slice() else {
        return None;
    };
    let kept: Option<Vec<Kept>> = (*path == part(content))
        .then(|| postcard::from_bytes(content).ok())
        .flatten();
    if kept.is_none() {
        tracing::warn!(
            entry,
            "damaged: this list of queries is not used, and made anew"
        );
    }
    Some(kept?.into_iter().map(Batch::of_kept).collect())
}

impl Batch {
    fn kept(self) -> Kept {
        let objects = self.objects.into_iter();
        let objects = objects.map(|object| (object.name, object.cached, object.subject));
        let is_types = self.kind == Kind::Types;
        (
            is_types,
            self.directory,
            self.words,
            self.files,
            objects.collect(),
        )
    }

    fn of_kept((is_types, directory, words, files, objects): Kept) -> Self {
        let object = |(name, cached, subject)| Object {
            name,
            cached,
            subject,
        };
        Self {
            kind: if is_types {
                Kind::Types
            } else {
                Kind::Tracepoints
            },
            directory,
            words,
            files,
            objects: objects.into_iter().map(object).collect(),
        }
    }
}

fn part(content: &[u8]) -> PathBuf {
    Path::new(LISTING).join(hexadecimal(&Sha256::digest(content)))
}

fn is_part(path: &Path) -> bool {
    path.parent() == Some(Path::new(LISTING))
}

const LISTING: &str = "listing";
/// Bytes of a listing; there is about a million.
const MAX_LISTING: u64 = 64 << 20;
