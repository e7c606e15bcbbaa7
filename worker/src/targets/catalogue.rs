//! The targets that are served, with what a job of each needs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use stap_protocol::job::{Target, Unusable};
use stap_protocol::target::TargetName;

use super::identity::{Stap, build_id, stamp};
use super::root::Root;
use super::tree::Tree;
use super::{Found, MODULES, STAP, Survey, on_host};

/// What can be built, decided once at the start.
#[derive(Debug, Default)]
pub struct Catalogue {
    targets: BTreeMap<TargetName, Served>,
    unusable: Vec<Unusable>,
}

/// A target, and how to start its stap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// What others are told.
    pub target: Target,
    /// The value of `-r`.
    pub named: String,
    /// Whether it is for another machine than this one, so that stap has to be told.
    pub is_foreign: bool,
    /// Whether stap and headers are real and known, so that warming is worth while.
    pub can_be_warmed: bool,
}

impl Served {
    /// What the [build id](Target::build_id) would be, if the target were looked for now. The version of stap is taken
    /// to be the one of the start.
    ///
    /// # Errors
    ///
    /// When it is not there any more.
    pub fn current_build_id(&self) -> io::Result<String> {
        let Target {
            root,
            build_tree,
            stap,
            stap_version,
            ..
        } = &self.target;
        let root = Root::open(root)?;
        // What stap looks for, which may be a link to another place by now.
        let link = Path::new(MODULES).join(&self.named).join("build");
        let is_release = !self.named.contains('/');
        let tree = if is_release { &link } else { build_tree };
        let tree = Tree::read(&root, tree).map_err(io::Error::other)?;
        let stap = Stap {
            path: stap.clone(),
            version: stap_version.clone(),
            stamp: stamp(&root, stap)?,
        };
        build_id(&root, &tree, &stap)
    }
}

/// Which stap runs for the targets of a root: what was found out by starting it.
pub type Staps = BTreeMap<usize, Result<Stap, String>>;

impl Catalogue {
    /// Joins what was found with what is known about each root's stap.
    #[must_use]
    pub fn join(survey: &Survey, staps: &Staps, an_override: bool) -> Self {
        let mut catalogue = Self {
            unusable: survey.unusable.clone(),
            ..Self::default()
        };
        for found in &survey.found {
            let stap = staps.get(&found.root).cloned().unwrap_or_else(|| {
                Err(format!(
                    "there is no {STAP} in the root; install systemtap in it"
                ))
            });
            match stap.and_then(|stap| served(survey, found, &stap, !an_override)) {
                Ok(served) => catalogue.add(served),
                Err(reason) => catalogue.unusable.push(Unusable {
                    build_tree: on_host(&survey.roots[found.root], &found.tree.path),
                    reason,
                }),
            }
        }
        catalogue
    }

    /// Adds a target; one that was added before stays.
    pub fn add(&mut self, served: Served) {
        self.targets
            .entry(served.target.name.clone())
            .or_insert(served);
    }

    /// Keeps the targets for which `chosen` holds.
    pub fn retain(&mut self, chosen: impl Fn(&Served) -> bool) {
        self.targets.retain(|_, served| chosen(served));
    }

    /// A target by name.
    #[must_use]
    pub fn find(&self, name: &TargetName) -> Option<&Served> {
        self.targets.get(name)
    }

    /// Every target, sorted by name.
    pub fn served(&self) -> impl Iterator<Item = &Served> {
        self.targets.values()
    }

    /// What was seen and is not served.
    #[must_use]
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
    }
}

fn served(survey: &Survey, found: &Found, stap: &Stap, real: bool) -> Result<Served, String> {
    let (root, tree) = (&survey.roots[found.root], &found.tree);
    let build_id = build_id(root, tree, stap).map_err(|error| {
        format!("its files cannot be read ({error}); install the headers again")
    })?;
    let name = TargetName {
        release: tree.release.clone(),
        arch: tree.arch.clone(),
    };
    let target = Target {
        name,
        root: root.path().to_owned(),
        build_tree: tree.path.clone(),
        stap: stap.path.clone(),
        stap_version: stap.version.clone(),
        compiler: file_name(&tree.compiler),
        build_id,
        signature_hash: tree.signature_hash,
        pass_4: Vec::new(),
    };
    Ok(Served {
        target,
        named: found.named.clone(),
        is_foreign: survey.is_foreign(&tree.arch),
        can_be_warmed: real,
    })
}

fn file_name(path: &Path) -> String {
    PathBuf::from(path.file_name().unwrap_or_default())
        .display()
        .to_string()
}
