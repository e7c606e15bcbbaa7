//! Has kbuild build two scripts, and makes a recipe of what it did.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use stap_driver::description::Description;
use stap_driver::invocation::Invocation;
use stap_driver::precompiled::{self, HEADER, PRECOMPILED};
use stap_driver::recipe::{Build, COMMON, Recipe, Step};
use stap_driver::record::{self, Leftovers};
use stap_driver::shim::{ASKED, MAKEFILE as ASKING, NAME};
use stap_driver::template::Template;
use stap_jail::plan::WorkspaceFile;
use tokio_util::sync::CancellationToken;

use super::example::{Example, asking, before_embedded};
use super::{Kit, Proof, Sameness, Shelf, prove};
use crate::jail::{End, Fault, Finished};
use crate::job::{BuildFiles, Stage, last_line, sentence};
use crate::warm::{Seed, Variant};

/// What came of it.
#[derive(Debug)]
pub enum Learned {
    /// Replayed modules are those of kbuild.
    Proven(Kit),
    /// The same of what there is, where something came between the rest.
    Lesser(Kit),
    /// They are not, for this reason, and cannot be while jobs see the same.
    Different(String),
    /// Pass 4 of this target takes the ordinary way, for this reason.
    Refused(String),
    /// Something came between that says nothing of the target.
    Failed(String),
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

/// What is started in a jail.
pub(super) enum Order<'a> {
    /// stap, for the module of a script.
    Script { name: &'a str, script: &'a str },
    /// kbuild, in a directory with these files.
    Make {
        invocation: &'a Invocation,
        files: &'a [(String, Vec<u8>)],
    },
    /// Only one program that kbuild starts.
    Program {
        words: &'a [String],
        directory: &'a str,
        files: &'a [(String, Vec<u8>)],
    },
}

/// What kbuild did for the examples.
struct Recorded {
    builds: Vec<Build>,
    examples: Vec<Example>,
    /// Of the first.
    left: BuildFiles,
}

impl Learner<'_> {
    /// Records, and compares what is replayed with what kbuild builds.
    ///
    /// # Errors
    ///
    /// When a jail could not be built.
    pub async fn learn(&self) -> Result<Learned, Fault> {
        match self.learned().await {
            Ok((kit, true)) => Ok(Learned::Proven(kit)),
            Ok((kit, false)) => Ok(Learned::Lesser(kit)),
            Err(Stop::Different(reason)) => Ok(Learned::Different(reason)),
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::Cancelled) => Ok(Learned::Cancelled),
            Err(Stop::Refused(reason)) => Ok(Learned::Refused(reason)),
            Err(Stop::Failed(reason)) => Ok(Learned::Failed(reason)),
        }
    }

    /// Says, too, whether nothing came between.
    async fn learned(&self) -> Result<(Kit, bool), Stop> {
        let mut is_whole = true;
        let recorded = self.record().await?;
        let plain = Kit {
            asking: asking(self.stage.served).map_err(Stop::Refused)?,
            recipe: Recipe {
                builds: recorded.builds.clone(),
                ..Recipe::default()
            },
            kept: BTreeMap::new(),
        };
        let examples = &recorded.examples;
        let mut kit = plain.clone();
        self.keep(&mut kit, &recorded).await?;
        let proof = self.prove(&kit, examples, Sameness::Bytes).await;
        if !succeeded(proof, "without what was kept", &mut is_whole)? {
            kit = plain;
            self.prove(&kit, examples, Sameness::Bytes).await?;
        }
        let mut with_header = kit.clone();
        let proof = match self.precompile(&mut with_header, &recorded).await {
            Ok(()) => self.prove(&with_header, examples, Sameness::Shape).await,
            refused => refused,
        };
        if succeeded(proof, "without a precompiled header", &mut is_whole)? {
            kit = with_header;
        }
        Ok((kit, is_whole))
    }

    /// Adds a precompiled header of what the runtime includes of the kernel.
    async fn precompile(&self, kit: &mut Kit, recorded: &Recorded) -> Result<(), Stop> {
        let refused = |reason: &str| Stop::Refused(reason.to_owned());
        let (Some(build), Some(example)) = (recorded.builds.first(), recorded.examples.first())
        else {
            return Err(refused("nothing was recorded"));
        };
        let step = |step| build.commands(step).first();
        let (Some(compile), Some(description)) =
            (step(Step::Compile), step(Step::CompileDescription))
        else {
            return Err(refused("nothing is compiled"));
        };
        let source = format!("{RECORDED}_src");
        let mut words: Vec<_> = compile
            .iter()
            .map(|word| word.fill(RECORDED, &source))
            .collect();
        words.extend(["-H", "-E"].map(str::to_owned));
        let mut files = example.files.clone();
        let whole = files
            .iter_mut()
            .find(|(name, _)| *name == format!("{source}.c"));
        let whole = whole.ok_or_else(|| refused("stap left no C"))?;
        // Behind it a script's own C may come first, and change what a header means.
        let start = before_embedded(&whole.1);
        let start = start.ok_or_else(|| refused("where a script's own C begins is not known"))?;
        whole.1 = start;
        let listed = self.build(&program(&words, build, &files), None).await?;
        let said = String::from_utf8_lossy(&listed.stderr.bytes);
        let names = precompiled::included(&said, description).filter(|names| !names.is_empty());
        let names = names.ok_or_else(|| refused("the compiler did not say what it includes"))?;
        let header = precompiled::header(compile, &names);
        files.push((HEADER.to_owned(), header.clone().into_bytes()));
        let place = example.invocation.directory();
        let place = place.ok_or_else(|| refused("stap starts kbuild in an unknown way"))?;
        let (from, to) = (
            format!("{place}/{HEADER}"),
            format!("{place}/{PRECOMPILED}"),
        );
        let words = precompiled::making(compile, &from, &to);
        let mut left = self.left(&program(&words, build, &files), None).await?;
        let made = left.files.remove(PRECOMPILED);
        let made = made.ok_or_else(|| refused("the compiler left no precompiled header"))?;
        kit.keep(HEADER, header.into_bytes());
        kit.keep(PRECOMPILED, made);
        Ok(())
    }

    async fn prove(&self, kit: &Kit, examples: &[Example], same: Sameness) -> Result<(), Stop> {
        let proof = prove(self, kit, examples, same).await;
        match proof.map_err(Stop::Fault)? {
            Proof::Same => Ok(()),
            Proof::Different(reason) => Err(Stop::Different(reason)),
            Proof::Unreplayed(reason) => Err(Stop::Refused(reason)),
            Proof::Failed(reason) => Err(Stop::Failed(reason)),
            Proof::Cancelled => Err(Stop::Cancelled),
        }
    }

    /// Adds what need not be made again for every module.
    async fn keep(&self, kit: &mut Kit, recorded: &Recorded) -> Result<(), Stop> {
        let left = &recorded.left;
        if let Some(common) = left.files.get(KBUILDS_COMMON) {
            kit.keep(COMMON, common.clone());
        }
        let Some(build) = recorded.builds.first() else {
            return Ok(());
        };
        let source = left.files.get(&format!("{RECORDED}.mod.c"));
        let Some(source) = source.and_then(|source| std::str::from_utf8(source).ok()) else {
            return Ok(());
        };
        let one = self.assembly(build, RECORDED, source).await?;
        let other = self.assembly(build, LONGER, source).await?;
        let description = one
            .zip(other)
            .and_then(|(one, other)| Description::of(source, (RECORDED, &one), (LONGER, &other)));
        let step = Step::CompileDescription;
        for alike in &mut kit.recipe.builds {
            if alike.commands(step) == build.commands(step) {
                alike.description.clone_from(&description);
            }
        }
        Ok(())
    }

    /// What the compiler makes of the description of a module.
    async fn assembly(
        &self,
        build: &Build,
        module: &str,
        source: &str,
    ) -> Result<Option<String>, Stop> {
        let Some(command) = build.commands(Step::CompileDescription).first() else {
            return Ok(None);
        };
        let object = format!("{module}.mod.o");
        let word = |word: &Template| {
            let word = word.fill(module, "");
            match word.strip_suffix(&object) {
                Some(place) => format!("{place}{module}.mod.s"),
                None if word == "-c" => "-S".to_owned(),
                None => word,
            }
        };
        let words: Vec<_> = command.iter().map(word).collect();
        let files = [(format!("{module}.mod.c"), source.as_bytes().to_vec())];
        let mut left = self.left(&program(&words, build, &files), None).await?;
        let assembly = left.files.remove(&format!("{module}.mod.s"));
        Ok(assembly.and_then(|assembly| String::from_utf8(assembly).ok()))
    }

    /// What kbuild did, and the modules that it built.
    async fn record(&self) -> Result<Recorded, Stop> {
        let (first, left) = self.watched(RECORDED, SMALL).await?;
        let mut builds = vec![self.recorded(&left, &first.invocation)?];
        let (second, _) = self.watched(SHORT, LARGE).await?;
        let third = match first.with_sources() {
            None => None,
            Some(mut third) => {
                let left = self.left(&third.order(), None).await?;
                builds.push(self.recorded(&left, &third.invocation)?);
                third.module = Example::of(&third.name, &third.invocation, &left)?.module;
                Some(third)
            }
        };
        let mut examples = vec![first, second];
        examples.extend(third);
        Ok(Recorded {
            builds,
            examples,
            left,
        })
    }

    /// Has stap and kbuild build the module of a script.
    ///
    /// # Errors
    ///
    /// With the reason, when it cannot be built or something broke.
    pub async fn example(&self, name: &str, script: &str) -> Result<Example, String> {
        let watched = self.watched(name, script).await;
        watched
            .map(|(example, _)| example)
            .map_err(|stop| match stop {
                Stop::Fault(fault) => sentence(&fault),
                Stop::Cancelled => "cancelled".to_owned(),
                Stop::Different(reason) | Stop::Refused(reason) | Stop::Failed(reason) => reason,
            })
    }

    /// The same, with all that was left.
    async fn watched(&self, name: &str, script: &str) -> Result<(Example, BuildFiles), Stop> {
        let asking = asking(self.stage.served).map_err(Stop::Refused)?;
        let seen = [
            (NAME, stap_driver::PROGRAM, true),
            (ASKING, asking.as_slice(), false),
        ];
        let watching = self.shelf.put(&seen);
        let watching = watching.map_err(|error| Stop::Failed(unwritable(&error)))?;
        let order = Order::Script { name, script };
        let left = self.left(&order, Some(watching.path())).await?;
        let asked = left.beside.get(ASKED).ok_or_else(|| {
            let program = "the program that make is to ask does not run in this root";
            Stop::Refused(program.to_owned())
        })?;
        let invocation = Invocation::read(asked)
            .ok_or_else(|| Stop::Refused("stap starts kbuild in an unknown way".to_owned()))?;
        Ok((Example::of(name, &invocation, &left)?, left))
    }

    async fn left(&self, order: &Order<'_>, shown: Option<&Path>) -> Result<BuildFiles, Stop> {
        let finished = self.build(order, shown).await?;
        let workspace = finished.workspace.as_ref();
        let none = || Stop::Refused("a trusted build left no files".to_owned());
        workspace.map(BuildFiles::collect).ok_or_else(none)
    }

    fn recorded(&self, left: &BuildFiles, invocation: &Invocation) -> Result<Build, Stop> {
        let leftovers = Leftovers {
            files: left.files.clone(),
        };
        let tree = self.stage.served.target.build_tree.to_string_lossy();
        record::build(&leftovers, invocation, &tree)
            .map_err(|obstacle| Stop::Refused(obstacle.to_string()))
    }

    /// Builds once, seeing what is at `shown`.
    pub(super) async fn build(
        &self,
        order: &Order<'_>,
        shown: Option<&Path>,
    ) -> Result<Finished, Stop> {
        let stage = Stage {
            driver: shown,
            ..self.stage
        };
        let jail = &stage.station.jail;
        let room = jail.room(stage.identity()).map_err(Stop::Fault)?;
        let errand = match *order {
            Order::Script { name, script } => {
                stage.trusted_script(self.variant, self.seed, &room, name, script)
            }
            Order::Make { invocation, files } => {
                stage.trusted_make(&invocation.again(), files, &room)
            }
            Order::Program {
                words,
                directory,
                files,
            } => stage.trusted_program(words, Path::new(directory), files, &room),
        };
        let errand = errand.map_err(Stop::Fault)?;
        let finished = jail.run(errand, room, self.cancelled).await;
        let finished = finished.map_err(Stop::Fault)?;
        match finished.end {
            End::Exited(0) => Ok(finished),
            End::Cancelled => Err(Stop::Cancelled),
            end => {
                let said = telling_line(&finished.stderr.bytes);
                let reason = format!("a trusted build ended with {end:?}: {said}");
                Err(match end {
                    // It was not the build that ended it.
                    End::Limit(_) | End::Signalled(_) => Stop::Failed(reason),
                    _ => Stop::Refused(reason),
                })
            }
        }
    }
}

/// Why a build is of no use.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Cancelled,
    Different(String),
    Refused(String),
    Failed(String),
}

pub(super) fn unwritable(error: &io::Error) -> String {
    format!("what jobs are to see cannot be written: {error}")
}

/// What tells most of a failure: stap ends with tips.
fn telling_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines();
    let failed = lines.rfind(|line| line.contains("error:") || line.contains("failed"));
    last_line(failed.map_or(stderr, str::as_bytes))
}

/// Whether something was proven; that it was refused is only worth a line.
fn succeeded(proof: Result<(), Stop>, otherwise: &str, is_whole: &mut bool) -> Result<bool, Stop> {
    *is_whole &= !matches!(proof, Err(Stop::Failed(_)));
    match proof {
        Ok(()) => Ok(true),
        Err(Stop::Different(reason) | Stop::Refused(reason) | Stop::Failed(reason)) => {
            tracing::warn!("pass 4 is replayed {otherwise}: {reason}");
            Ok(false)
        }
        Err(stop) => Err(stop),
    }
}

/// One program, where kbuild starts those of a build.
fn program<'a>(words: &'a [String], build: &'a Build, files: &'a [(String, Vec<u8>)]) -> Order<'a> {
    Order::Program {
        words,
        directory: &build.directory,
        files,
    }
}

/// What a directory of a workspace holds.
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

/// What kbuild calls what all modules have in common.
const KBUILDS_COMMON: &str = ".module-common.o";
/// The name under which commands are recorded; it occurs in nothing else that kbuild writes.
const RECORDED: &str = "stap_kbuild_recording";
/// Another of those, with another number of letters.
const LONGER: &str = "stap_kbuild_recorded_again";
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
