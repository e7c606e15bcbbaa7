//! What stap would have compiled to learn of a kernel's tracepoints and types, and where in its cache
//! it would look for the answers.
//!
//! stap itself is asked, in a jail in which kbuild is not run: it writes the sources, and beside each
//! place in its cache a log that says what belongs there. So nothing here depends on how it names
//! things, and two ways of calling it that ask the same are seen to do so.

mod kept;

use std::os::fd::OwnedFd;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use stap_driver::invocation::Invocation;
use stap_driver::shim::ASKED_HERE;

pub use self::kept::{load, publish};
use crate::job::{RESULTS, SEED_DIRECTORY, file_left, names_left};
use crate::store::hexadecimal;

/// Queries that are built together, in one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What they ask for.
    pub kind: Kind,
    /// The directory, below that of results.
    pub directory: String,
    /// The arguments of `env` by which kbuild is started.
    pub words: Vec<String>,
    /// What the directory holds.
    pub files: Vec<(String, Vec<u8>)>,
    /// What kbuild makes of it.
    pub objects: Vec<Object>,
}

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The tracepoints of a header.
    Tracepoints,
    /// The types of some headers.
    Types,
}

/// An answer to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its file, in the directory.
    pub name: String,
    /// Where stap looks for it, below its cache.
    pub cached: String,
    /// The header, or the set of headers.
    pub subject: String,
}

/// What one directory held.
struct Directory {
    name: String,
    words: Vec<String>,
    makefile: String,
    sources: Vec<(String, String)>,
}

/// What a log says of a place in stap's cache.
struct Place {
    cached: String,
    subject: String,
}

/// Takes what stap asked for out of the workspace of a listing.
#[must_use]
pub fn batches(workspace: &OwnedFd) -> Vec<Batch> {
    let places = places(workspace);
    let names = names_left(workspace, Path::new(RESULTS)).into_iter();
    let directories = names
        .filter(|name| name.starts_with(TRACES) || name.starts_with(TYPES))
        .filter_map(|name| directory(workspace, name));
    let (traces, types): (Vec<_>, Vec<_>) = directories
        .take(MAX_DIRECTORIES)
        .partition(|directory| directory.name.starts_with(TRACES));
    let traces = traces
        .iter()
        .flat_map(|directory| of_tracepoints(directory, &places));
    let types = types
        .iter()
        .filter_map(|directory| of_types(directory, &places));
    traces.chain(types).collect()
}

impl Batch {
    /// Names all that decides what the answers are.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut field = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        field(FORMAT);
        self.words.iter().for_each(|word| field(word.as_bytes()));
        for (name, content) in &self.files {
            field(name.as_bytes());
            field(content);
        }
        let digest = hexadecimal(&digest.finalize());
        digest[..DIGITS].to_owned()
    }
}

fn directory(workspace: &OwnedFd, name: String) -> Option<Directory> {
    let path = Path::new(RESULTS).join(&name);
    let text = |file: &str| {
        let content = file_left(workspace, &path.join(file), MAX_TEXT)?;
        String::from_utf8(content).ok()
    };
    let told = text(ASKED_HERE)?;
    let words = Invocation::read(told.as_bytes())?.again();
    let makefile = text(MAKEFILE)?;
    let files = names_left(workspace, &path).into_iter();
    let sources = files.filter(|file| file.ends_with(".c"));
    let sources = sources.filter_map(|file| text(&file).map(|content| (file, content)));
    let sources = sources.take(MAX_QUERIES).collect();
    Some(Directory {
        name,
        words,
        makefile,
        sources,
    })
}

/// Every header has a source of its own, and all are in one directory. They are built a few at a time,
/// so that an interruption costs little.
fn of_tracepoints(directory: &Directory, places: &[Place]) -> Vec<Batch> {
    let mut asked: Vec<_> = directory
        .sources
        .iter()
        .filter_map(|(file, source)| {
            let header = included(source)?;
            let place = places.iter().find(|place| {
                place.cached.ends_with(".o") && as_included(&place.subject) == header
            })?;
            let stem = file.strip_suffix(".c")?;
            let object = Object {
                name: format!("{stem}.o"),
                cached: place.cached.clone(),
                subject: place.subject.clone(),
            };
            Some((object, (file.clone(), source.clone().into_bytes())))
        })
        .collect();
    asked.sort_by(|(one, _), (other, _)| one.subject.cmp(&other.subject));
    let batch = |asked: &[(Object, (String, Vec<u8>))]| {
        let objects: Vec<_> = asked.iter().map(|(object, _)| object.clone()).collect();
        let mut files: Vec<_> = asked.iter().map(|(_, file)| file.clone()).collect();
        files.push((
            MAKEFILE.to_owned(),
            only(&directory.makefile, &objects).into_bytes(),
        ));
        Some(Batch {
            kind: Kind::Tracepoints,
            directory: directory.name.clone(),
            words: for_objects(&directory.words, &objects)?,
            files,
            objects,
        })
    };
    asked.chunks(BATCH).filter_map(batch).collect()
}

/// A set of headers has a directory of its own, and is built as stap builds it.
fn of_types(directory: &Directory, places: &[Place]) -> Option<Batch> {
    let headers = forced(&directory.makefile);
    let place = places.iter().find(|place| {
        place.cached.ends_with(".ko") && set(&place.subject).is_some_and(|set| set == headers)
    })?;
    let mut files: Vec<_> = directory
        .sources
        .iter()
        .map(|(name, source)| (name.clone(), source.clone().into_bytes()))
        .collect();
    files.push((MAKEFILE.to_owned(), directory.makefile.clone().into_bytes()));
    Some(Batch {
        kind: Kind::Types,
        directory: directory.name.clone(),
        words: directory.words.clone(),
        files,
        objects: vec![Object {
            name: format!("{}.ko", directory.name),
            cached: place.cached.clone(),
            subject: place.subject.clone(),
        }],
    })
}

/// All places in stap's cache that have a log.
fn places(workspace: &OwnedFd) -> Vec<Place> {
    let cache = Path::new(SEED_DIRECTORY);
    let mut places = Vec::new();
    for directory in names_left(workspace, cache) {
        for name in names_left(workspace, &cache.join(&directory)) {
            let Some(stem) = name.strip_suffix("_hash.log") else {
                continue;
            };
            let log = file_left(workspace, &cache.join(&directory).join(&name), MAX_TEXT);
            let log = log.and_then(|log| String::from_utf8(log).ok());
            let Some(log) = log.filter(|_| places.len() < MAX_QUERIES) else {
                continue;
            };
            let (label, end) = if stem.starts_with("tracequery_") {
                ("Header Path: ", "o")
            } else {
                ("Typequery Name: ", "ko")
            };
            let subject = log.lines().find_map(|line| line.strip_prefix(label));
            let place = subject.map(|subject| Place {
                cached: format!("{directory}/{stem}.{end}"),
                subject: subject.to_owned(),
            });
            places.extend(place.filter(|place| is_cached(Path::new(&place.cached))));
        }
    }
    places
}

/// Whether a path below stap's cache is that of an answer: `ab/tracequery_ab..._803.o`.
pub(super) fn is_cached(path: &Path) -> bool {
    let Some((directory, name)) = path.to_str().and_then(|path| path.split_once('/')) else {
        return false;
    };
    let is_hash = |text: &str| {
        let mut bytes = text.bytes();
        bytes.all(|byte| byte.is_ascii_hexdigit() || byte == b'_')
    };
    let inner = |start: &str, end: &str| name.strip_prefix(start)?.strip_suffix(end);
    let hash = inner("tracequery_", ".o").or_else(|| inner("typequery_", ".ko"));
    is_directory(directory) && hash.is_some_and(is_hash)
}

/// Whether stap's cache may have a directory of this name.
pub(super) fn is_directory(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The header that a query is about is the last that its source includes.
fn included(source: &str) -> Option<&str> {
    let mut lines = source.lines().rev();
    lines.find_map(|line| line.strip_prefix("#include <")?.strip_suffix('>'))
}

/// How stap includes a header.
pub(super) fn as_included(header: &str) -> &str {
    header
        .rfind("include/")
        .map_or(header, |place| &header[place + "include/".len()..])
}

/// The headers in `kernel<a.h><b.h>`.
fn set(name: &str) -> Option<Vec<&str>> {
    let inner = name.strip_prefix("kernel<")?.strip_suffix('>')?;
    Some(inner.split("><").collect())
}

/// The headers that a Makefile makes the compiler include.
fn forced(makefile: &str) -> Vec<&str> {
    let mut parts = makefile.split("-include ").skip(1);
    let mut headers = Vec::new();
    while let Some(header) = parts.next().and_then(|part| part.split('"').nth(1)) {
        headers.push(header);
    }
    headers
}

/// The Makefile for some of its objects.
fn only(makefile: &str, objects: &[Object]) -> String {
    let is_wanted = |line: &&str| match line.strip_prefix("obj-m += ") {
        Some(name) => objects.iter().any(|object| object.name == name),
        None => true,
    };
    let mut lines: Vec<_> = makefile.lines().filter(is_wanted).collect();
    lines.push("");
    lines.join("\n")
}

/// The same build without its second stage: stap reads the objects, not the modules. What the compiler
/// says of each comes in one piece, and an error in one does not keep the others from being built.
fn for_objects(words: &[String], objects: &[Object]) -> Option<Vec<String>> {
    let make = words.iter().position(|word| word == "make")?;
    let is_goal = |word: &String| word == "modules" || word.starts_with("_module_");
    let goal = make + words.get(make..)?.iter().position(is_goal)?;
    let mut words = words.to_vec();
    words.splice(
        goal..=goal,
        objects.iter().map(|object| object.name.clone()),
    );
    // Guru mode has no versions in its modules; no object of a query exports a symbol that had one.
    words.retain(|word| word != NO_VERSIONS);
    // A make that ignores errors, as stap wants it, does not say which object has failed.
    let ignores_errors = words[make..].iter().position(|word| word == "-i");
    ignores_errors.map(|at| words.remove(make + at));
    words.extend(["-k", "-Otarget"].map(str::to_owned));
    Some(words)
}

/// Changes whenever other objects would be made of the same batch.
const FORMAT: &[u8] = b"stap queries 1";
const DIGITS: usize = 32;
const MAKEFILE: &str = "Makefile";
const NO_VERSIONS: &str = "CONFIG_MODVERSIONS=";
const TRACES: &str = "tracequery_kmod_";
const TYPES: &str = "typequery_kmod_";
/// Headers whose tracepoints are asked for at once: some ten seconds of a processor.
const BATCH: usize = 16;
/// Queries of one target; a kernel has some two hundred headers with tracepoints.
const MAX_QUERIES: usize = 1024;
/// Sets of headers, and one directory for all tracepoints.
const MAX_DIRECTORIES: usize = 64;
/// Bytes of a source, a log or a Makefile.
const MAX_TEXT: u64 = 1 << 20;

#[cfg(test)]
mod tests;
