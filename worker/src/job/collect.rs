//! Takes results out of a workspace that its job could do anything with.
//!
//! Everything is reached from the workspace's descriptor, one name at a time, without links and
//! without leaving its file system, and judged before it is read. What is not as it should be is
//! left behind; the client then hears that there is no module.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};
use stap_driver::precompiled::PRECOMPILED;
use stap_driver::shim::{ASKED, NOTE};
use stap_policy::Limits;
use stap_protocol::job::OutputFile;
use stap_protocol::path::FileName;

use super::limits::size;
use super::stage::SEED_DIRECTORY;
use crate::jail::Limit;

/// What a job left that we want.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) files: Vec<OutputFile>,
    /// The limit of results that was passed.
    pub(super) hit: Option<Limit>,
    /// How much there was of it, for people.
    pub(super) used: Option<String>,
    /// Whether something that is called like a result was left behind.
    pub(super) has_left: bool,
}

/// Takes the modules.
pub(super) fn collect(workspace: &OwnedFd, limits: &Limits) -> Collected {
    let mut collected = Collected::default();
    let mut room = limits.result_bytes.bytes();
    let mut names = names(workspace, Path::new(RESULTS)).unwrap_or_default();
    names.retain(|name| is_result(name));
    let count = names.len();
    for name in names {
        if collected.files.len() as u64 == limits.results.get() {
            collected.hit = Some(Limit::Results);
            collected.used = Some(format!("{count} files"));
            return collected;
        }
        match read(workspace, &Path::new(RESULTS).join(&name), room) {
            Ok(Content::Whole(content)) => {
                room -= content.len() as u64;
                let file =
                    FileName::new(name.into_bytes()).map(|name| OutputFile { name, content });
                collected.files.extend(file);
            }
            Ok(Content::TooLong(length)) => {
                let taken = limits.result_bytes.bytes() - room;
                collected.used = Some(size(taken.saturating_add(length)));
                collected.hit = Some(Limit::ResultBytes);
                return collected;
            }
            Err(error) => {
                tracing::info!(%error, "a result is not as it should be and is left");
                collected.has_left = true;
            }
        }
    }
    collected
}

/// Takes stap's feature probes out of the workspace of a warm-up, with their paths below stap's
/// cache.
pub fn collect_seed(workspace: &OwnedFd) -> Vec<(PathBuf, Vec<u8>)> {
    let cache = Path::new(SEED_DIRECTORY);
    let mut seed = Vec::new();
    for directory in names(workspace, cache).unwrap_or_default() {
        for name in names(workspace, &cache.join(&directory)).unwrap_or_default() {
            let path = Path::new(&directory).join(&name);
            if !is_seed(&path) || seed.len() == MAX_SEED_FILES {
                continue;
            }
            if let Ok(Content::Whole(content)) = read(workspace, &cache.join(&path), MAX_SEED) {
                seed.push((path, content));
            }
        }
    }
    seed
}

/// The names of what a trusted job left in a directory of its workspace, sorted.
#[must_use]
pub fn names_left(workspace: &OwnedFd, directory: &Path) -> Vec<String> {
    names(workspace, directory).unwrap_or_default()
}

/// Some of the names of what anybody's job left there.
#[must_use]
pub fn some_names_left(workspace: &OwnedFd, directory: &Path, most: usize) -> Vec<String> {
    some_names(workspace, directory, most).unwrap_or_default()
}

/// A file that a trusted job left in its workspace, unless it is longer than `max` bytes.
#[must_use]
pub fn file_left(workspace: &OwnedFd, path: &Path, max: u64) -> Option<Vec<u8>> {
    match read(workspace, path, max) {
        Ok(Content::Whole(content)) => Some(content),
        _ => None,
    }
}

/// What a trusted build left in its workspace.
#[derive(Debug, Default)]
pub struct BuildFiles {
    /// In the directory of the module, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Beside it, by the path below the workspace.
    pub beside: BTreeMap<&'static str, Vec<u8>>,
}

impl BuildFiles {
    /// Takes what may be of interest: text that kbuild or stap wrote, and modules.
    #[must_use]
    pub fn collect(workspace: &OwnedFd) -> Self {
        let mut found = Self::default();
        for name in names(workspace, Path::new(RESULTS)).unwrap_or_default() {
            let path = Path::new(RESULTS).join(&name);
            if found.files.len() == MAX_BUILD_FILES || !is_of_a_build(&name) {
                continue;
            }
            let is_precompiled = name == PRECOMPILED;
            let most = if is_precompiled {
                MAX_PRECOMPILED
            } else {
                MAX_BUILD_FILE
            };
            if let Ok(Content::Whole(content)) = read(workspace, &path, most) {
                found.files.insert(name, content);
            }
        }
        if let Ok(Content::Whole(content)) = read(workspace, Path::new(ASKED), MAX_ASKED) {
            found.beside.insert(ASKED, content);
        }
        found
    }

    /// What kbuild was given.
    pub fn sources(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let is_source = |name: &str| {
            let is_c = name.ends_with(".c") || name.ends_with(".h");
            is_c && !name.ends_with(".mod.c")
        };
        let sources = self.files.iter().filter(move |(name, _)| is_source(name));
        sources.map(|(name, content)| (name.clone(), content.clone()))
    }
}

fn is_of_a_build(name: &str) -> bool {
    let ends = [".c", ".h", ".s", ".cmd", ".mod", ".ko", ".order"];
    ["Makefile", ".module-common.o", PRECOMPILED].contains(&name)
        || ends.iter().any(|end| name.ends_with(end))
}

/// The note of a job on how its pass 4 went: a hint that it may have forged, fit for a log.
#[must_use]
pub fn note(workspace: &OwnedFd) -> Option<String> {
    let Ok(Content::Whole(content)) = read(workspace, Path::new(NOTE), MAX_NOTE) else {
        return None;
    };
    let text = String::from_utf8_lossy(&content);
    Some(
        text.chars()
            .filter(|character| matches!(character, ' '..='~'))
            .collect(),
    )
}

/// Whether a path below stap's cache is that of a feature probe: `ab/stapconf_ab..._1234.h`.
pub fn is_seed(path: &Path) -> bool {
    let Some((directory, name)) = path.to_str().and_then(|path| path.split_once('/')) else {
        return false;
    };
    let hexadecimal = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'_')
    };
    let inner = name
        .strip_prefix("stapconf_")
        .and_then(|rest| rest.strip_suffix(".h"));
    directory.len() == 2 && hexadecimal(directory) && inner.is_some_and(hexadecimal)
}

/// The names that a module or a bpf object may have; stap's are letters, digits and underscores.
fn is_result(name: &str) -> bool {
    let Some((stem, "ko" | "bo")) = name.rsplit_once('.') else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_STEM).contains(&stem.len()) && stem.bytes().all(plain)
}

/// What a file holds.
enum Content {
    /// All of it.
    Whole(Vec<u8>),
    /// More bytes than there is room for: so many.
    TooLong(u64),
}

/// Reads a regular file that has one name.
fn read(workspace: &OwnedFd, path: &Path, room: u64) -> io::Result<Content> {
    // A FIFO would be waited for without NONBLOCK.
    let file = File::from(open(workspace, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(io::Error::other("it is no regular file of its own"));
    }
    if metadata.len() > room {
        return Ok(Content::TooLong(metadata.len()));
    }
    let mut content = Vec::new();
    // Nobody can write any more, but the length is still only a claim.
    file.take(room + 1).read_to_end(&mut content)?;
    let length = content.len() as u64;
    Ok(if length <= room {
        Content::Whole(content)
    } else {
        Content::TooLong(length)
    })
}

/// The names in a directory, sorted; names that are not UTF-8 are never wanted.
fn names(workspace: &OwnedFd, path: &Path) -> io::Result<Vec<String>> {
    some_names(workspace, path, MAX_ENTRIES)
}

fn some_names(workspace: &OwnedFd, path: &Path, most: usize) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let directory = open(workspace, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    for entry in Dir::new(directory)?.take(most) {
        names.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

pub(super) fn open(workspace: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat2(
        workspace,
        path,
        flags,
        Mode::empty(),
        resolve,
    )?)
}

/// Where stap was told to put its results, below the workspace.
pub const RESULTS: &str = "response/stap000000";
/// The kernel's own bound on a module's name is 56 bytes.
const MAX_STEM: usize = 128;
/// Entries looked at; a build directory has about forty.
const MAX_ENTRIES: usize = 65_536;
/// Files of one trusted build; a dozen are of interest.
const MAX_BUILD_FILES: usize = 512;
/// Bytes of one of them; a module has some hundred thousand.
const MAX_BUILD_FILE: u64 = 16 << 20;
/// Bytes of a precompiled header; it has about 70 million.
pub const MAX_PRECOMPILED: u64 = 192 << 20;
/// Bytes of a command line and its environment; they have less than a thousand.
const MAX_ASKED: u64 = 16 << 10;
/// Bytes of a note.
const MAX_NOTE: u64 = 256;
/// Feature probes of one warm-up; there is one for the kernel.
pub const MAX_SEED_FILES: usize = 16;
/// Bytes of one of them; they have about three thousand.
pub const MAX_SEED: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType};
    use stap_policy::Policy;

    use super::*;

    fn limits() -> Limits {
        *Policy::builtin("shared-host").unwrap().limits()
    }

    /// A workspace that holds a good module and whatever `prepare` adds.
    fn collected(prepare: impl Fn(&Path)) -> Collected {
        let workspace = tempfile::tempdir().unwrap();
        let results = workspace.path().join(RESULTS);
        fs::create_dir_all(&results).unwrap();
        fs::write(results.join("good.ko"), "module").unwrap();
        prepare(&results);
        let workspace = File::open(workspace.path()).unwrap();
        collect(&OwnedFd::from(workspace), &limits())
    }

    fn names_of(collected: &Collected) -> Vec<String> {
        collected
            .files
            .iter()
            .map(|file| file.name.to_string())
            .collect()
    }

    /// It goes into the log, and a job can write it itself.
    #[test]
    fn a_note_is_short_and_nothing_in_it_can_mislead_who_reads_the_log() {
        let noted = |prepare: &dyn Fn(&Path)| {
            let workspace = tempfile::tempdir().unwrap();
            let file = workspace.path().join(NOTE);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            prepare(&file);
            note(&OwnedFd::from(File::open(workspace.path()).unwrap()))
        };
        let written = |content: &[u8]| noted(&|file| fs::write(file, content).unwrap());
        let forged = "replayed\n\x1b[2J\u{202e}no \u{200b}line\u{7f}";
        let shown = written(forged.as_bytes());
        assert_eq!(shown.as_deref(), Some("replayed[2Jno line"));
        assert_eq!(written(b"\xff\xfe").as_deref(), Some(""));
        let most = usize::try_from(MAX_NOTE).unwrap();
        assert!(written(&vec![b'a'; most]).is_some());
        assert_eq!(written(&vec![b'a'; most + 1]), None);
        assert_eq!(noted(&|file| symlink("/etc/passwd", file).unwrap()), None);
        assert_eq!(noted(&|file| fs::create_dir(file).unwrap()), None);
    }

    #[test]
    fn only_modules_and_bpf_objects_are_taken() {
        let collected = collected(|results| {
            for name in [
                "a.bo",
                "good_src.c",
                "Makefile",
                ".hidden.ko",
                "-rf.ko",
                "a b.ko",
                ".ko",
            ] {
                fs::write(results.join(name), "x").unwrap();
            }
            fs::write(results.join("line\n.ko"), "x").unwrap();
        });
        assert_eq!(names_of(&collected), ["a.bo", "good.ko"]);
        assert!(!collected.has_left);
        assert_eq!(collected.files[1].content, b"module");
    }

    #[test]
    fn what_only_looks_like_a_module_is_left() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        let collected = collected(|results| {
            symlink(secret.path(), results.join("symlink.ko")).unwrap();
            symlink("good.ko", results.join("inside.ko")).unwrap();
            fs::create_dir(results.join("directory.ko")).unwrap();
            fs::write(results.join("first"), "x").unwrap();
            fs::hard_link(results.join("first"), results.join("second.ko")).unwrap();
            let mode = Mode::RUSR | Mode::WUSR;
            let fifo = results.join("fifo.ko");
            rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
        });
        assert_eq!(names_of(&collected), ["good.ko"]);
        assert_eq!(collected.hit, None);
        assert!(collected.has_left);
    }

    #[test]
    fn a_results_directory_that_is_a_link_is_not_followed() {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("stolen.ko"), "secret").unwrap();
        let collected = collected(|results| {
            fs::remove_dir_all(results).unwrap();
            symlink(elsewhere.path(), results).unwrap();
        });
        assert_eq!(names_of(&collected), [""; 0]);
    }

    #[test]
    fn a_monster_is_a_limit_and_is_never_read() {
        let collected = collected(|results| {
            File::create(results.join("sparse.ko"))
                .unwrap()
                .set_len(1 << 40)
                .unwrap();
        });
        assert_eq!(collected.hit, Some(Limit::ResultBytes));
        assert_eq!(collected.used.as_deref(), Some("1048577 MiB"));
    }

    #[test]
    fn too_many_results_are_a_limit() {
        let collected = collected(|results| {
            for number in 0..limits().results.get() {
                fs::write(results.join(format!("m{number}.ko")), "").unwrap();
            }
        });
        assert_eq!(collected.hit, Some(Limit::Results));
        assert_eq!(collected.used.as_deref(), Some("17 files"));
    }

    #[test]
    fn a_seed_is_known_by_its_name() {
        assert!(is_seed(Path::new("b5/stapconf_b5a1f0_759.h")));
        for path in [
            "b5/stap_b5a1_1.ko",
            "b5/stapconf_../x.h",
            "stapconf_b5.h",
            "x/y/stapconf_b.h",
        ] {
            assert!(!is_seed(Path::new(path)), "{path}");
        }
    }
}
