//! Modules that kbuild has built, to be built again and compared.

use stap_driver::front::fronted;
use stap_driver::invocation::Invocation;

use super::learn::{Order, Stop};
use crate::job::BuildFiles;
use crate::targets::Served;
use crate::targets::root::Root;

/// A module that kbuild has built, and from what. stap itself may write another C program for the same
/// script each time, so a script alone is no example.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its name.
    pub(super) name: String,
    /// How kbuild is started.
    pub(super) invocation: Invocation,
    /// What stap wrote.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// The module.
    pub(super) module: Vec<u8>,
}

impl Example {
    /// How it is built again.
    pub(super) fn order(&self) -> Order<'_> {
        Order::Make {
            invocation: &self.invocation,
            files: &self.files,
        }
    }

    /// Its module, among what was left.
    pub(super) fn module_in<'a>(&self, left: &'a BuildFiles) -> Option<&'a Vec<u8>> {
        left.files.get(&format!("{}.ko", self.name))
    }

    /// Takes what a build has left.
    pub(super) fn of(name: &str, invocation: &Invocation, left: &BuildFiles) -> Result<Self, Stop> {
        let none = || Stop::Refused("a trusted build left no module".to_owned());
        let module = left.files.get(&format!("{name}.ko")).ok_or_else(none)?;
        let makefile = left.files.get(MAKEFILE).ok_or_else(none)?;
        let mut files: Vec<_> = left.sources().collect();
        files.push((MAKEFILE.to_owned(), makefile.clone()));
        Ok(Self {
            name: name.to_owned(),
            invocation: invocation.clone(),
            files,
            module: module.clone(),
        })
    }

    /// The same with the Makefile that stap writes for tracepoints and system calls: it has the
    /// kernel's sources among the places of headers, too. `None` where there is no such place.
    pub(super) fn with_sources(&self) -> Option<Self> {
        let mut changed = self.clone();
        let words = self.invocation.words();
        let position = words.iter().position(|word| word == "-C")?;
        let tree = words.get(position + 1)?;
        let sources = tree.strip_suffix("/build")?;
        let mut files = changed.files.iter_mut();
        let (_, makefile) = files.find(|(name, _)| name == MAKEFILE)?;
        let text = std::str::from_utf8(makefile).ok()?;
        let place = format!(" += -I{tree}");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let mut places = (0..lines.len()).filter(|number| lines[*number].ends_with(&place));
        let found = places.next()?;
        let added = lines[found].replace(&place, &format!(" += -I{sources}/source"));
        lines.insert(found + 1, added);
        *makefile = (lines.join("\n") + "\n").into_bytes();
        Some(changed)
    }
}

/// The Makefile of a build tree that asks first; in words, why there can be none.
pub(crate) fn asking(served: &Served) -> Result<Vec<u8>, String> {
    let path = served.target.build_tree.join(MAKEFILE);
    let root = Root::open(&served.target.root);
    let text = root.and_then(|root| root.read(&path, MAX_MAKEFILE));
    let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let text = std::str::from_utf8(&text).ok().and_then(fronted);
    let odd = || format!("{} is of an unknown form", path.display());
    text.map(String::into_bytes).ok_or_else(odd)
}

/// The part of what stap writes that no script has a part in: up to the structure behind embedded C.
pub(super) fn before_embedded(source: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(source).ok()?;
    let (before, _) = text.split_once(BEHIND_EMBEDDED)?;
    let start = before.rfind("struct context")?;
    Some(before.get(..start)?.as_bytes().to_vec())
}

const MAKEFILE: &str = "Makefile";
/// Bytes of the kernel's own; it has less than a hundred thousand.
const MAX_MAKEFILE: usize = 1 << 20;
/// What stap includes in the structure behind a script's embedded C.
const BEHIND_EMBEDDED: &str = "#include \"common_probe_context.h\"";
