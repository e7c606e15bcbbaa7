//! What was recorded for a target, and how it is written down.
//!
//! A recipe is a file of lines. It is written by the worker and read by the program in the jail, both
//! of one build; another version is not read. Control characters other than tabs occur only as marks
//! of [`Template`], so the end of a line is the end of a word.

use crate::description::Description;
use crate::invocation::Invocation;
use crate::makefile::Makefile;
use crate::template::Template;

/// All that is known about pass 4 of a target with one set of flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// One for each Makefile that was recorded.
    pub builds: Vec<Build>,
    /// The names of files that belong to it, sorted.
    pub kept: Vec<String>,
}

/// How modules of one Makefile are built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// [`Invocation::words`].
    pub invocation: Vec<String>,
    /// [`Invocation::settings`].
    pub settings: Vec<String>,
    /// Of [`Makefile::template`].
    pub makefile: Template,
    /// Where commands run.
    pub directory: String,
    /// The kernel's own name for the family of machines; its programs look for it (`SRCARCH`).
    pub family: String,
    /// In front of each object in `NAME.mod`.
    pub members: String,
    /// The line of `modules.order`.
    pub order: Template,
    /// The object of the description, for modules that have the usual one.
    pub description: Option<Description>,
    /// The commands of each step, by [`Step`].
    pub steps: [Vec<Vec<Template>>; Step::ALL.len()],
}

/// What is made, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Each object of the module.
    Compile,
    /// What every module has in common; nothing on older kernels.
    Common,
    /// All objects together.
    Link,
    /// The description of the module, as C.
    Describe,
    /// Its object.
    CompileDescription,
    /// The module.
    Finish,
}

impl Step {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Compile,
        Self::Common,
        Self::Link,
        Self::Describe,
        Self::CompileDescription,
        Self::Finish,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Common => "common",
            Self::Link => "link",
            Self::Describe => "describe",
            Self::CompileDescription => "compile-description",
            Self::Finish => "finish",
        }
    }
}

impl Build {
    /// The commands of a step.
    #[must_use]
    pub fn commands(&self, step: Step) -> &[Vec<Template>] {
        &self.steps[step as usize]
    }
}

impl Recipe {
    /// How this is built; `None` when that was not recorded.
    #[must_use]
    pub fn find(&self, invocation: &Invocation, makefile: &Makefile) -> Option<&Build> {
        let settings = invocation.settings();
        self.builds.iter().find(|build| {
            let is_asked = build.invocation == invocation.words() && build.settings == settings;
            is_asked && makefile.is(&build.makefile)
        })
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{FORMAT}\n");
        let mut line = |key: &str, value: &str| {
            text.push_str(key);
            text.push(' ');
            text.push_str(value);
            text.push('\n');
        };
        for kept in &self.kept {
            line("kept", kept);
        }
        for build in &self.builds {
            line("build", "");
            for word in &build.invocation {
                line("invocation", word);
            }
            for word in &build.settings {
                line("setting", word);
            }
            for makefile in build.makefile.as_str().split('\n') {
                line("makefile", makefile);
            }
            line("directory", &build.directory);
            line("family", &build.family);
            line("members", &build.members);
            line("order", build.order.as_str());
            if let Some(description) = &build.description {
                for source in description.source().split('\n') {
                    line("description", source);
                }
                for assembly in description.marked().split('\n') {
                    line("assembly", assembly);
                }
            }
            for step in Step::ALL {
                for command in build.commands(step) {
                    line("step", step.name());
                    for word in command {
                        line("word", word.as_str());
                    }
                }
            }
        }
        text.into_bytes()
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes)
            .ok()?
            .strip_suffix('\n')?
            .split('\n');
        if lines.next()? != FORMAT {
            return None;
        }
        let mut recipe = Self::default();
        let mut texts = Texts::default();
        for line in lines {
            let (key, value) = line.split_once(' ')?;
            if key == "kept" && recipe.builds.is_empty() {
                recipe.kept.push(value.to_owned());
                continue;
            }
            if key == "build" {
                texts.close(&mut recipe);
                recipe.builds.push(Build::empty());
                continue;
            }
            recipe.builds.last_mut()?.take(key, value, &mut texts)?;
        }
        texts.close(&mut recipe);
        Some(recipe)
    }
}

/// Texts of several lines, of the build that is being read.
#[derive(Default)]
struct Texts {
    makefile: Vec<String>,
    description: Vec<String>,
    assembly: Vec<String>,
}

impl Texts {
    /// Gives them to their build.
    fn close(&mut self, recipe: &mut Recipe) {
        let Self {
            makefile,
            description,
            assembly,
        } = std::mem::take(self);
        if let Some(build) = recipe.builds.last_mut() {
            build.makefile = Template::marked(makefile.join("\n"));
            build.description = (!description.is_empty())
                .then(|| Description::from_parts(description.join("\n"), assembly.join("\n")));
        }
    }
}

impl Build {
    fn empty() -> Self {
        Self {
            invocation: Vec::new(),
            settings: Vec::new(),
            makefile: Template::marked(String::new()),
            directory: String::new(),
            family: String::new(),
            members: String::new(),
            order: Template::marked(String::new()),
            description: None,
            steps: Default::default(),
        }
    }

    fn take(&mut self, key: &str, value: &str, texts: &mut Texts) -> Option<()> {
        let value = value.to_owned();
        match key {
            "invocation" => self.invocation.push(value),
            "setting" => self.settings.push(value),
            "makefile" => texts.makefile.push(value),
            "description" => texts.description.push(value),
            "assembly" => texts.assembly.push(value),
            "directory" => self.directory = value,
            "family" => self.family = value,
            "members" => self.members = value,
            "order" => self.order = Template::marked(value),
            "step" => {
                let step = Step::ALL.iter().find(|step| step.name() == value)?;
                self.steps[*step as usize].push(Vec::new());
            }
            "word" => {
                // Steps are written in their order, so the last one is the one that was begun last.
                let step = self.steps.iter_mut().rfind(|step| !step.is_empty())?;
                step.last_mut()?.push(Template::marked(value));
            }
            _ => return None,
        }
        Some(())
    }
}

/// The directory that jobs see the program, its recipe and what was kept in.
pub const DIRECTORY: &str = "/driver";
/// The object that all modules have in common, in that directory.
pub const COMMON: &str = "common.o";
/// The first line of every recipe.
const FORMAT: &str = "stap-kbuild recipe 3";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Template {
        Template::of(text, "rec", Some("rec_src")).unwrap()
    }

    pub(super) fn recipe() -> Recipe {
        let mut build = Build::empty();
        build.invocation = ["make", "M=/w", "-e", ""].map(str::to_owned).into();
        build.settings = vec!["PATH=/bin".to_owned()];
        build.makefile = template("a\tb\n\nobj-m := rec.o\n");
        "/w".clone_into(&mut build.directory);
        "x86".clone_into(&mut build.family);
        "./".clone_into(&mut build.members);
        build.order = template("rec.o");
        build.steps[Step::Compile as usize] = vec![vec![template("gcc"), template("rec_src.c")]];
        build.steps[Step::Link as usize] = vec![
            vec![template("ld")],
            vec![template("objtool"), template("")],
        ];
        let plain = build.clone();
        let assembly = "\t.string \"\u{1}\"\n\t.zero \u{3}-55\u{3}\n";
        let description = Description::from_parts("a\n\nb".to_owned(), assembly.to_owned());
        build.description = Some(description);
        Recipe {
            builds: vec![plain, build],
            kept: ["a", "b"].map(str::to_owned).into(),
        }
    }

    #[test]
    fn a_recipe_is_read_as_it_was_written() {
        let recipe = recipe();
        assert_eq!(Recipe::decode(&recipe.encode()), Some(recipe));
        let nothing = Recipe::default();
        assert_eq!(Recipe::decode(&nothing.encode()), Some(nothing));
    }

    #[test]
    fn what_is_no_recipe_is_not_read() {
        let whole = recipe().encode();
        for length in 0..whole.len() {
            let cut = Recipe::decode(&whole[..length]);
            assert_ne!(cut, Some(recipe()), "{length} bytes of {}", whole.len());
        }
        for text in [
            "",
            "\n",
            "stap-kbuild recipe 2\n",
            "stap-kbuild recipe 3\nword x\n",
        ] {
            assert_eq!(Recipe::decode(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _read = Recipe::decode(&bytes);
            let _read = Recipe::decode(&[FORMAT.as_bytes(), b"\n", &bytes, b"\n"].concat());
        }
    }
}
