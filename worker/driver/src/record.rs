//! Makes a recipe of what one run of kbuild left behind.
//!
//! The files come from a directory that a target's own programs have written. They are read with
//! bounds, and anything that is not as kbuild leaves it means that there is no recipe.

use std::collections::BTreeMap;
use std::fmt;

use crate::invocation::Invocation;
use crate::makefile::{Makefile, SYMBOLS};
use crate::recipe::{Build, Step};
use crate::template::Template;
use crate::words::{self, Unclear, Words};

/// What a run of kbuild left.
#[derive(Clone, Debug, Default)]
pub struct Leftovers {
    /// By their names in the directory of the module.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Why there is no recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A file is missing, or is no text.
    NoFile(String),
    /// The command line is not one that starts kbuild.
    Invocation,
    /// The Makefile is not like those that stap writes.
    Makefile,
    /// A command cannot be replayed without a shell.
    Unclear(Unclear),
    /// The objects of the module are not all made by the same command.
    Uneven(String),
    /// No place of headers says for which machines the kernel is.
    Family,
    /// A file is not what kbuild writes.
    Odd(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile(name) => write!(formatter, "kbuild left no {name} that can be read"),
            Self::Invocation => formatter.write_str("kbuild was started in an unknown way"),
            Self::Makefile => formatter.write_str("stap wrote a Makefile of an unknown form"),
            Self::Unclear(unclear) => unclear.fmt(formatter),
            Self::Uneven(object) => {
                write!(
                    formatter,
                    "kbuild compiled {object} otherwise than the others"
                )
            }
            Self::Family => formatter.write_str("no header of the kernel is below arch/*/include"),
            Self::Odd(name) => write!(formatter, "{name} is not as kbuild usually writes it"),
        }
    }
}

impl std::error::Error for Obstacle {}

impl From<Unclear> for Obstacle {
    fn from(unclear: Unclear) -> Self {
        Self::Unclear(unclear)
    }
}

/// The files that [`build`] reads for a module of this name.
#[must_use]
pub fn wanted(module: &str) -> Vec<String> {
    let objects = ["_src", "_aux_0"].map(|end| format!(".{module}{end}.o.cmd"));
    let mut names: Vec<_> = objects.into();
    names.extend([".o", ".mod.o", ".ko"].map(|end| format!(".{module}{end}.cmd")));
    names.extend([COMMON, SYMVERS, MODULES_ORDER, "Makefile"].map(str::to_owned));
    names.extend([format!(".{SYMBOLS}.o.cmd"), format!("{module}.mod")]);
    names
}

/// Makes the recipe of the module that was built. Its name must be one that occurs nowhere else.
///
/// # Errors
///
/// When what was left does not say all that must be known.
pub fn build(
    leftovers: &Leftovers,
    invocation: &Invocation,
    build_tree: &str,
) -> Result<Build, Obstacle> {
    let place = invocation.directory().ok_or(Obstacle::Invocation)?;
    let makefile = Makefile::read(leftovers.text("Makefile")?, place).ok_or(Obstacle::Makefile)?;
    let module = makefile.module.name.as_str();
    let recording = Recording {
        leftovers,
        place,
        module,
    };
    // Kernels since 6.13 build external modules in their own directory.
    let is_inside = recording.is_named_from_inside()?;
    let directory = if is_inside { place } else { build_tree };
    let prefix = if is_inside {
        String::new()
    } else {
        format!("{place}/")
    };
    let commands =
        |name: &str, object| recording.commands(&format!("{prefix}{name}"), name, object);
    let description = format!("{module}.mod.o");
    let steps = [
        recording.compile(&makefile, &prefix)?,
        if leftovers.files.contains_key(COMMON) {
            commands(".module-common.o", None)?
        } else {
            Vec::new()
        },
        commands(&format!("{module}.o"), None)?,
        commands("Module.symvers", None)?,
        commands(&description, None)?,
        commands(&format!("{module}.ko"), None)?,
    ];
    Ok(Build {
        invocation: invocation.words().to_vec(),
        settings: invocation.settings(),
        makefile: makefile.template().ok_or(Obstacle::Makefile)?,
        directory: directory.to_owned(),
        family: family(&steps[Step::Compile as usize]).ok_or(Obstacle::Family)?,
        members: recording.members(&makefile)?,
        order: recording.order()?,
        description: None,
        steps,
    })
}

impl Leftovers {
    fn text(&self, name: &str) -> Result<&str, Obstacle> {
        let content = self.files.get(name);
        let text = content.and_then(|content| std::str::from_utf8(content).ok());
        text.ok_or_else(|| Obstacle::NoFile(name.to_owned()))
    }
}

struct Recording<'a> {
    leftovers: &'a Leftovers,
    place: &'a str,
    module: &'a str,
}

impl Recording<'_> {
    fn is_named_from_inside(&self) -> Result<bool, Obstacle> {
        let name = format!("{}.o", self.module);
        let text = self.leftovers.text(&command_file(&name))?;
        Ok(words::saved(text, &name).is_ok())
    }

    fn commands(
        &self,
        target: &str,
        name: &str,
        object: Option<&str>,
    ) -> Result<Vec<Vec<Template>>, Obstacle> {
        let file = command_file(name);
        let saved = words::saved(self.leftovers.text(&file)?, target)?;
        let template = |word: &String| Template::of(word, self.module, object);
        let templates = |words: &Words| words.iter().map(template).collect::<Option<_>>();
        let commands = saved.iter().map(templates).collect::<Option<_>>();
        commands.ok_or(Obstacle::Odd(file))
    }

    /// The one way in which every object is compiled.
    fn compile(&self, makefile: &Makefile, prefix: &str) -> Result<Vec<Vec<Template>>, Obstacle> {
        let saved = |object: &str| {
            let name = format!("{object}.o");
            let text = self.leftovers.text(&command_file(&name))?;
            Ok::<_, Obstacle>(words::saved(text, &format!("{prefix}{name}"))?)
        };
        let source = format!("{}_src", self.module);
        let name = format!("{source}.o");
        let commands = self.commands(&format!("{prefix}{name}"), &name, Some(&source))?;
        for object in &makefile.module.objects {
            let fill = |word: &Template| word.fill(self.module, object);
            let filled = commands
                .iter()
                .map(|words| words.iter().map(fill).collect::<Words>());
            if !filled.eq(saved(object)?) {
                return Err(Obstacle::Uneven(object.clone()));
            }
        }
        Ok(commands)
    }

    /// What is in front of each object in `NAME.mod`.
    fn members(&self, makefile: &Makefile) -> Result<String, Obstacle> {
        let name = format!("{}.mod", self.module);
        let text = self.leftovers.text(&name)?;
        let prefixes = ["./".to_owned(), format!("{}/", self.place), String::new()];
        let written = |prefix: &String| {
            let line = |object: &String| format!("{prefix}{object}.o\n");
            makefile.module.objects.iter().map(line).collect::<String>()
        };
        let found = prefixes.into_iter().find(|prefix| written(prefix) == text);
        found.ok_or(Obstacle::Odd(name))
    }

    fn order(&self) -> Result<Template, Obstacle> {
        let text = self.leftovers.text(MODULES_ORDER)?;
        let line = text.strip_suffix('\n').filter(|line| !line.contains('\n'));
        let template = line.and_then(|line| Template::of(line, self.module, None));
        template.ok_or_else(|| Obstacle::Odd(MODULES_ORDER.to_owned()))
    }
}

/// Read off the first place of headers, which is `arch/FAMILY/include` of the kernel's sources.
fn family(compile: &[Vec<Template>]) -> Option<String> {
    let mut words = compile.iter().flatten();
    let family = words.find_map(|word| {
        let path = word.as_str().strip_prefix("-I")?.strip_suffix("/include")?;
        let (_, family) = path.rsplit_once("arch/")?;
        (!family.contains('/')).then_some(family)
    });
    family.map(str::to_owned)
}

fn command_file(name: &str) -> String {
    format!(".{name}.cmd")
}

const COMMON: &str = "..module-common.o.cmd";
const SYMVERS: &str = ".Module.symvers.cmd";
const MODULES_ORDER: &str = "modules.order";

#[cfg(test)]
mod tests;
