//! The releases that the operator named, and the stap that he put in place of the roots' own.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use stap_protocol::job::{ReleaseChoice, Target};
use stap_protocol::signing::SignatureHash;
use stap_protocol::target::{KernelRelease, TargetName, TargetNameError};

use super::identity::Stap;
use super::root::Root;
use super::tree::Tree;
use super::{Catalogue, Found, MODULES, Served, Survey};

/// Why the releases that were named cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// No root has it.
    #[error(
        "kernel release {release} was asked for, and no root has a usable build tree for it; \
         {nearest}"
    )]
    NotFound {
        /// As it was asked for.
        release: String,
        /// What there is instead, or why there is nothing.
        nearest: String,
    },
    /// A name that no kernel has.
    #[error("{text:?} is no kernel release: {source}")]
    NoRelease {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        source: TargetNameError,
    },
    /// A build tree that cannot be used.
    #[error("the build tree {path} cannot be used: {reason}")]
    Tree {
        /// As it was given.
        path: PathBuf,
        /// Why, and what would help.
        reason: String,
    },
}

impl Survey {
    /// Adds the build trees that were named by path.
    ///
    /// # Errors
    ///
    /// When no root has a usable tree there.
    pub fn add_trees(&mut self, choices: &[ReleaseChoice]) -> Result<(), ChoiceError> {
        for choice in choices {
            if let ReleaseChoice::BuildTree(path) = choice {
                let found = self.tree_at(path)?;
                // A tree that was named by hand goes before one that was found.
                self.found.retain(|other| {
                    other.tree.release != found.tree.release || other.tree.arch != found.tree.arch
                });
                self.found.push(found);
            }
        }
        Ok(())
    }

    /// Takes the first root in which the path, as the host or as the root sees it, is a tree.
    fn tree_at(&self, path: &Path) -> Result<Found, ChoiceError> {
        let mut reason = "it is in none of the roots".to_owned();
        for (index, root) in self.roots.iter().enumerate() {
            let inside = path.strip_prefix(root.path()).unwrap_or(path);
            let inside = Path::new("/").join(inside);
            if root.resolve(&inside).is_err() {
                continue;
            }
            match Tree::read(root, &inside) {
                Ok(tree) => match self.judge_arch(&tree) {
                    Ok(()) => {
                        let named = tree.path.display().to_string();
                        return Ok(Found {
                            root: index,
                            tree,
                            named,
                        });
                    }
                    Err(why) => reason = why,
                },
                Err(error) => reason = error.to_string(),
            }
        }
        Err(ChoiceError::Tree {
            path: path.to_owned(),
            reason,
        })
    }

    /// A target for an override: the release is served whatever the roots hold, because the one who
    /// replaced stap answers for what it does.
    ///
    /// # Errors
    ///
    /// When the name is no release.
    pub fn trusting(&self, release: &str, stap: &Stap) -> Result<Served, ChoiceError> {
        let release: KernelRelease = release.parse().map_err(|source| ChoiceError::NoRelease {
            text: release.to_owned(),
            source,
        })?;
        let root = self
            .roots
            .first()
            .map_or_else(|| Path::new("/"), Root::path);
        let arch = self.arch.as_ref().unwrap_or(&self.machine);
        let mut digest = Sha256::new();
        for field in [
            release.as_str().as_bytes(),
            arch.as_str().as_bytes(),
            &stap.stamp,
        ] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        let build_id = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let named = release.as_str().to_owned();
        let target = Target {
            build_tree: Path::new(MODULES).join(&named).join("build"),
            name: TargetName {
                release,
                arch: arch.clone(),
            },
            root: root.to_owned(),
            stap: stap.path.clone(),
            stap_version: stap.version.clone(),
            compiler: UNKNOWN.to_owned(),
            build_id,
            signature_hash: SignatureHash::default(),
            pass_4: Vec::new(),
        };
        Ok(Served {
            target,
            named,
            is_foreign: self.is_foreign(arch),
            can_be_warmed: false,
        })
    }
}

impl Catalogue {
    /// Keeps what was chosen; every release that was named must be there.
    ///
    /// # Errors
    ///
    /// When one is not.
    pub fn choose(&mut self, choices: &[ReleaseChoice]) -> Result<(), ChoiceError> {
        if choices.is_empty() {
            return Ok(());
        }
        for release in releases(choices) {
            if !self.serves(release) {
                let (release, nearest) = (release.to_owned(), self.nearest(release));
                return Err(ChoiceError::NotFound { release, nearest });
            }
        }
        let trees = choices
            .iter()
            .any(|choice| matches!(choice, ReleaseChoice::BuildTree(_)));
        self.retain(|served| {
            let by_path = served.named.starts_with('/');
            (by_path && trees) || releases(choices).any(|release| served.is_named(release))
        });
        Ok(())
    }

    /// Whether a release is served.
    #[must_use]
    pub fn serves(&self, release: &str) -> bool {
        self.served().any(|served| served.is_named(release))
    }

    /// The releases that look most like the one that is not there.
    fn nearest(&self, release: &str) -> String {
        let mut names: Vec<_> = self
            .served()
            .map(|served| &served.target.name.release)
            .collect();
        if names.is_empty() {
            return match self.unusable().first() {
                Some(unusable) => format!("{}: {}", unusable.build_tree.display(), unusable.reason),
                None => "there is no build tree at all; install the kernel headers".to_owned(),
            };
        }
        names.sort_by_key(|name| std::cmp::Reverse(common_prefix(name.as_str(), release)));
        let names: Vec<_> = names
            .iter()
            .take(MAX_NEAREST)
            .map(ToString::to_string)
            .collect();
        format!("nearest: {}", names.join(", "))
    }
}

impl Served {
    fn is_named(&self, release: &str) -> bool {
        self.target.name.release.as_str() == release
    }
}

/// The choices that are releases.
pub fn releases(choices: &[ReleaseChoice]) -> impl Iterator<Item = &str> {
    choices.iter().filter_map(|choice| match choice {
        ReleaseChoice::Release(release) => Some(release.as_str()),
        ReleaseChoice::BuildTree(_) => None,
    })
}

fn common_prefix(one: &str, other: &str) -> usize {
    one.bytes()
        .zip(other.bytes())
        .take_while(|(one, other)| one == other)
        .count()
}

/// What is said of a compiler that nobody looked for.
const UNKNOWN: &str = "unknown";
const MAX_NEAREST: usize = 3;
