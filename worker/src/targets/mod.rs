//! Which kernels modules can be built for on this host.
//!
//! Each root is looked through for `/lib/modules/*/build`; what is found is either a target or a
//! tree that is of no use, with the reason. [`Catalogue`] is the outcome; it does not change while
//! the worker runs.

mod catalogue;
pub mod choice;
pub mod identity;
pub mod root;
pub mod tree;

use std::path::{Path, PathBuf};

use stap_protocol::job::{Configuration, Unusable};
use stap_protocol::target::{Arch, KernelRelease};

pub use self::catalogue::{Catalogue, Served, Staps};
pub use self::choice::ChoiceError;
use self::root::Root;
use self::tree::{Tree, TreeError};

/// What was found in all roots, before anything was asked of any stap.
#[derive(Debug)]
pub struct Survey {
    roots: Vec<Root>,
    /// What this host runs, and its compilers make.
    machine: Arch,
    /// The only architecture to be served, where one was configured.
    arch: Option<Arch>,
    found: Vec<Found>,
    unusable: Vec<Unusable>,
}

/// A usable build tree and what names it to stap.
#[derive(Debug)]
struct Found {
    /// Index into the roots.
    root: usize,
    tree: Tree,
    /// The value of `-r`: the release, or the path of a tree that is not at its usual place.
    named: String,
}

/// Why a configuration cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A root that was configured is not there.
    #[error("the root {path} cannot be opened; build it with deploy/target-root, or leave it out")]
    Root {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The architecture that was asked for is no name of one.
    #[error("{0:?} is no architecture; write it as `uname -m` prints it")]
    Arch(String, #[source] stap_protocol::target::TargetNameError),
}

impl Survey {
    /// Looks through the configured roots.
    ///
    /// # Errors
    ///
    /// When a root cannot be opened or the architecture is no architecture.
    pub fn of(configuration: &Configuration) -> Result<Self, SurveyError> {
        let uname = rustix::system::uname();
        Self::on(&uname.machine().to_string_lossy(), configuration)
    }

    /// The same for a host with this machine.
    fn on(machine: &str, configuration: &Configuration) -> Result<Self, SurveyError> {
        let parsed = |arch: String| arch.parse().map_err(|error| SurveyError::Arch(arch, error));
        let arch = configuration.arch.clone().map(parsed).transpose()?;
        let machine = parsed(machine.to_owned())?;
        let opened = |path: &PathBuf| {
            Root::open(path).map_err(|source| SurveyError::Root {
                path: path.clone(),
                source,
            })
        };
        let roots = configuration
            .roots
            .iter()
            .map(opened)
            .collect::<Result<_, _>>()?;
        let mut survey = Self {
            roots,
            machine,
            arch,
            found: Vec::new(),
            unusable: Vec::new(),
        };
        (0..survey.roots.len()).for_each(|root| survey.look_through(root));
        Ok(survey)
    }

    /// The roots that hold at least one usable build tree, by index; only their staps matter.
    pub fn roots_in_use(&self) -> impl Iterator<Item = (usize, &Root)> {
        let used = |index: &usize| self.found.iter().any(|found| found.root == *index);
        self.roots
            .iter()
            .enumerate()
            .filter(move |(index, _)| used(index))
    }

    fn look_through(&mut self, root: usize) {
        let Ok(names) = self.roots[root].names(Path::new(MODULES), MAX_RELEASES) else {
            return;
        };
        for release in names
            .iter()
            .filter_map(|name| name.parse::<KernelRelease>().ok())
        {
            let path = Path::new(MODULES).join(release.as_str()).join("build");
            match self.judge(root, &path, Some(&release)) {
                Ok(tree) => {
                    let named = release.as_str().to_owned();
                    self.found.push(Found { root, tree, named });
                }
                Err(reason) => self.unusable.push(self.refusal(root, &path, reason)),
            }
        }
    }

    /// Reads a tree and says why it cannot be served, if so.
    fn judge(
        &self,
        root: usize,
        path: &Path,
        expected: Option<&KernelRelease>,
    ) -> Result<Tree, String> {
        let read = Tree::read(&self.roots[root], path);
        let tree = read.map_err(|error: TreeError| error.to_string())?;
        if let Some(expected) = expected.filter(|expected| **expected != tree.release) {
            let release = &tree.release;
            return Err(format!(
                "it is the build tree of {release}, not of {expected}; install the headers again"
            ));
        }
        self.judge_arch(&tree)?;
        let is_same =
            |found: &&Found| found.tree.release == tree.release && found.tree.arch == tree.arch;
        match self.found.iter().find(is_same) {
            Some(first) => Err(format!(
                "{} is already served from {}; the first root that has a release wins",
                tree.release,
                self.roots[first.root].path().display()
            )),
            None => Ok(tree),
        }
    }

    /// Whether modules of a tree's architecture can be built here, and are to be.
    fn judge_arch(&self, tree: &Tree) -> Result<(), String> {
        let arch = &tree.arch;
        if let Some(served) = self.arch.as_ref().filter(|served| *served != arch) {
            return Err(format!(
                "it is for {arch}, and this server serves {served}; start one with -a {arch}"
            ));
        }
        if self.is_foreign(arch) && !tree.has_cross_compiler() {
            let compiler = tree.compiler.display();
            return Err(format!(
                "it is for {arch}, and its compiler {compiler} is none for {arch} on this machine;                  make a root that has one with deploy/target-root --arch, or serve it on {arch}"
            ));
        }
        Ok(())
    }

    /// Whether modules of an architecture are made by a cross compiler.
    fn is_foreign(&self, arch: &Arch) -> bool {
        *arch != self.machine
    }

    fn refusal(&self, root: usize, path: &Path, reason: String) -> Unusable {
        Unusable {
            build_tree: on_host(&self.roots[root], path),
            reason,
        }
    }
}

/// Where a path of a root is on this host; for people only, as links are not followed.
fn on_host(root: &Root, path: &Path) -> PathBuf {
    root.path().join(path.strip_prefix("/").unwrap_or(path))
}

/// Where a root's own stap is.
pub const STAP: &str = "/usr/bin/stap";
const MODULES: &str = "/lib/modules";
/// More kernels than anybody keeps in one root.
const MAX_RELEASES: usize = 512;

#[cfg(test)]
mod tests;
