//! For whom something is kept, and what is done with what nobody needs any more.
//!
//! All that is kept of a target has a name that begins with its identity. Another kernel, compiler or
//! stap in the same place has another one, so that what belonged to the old is never looked at again,
//! and goes when a server of the place starts. What belongs to the targets of other servers stays as
//! long as these are there, and for a week more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::store::Store;
use crate::targets::root::is_there;

/// Whose an identity is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The root on this host.
    pub(super) root: PathBuf,
    /// The build tree in it.
    pub(super) tree: PathBuf,
    /// The value of `-r`.
    pub(super) named: String,
    /// Differs between servers whose jobs are given other things.
    pub(super) view: String,
}

impl Owner {
    /// Notes that something is kept for an identity.
    pub(super) fn note(&self, store: &Store, identity: &str) {
        let key = format!("{identity}{NOTE}");
        if store.has(&key) {
            return;
        }
        let files = vec![(PathBuf::from(FILE), self.encode())];
        if let Err(error) = store.publish_sealed(&key, "", &files) {
            tracing::debug!(%error, "what is kept for {} goes at the next start", self.named);
        }
    }

    fn load(store: &Store, identity: &str) -> Option<Self> {
        let is_note = |path: &Path| path == Path::new(FILE);
        let files = store.load_sealed(&format!("{identity}{NOTE}"), "", is_note, MAX);
        let (_, content) = files.ok()?.pop()?;
        Self::decode(&content)
    }

    fn encode(&self) -> Vec<u8> {
        let fields = [
            self.root.as_os_str().as_encoded_bytes(),
            self.tree.as_os_str().as_encoded_bytes(),
            self.named.as_bytes(),
            self.view.as_bytes(),
        ];
        // None of them can have a NUL.
        fields.join(&0)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        let fields: Vec<_> = bytes.split(|byte| *byte == 0).collect();
        let [root, tree, named, view] = fields.as_slice() else {
            return None;
        };
        let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Self {
            root: path(root),
            tree: path(tree),
            named: text(named)?,
            view: text(view)?,
        })
    }
}

/// Removes what is kept for an identity that no target has any more. `serving` has those of the
/// targets of this server.
pub(super) fn tidy(store: &Store, serving: &BTreeMap<String, Owner>) {
    let entries = store.entries("");
    let identities: BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| identity_of(&entry.key))
        .collect();
    for identity in identities {
        if serving.contains_key(identity) || is_of_use(store, identity, serving) {
            continue;
        }
        let of_it = entries.iter().filter(|entry| {
            let its = identity_of(&entry.key);
            its == Some(identity)
        });
        let mut bytes = 0;
        for entry in of_it {
            bytes += entry.bytes;
            store.remove(&entry.key);
        }
        tracing::info!(
            identity,
            "what was kept for a target that is not there any more is removed ({bytes} bytes)"
        );
    }
}

fn is_of_use(store: &Store, identity: &str, serving: &BTreeMap<String, Owner>) -> bool {
    let Some(owner) = Owner::load(store, identity) else {
        return false;
    };
    let is_replaced = serving.values().any(|served| *served == owner);
    !is_replaced && !store.is_long_gone(identity, is_there(&owner.root, &owner.tree))
}

/// The identity that the name of an entry begins with.
fn identity_of(key: &str) -> Option<&str> {
    let (identity, _) = key.split_once('-')?;
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (identity.len() == IDENTITY && identity.bytes().all(hexadecimal)).then_some(identity)
}

/// Digits of an identity.
const IDENTITY: usize = 64;
const NOTE: &str = "-owner";
const FILE: &str = "owner";
/// Bytes of two paths, a release and a digest.
const MAX: u64 = 32 << 10;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_was_replaced_or_is_gone_goes_and_what_others_need_stays() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("cache")).unwrap();
        let root = parent.path().join("root");
        fs::create_dir_all(root.join("lib/modules/1/build")).unwrap();
        let owner = |named: &str, view: &str| Owner {
            root: root.clone(),
            tree: format!("/lib/modules/{named}/build").into(),
            named: named.to_owned(),
            view: view.to_owned(),
        };
        let identity = |digit: &str| digit.repeat(IDENTITY);
        let kept = |digit: &str, owner: Option<&Owner>| {
            for entry in ["plain", "guru-listing", "queries-0123"] {
                let key = format!("{}-{entry}", identity(digit));
                store.publish(&key, &[]).unwrap();
            }
            if let Some(owner) = owner {
                owner.note(&store, &identity(digit));
            }
        };
        let current = owner("1", "ours");
        kept("1", Some(&current));
        kept("2", Some(&owner("1", "ours"))); // An older kernel in the same place.
        kept("3", Some(&owner("1", "another server's")));
        kept("4", Some(&owner("2", "another server's"))); // Its tree is gone, since a moment.
        kept("7", Some(&owner("3", "another server's"))); // Its tree is gone, since long.
        store.is_long_gone(&identity("7"), false);
        let note = parent
            .path()
            .join("cache")
            .join(format!("gone-{}", identity("7")));
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        fs::File::open(note)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        kept("5", None); // Nobody knows whose it is.
        kept("6", None); // It is served, and was not noted yet.
        store.publish("pass-4-0123-plain", &[]).unwrap();
        let other = Owner {
            named: "other".to_owned(),
            ..current.clone()
        };
        let serving = BTreeMap::from([(identity("1"), current), (identity("6"), other)]);
        tidy(&store, &serving);
        let left: BTreeSet<_> = store
            .entries("")
            .into_iter()
            .map(|entry| entry.key)
            .collect();
        let has = |digit: &str| left.iter().filter(|key| key.starts_with(digit)).count();
        let counts = ["1", "2", "3", "4", "5", "6", "7", "gone", "pass-4"].map(has);
        assert_eq!(counts, [4, 0, 4, 4, 0, 3, 0, 1, 1], "{left:?}");
    }
}
