//! Runs the commands of a recipe for one module.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::makefile::{Module, SYMBOLS};
use crate::precompiled::{self, HEADER, PRECOMPILED};
use crate::recipe::{Build, COMMON, DIRECTORY, Step};
use crate::spent::spent;
use crate::symbols;
use crate::template::Template;

/// A module that is to be built.
#[derive(Debug)]
pub struct Replay<'a> {
    /// How.
    pub build: &'a Build,
    /// The names of files beside the recipe.
    pub kept: &'a [String],
    /// What.
    pub module: &'a Module,
    /// Where it is.
    pub place: &'a Path,
    /// How many compilers may run at once.
    pub jobs: usize,
    /// For every program.
    pub environment: &'a [(OsString, OsString)],
}

/// What came of a replay.
#[derive(Debug)]
pub struct Built {
    /// What the programs said.
    pub said: Vec<u8>,
    /// Processor time of all commands that make the objects of the script, where it is known.
    pub compiling: Option<Duration>,
}

/// Why a replay came to nothing, in one line.
pub type Reason = String;

impl Replay<'_> {
    /// Builds the module.
    ///
    /// # Errors
    ///
    /// When a program failed, or could not be started. What it said is then of no interest: kbuild
    /// will have it said again.
    pub fn run(&self) -> Result<Built, Reason> {
        let before = std::env::current_dir().map_err(|error| error.to_string())?;
        // Once for all programs: to change it for each, the library would need a socket, and a jail
        // has none.
        std::env::set_current_dir(&self.build.directory).map_err(|error| error.to_string())?;
        let built = self.steps();
        std::env::set_current_dir(before).map_err(|error| error.to_string())?;
        built
    }

    fn steps(&self) -> Result<Built, Reason> {
        let before = spent();
        let mut said = self.compile()?;
        let after = spent();
        let compiling = before.and_then(|before| after?.checked_sub(before));
        self.write("modules.order", |line| {
            line(&self.fill(&self.build.order, ""));
        })?;
        self.write(&format!("{}.mod", self.module.name), |line| {
            for object in &self.module.objects {
                line(&format!("{}{object}.o", self.build.members));
            }
        })?;
        for object in &self.module.objects {
            // Kernels that count the versions of sources want to read what an object was made of. An
            // empty list is enough, and make takes it for one of another command.
            self.write_text(&format!(".{object}.o.cmd"), "")?;
        }
        said.extend(self.commands(Step::Link, "")?);
        said.extend(self.description()?);
        said.extend(self.describe()?);
        said.extend(self.commands(Step::Finish, "")?);
        Ok(Built { said, compiling })
    }

    /// Compiles one object.
    fn object(&self, object: &str) -> Result<Vec<u8>, Reason> {
        // Others include headers behind definitions that change them.
        let has_usual_headers = object.ends_with("_src") || object == SYMBOLS;
        let has_header = self.kept.iter().any(|name| name == PRECOMPILED);
        let commands = self.build.commands(Step::Compile);
        let Some((first, others)) = commands.split_first().filter(|_| has_header) else {
            return self.commands(Step::Compile, object);
        };
        if !has_usual_headers {
            return self.commands(Step::Compile, object);
        }
        let header = format!("{DIRECTORY}/{HEADER}");
        let name = format!(".stap-kbuild.{object}.h");
        let definitions = self.place.join(&name).display().to_string();
        let names = (self.module.name.as_str(), object);
        let Some((words, text)) = precompiled::using(first, names, &header, &definitions) else {
            return self.commands(Step::Compile, object);
        };
        self.write_text(&name, &text)?;
        let mut said = self.execute(&words)?;
        let made = fs::read(self.place.join(format!("{object}.o")));
        if made.is_ok_and(|made| precompiled::is_spoilt(&made)) {
            return self.commands(Step::Compile, object);
        }
        for command in others {
            let words: Vec<_> = command.iter().map(|word| self.fill(word, object)).collect();
            said.extend(self.execute(&words)?);
        }
        Ok(said)
    }

    /// Writes the description, for which not all of the kernel's symbols need be read.
    fn description(&self) -> Result<Vec<u8>, Reason> {
        let mut said = Vec::new();
        for command in self.build.commands(Step::Describe) {
            let words: Vec<_> = command.iter().map(|word| self.fill(word, "")).collect();
            let with_few = self.with_needed_symbols(&words)?;
            // One that needs more says so, and gets all.
            let done = with_few.and_then(|words| self.execute(&words).ok());
            said.extend(match done {
                Some(done) => done,
                None => self.execute(&words)?,
            });
        }
        Ok(said)
    }

    /// The command with a table of fewer symbols.
    fn with_needed_symbols(&self, words: &[String]) -> Result<Option<Vec<String>>, Reason> {
        let mut words = words.to_vec();
        let table = words.iter().position(|word| word == "-i");
        let Some(table) = table.and_then(|position| words.get_mut(position + 1)) else {
            return Ok(None);
        };
        let Some(needed) = self.needed_symbols(table) else {
            return Ok(None);
        };
        let name = ".stap-kbuild.symvers";
        fs::write(self.place.join(name), needed).map_err(|error| format!("{name}: {error}"))?;
        *table = self.place.join(name).display().to_string();
        Ok(Some(words))
    }

    fn needed_symbols(&self, table: &str) -> Option<Vec<u8>> {
        let object = self.place.join(format!("{}.o", self.module.name));
        symbols::needed(&fs::read(object).ok()?, &fs::read(table).ok()?)
    }

    /// Makes the object of the description, from kept assembly if the description is the usual one.
    fn describe(&self) -> Result<Vec<u8>, Reason> {
        let name = &self.module.name;
        let source = self.place.join(format!("{name}.mod.c"));
        let usual = self.build.description.as_ref().filter(|usual| {
            fs::read(&source).is_ok_and(|found| found == usual.source().as_bytes())
        });
        let Some(assembly) = usual.and_then(|usual| usual.fill(name)) else {
            return self.commands(Step::CompileDescription, "");
        };
        self.write_text(&format!("{name}.mod.s"), &assembly)?;
        let mut said = Vec::new();
        for (number, command) in self
            .build
            .commands(Step::CompileDescription)
            .iter()
            .enumerate()
        {
            let words = command.iter().map(|word| self.fill(word, ""));
            let words: Vec<_> = if number == 0 {
                assembling(words.collect())
            } else {
                words.collect()
            };
            said.extend(self.execute(&words)?);
        }
        Ok(said)
    }

    /// Makes what all modules have in common; a kept one is only copied.
    fn common(&self) -> Result<Vec<u8>, Reason> {
        let commands = self.build.commands(Step::Common);
        if commands.is_empty() || !self.kept.iter().any(|name| name == COMMON) {
            return self.commands(Step::Common, "");
        }
        let kept = Path::new(DIRECTORY).join(COMMON);
        let copied = fs::copy(kept, self.place.join(".module-common.o"));
        copied.map_err(|error| format!("{COMMON}: {error}"))?;
        Ok(Vec::new())
    }

    /// Compiles all objects, some at once.
    fn compile(&self) -> Result<Vec<u8>, Reason> {
        let mut tasks: Vec<_> = self.module.objects.iter().collect::<Vec<_>>();
        // The script itself takes longest and is begun first.
        tasks.sort_by_key(|object| !object.ends_with("_src"));
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let result = match tasks.get(number) {
                    Some(object) => self.object(object),
                    None if number == tasks.len() => self.common(),
                    None => return,
                };
                if let Ok(mut results) = results.lock() {
                    results.push((number, result));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.jobs.min(tasks.len() + 1) {
                scope.spawn(work);
            }
            work();
        });
        let mut results = results.into_inner().map_err(|error| error.to_string())?;
        results.sort_by_key(|(number, _)| *number);
        let said: Result<Vec<_>, _> = results.into_iter().map(|(_, result)| result).collect();
        Ok(said?.concat())
    }

    fn commands(&self, step: Step, object: &str) -> Result<Vec<u8>, Reason> {
        let mut said = Vec::new();
        for command in self.build.commands(step) {
            let words: Vec<_> = command.iter().map(|word| self.fill(word, object)).collect();
            said.extend(self.execute(&words)?);
        }
        Ok(said)
    }

    fn fill(&self, template: &Template, object: &str) -> String {
        template.fill(&self.module.name, object)
    }

    fn execute(&self, words: &[String]) -> Result<Vec<u8>, Reason> {
        let [program, arguments @ ..] = words else {
            return Err("an empty command".to_owned());
        };
        let failed = |error: std::io::Error| format!("{program}: {error}");
        let mut output = self.scratch().map_err(failed)?;
        let mut command = Command::new(self.find(program).map_err(failed)?);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output.try_clone().map_err(failed)?);
        let status = command.status().map_err(failed)?;
        let mut said = Vec::new();
        output.rewind().map_err(failed)?;
        let mut output = output.take(MAX_SAID);
        output.read_to_end(&mut said).map_err(failed)?;
        if !status.success() {
            let said = String::from_utf8_lossy(&said);
            let last = said.lines().last().unwrap_or_default();
            return Err(format!("{program}: {status}: {last}"));
        }
        Ok(said)
    }

    /// Where a program is, by the `PATH` that kbuild would give it.
    fn find(&self, program: &str) -> std::io::Result<PathBuf> {
        if program.contains('/') {
            return Ok(PathBuf::from(program));
        }
        let path = self.environment.iter().find(|(name, _)| name == "PATH");
        let directories = path
            .into_iter()
            .flat_map(|(_, path)| std::env::split_paths(path));
        let mut candidates = directories.map(|directory| directory.join(program));
        let is_program = |candidate: &PathBuf| {
            let metadata = candidate.metadata();
            metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let found = candidates.find(is_program);
        found.ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    /// A file without a name, for what one program says.
    fn scratch(&self) -> std::io::Result<File> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.place.join(format!(".stap-kbuild.{number}"));
        let file = File::options()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(path)?;
        Ok(file)
    }

    fn write(&self, name: &str, lines: impl Fn(&mut dyn FnMut(&str))) -> Result<(), Reason> {
        let mut text = String::new();
        lines(&mut |line| {
            text.push_str(line);
            text.push('\n');
        });
        self.write_text(name, &text)
    }

    fn write_text(&self, name: &str, text: &str) -> Result<(), Reason> {
        fs::write(self.place.join(name), text).map_err(|error| format!("{name}: {error}"))
    }
}

/// The command that compiles a description, made to translate its assembly: without headers, which
/// mean nothing there.
fn assembling(words: Vec<String>) -> Vec<String> {
    let mut words = words.into_iter();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_suffix(".mod.c") {
            Some(stem) => kept.push(format!("{stem}.mod.s")),
            None if word == "-include" => drop(words.next()),
            None if word.starts_with("-Wp,") => {}
            None => kept.push(word),
        }
    }
    kept
}

/// More than anybody reads of warnings.
const MAX_SAID: u64 = 1 << 20;
