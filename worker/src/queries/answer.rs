//! What came of a batch of queries: how it is judged, and how it is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::listing::Batch;
use crate::store::Store;

/// What kbuild made of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An object that stap reads.
    Object(Vec<u8>),
    /// The headers do not compile: what the compiler said.
    Refused(String),
}

/// Answers by the names of the objects.
pub type Answers = BTreeMap<String, Answer>;

/// Judges what a batch has left: the objects that are there, and what was said on stderr. A query that
/// has neither an object nor an error of the compiler in its text has no answer.
#[must_use]
pub fn judge(batch: &Batch, object: impl Fn(&str) -> Option<Vec<u8>>, said: &str) -> Answers {
    let mut refusals = refusals(said);
    let answer = |name: &str| match object(name) {
        Some(content) if content.starts_with(ELF) => Some(Answer::Object(content)),
        Some(_) => None,
        // A set of headers is alone in its batch, and fails as a whole.
        None => {
            let told = refusals.remove(name).unwrap_or_default();
            let told = if batch.objects.len() == 1 {
                said.to_owned()
            } else {
                told
            };
            is_of_the_source(&told).then_some(Answer::Refused(told))
        }
    };
    let names = batch.objects.iter().map(|object| object.name.clone());
    let mut answer = answer;
    names
        .filter_map(|name| answer(&name).map(|answer| (name, answer)))
        .collect()
}

/// What was said of each object that was not made; make ends each piece with a line of its own.
fn refusals(said: &str) -> BTreeMap<String, String> {
    let mut refusals = BTreeMap::new();
    let mut piece = String::new();
    for line in said.lines() {
        match failed(line) {
            Some(object) => {
                refusals.insert(object.to_owned(), std::mem::take(&mut piece));
            }
            None => {
                piece.push_str(line);
                piece.push('\n');
            }
        }
    }
    refusals
}

/// The object in `make[3]: *** [/usr/.../Makefile.build:294: DIRECTORY/NAME.o] Error 1 (ignored)`.
fn failed(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("make")?;
    let (place, _) = rest.split_once("] Error ")?;
    let target = place.rsplit([' ', '[']).next()?;
    target
        .rsplit('/')
        .next()
        .filter(|name| name.ends_with(".o"))
}

/// Whether a compiler has complained about what it read, and about nothing else: one that was killed
/// or had no room says nothing of the headers.
fn is_of_the_source(told: &str) -> bool {
    first_error(told).is_some() && !ELSEWHERE.iter().any(|words| told.contains(words))
}

/// The first error with a place in a file, as in `a.h:10:10: fatal error: b.h: No such file`.
#[must_use]
pub fn first_error(told: &str) -> Option<&str> {
    let is_error = |line: &&str| {
        let Some((place, _)) = line.split_once("error: ") else {
            return false;
        };
        let mut numbers = place.split(':').skip(1);
        numbers
            .next()
            .is_some_and(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
    };
    told.lines().find(is_error)
}

/// Keeps answers for later workers whose jobs see what `seen` stands for, if there is one to every
/// query.
///
/// # Errors
///
/// When they cannot be written; nothing of them is then visible.
pub fn publish(
    store: &Store,
    entry: &str,
    seen: &str,
    batch: &Batch,
    answers: &Answers,
) -> std::io::Result<()> {
    if answers.len() != batch.objects.len() {
        return Ok(());
    }
    let file = |(name, answer): (&String, &Answer)| match answer {
        Answer::Object(content) => (PathBuf::from(name), content.clone()),
        Answer::Refused(told) => (format!("{name}{TOLD}").into(), told.clone().into_bytes()),
    };
    store.publish_sealed(entry, seen, &answers.iter().map(file).collect())
}

/// The answers that were kept, if there is one to every query, and each is what was written.
#[must_use]
pub fn load(store: &Store, entry: &str, seen: &str, batch: &Batch) -> Option<Answers> {
    let mut answers = Answers::new();
    for (path, content) in store.load_sealed(entry, seen, is_part, MAX_ANSWER).ok()? {
        let name = path.to_str()?;
        let (name, answer) = match name.strip_suffix(TOLD) {
            Some(name) => (name, Answer::Refused(String::from_utf8(content).ok()?)),
            None => (name, Answer::Object(content)),
        };
        answers.insert(name.to_owned(), answer);
    }
    let names = batch.objects.iter().map(|object| &object.name);
    let is_whole =
        names.len() == answers.len() && names.into_iter().all(|name| answers.contains_key(name));
    is_whole.then_some(answers)
}

/// Where the words of the compiler are, below the store.
#[must_use]
pub fn place_of_told(entry: &str, name: &str) -> PathBuf {
    Path::new(entry).join(format!("{name}{TOLD}"))
}

fn is_part(path: &Path) -> bool {
    let name = path.to_str().unwrap_or_default();
    let name = name.strip_suffix(TOLD).unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    name.bytes().all(plain) && (name.ends_with(".o") || name.ends_with(".ko"))
}

const ELF: &[u8] = b"\x7fELF";
/// What is added to an object's name where the compiler's words stand in for it.
const TOLD: &str = ".told";
/// Bytes of one answer; types of many headers have some millions.
pub const MAX_ANSWER: u64 = 32 << 20;
/// Words by which a failure is none of the headers'.
const ELSEWHERE: [&str; 6] = [
    "No space left on device",
    "Cannot allocate memory",
    "out of memory",
    "Killed",
    "internal compiler error",
    "Too many open files",
];

#[cfg(test)]
mod tests {
    use super::super::listing::{Kind, Object};
    use super::*;

    const SAID: &str = "\
In file included from tracequery_kmod_1_31.c:105:
/usr/src/include/trace/events/bridge.h:10:10: fatal error: br_private.h: No such file or directory
   10 | #include \"br_private.h\"
compilation terminated.
make[3]: *** [/usr/src/scripts/Makefile.build:294: tracequery_kmod_1_31.o] Error 1 (ignored)
gcc: fatal error: Killed signal terminated program cc1
compilation terminated.
make[3]: [/usr/src/scripts/Makefile.build:294: /work/q/tracequery_kmod_1_5.o] Error 1 (ignored)
";

    fn batch(names: &[&str]) -> Batch {
        let object = |name: &&str| Object {
            name: (*name).to_owned(),
            cached: format!("ab/{name}"),
            subject: "h.h".to_owned(),
        };
        Batch {
            kind: Kind::Tracepoints,
            directory: "q".to_owned(),
            words: Vec::new(),
            files: Vec::new(),
            objects: names.iter().map(object).collect(),
        }
    }

    fn judged(said: &str) -> Answers {
        let names = [
            "tracequery_kmod_1_31.o",
            "tracequery_kmod_1_5.o",
            "tracequery_kmod_1_6.o",
        ];
        let object = |name: &str| (name == names[2]).then(|| b"\x7fELF...".to_vec());
        judge(&batch(&names), object, said)
    }

    #[test]
    fn only_an_error_of_the_compiler_about_what_it_read_is_a_refusal() {
        let answers = judged(SAID);
        let Some(Answer::Refused(told)) = answers.get("tracequery_kmod_1_31.o") else {
            panic!("{answers:?}");
        };
        assert!(
            first_error(told)
                .unwrap()
                .ends_with("br_private.h: No such file or directory")
        );
        // That one was killed, so nothing is known.
        assert_eq!(answers.get("tracequery_kmod_1_5.o"), None);
        assert!(matches!(
            answers.get("tracequery_kmod_1_6.o"),
            Some(Answer::Object(_))
        ));
    }

    #[test]
    fn what_is_not_there_without_a_word_has_no_answer() {
        let answers = judged("");
        assert_eq!(
            answers.keys().collect::<Vec<_>>(),
            ["tracequery_kmod_1_6.o"]
        );
        let cut_short = judge(&batch(&["a.o"]), |_| Some(Vec::new()), "");
        assert!(cut_short.is_empty());
    }

    #[test]
    fn a_batch_is_kept_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("cache")).unwrap();
        let batch = batch(&["a.o", "b.o"]);
        let object = Answer::Object(b"\x7fELF".to_vec());
        let mut answers = Answers::from([("a.o".to_owned(), object)]);
        publish(&store, "key", "seen", &batch, &answers).unwrap();
        assert_eq!(load(&store, "key", "seen", &batch), None);
        let refused = Answer::Refused("b.h:1:1: error: no".to_owned());
        answers.insert("b.o".to_owned(), refused);
        publish(&store, "key", "seen", &batch, &answers).unwrap();
        assert_eq!(load(&store, "key", "seen", &batch), Some(answers.clone()));
        let told = place_of_told("key", "b.o");
        let told = parent.path().join("cache").join(told);
        assert!(told.exists(), "{}", told.display());
        std::fs::write(told, "b.h:1:1: error: another").unwrap();
        assert_eq!(load(&store, "key", "seen", &batch), None);
        publish(&store, "key", "seen", &batch, &answers).unwrap();
        assert_eq!(load(&store, "key", "seen", &batch), Some(answers));
    }
}
