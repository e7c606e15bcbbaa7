//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use stap_tests::corpus::{Against, Case, Who};

/// What to run.
pub(crate) struct Options {
    pub(crate) who: Vec<Who>,
    pub(crate) against: Against,
    only: Vec<String>,
    pub(crate) here: bool,
    pub(crate) programs: PathBuf,
    pub(crate) table: bool,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self {
            who: vec![Who::Root, Who::User],
            against: Against::Ours,
            only: Vec::new(),
            here: false,
            programs: stap_tests::world::TOOLS.into(),
            table: false,
        };
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                "--as" => options.who = who(&value()?)?,
                "--against" => options.against = against(&value()?)?,
                "--only" => options.only.push(value()?),
                "--programs" => options.programs = value()?.into(),
                "--here" => options.here = true,
                "--table" => options.table = true,
                _ => bail!("unknown option {word}"),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, case: &Case) -> bool {
        let is_named = |name: &String| *name == case.name || *name == case.family.name();
        self.only.is_empty() || self.only.iter().any(is_named)
    }
}

fn who(word: &str) -> anyhow::Result<Vec<Who>> {
    Ok(match word {
        "root" => vec![Who::Root],
        "user" => vec![Who::User],
        "both" => vec![Who::Root, Who::User],
        _ => bail!("--as takes root, user or both, not {word}"),
    })
}

fn against(word: &str) -> anyhow::Result<Against> {
    Ok(match word {
        "ours" => Against::Ours,
        "stock" => Against::Stock,
        _ => bail!("--against takes ours or stock, not {word}"),
    })
}
