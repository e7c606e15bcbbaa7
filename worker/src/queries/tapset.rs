//! What the tapset of a target asks of a kernel: which sets of headers its casts need, and which of its
//! probes may come down to tracepoints.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::targets::Served;
use crate::targets::root::Root;

/// What was read of a tapset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tapset {
    /// Sets of headers, as in `kernel<linux/sched.h>`.
    pub(super) types: BTreeSet<String>,
    /// The first parts of probes that may come down to tracepoints, such as `scheduler`.
    pub(super) heads: BTreeSet<String>,
}

impl Tapset {
    /// Reads the tapset that the stap of a target comes with.
    ///
    /// # Errors
    ///
    /// When the root cannot be opened; a tapset that is not where it usually is asks for nothing.
    pub(super) fn read(served: &Served) -> io::Result<Self> {
        let root = Root::open(&served.target.root)?;
        let mut tapset = Self::default();
        let mut left = vec![PathBuf::from(TAPSET)];
        let mut count = 0;
        while let Some(path) = left.pop() {
            match root.names(&path, MAX_FILES) {
                Ok(names) if left.len() < MAX_FILES => {
                    left.extend(names.iter().map(|name| path.join(name)));
                }
                _ if path
                    .extension()
                    .is_some_and(|end| end == "stp" || end == "stpm") =>
                {
                    count += 1;
                    if count > MAX_FILES {
                        break;
                    }
                    let text = root.read(&path, MAX_FILE).unwrap_or_default();
                    tapset.add(&String::from_utf8_lossy(&text));
                }
                _ => {}
            }
        }
        if served_has(&root, &served.target.build_tree.join("vmlinux.h")) {
            tapset.types.insert("kernel<vmlinux.h>".to_owned());
        }
        Ok(tapset)
    }

    /// Adds what the text of one file asks for.
    fn add(&mut self, text: &str) {
        for rest in text.split("kernel<").skip(1) {
            // `kernel<a.h><b.h>` is one set; behind a colon is another choice.
            let end =
                rest.find(|end: char| !(end.is_ascii_alphanumeric() || "/._-<>".contains(end)));
            let set = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            if set.ends_with('>') && set.len() < MAX_NAME {
                self.types.insert(format!("kernel<{set}"));
            }
        }
        for definition in text.split("probe ").skip(1) {
            let Some((name, body)) = definition.split_once('=') else {
                continue;
            };
            let body = body.split('{').next().unwrap_or_default();
            let head = name.trim().split(['.', '(']).next().unwrap_or_default();
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let is_plain = !head.is_empty() && head.bytes().all(is_name);
            if is_plain && (body.contains(TRACEPOINT) || body.contains("tp_syscall.")) {
                self.heads.insert(head.to_owned());
            }
        }
    }

    /// Whether a script, or anything that comes with it, may need to know of tracepoints. Whoever is
    /// taken for one that does waits for nothing more than he would have compiled himself.
    #[must_use]
    pub(super) fn may_ask(&self, text: &[u8]) -> bool {
        let has = |words: &str| memmem::find(text, words.as_bytes()).is_some();
        has(TRACEPOINT) || self.heads.iter().any(|head| has(&format!("{head}.")))
    }

    /// A script that asks for all tracepoints and for all types. It is wrong everywhere, but not before
    /// stap has asked.
    #[must_use]
    pub(super) fn script(&self) -> String {
        let cast = |set: &String| {
            format!(
                "probe begin {{ println(@cast(0, \"stap_server_asks\", \"{set}\")->nothing) }}\n"
            )
        };
        let casts: String = self.types.iter().map(cast).collect();
        format!("probe kernel.trace(\"stap_server_asks\") {{ }}\n{casts}")
    }
}

fn served_has(root: &Root, path: &Path) -> bool {
    root.file(path).is_ok()
}

const TAPSET: &str = "/usr/share/systemtap/tapset";
const TRACEPOINT: &str = "kernel.trace(";
/// Files of a tapset; there are some five hundred.
const MAX_FILES: usize = 4096;
/// Bytes of one of them.
const MAX_FILE: usize = 1 << 20;
/// Bytes of the name of a set.
const MAX_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# casts
function a(b) { return @cast(b, \"x\", \"kernel<linux/a.h><net/b.h>:kernel<c.h>\")->d }
probe scheduler.ctxswitch = kernel.trace(\"sched_switch\") !,
    kernel.function(\"x\")
{ }
probe syscall.read = dw_syscall.read !, nd_syscall.read ?, tp_syscall.read ? { }
probe vm.other = kernel.function(\"kernel_trace\") { c = kernel.trace() }
";

    fn tapset() -> Tapset {
        let mut tapset = Tapset::default();
        tapset.add(TEXT);
        tapset
    }

    #[test]
    fn sets_of_headers_are_found_as_casts_name_them() {
        let types: Vec<_> = tapset().types.into_iter().collect();
        assert_eq!(types, ["kernel<c.h>", "kernel<linux/a.h><net/b.h>"]);
    }

    #[test]
    fn a_script_waits_only_if_it_may_come_down_to_tracepoints() {
        let tapset = tapset();
        for text in [
            "probe kernel.trace(\"x\") { }",
            "probe scheduler.ctxswitch { }",
            "probe syscall.* { }",
        ] {
            assert!(tapset.may_ask(text.as_bytes()), "{text}");
        }
        for text in [
            "probe begin { }",
            "probe vm.other { }",
            "probe timer.s(1) { }",
        ] {
            assert!(!tapset.may_ask(text.as_bytes()), "{text}");
        }
    }
}
