//! The command line by which stap starts kbuild.
//!
//! stap runs `env -uNAME... NAME=VALUE... make -C TREE M=DIRECTORY modules ...`. It is replayed only
//! when it is, word for word, the one that was recorded; the number of jobs may differ, because it
//! counts the processors.

use std::ffi::{OsStr, OsString};

/// What `env` was asked to do, with words that are UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    words: Vec<String>,
    jobs: usize,
}

impl Invocation {
    /// Takes the arguments of `env`; `None` when they do not start `make` for a module.
    #[must_use]
    pub fn of(arguments: &[OsString]) -> Option<Self> {
        let words = arguments
            .iter()
            .map(|word| word.to_str().map(str::to_owned));
        Self::from_words(words.collect::<Option<_>>()?)
    }

    /// Takes words that were recorded.
    #[must_use]
    pub fn from_words(mut words: Vec<String>) -> Option<Self> {
        let make = words.iter().position(|word| word == MAKE)?;
        let changes = words.get(..make)?;
        let is_change = |word: &String| word.starts_with("-u") || word.contains('=');
        if !changes.iter().all(is_change) || words.len() > MAX_WORDS {
            return None;
        }
        let mut jobs = 1;
        for word in words.iter_mut().skip(make) {
            let count = word.strip_prefix("-j").and_then(|count| count.parse().ok());
            if let Some(count) = count {
                jobs = count;
                "-j".clone_into(word);
            }
        }
        let invocation = Self { words, jobs };
        invocation.directory()?;
        Some(invocation)
    }

    /// Every word; that for the number of jobs without the number.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Where the module is built.
    #[must_use]
    pub fn directory(&self) -> Option<&str> {
        let mut found = self.words.iter().filter_map(|word| word.strip_prefix("M="));
        let directory = found.next()?;
        (directory.starts_with('/') && found.next().is_none()).then_some(directory)
    }

    /// How many compilers may run at once.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.jobs.clamp(1, MAX_JOBS)
    }

    /// The environment that kbuild gives to the programs that it starts, made of that of `env`.
    pub fn environment(
        &self,
        family: &str,
        outer: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let mut environment: Vec<_> = outer.into_iter().collect();
        let mut set = |name: &str, value: Option<&str>| {
            environment.retain(|(other, _)| other != OsStr::new(name));
            environment.extend(value.map(|value| (name.into(), value.into())));
        };
        for word in self.words.iter().take_while(|word| *word != MAKE) {
            match word.split_once('=') {
                Some((name, value)) => set(name, Some(value)),
                None => set(word.trim_start_matches("-u"), None),
            }
        }
        // The kernel's top Makefile does this, so that nothing is sorted by the user's language.
        set("LC_ALL", None);
        set("LC_COLLATE", Some("C"));
        set("LC_NUMERIC", Some("C"));
        set("SRCARCH", Some(family));
        environment
    }
}

const MAKE: &str = "make";
const MAX_WORDS: usize = 256;
const MAX_JOBS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(line: &str) -> Option<Invocation> {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        Invocation::of(&words)
    }

    #[test]
    fn the_number_of_jobs_is_no_part_of_what_was_asked() {
        let three = invocation("-uARCH PATH=/bin make -C /b M=/w modules -j3").unwrap();
        let nine = invocation("-uARCH PATH=/bin make -C /b M=/w modules -j9").unwrap();
        assert_eq!(three.words(), nine.words());
        assert_eq!((three.jobs(), nine.jobs()), (3, 9));
        assert_eq!(three.directory(), Some("/w"));
        let verbose = invocation("-uARCH PATH=/bin make -C /b M=/w modules V=1 -j3").unwrap();
        assert_ne!(three.words(), verbose.words());
    }

    #[test]
    fn what_starts_no_build_of_a_module_is_left_alone() {
        for line in [
            "",
            "ls",
            "python3 M=/w",
            "make -C /b modules",
            "make -C /b M=w modules",
            "make -C /b M=/w M=/v modules",
            "-i make -C /b M=/w modules",
            "--chdir /x make M=/w",
        ] {
            assert_eq!(invocation(line), None, "{line}");
        }
    }

    #[test]
    fn programs_get_the_environment_that_kbuild_gives_them() {
        let asked = invocation("-uARCH PATH=/bin make M=/w modules").unwrap();
        let outer = [
            ("ARCH", "arm64"),
            ("LC_ALL", "fr_FR.UTF-8"),
            ("LANG", "fr_FR.UTF-8"),
            ("PATH", "/driver:/bin"),
        ];
        let outer = outer.map(|(name, value)| (name.into(), value.into()));
        let mut environment = asked.environment("x86", outer);
        environment.sort();
        let expected = [
            ("LANG", "fr_FR.UTF-8"),
            ("LC_COLLATE", "C"),
            ("LC_NUMERIC", "C"),
            ("PATH", "/bin"),
            ("SRCARCH", "x86"),
        ];
        let expected = expected.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(environment, expected);
    }
}
