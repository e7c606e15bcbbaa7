//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use stap_tests::corpus::{Against, Case, Who};

/// What `--help` prints.
pub(crate) const MANUAL: &str = "\
Usage: hostile-corpus [OPTION]...
Runs the hostile corpus, one line for each case. It needs root.

  --as WHO           who starts our server: root, user, delegated (a user who was given control groups), both (root
                     and user; the default), or all
  --against SERVER   ours (the default), or stock: SystemTap's own, which only a user starts
  --only WORD        only this case or family; may be repeated
  --score FILE       run against ours, as --as says, and then against stock, and write the score side by side into FILE
                     where docs/isolation.md has its marks. Cases that --only leaves out keep what came of them
                     the last time.
  --table FILE       write the list of all cases into FILE where docs/isolation.md has its marks, and run nothing
  --here             run in the world as it is, such as a guest of its own, instead of making a lab
  --programs DIR     take our programs from there (default: /usr/local/bin, as in a lab)
  --help             print this

The scripts need STAP_TEST_ROOT, what deploy/target-root has made; the stock server, which is also the control of
scripts and results, needs STAP_TEST_STOCK, what tests/stock-server has made. STAP_TEST_REQUIRE=target-root,stock makes
their absence a fault.

Exit status: 0 if every case is contained for the expected reason, works without what holds it, and leaves nothing, and
a good job is still served; with --score that is about ours only. With --against stock it says whether anything escaped.
";

/// What to run.
pub(crate) struct Options {
    pub(crate) help: bool,
    /// Who starts the server, and whether he was given control groups.
    who: Vec<(Who, bool)>,
    against: Against,
    pub(crate) score: Option<PathBuf>,
    only: Vec<String>,
    pub(crate) here: bool,
    pub(crate) programs: PathBuf,
    pub(crate) table: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self {
            help: false,
            who: vec![ROOT, USER],
            against: Against::Ours,
            score: None,
            only: Vec::new(),
            here: false,
            programs: stap_tests::world::TOOLS.into(),
            table: None,
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
                "--help" | "-h" => options.help = true,
                "--here" => options.here = true,
                "--score" => options.score = Some(value()?.into()),
                "--table" => options.table = Some(value()?.into()),
                _ => bail!("unknown option {word}; --help names all"),
            }
        }
        Ok(options)
    }

    /// The circumstances to run in, one after another. Nobody starts a stock server as root.
    pub(crate) fn situations(&self) -> Vec<(Who, bool, Against)> {
        let ours = self.who.iter();
        let ours = ours.map(|(who, is_delegated)| (*who, *is_delegated, Against::Ours));
        let stock = (Who::User, false, Against::Stock);
        match (self.score.is_some(), self.against) {
            (true, _) => ours.chain([stock]).collect(),
            (false, Against::Ours) => ours.collect(),
            (false, Against::Stock) => vec![stock],
        }
    }

    pub(crate) fn wants(&self, case: &Case) -> bool {
        let is_named = |name: &String| *name == case.name || *name == case.family.name();
        self.only.is_empty() || self.only.iter().any(is_named)
    }
}

fn who(word: &str) -> anyhow::Result<Vec<(Who, bool)>> {
    Ok(match word {
        "root" => vec![ROOT],
        "user" => vec![USER],
        "delegated" => vec![DELEGATED],
        "both" => vec![ROOT, USER],
        "all" => vec![ROOT, USER, DELEGATED],
        _ => bail!("--as takes root, user, delegated, both or all, not {word}"),
    })
}

fn against(word: &str) -> anyhow::Result<Against> {
    Ok(match word {
        "ours" => Against::Ours,
        "stock" => Against::Stock,
        _ => bail!("--against takes ours or stock, not {word}"),
    })
}

const ROOT: (Who, bool) = (Who::Root, false);
const USER: (Who, bool) = (Who::User, false);
const DELEGATED: (Who, bool) = (Who::User, true);
