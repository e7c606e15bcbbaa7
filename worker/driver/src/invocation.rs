//! The command line by which stap starts kbuild, and the environment that it comes with.
//!
//! stap runs `env -uNAME... NAME=VALUE... make -C TREE M=DIRECTORY modules ...`. It is replayed only
//! when what make was given is, word for word, what was recorded. Three things may differ: the number of
//! jobs, because it counts the processors, the language of the messages, because it is the client's, and how
//! programs get their memory, because that is the worker's choice from job to job and nothing that they build shows it.

use std::ffi::OsString;

/// What make was asked to do, in words that are UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    words: Vec<String>,
    environment: Vec<String>,
    jobs: usize,
}

impl Invocation {
    /// Takes what `/proc/PID/environ` and `/proc/PID/cmdline` say of make, joined by a NUL; `None`
    /// when it does not build a module.
    #[must_use]
    pub fn read(told: &[u8]) -> Option<Self> {
        let words = std::str::from_utf8(told).ok()?.strip_suffix('\0')?;
        let mut environment: Vec<_> = words.split('\0').map(str::to_owned).collect();
        let end = environment.iter().position(String::is_empty)?;
        let words = environment.split_off(end).split_off(1);
        Self::of(words, environment)
    }

    fn of(mut words: Vec<String>, environment: Vec<String>) -> Option<Self> {
        let is_setting = |word: &String| word.find('=').is_some_and(|at| at > 0);
        let is_make = words.first().is_some_and(|word| word == MAKE);
        let length = words.len() + environment.len();
        if !is_make || length > MAX_WORDS || !environment.iter().all(is_setting) {
            return None;
        }
        let mut jobs = 1;
        for word in &mut words {
            let count = word.strip_prefix("-j").and_then(|count| count.parse().ok());
            if let Some(count) = count {
                jobs = count;
                "-j".clone_into(word);
            }
        }
        let invocation = Self {
            words,
            environment,
            jobs,
        };
        invocation.directory()?;
        Some(invocation)
    }

    /// The bytes that [`Self::read`] takes.
    #[must_use]
    pub fn told(environment: &[u8], words: &[u8]) -> Vec<u8> {
        [environment, b"\0", words].concat()
    }

    /// Every word; that for the number of jobs without the number.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The environment without what says the language and how memory is had, sorted.
    #[must_use]
    pub fn settings(&self) -> Vec<String> {
        const FREE: [&str; 3] = ["LANG", "LC_", "GLIBC_TUNABLES="];
        let is_free = |word: &str| FREE.iter().any(|free| word.starts_with(free));
        let words = self.environment.iter();
        let mut settings: Vec<_> = words.filter(|word| !is_free(word)).cloned().collect();
        settings.sort();
        settings
    }

    /// The arguments of `env` that start the same again.
    #[must_use]
    pub fn again(&self) -> Vec<String> {
        let jobs = format!("-j{}", self.jobs);
        let words = self.words.iter().map(|word| match word.as_str() {
            "-j" => jobs.clone(),
            _ => word.clone(),
        });
        let environment = self.environment.iter().cloned();
        std::iter::once("-i".to_owned())
            .chain(environment)
            .chain(words)
            .collect()
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

    /// The environment that kbuild gives to the programs that it starts.
    #[must_use]
    pub fn environment(&self, family: &str) -> Vec<(OsString, OsString)> {
        // The kernel's top Makefile sets these, so that nothing is sorted by the user's language.
        const OWN: [&str; 4] = ["LC_ALL", "LC_COLLATE", "LC_NUMERIC", "SRCARCH"];
        let outer = self
            .environment
            .iter()
            .filter_map(|word| word.split_once('='));
        let outer = outer.filter(|(name, _)| !OWN.contains(name));
        let own = [
            ("LC_COLLATE", "C"),
            ("LC_NUMERIC", "C"),
            ("SRCARCH", family),
        ];
        outer
            .chain(own)
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }
}

const MAKE: &str = "make";
const MAX_WORDS: usize = 256;
const MAX_JOBS: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn invocation(environment: &str, line: &str) -> Option<Invocation> {
        let zeros = |text: &str| -> Vec<u8> {
            let words = text.split_whitespace().map(|word| format!("{word}\0"));
            words.collect::<String>().into_bytes()
        };
        Invocation::read(&Invocation::told(&zeros(environment), &zeros(line)))
    }

    #[test]
    fn jobs_language_and_memory_are_no_part_of_what_was_asked() {
        let line = "make -C /b M=/w modules";
        let three = invocation("PATH=/bin LANG=C", &format!("{line} -j3")).unwrap();
        let other = "LC_ALL=fr GLIBC_TUNABLES=a=1 PATH=/bin";
        let nine = invocation(other, &format!("{line} -j9")).unwrap();
        assert_eq!(three.words(), nine.words());
        assert_eq!(three.settings(), nine.settings());
        assert_eq!((three.jobs(), nine.jobs()), (3, 9));
        assert_eq!(three.directory(), Some("/w"));
        let verbose = invocation("PATH=/bin LANG=C", &format!("{line} V=1 -j3")).unwrap();
        assert_ne!(three.words(), verbose.words());
        let flags = invocation("PATH=/bin KCFLAGS=-O0", &format!("{line} -j3")).unwrap();
        assert_ne!(three.settings(), flags.settings());
        let again = "-i PATH=/bin LANG=C make -C /b M=/w modules -j3";
        assert_eq!(three.again().join(" "), again);
    }

    #[test]
    fn what_builds_no_module_is_left_alone() {
        for line in [
            "",
            "ls",
            "python3 M=/w",
            "make -C /b modules",
            "make -C /b M=w modules",
            "make -C /b M=/w M=/v modules",
        ] {
            assert_eq!(invocation("PATH=/bin", line), None, "{line}");
        }
        assert_eq!(invocation("PATH", "make M=/w"), None);
        assert_eq!(Invocation::read(b"PATH=/bin\0\0make\0M=/w"), None);
    }

    #[test]
    fn an_empty_word_stays_one() {
        let told = b"A=1\0\0make\0M=/w\0\0modules\0";
        let invocation = Invocation::read(told).unwrap();
        assert_eq!(invocation.words(), ["make", "M=/w", "", "modules"]);
    }

    #[test]
    fn programs_get_the_environment_that_kbuild_gives_them() {
        let outer = "LC_ALL=fr_FR.UTF-8 LANG=fr_FR.UTF-8 PATH=/bin SRCARCH=arm64";
        let asked = invocation(outer, "make M=/w modules").unwrap();
        let mut environment = asked.environment("x86");
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

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(told in any::<Vec<u8>>()) {
            let _read = Invocation::read(&told);
        }
    }
}
