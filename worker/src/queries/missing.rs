//! Tracepoints that a kernel has and stap cannot find, because their header does not compile by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::answer::{self, Answer, Answers};
use super::listing::{self, Batch, Kind};
use crate::targets::root::Root;

/// A header that gave no tracepoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its path in the root.
    pub header: String,
    /// The first error of the compiler.
    pub error: String,
    /// All that the compiler said, below the cache.
    pub told: PathBuf,
    /// What it would have declared, as `SYSTEM:NAME`.
    pub tracepoints: BTreeSet<String>,
}

/// What a batch did not give.
#[must_use]
pub(super) fn of(batch: &Batch, answers: &Answers, entry: &str, root: &Path) -> Vec<Missing> {
    let Some(root) = Root::open(root)
        .ok()
        .filter(|_| batch.kind == Kind::Tracepoints)
    else {
        return Vec::new();
    };
    let missing = batch.objects.iter().filter_map(|object| {
        let Some(Answer::Refused(told)) = answers.get(&object.name) else {
            return None;
        };
        let text = root
            .read(Path::new(&object.subject), MAX_HEADER)
            .unwrap_or_default();
        Some(Missing {
            header: object.subject.clone(),
            error: answer::first_error(told)
                .unwrap_or_default()
                .trim()
                .to_owned(),
            told: answer::place_of_told(entry, &object.name),
            tracepoints: declared(&String::from_utf8_lossy(&text)),
        })
    });
    missing.collect()
}

/// What to add to the diagnostics of a compile that failed, for each header by which a tracepoint that
/// it asked for is missing. Only a tracepoint that is written out, that stap says it cannot find, and
/// that such a header declares, is believed to be missing for this reason.
#[must_use]
pub fn notes(missing: &[Missing], stderr: &[u8]) -> Vec<String> {
    let said = String::from_utf8_lossy(stderr);
    if !said.contains("semantic error: no match") {
        return Vec::new();
    }
    let asked: BTreeSet<&str> = said
        .split("kernel.trace(\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"').map(|(name, _)| name))
        .collect();
    let note = |missing: &Missing| {
        let name = asked.iter().find(|name| missing.declares(name))?;
        let header = &missing.header;
        let error = &missing.error;
        Some(format!(
            "the tracepoint {name} is missing because its header {header} does not compile by itself on this server ({error}); \
             no change of the script helps. Probe a function instead, or ask the operator: the compiler's words are in \
             his cache, {}",
            missing.told.display()
        ))
    };
    missing.iter().filter_map(note).take(MAX_NOTES).collect()
}

impl Missing {
    /// Its header as the kernel's sources include it.
    pub(super) fn short_name(&self) -> &str {
        listing::as_included(&self.header)
    }

    /// Whether it would have declared a tracepoint: `SYSTEM:NAME` or `NAME`.
    fn declares(&self, asked: &str) -> bool {
        let mut names = self.tracepoints.iter();
        names.any(|name| {
            name == asked || name.split_once(':').is_some_and(|(_, name)| name == asked)
        })
    }
}

/// The tracepoints that a header declares.
fn declared(text: &str) -> BTreeSet<String> {
    let mut system = text.lines().filter_map(|line| {
        let mut words = line
            .trim_start()
            .strip_prefix("#define")?
            .split_whitespace();
        (words.next() == Some("TRACE_SYSTEM")).then(|| words.next())?
    });
    let Some(system) = system.next_back() else {
        return BTreeSet::new();
    };
    let mut names = BTreeSet::new();
    for (start, position) in MACROS {
        for rest in text.split(start).skip(1) {
            let name = rest
                .split_once('(')
                .filter(|(end, _)| {
                    end.bytes()
                        .all(|byte| byte == b'_' || byte.is_ascii_uppercase())
                })
                .and_then(|(_, arguments)| arguments.split([',', ')']).nth(position))
                .map(str::trim);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let name = name.filter(|name| !name.is_empty() && name.bytes().all(is_name));
            names.extend(name.map(|name| format!("{system}:{name}")));
        }
    }
    names
}

/// Beginnings of macros that declare a tracepoint, and where its name is among the arguments.
const MACROS: [(&str, usize); 3] = [
    ("TRACE_EVENT", 0),
    ("DECLARE_TRACE", 0),
    ("DEFINE_EVENT", 1),
];
/// Bytes of a header.
const MAX_HEADER: usize = 4 << 20;
const MAX_NOTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
#undef TRACE_SYSTEM
#define TRACE_SYSTEM bridge
DECLARE_EVENT_CLASS(br_class, TP_PROTO(int x));
TRACE_EVENT(br_fdb_add,
	TP_PROTO(struct ndmsg *ndm));
DEFINE_EVENT(br_class, br_second, TP_PROTO(int x));
TRACE_EVENT_CONDITION(br_third, TP_PROTO(int x));
";
    const SAID: &str = "\
semantic error: while resolving probe point: identifier 'kernel' at <input>:1:7
        source: probe kernel.trace(\"bridge:br_fdb_add\") { }
                      ^

semantic error: no match (similar tracepoints: br_mdb_full)
";

    fn missing() -> [Missing; 1] {
        [Missing {
            header: "/l/include/trace/events/bridge.h".to_owned(),
            error: "bridge.h:10:10: fatal error: br_private.h: No such file".to_owned(),
            told: "key/x.told".into(),
            tracepoints: declared(HEADER),
        }]
    }

    #[test]
    fn tracepoints_are_declared_by_some_macros_and_not_by_others() {
        let names: Vec<_> = declared(HEADER).into_iter().collect();
        assert_eq!(
            names,
            ["bridge:br_fdb_add", "bridge:br_second", "bridge:br_third"]
        );
        assert!(declared("TRACE_EVENT(x, y)").is_empty());
    }

    #[test]
    fn who_asks_for_what_is_missing_is_told_why() {
        let notes = notes(&missing(), SAID.as_bytes());
        assert_eq!(notes.len(), 1);
        for part in [
            "bridge:br_fdb_add",
            "bridge.h",
            "br_private.h: No such file",
            "key/x.told",
        ] {
            assert!(notes[0].contains(part), "{}", notes[0]);
        }
    }

    #[test]
    fn nothing_is_said_of_what_is_missing_for_another_reason() {
        for other in [
            SAID.replace("br_fdb_add", "no_such"),
            SAID.replace("bridge:", "other:"),
            SAID.replace("br_fdb_add", "*"),
            SAID.replace("no match", "type mismatch"),
        ] {
            assert_eq!(notes(&missing(), other.as_bytes()), [""; 0], "{other}");
        }
    }
}
