//! The body of the fuzz target in `fuzz/`, as a plain function, so that the committed corpus is
//! replayed by the ordinary tests. It panics when a promise is broken.

use crate::invocation::Invocation;
use crate::recipe::Recipe;
use crate::record::{self, Leftovers};
use crate::words;

/// The module whose build is recorded.
pub const MODULE: &str = "rec";

/// What kbuild left: the texts of [`record::wanted`], separated by NUL bytes; an empty one is a file
/// that is not there. Whatever is recorded is written down so that it is read again, and each command
/// means the same when all of its words are quoted.
///
/// # Panics
/// When a promise is broken.
pub fn recording(bytes: &[u8]) {
    let texts = bytes.split(|byte| *byte == 0);
    let files = record::wanted(MODULE).into_iter().zip(texts);
    let files = files.filter(|(_, text)| !text.is_empty());
    let files = files.map(|(name, text)| (name, text.to_vec()));
    let leftovers = Leftovers {
        files: files.collect(),
    };
    for content in leftovers.files.values() {
        if let Ok(text) = std::str::from_utf8(content) {
            text.lines().for_each(commands);
        }
    }
    if let Ok(build) = record::build(&leftovers, &invocation(), "/src/build") {
        let recipe = Recipe {
            builds: vec![build],
            ..Recipe::default()
        };
        let again = Recipe::decode(&recipe.encode());
        assert_eq!(again, Some(recipe), "a recipe changes when it is written");
    }
}

/// The part of a line behind `:=` is what make had a shell run.
fn commands(line: &str) {
    let line = line
        .split_once(" :=")
        .map_or(line, |(_, commands)| commands);
    let Ok(read) = words::commands(line) else {
        return;
    };
    let quoted = |words: &words::Words| {
        let words = words.iter().map(|word| format!("'{word}'"));
        words.collect::<Vec<_>>().join(" ")
    };
    let quoted: Vec<_> = read.iter().map(quoted).collect();
    let quoted = quoted.join(" ; ");
    assert!(
        !quoted.contains('$') && !quoted.contains(char::is_control),
        "what a shell or a template gives a meaning to gets through"
    );
    assert_eq!(
        words::commands(&quoted),
        Ok(read),
        "a command changes when it is quoted"
    );
}

fn invocation() -> Invocation {
    let words = b"make\0-C\0/lib/build\0M=/w\0modules\0-j3\0";
    let told = Invocation::told(b"PATH=/bin\0", words);
    Invocation::read(&told).expect("it starts kbuild")
}
