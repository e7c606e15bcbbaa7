//! What is written down of a kit, for later workers and for people.

use std::path::{Path, PathBuf};

use stap_protocol::target::TargetIdentity;

use super::{part, program_digest};
use crate::store::{Store, hexadecimal};
use crate::targets::Served;
use crate::warm::Variant;

/// Of which target and flags a kit is, and when it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What jobs saw when it was proven.
    pub identity: TargetIdentity,
    /// The root on this host.
    pub root: PathBuf,
    /// Inside the root.
    pub build_tree: PathBuf,
    /// Our own program; another may read recipes otherwise.
    pub program: String,
    /// [`Variant::name`].
    pub flags: String,
    /// What came of it.
    pub state: State,
}

/// Whether there is a kit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is, and it was proven.
    Proven,
    /// There is none, because what is replayed is not what kbuild makes.
    Different(String),
    /// There is none, for a reason that need not hold for the next worker: its limits or its room, for one.
    Refused(String),
}

impl About {
    /// Of a kit that was proven by this program.
    #[must_use]
    pub fn of(served: &Served, variant: Variant, identity: TargetIdentity) -> Self {
        Self {
            identity,
            root: served.target.root.clone(),
            build_tree: served.target.build_tree.clone(),
            program: program_digest(),
            flags: variant.name().to_owned(),
            state: State::Proven,
        }
    }

    /// Reads that of an entry; `None` when it is none, or damaged.
    #[must_use]
    pub fn load(store: &Store, key: &str) -> Option<Self> {
        let (path, content) = store.load_one(key, ABOUT, MAX)?;
        if path != part(ABOUT, &content) {
            return None;
        }
        Self::decode(&content)
    }

    /// Why another, of a kit that could be proven now, need not be tried for.
    #[must_use]
    pub fn refuses(&self, other: &Self) -> Option<&str> {
        let State::Different(reason) = &self.state else {
            return None;
        };
        let proven = Self {
            state: State::Proven,
            ..self.clone()
        };
        (proven == *other).then_some(reason)
    }

    /// What the seal of its entry says that jobs saw.
    #[must_use]
    pub fn seen(&self) -> String {
        hexadecimal(&self.identity.0)
    }

    /// As a file of an entry.
    #[must_use]
    pub fn part(&self) -> (PathBuf, Vec<u8>) {
        let text = self.encode();
        (part(ABOUT, &text), text)
    }

    fn encode(&self) -> Vec<u8> {
        let (word, reason) = match &self.state {
            State::Proven => (PROVEN, ""),
            State::Different(reason) => (DIFFERENT, reason.as_str()),
            State::Refused(reason) => (REFUSED, reason.as_str()),
        };
        let identity = hexadecimal(&self.identity.0);
        let fields = [
            FORMAT.as_bytes(),
            identity.as_bytes(),
            self.root.as_os_str().as_encoded_bytes(),
            self.build_tree.as_os_str().as_encoded_bytes(),
            self.program.as_bytes(),
            self.flags.as_bytes(),
            word.as_bytes(),
            reason.as_bytes(),
        ];
        // Paths have no NUL, and nothing else that is written here does.
        fields.join(&0)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let fields: Vec<_> = bytes.split(|byte| *byte == 0).collect();
        let [format, identity, root, tree, program, flags, word, reason] = fields.as_slice() else {
            return None;
        };
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let path = |bytes: &[u8]| {
            use std::os::unix::ffi::OsStrExt as _;
            Path::new(std::ffi::OsStr::from_bytes(bytes)).to_owned()
        };
        if *format != FORMAT.as_bytes() {
            return None;
        }
        let reason = text(reason)?;
        Some(Self {
            identity: TargetIdentity(digest(&text(identity)?)?),
            root: path(root),
            build_tree: path(tree),
            program: text(program)?,
            flags: text(flags)?,
            state: match text(word)?.as_str() {
                PROVEN => State::Proven,
                DIFFERENT => State::Different(reason),
                REFUSED => State::Refused(reason),
                _ => return None,
            },
        })
    }
}

fn digest(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// What this file is called in an entry.
pub(super) const ABOUT: &str = "about";
const FORMAT: &str = "stap-kbuild kit 2";
const PROVEN: &str = "proven";
const DIFFERENT: &str = "different";
const REFUSED: &str = "refused";
/// Two paths and a reason.
const MAX: u64 = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let about = About {
            identity: TargetIdentity([7; 32]),
            root: PathBuf::from("/srv/root"),
            build_tree: PathBuf::from("/lib/modules/1/build"),
            program: program_digest(),
            flags: "plain".to_owned(),
            state: State::Different("no room".to_owned()),
        };
        let text = about.encode();
        assert_eq!(About::decode(&text), Some(about.clone()));
        for state in [State::Proven, State::Refused("no room".to_owned())] {
            let other = About {
                state,
                ..about.clone()
            };
            assert_eq!(About::decode(&other.encode()), Some(other));
        }
        let proven = About {
            state: State::Proven,
            ..about.clone()
        };
        assert_eq!(about.refuses(&proven), Some("no room"));
        assert_eq!(proven.refuses(&proven), None);
        let of_that_worker = About {
            state: State::Refused("no room".to_owned()),
            ..about.clone()
        };
        assert_eq!(of_that_worker.refuses(&proven), None);
        let changed = About {
            identity: TargetIdentity([8; 32]),
            ..proven
        };
        assert_eq!(about.refuses(&changed), None);
        for end in 0..text.len() - "no room".len() {
            assert_eq!(About::decode(&text[..end]), None, "{end}");
        }
    }
}
