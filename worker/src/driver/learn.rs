//! Has kbuild build two scripts, and makes a recipe of what it did.

use std::io;
use std::path::Path;

use stap_driver::invocation::Invocation;
use stap_driver::recipe::Recipe;
use stap_driver::record::{self, Leftovers};
use stap_driver::shim::{ASKED, NAME};
use stap_jail::plan::WorkspaceFile;
use tokio_util::sync::CancellationToken;

use super::{Proof, Shelf, prove};
use crate::jail::{End, Fault, Finished};
use crate::job::{BuildFiles, Stage, last_line};
use crate::warm::{Seed, Variant};

/// What came of it.
#[derive(Debug)]
pub enum Learned {
    /// Replayed modules are those of kbuild.
    Proven(Recipe),
    /// Pass 4 of this target takes the ordinary way, for this reason.
    Refused(String),
    /// Nobody waits for it any more.
    Cancelled,
}

/// Records and proves for one target and one set of flags.
#[derive(Debug)]
pub struct Learner<'a> {
    /// Where trusted jobs run.
    pub stage: Stage<'a>,
    /// With or without guru mode.
    pub variant: Variant,
    /// The feature probes; without them kbuild would do much more than build a module.
    pub seed: &'a Seed,
    /// For what these jobs see.
    pub shelf: &'a Shelf,
    /// Ends it.
    pub cancelled: &'a CancellationToken,
}

/// A module that kbuild has built, and from what.
#[derive(Debug)]
pub struct Example {
    /// How it can be built again.
    pub again: Again,
    /// The module.
    pub module: Vec<u8>,
}

/// The ways to start kbuild in a jail.
#[derive(Clone, Debug)]
pub enum Again {
    /// By stap, for a script.
    Script {
        /// A name for the module.
        name: &'static str,
        /// Its text.
        script: &'static str,
    },
    /// By itself, in a directory with these files.
    Make {
        /// The arguments of `env`.
        words: Vec<String>,
        /// What stap wrote, with another Makefile.
        files: Vec<(String, Vec<u8>)>,
    },
}

impl Learner<'_> {
    /// Records, and compares what is replayed with what kbuild builds.
    ///
    /// # Errors
    ///
    /// When a jail could not be built.
    pub async fn learn(&self) -> Result<Learned, Fault> {
        let (recipe, examples) = match self.record().await {
            Ok(recorded) => recorded,
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Cancelled) => return Ok(Learned::Cancelled),
            Err(Stop::Refused(reason)) => return Ok(Learned::Refused(reason)),
        };
        Ok(match prove(self, &recipe, &examples).await? {
            Proof::Same => Learned::Proven(recipe),
            Proof::Different(reason) => Learned::Refused(reason),
            Proof::Cancelled => Learned::Cancelled,
        })
    }

    /// What kbuild did, and the modules that it built.
    async fn record(&self) -> Result<(Recipe, Vec<Example>), Stop> {
        let watching = self.shelf.put(&[(NAME, stap_driver::PROGRAM, true)]);
        let watching = watching.map_err(|error| Stop::Refused(unwritable(&error)))?;
        let first = Again::Script {
            name: RECORDED,
            script: SMALL,
        };
        let finished = self.build(&first, Some(&watching)).await?;
        let left = left(&finished)?;
        let words = asked(&left).ok_or_else(|| {
            let program = "the program that stands in for env does not run in this root";
            Stop::Refused(program.to_owned())
        })?;
        let mut recipe = Recipe::default();
        recipe.builds.push(self.recorded(&left, &words)?);
        let mut examples = vec![example(first, &finished)?];
        let second = Again::Script {
            name: SHORT,
            script: LARGE,
        };
        let finished = self.build(&second, None).await?;
        examples.push(example(second, &finished)?);
        if let Some(files) = with_sources(&left, &words) {
            let third = Again::Make {
                words: words.clone(),
                files,
            };
            let finished = self.build(&third, None).await?;
            recipe
                .builds
                .push(self.recorded(&self::left(&finished)?, &words)?);
            examples.push(example(third, &finished)?);
        }
        Ok((recipe, examples))
    }

    fn recorded(
        &self,
        left: &BuildFiles,
        words: &[String],
    ) -> Result<stap_driver::recipe::Build, Stop> {
        let invocation = Invocation::from_words(words.to_vec())
            .ok_or_else(|| Stop::Refused("stap starts kbuild in an unknown way".to_owned()))?;
        let leftovers = Leftovers {
            files: left.files.clone(),
        };
        let tree = self.stage.served.target.build_tree.to_string_lossy();
        record::build(&leftovers, &invocation, &tree)
            .map_err(|obstacle| Stop::Refused(obstacle.to_string()))
    }

    /// Builds once, seeing what is at `shown`.
    pub(super) async fn build(
        &self,
        again: &Again,
        shown: Option<&Path>,
    ) -> Result<Finished, Stop> {
        let stage = Stage {
            driver: shown,
            ..self.stage
        };
        let jail = &stage.station.jail;
        let room = jail.room(stage.identity()).map_err(Stop::Fault)?;
        let errand = match again {
            Again::Script { name, script } => {
                stage.trusted_script(self.variant, self.seed, &room, name, script)
            }
            Again::Make { words, files } => stage.trusted_make(words, files, &room),
        };
        let errand = errand.map_err(Stop::Fault)?;
        let finished = jail.run(errand, room, self.cancelled).await;
        let finished = finished.map_err(Stop::Fault)?;
        match finished.end {
            End::Exited(0) => Ok(finished),
            End::Cancelled => Err(Stop::Cancelled),
            end => Err(Stop::Refused(format!(
                "a trusted build ended with {end:?}: {}",
                last_line(&finished.stderr.bytes)
            ))),
        }
    }
}

/// Why a build is of no use.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Cancelled,
    Refused(String),
}

pub(super) fn unwritable(error: &io::Error) -> String {
    format!("what jobs are to see cannot be written: {error}")
}

fn left(finished: &Finished) -> Result<BuildFiles, Stop> {
    let workspace = finished.workspace.as_ref();
    let none = || Stop::Refused("a trusted build left no files".to_owned());
    workspace.map(BuildFiles::collect).ok_or_else(none)
}

pub(super) fn module_of(again: &Again, left: &BuildFiles) -> Option<Vec<u8>> {
    let name = match again {
        Again::Script { name, .. } => name,
        Again::Make { .. } => RECORDED,
    };
    left.files.get(&format!("{name}.ko")).cloned()
}

fn example(again: Again, finished: &Finished) -> Result<Example, Stop> {
    let module = module_of(&again, &left(finished)?);
    let none = || Stop::Refused("a trusted build left no module".to_owned());
    Ok(Example {
        module: module.ok_or_else(none)?,
        again,
    })
}

/// The arguments by which stap started kbuild, if the program was there to see them.
fn asked(left: &BuildFiles) -> Option<Vec<String>> {
    let text = std::str::from_utf8(left.beside.get(ASKED)?).ok()?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

/// The files for a build with the Makefile that stap writes for tracepoints and system calls: it
/// has the kernel's sources among the places of headers, too. `None` where there is no such place.
fn with_sources(left: &BuildFiles, words: &[String]) -> Option<Vec<(String, Vec<u8>)>> {
    let position = words.iter().position(|word| word == "-C")?;
    let tree = words.get(position + 1)?;
    let sources = tree.strip_suffix("/build")?;
    let makefile = std::str::from_utf8(left.files.get("Makefile")?).ok()?;
    let place = format!(" += -I{tree}");
    let mut changed = String::with_capacity(makefile.len());
    let mut is_changed = false;
    for line in makefile.lines() {
        changed.push_str(line);
        changed.push('\n');
        if let Some(variable) = line.strip_suffix(&place) {
            is_changed = true;
            changed.extend([variable, " += -I", sources, "/source\n"]);
        }
    }
    let mut files: Vec<_> = left.sources().collect();
    files.push(("Makefile".to_owned(), changed.into_bytes()));
    is_changed.then_some(files)
}

/// The workspace's files for such a build.
pub(crate) fn workspace_files(
    files: &[(String, Vec<u8>)],
    directory: &Path,
) -> Result<Vec<WorkspaceFile>, stap_jail::plan::PathError> {
    let file = |(name, content): &(String, Vec<u8>)| {
        Ok(WorkspaceFile {
            path: directory.join(name).as_path().try_into()?,
            content: content.clone(),
        })
    };
    files.iter().map(file).collect()
}

/// The name under which commands are recorded; it occurs in nothing else that kbuild writes.
const RECORDED: &str = "stap_kbuild_recording";
/// A name that occurs everywhere.
const SHORT: &str = "o";
const SMALL: &str = "probe begin { printf(\"%d\\n\", pid()) exit() }";
/// Uses much of the runtime: statistics, arrays, strings, timers, and the clock.
const LARGE: &str = "global seen, times, names \
    probe timer.profile { seen <<< cpu() times[execname(), pid()] <<< gettimeofday_us() } \
    probe timer.ms(500) { names[substr(execname(), 0, 3) . sprint(tid())]++ } \
    probe timer.s(3) { println(ctime(gettimeofday_s())) exit() } \
    probe end { println(@hist_log(seen)) \
    foreach ([name, id] in times- limit 5) printf(\"%s %d %d\\n\", name, id, @avg(times[name, id])) \
    foreach (name in names+) if (strlen(name) > 2) printf(\"%s: %d\\n\", name, names[name]) }";
