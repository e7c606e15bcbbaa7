//! How a listing is kept, so that stap need not be asked again at the next start.

use std::path::Path;

use super::{Batch, Kind, Object};
use crate::store::Store;

/// A batch as postcard writes it: whether it is about types, the directory, the words, the files, and
/// each object with its place in stap's cache and its subject.
type Kept = (
    bool,
    String,
    Vec<String>,
    Vec<(String, Vec<u8>)>,
    Vec<(String, String, String)>,
);

/// Keeps batches for later workers whose jobs see what `seen` stands for.
///
/// # Errors
///
/// When they cannot be written; nothing of them is then visible.
pub fn publish(store: &Store, entry: &str, seen: &str, batches: &[Batch]) -> std::io::Result<()> {
    let kept: Vec<Kept> = batches.iter().cloned().map(Batch::kept).collect();
    let content = postcard::to_stdvec(&kept).map_err(std::io::Error::other)?;
    store.publish_sealed(entry, seen, &vec![(LISTING.into(), content)])
}

/// The batches that an earlier worker kept, if they are as it wrote them.
#[must_use]
pub fn load(store: &Store, entry: &str, seen: &str) -> Option<Vec<Batch>> {
    let is_listing = |path: &Path| path == Path::new(LISTING);
    let files = store
        .load_sealed(entry, seen, is_listing, MAX_LISTING)
        .ok()?;
    let [(_, content)] = files.as_slice() else {
        return None;
    };
    let kept: Vec<Kept> = postcard::from_bytes(content).ok()?;
    Some(kept.into_iter().map(Batch::of_kept).collect())
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

const LISTING: &str = "listing";
/// Bytes of a listing; there is about a million.
const MAX_LISTING: u64 = 64 << 20;
