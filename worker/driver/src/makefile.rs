//! The Makefile that stap writes for a module.
//!
//! Two of them ask for the same commands when they differ in nothing but the name of the module and
//! the list of its objects. That is decided on the text as a whole: a line that was not recorded, of
//! whatever meaning, makes it another one.

use crate::template::Template;

/// A Makefile, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Makefile {
    /// What is built.
    pub module: Module,
    /// Everything else.
    rest: String,
}

/// A module and its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Letters, digits and underscores.
    pub name: String,
    /// Without `.o`, in the order in which they are linked.
    pub objects: Vec<String>,
}

impl Makefile {
    /// Reads the Makefile of `directory`; `None` when it is not like any that stap writes.
    #[must_use]
    pub fn read(text: &str, directory: &str) -> Option<Self> {
        let name = only(
            text.lines()
                .filter_map(|line| line.strip_prefix("obj-m := ")),
        )?;
        let name = name.strip_suffix(".o").filter(|name| is_name(name))?;
        let list = format!("{name}-y := ");
        let objects = only(text.lines().filter_map(|line| line.strip_prefix(&list)))?;
        let objects: Vec<_> = objects
            .split_whitespace()
            .map(|object| object.strip_suffix(".o").map(str::to_owned))
            .collect::<Option<_>>()?;
        let mut sorted = objects.clone();
        sorted.sort();
        sorted.dedup();
        let are_known = objects.iter().all(|object| is_object(object, name));
        if !are_known || sorted.len() != objects.len() || objects.len() > MAX_OBJECTS {
            return None;
        }
        let mut rest = String::with_capacity(text.len());
        for line in text.lines() {
            if line.starts_with(&list) {
                rest.push_str(&list);
            } else if is_of_an_auxiliary(line, name, directory, &objects) {
                continue;
            } else {
                rest.push_str(line);
            }
            rest.push('\n');
        }
        let name = name.to_owned();
        let module = Module { name, objects };
        Some(Self { module, rest })
    }

    /// The text without the list of objects, with the places of the name marked.
    #[must_use]
    pub fn template(&self) -> Option<Template> {
        Template::of(&self.rest, &self.module.name, None)
    }

    /// Whether it is the recorded one, but for the names.
    #[must_use]
    pub fn is(&self, recorded: &Template) -> bool {
        recorded.fill(&self.module.name, "") == self.rest
    }
}

/// The only one; `None` when there are several.
fn only<'a>(mut found: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Whether a line only says that an object of the list depends on the probed features, which are
/// there before anything is compiled. How many such lines there are depends on the script.
fn is_of_an_auxiliary(line: &str, name: &str, directory: &str, objects: &[String]) -> bool {
    let Some(target) = line.strip_suffix(".o: $(STAPCONF_HEADER)") else {
        return false;
    };
    let object = target
        .strip_prefix("$(obj)/")
        .or_else(|| target.strip_prefix(directory)?.strip_prefix('/'));
    object.is_some_and(|object| {
        is_auxiliary(object, name) && objects.iter().any(|other| other == object)
    })
}

fn is_object(object: &str, name: &str) -> bool {
    object == SYMBOLS || object.strip_prefix(name) == Some("_src") || is_auxiliary(object, name)
}

fn is_auxiliary(object: &str, name: &str) -> bool {
    let number = object
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix("_aux_"));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    number.is_some_and(|number| (1..=6).contains(&number.len()) && is_number(number))
}

/// The names that stap gives to modules and lets users give.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) && name != SYMBOLS
}

/// The object that holds the symbols of what is probed; it has this name in every module.
pub const SYMBOLS: &str = "stap_symbols";
/// The kernel's bound, with its NUL.
const MAX_NAME: usize = 55;
/// A script has one auxiliary object for each header of tracepoints that it uses.
const MAX_OBJECTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = "CHECK := $(CC) -DKBUILD_BASENAME=\\\"rec\\\"\n\
        ccflags-y := -I/build\n\
        obj-m := rec.o\n\
        rec-y :=  rec_src.o rec_aux_0.o stap_symbols.o\n\
        $(obj)/rec_src.o: $(STAPCONF_HEADER)\n\
        $(obj)/rec_aux_0.o: $(STAPCONF_HEADER)\n";

    fn recorded() -> Template {
        let makefile = Makefile::read(RECORDED, "/w").unwrap();
        assert_eq!(
            makefile.module.objects,
            ["rec_src", "rec_aux_0", "stap_symbols"]
        );
        makefile.template().unwrap()
    }

    fn is_recorded(text: &str) -> bool {
        Makefile::read(text, "/w").is_some_and(|makefile| makefile.is(&recorded()))
    }

    #[test]
    fn another_name_and_other_objects_are_the_same_makefile() {
        assert!(is_recorded(RECORDED));
        for name in ["x", "o", "obj", "stap_12", "STAPCONF"] {
            assert!(is_recorded(&RECORDED.replace("rec", name)), "{name}");
        }
        let more = RECORDED.replace("rec_src.o rec_aux_0.o", "rec_aux_0.o rec_src.o rec_aux_1.o");
        assert!(is_recorded(&format!(
            "{more}/w/rec_aux_1.o: $(STAPCONF_HEADER)\n"
        )));
    }

    #[test]
    fn any_other_line_makes_it_another_makefile() {
        for line in [
            "ccflags-y += -DX",
            "CFLAGS_rec_src.o := -O0",
            "$(obj)/rec_aux_1.o: $(STAPCONF_HEADER)",
            "$(obj)/rec_aux_0.o: $(STAPCONF_HEADER) evil",
            "/v/rec_aux_0.o: $(STAPCONF_HEADER)",
            "\tid",
            "",
        ] {
            assert!(!is_recorded(&format!("{RECORDED}{line}\n")), "{line}");
        }
        assert!(!is_recorded(&RECORDED.replace("-I/build", "-I/other")));
        assert!(!is_recorded(
            &RECORDED.replace("=\\\"rec\\\"", "=\\\"other\\\"")
        ));
    }

    #[test]
    fn objects_and_names_that_stap_does_not_make_are_not_read() {
        let read = |text: &str| Makefile::read(text, "/w");
        for (from, to) in [
            ("rec_aux_0.o", "../../x.o"),
            ("rec_aux_0.o", "rec_aux_.o"),
            ("rec_aux_0.o", "rec_src.o"),
            ("rec_aux_0.o", "-o.o"),
            ("rec_aux_0.o", "rec_aux_0.c"),
            ("rec", "a b"),
            ("rec", "a/b"),
            ("rec", ""),
            ("rec", "stap_symbols"),
        ] {
            assert_eq!(read(&RECORDED.replace(from, to)), None, "{from} {to}");
        }
        assert_eq!(read(&format!("{RECORDED}obj-m := rec.o\n")), None);
        assert_eq!(read(""), None);
    }
}
