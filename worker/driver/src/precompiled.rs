//! A precompiled header of what the runtime includes of the kernel.
//!
//! Most of the time of a small script's compilation goes into parsing kernel headers, which are the
//! same for every script. A precompiled header cannot know the names of a module and of its objects,
//! which kbuild gives on the command line; it is made with names that stand in, and the real ones are
//! defined by a second header behind it. An object in which the stand-in is found all the same has
//! been compiled wrongly, and is compiled again without.

use crate::template::Template;

/// The header, beside the recipe.
pub const HEADER: &str = "precompiled.h";
/// What the compiler makes of it.
pub const PRECOMPILED: &str = "precompiled.h.gch";

/// The words of the command that compiles an object.
type Command = [Template];

/// Returns the command that makes the precompiled header of `header`.
#[must_use]
pub fn making(command: &Command, header: &str, output: &str) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = command.iter();
    while let Some(word) = words.next() {
        let filled = word.fill(STAND_IN, STAND_IN);
        match filled.as_str() {
            "-include" | "-o" => drop(words.next()),
            "-c" => {}
            source if is_source(source) || source.starts_with("-Wp,") => {}
            _ => kept.push(filled),
        }
    }
    kept.extend(["-x", "c-header", "-o", output, header].map(str::to_owned));
    kept
}

/// Returns the text of the header: what kbuild includes by its command line, then `names`.
#[must_use]
pub fn header(command: &Command, names: &[String]) -> String {
    let mut text = String::new();
    for pair in command.windows(2) {
        if let [option, file] = pair
            && option.as_str() == "-include"
        {
            text.push_str("#include \"");
            text.push_str(file.as_str());
            text.push_str("\"\n");
        }
    }
    for name in names {
        text.push_str("#include <");
        text.push_str(name);
        text.push_str(">\n");
    }
    text
}

/// Returns the command that compiles an object with the header at `header`, and what has to be in
/// the file `definitions`; `None` when a name is defined without a value.
#[must_use]
pub fn using(
    command: &Command,
    (module, object): (&str, &str),
    header: &str,
    definitions: &str,
) -> Option<(Vec<String>, String)> {
    let (mut kept, mut text) = (Vec::new(), String::new());
    let mut words = command.iter();
    while let Some(word) = words.next() {
        let filled = word.fill(module, object);
        let stand_in = word.fill(STAND_IN, STAND_IN);
        match filled.as_str() {
            "-include" => drop(words.next()),
            "-c" => {
                let includes = [
                    "-Winvalid-pch",
                    "-include",
                    header,
                    "-include",
                    definitions,
                    "-c",
                ];
                kept.extend(includes.map(str::to_owned));
            }
            defined if defined.starts_with("-D") && filled != stand_in => {
                let (name, value) = defined[2..].split_once('=')?;
                for part in ["#undef ", name, "\n#define ", name, " ", value, "\n"] {
                    text.push_str(part);
                }
                kept.push(stand_in);
            }
            _ => kept.push(filled),
        }
    }
    Some((kept, text))
}

/// Whether an object holds the name that stood in for that of its module.
#[must_use]
pub fn is_spoilt(object: &[u8]) -> bool {
    let name = STAND_IN.as_bytes();
    object.windows(name.len()).any(|window| window == name)
}

/// Returns the kernel headers that are included by something that is none, in their order and by the
/// names under which the compiler finds them, from what it said with `-H`. `None` when a name is
/// odd.
#[must_use]
pub fn included(said: &str, description: &Command) -> Option<Vec<String>> {
    let places: Vec<_> = description
        .iter()
        .filter_map(|word| word.as_str().strip_prefix("-I"))
        .collect();
    // The longest name is the one that means no other file.
    let name_of = |path: &str| {
        let names = places
            .iter()
            .filter_map(|place| path.strip_prefix(place)?.strip_prefix('/'));
        names.max_by_key(|name| name.len()).map(str::to_owned)
    };
    let mut is_kernels = vec![false];
    let mut found = Vec::new();
    for line in said.lines().take(MAX_LINES) {
        let Some((dots, path)) = line.split_once(' ') else {
            continue;
        };
        let depth = dots.len();
        if dots.bytes().any(|byte| byte != b'.') || !(1..=is_kernels.len()).contains(&depth) {
            continue;
        }
        is_kernels.truncate(depth);
        let name = name_of(path);
        is_kernels.push(name.is_some());
        let Some(name) = name.filter(|_| !is_kernels[depth - 1]) else {
            continue;
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./+".contains(&byte);
        if !name.bytes().all(plain) {
            return None;
        }
        if !found.contains(&name) {
            found.push(name);
        }
    }
    Some(found)
}

fn is_source(word: &str) -> bool {
    word.strip_suffix(".c")
        .is_some_and(|stem| stem.ends_with(STAND_IN))
}

/// A name that is in nothing else.
const STAND_IN: &str = "stap_kbuild_stand_in";
const MAX_LINES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Vec<Template> {
        let line = "gcc -Wp,-MMD,./.rec_src.o.d -I/k/include -include /k/kconfig.h -DMODULE \
                    -include ./stapconf.h -DKBUILD_BASENAME=\"rec_src\" -D__KBUILD_MODNAME=rec -c \
                    -o rec_src.o rec_src.c";
        let template = |word| Template::of(word, "rec", Some("rec_src")).unwrap();
        line.split_whitespace().map(template).collect()
    }

    #[test]
    fn a_header_is_made_with_the_same_flags_and_names_that_stand_in() {
        assert_eq!(
            making(&command(), "/w/p.h", "/w/p.h.gch").join(" "),
            "gcc -I/k/include -DMODULE -DKBUILD_BASENAME=\"stap_kbuild_stand_in\" \
             -D__KBUILD_MODNAME=stap_kbuild_stand_in -x c-header -o /w/p.h.gch /w/p.h"
        );
        assert_eq!(
            header(&command(), &["linux/fs.h".to_owned()]),
            "#include \"/k/kconfig.h\"\n#include \"./stapconf.h\"\n#include <linux/fs.h>\n"
        );
    }

    #[test]
    fn an_object_gets_its_names_behind_the_header() {
        let (words, names) = using(&command(), ("m", "stap_symbols"), "/d/p.h", "/w/n.h").unwrap();
        assert_eq!(
            words.join(" "),
            "gcc -Wp,-MMD,./.stap_symbols.o.d -I/k/include -DMODULE \
             -DKBUILD_BASENAME=\"stap_kbuild_stand_in\" -D__KBUILD_MODNAME=stap_kbuild_stand_in \
             -Winvalid-pch -include /d/p.h -include /w/n.h -c -o stap_symbols.o stap_symbols.c"
        );
        assert_eq!(
            names,
            "#undef KBUILD_BASENAME\n#define KBUILD_BASENAME \"stap_symbols\"\n\
             #undef __KBUILD_MODNAME\n#define __KBUILD_MODNAME m\n"
        );
    }

    #[test]
    fn a_spoilt_object_is_known() {
        assert!(is_spoilt(b"\0name=stap_kbuild_stand_in\0"));
        assert!(!is_spoilt(b"\0name=stap_kbuild_stand\0"));
    }

    #[test]
    fn kernel_headers_that_the_runtime_includes_are_found_by_their_longest_names() {
        let description = [
            "gcc",
            "-I/k/include",
            "-I/k/include/uapi",
            "-I./arch/generated",
        ];
        let description = description.map(|word| Template::of(word, "rec", None).unwrap());
        let said = ". /k/include/linux/kconfig.h\n. /rt/runtime.h\n.. /k/include/linux/fs.h\n\
                    ... /k/include/linux/types.h\n.. /rt/sym.h\n... /k/include/uapi/asm/x.h\n\
                    ... ./arch/generated/y.h\n.. /k/include/linux/fs.h\n\
                    Multiple include guards may be useful for:\n/k/include/z.h\n";
        let found = included(said, &description).unwrap();
        assert_eq!(
            found,
            ["linux/kconfig.h", "linux/fs.h", "uapi/asm/x.h", "y.h"]
        );
        assert_eq!(included(". /k/include/a\"b.h\n", &description), None);
    }
}
