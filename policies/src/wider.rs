//! Which class of the program would allow more than a policy does.

use crate::builtin;
use crate::policy::{Limits, Policy};

/// A class that allows more of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wider {
    /// Its name.
    pub class: &'static str,
    /// What it allows, with the unit.
    pub value: String,
}

/// Returns the first built-in class, from the strictest on, that allows more of a limit than `limits`
/// do. The limit goes by its name in the policy file; `None` also for a name that is no limit.
#[must_use]
pub fn wider(limit: &str, limits: &Limits) -> Option<Wider> {
    let (here, _) = limits.named(limit)?;
    builtin::ALL.into_iter().find_map(|(class, text)| {
        let policy = Policy::parse(text).ok()?;
        let (there, value) = policy.limits().named(limit)?;
        (there > here).then_some(Wider { class, value })
    })
}

impl Limits {
    /// A limit by its name in the policy file: the bare number, for comparing, and the value as people
    /// write it.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(u64, String)> {
        let seconds = |time: std::time::Duration| time.as_secs();
        Some(match name {
            "wall" => (seconds(self.wall.duration()), self.wall.to_string()),
            "cpu" => (seconds(self.cpu.duration()), self.cpu.to_string()),
            "memory" => (self.memory.bytes(), self.memory.to_string()),
            "processes" => (self.processes.get(), self.processes.to_string()),
            "cpu-percent" => (self.cpu_percent.get(), self.cpu_percent.to_string()),
            "workspace" => (self.workspace.bytes(), self.workspace.to_string()),
            "workspace-files" => (self.workspace_files.get(), self.workspace_files.to_string()),
            "file" => (self.file.bytes(), self.file.to_string()),
            "open-files" => (self.open_files.get(), self.open_files.to_string()),
            "stdout" => (self.stdout.bytes(), self.stdout.to_string()),
            "stderr" => (self.stderr.bytes(), self.stderr.to_string()),
            "results" => (self.results.get(), self.results.to_string()),
            "result-bytes" => (self.result_bytes.bytes(), self.result_bytes.to_string()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wider_than(class: &str, limit: &str) -> Option<Wider> {
        wider(limit, Policy::builtin(class).unwrap().limits())
    }

    #[test]
    fn the_next_class_that_allows_more_is_named_with_what_it_allows() {
        let more = |class, value: &str| {
            let value = value.to_owned();
            Some(Wider { class, value })
        };
        assert_eq!(wider_than("strict", "wall"), more("shared-host", "300 s"));
        assert_eq!(wider_than("strict", "memory"), more("personal", "2 GiB"));
        assert_eq!(
            wider_than("shared-host", "memory"),
            more("personal", "2 GiB")
        );
    }

    #[test]
    fn where_no_class_allows_more_none_is_named() {
        assert_eq!(wider_than("personal", "memory"), None);
        assert_eq!(wider_than("strict", "open-files"), None);
        assert_eq!(wider_than("strict", "moat"), None);
    }
}
