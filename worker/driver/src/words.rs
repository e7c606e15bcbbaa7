//! The commands that kbuild leaves in its `.cmd` files, read as a shell would read them.
//!
//! Only what a shell cannot understand in two ways is read: plain words, words in single quotes, and
//! `;` between commands. Everything else (variables, redirections, patterns, pipes) is refused, so
//! that what is replayed without a shell is what a shell ran.

/// Why a line is not replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// There is no line for the file.
    Missing(String),
    /// A character that a shell gives a meaning to.
    Special(char),
    /// A quote without an end.
    Unclosed,
    /// More than there ever is.
    TooLong,
    /// Nothing to run.
    Empty,
}

impl std::fmt::Display for Unclear {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(target) => write!(formatter, "no command for {target} was left"),
            Self::Special(character) => {
                write!(formatter, "a command has {character:?} outside of quotes")
            }
            Self::Unclosed => formatter.write_str("a command has a quote without an end"),
            Self::TooLong => formatter.write_str("a command is too long"),
            Self::Empty => formatter.write_str("a command has no words"),
        }
    }
}

impl std::error::Error for Unclear {}

/// The words of one command.
pub type Words = Vec<String>;

/// Returns the commands that made `target`, from the text of its `.cmd` file.
///
/// # Errors
///
/// When there are none, or a shell might read them otherwise.
pub fn saved(text: &str, target: &str) -> Result<Vec<Words>, Unclear> {
    let line = text.lines().find_map(|line| {
        // Kernels before 6.2 leave out `saved`.
        let named = line.strip_prefix("saved").unwrap_or(line);
        let rest = named.strip_prefix("cmd_")?.strip_prefix(target)?;
        rest.strip_prefix(" :=")
    });
    commands(line.ok_or_else(|| Unclear::Missing(target.to_owned()))?)
}

/// Reads one line of commands.
///
/// # Errors
///
/// When a shell might read it otherwise.
pub fn commands(line: &str) -> Result<Vec<Words>, Unclear> {
    if line.len() > MAX_LINE {
        return Err(Unclear::TooLong);
    }
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let first = word.is_none();
        match character {
            ' ' | '\t' => end_word(&mut commands, &mut word),
            ';' => {
                end_word(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            '\'' => quoted(&mut characters, word.get_or_insert_default())?,
            '~' | '=' if first => return Err(Unclear::Special(character)),
            plain if is_plain(plain) => word.get_or_insert_default().push(plain),
            special => return Err(Unclear::Special(special)),
        }
    }
    end_word(&mut commands, &mut word);
    // kbuild's own way to write nothing after a semicolon.
    commands.retain(|words| !words.is_empty() && *words != ["true"] && *words != [":"]);
    if commands.is_empty() {
        return Err(Unclear::Empty);
    }
    let assigns = |words: &Words| words.first().is_some_and(|word| word.contains('='));
    if commands.iter().any(assigns) {
        return Err(Unclear::Special('='));
    }
    Ok(commands)
}

fn end_word(commands: &mut [Words], word: &mut Option<String>) {
    if let (Some(words), Some(word)) = (commands.last_mut(), word.take()) {
        words.push(word);
    }
}

fn quoted(characters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Unclear> {
    loop {
        match characters.next() {
            Some('\'') => return Ok(()),
            // make doubles a dollar, and control characters mark places in a template.
            Some(special) if special == '$' || special.is_control() => {
                return Err(Unclear::Special(special));
            }
            Some(plain) => word.push(plain),
            None => return Err(Unclear::Unclosed),
        }
    }
}

/// What stands for itself to every shell, wherever it is in a word but for the first of `~` and `=`.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-+=./:,@%~^".contains(character)
}

/// The longest that was seen has 5 kB.
const MAX_LINE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_are_split_as_a_shell_does_it() {
        let line = "  gcc-16 -Wp,-MMD,./.a.o.d  -DNAME='\"a\"' -c -o a.o a.c  ; objtool --link a.o";
        let read = commands(line).unwrap();
        assert_eq!(
            read,
            [
                vec![
                    "gcc-16",
                    "-Wp,-MMD,./.a.o.d",
                    "-DNAME=\"a\"",
                    "-c",
                    "-o",
                    "a.o",
                    "a.c"
                ],
                vec!["objtool", "--link", "a.o"],
            ]
        );
        assert_eq!(commands("ld -r; true").unwrap(), [["ld", "-r"]]);
        assert_eq!(commands("printf ''").unwrap(), [["printf", ""]]);
    }

    #[test]
    fn what_a_shell_gives_a_meaning_to_is_refused() {
        for (line, special) in [
            ("a $HOME", '$'),
            ("a `id`", '`'),
            ("a | b", '|'),
            ("a > b", '>'),
            ("a & b", '&'),
            ("a \"b c\"", '"'),
            ("a \\b", '\\'),
            ("a *.o", '*'),
            ("( a )", '('),
            ("{ a; }", '{'),
            ("a # b", '#'),
            ("a ~/b", '~'),
            ("a !b", '!'),
            ("A=1 b", '='),
            ("a '$$b'", '$'),
            ("a 'b\u{1}'", '\u{1}'),
            ("a b\u{2}", '\u{2}'),
            ("a\rb", '\r'),
        ] {
            assert_eq!(commands(line), Err(Unclear::Special(special)), "{line}");
        }
        assert_eq!(commands("a 'b"), Err(Unclear::Unclosed));
        assert_eq!(commands(" ; true"), Err(Unclear::Empty));
        assert_eq!(commands(&"a".repeat(MAX_LINE + 1)), Err(Unclear::TooLong));
    }

    #[test]
    fn the_line_is_that_of_the_file_and_no_other() {
        let text = "savedcmd_ab.o := gcc ab\nsource_a.o := a.c\nsavedcmd_a.o := gcc a\n";
        assert_eq!(saved(text, "a.o").unwrap(), [["gcc", "a"]]);
        assert_eq!(saved("cmd_a.o := gcc a\n", "a.o").unwrap(), [["gcc", "a"]]);
        let missing = saved(text, "b.o").expect_err("there is none");
        assert_eq!(missing, Unclear::Missing("b.o".to_owned()));
    }

    proptest! {
        /// Whatever is read means the same to a real shell.
        #[test]
        fn a_shell_reads_the_same(line in "[a-z ;'=~$\"\\\\.,@%^:/+_-]{0,40}") {
            if let Ok(read) = commands(&line) {
                let script = format!("show() {{ printf '%s\\n' \"$#\" \"$@\"; }}\n{}",
                    read_by_shell(&line));
                let ran = std::process::Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
                let expected: String = read.iter().map(|words| {
                    let words: String = words.iter().map(|word| format!("{word}\n")).collect();
                    format!("{}\n{words}", words.lines().count())
                }).collect();
                prop_assert_eq!(String::from_utf8(ran.stdout).unwrap(), expected);
            }
        }

        #[test]
        fn no_line_makes_it_panic(line in any::<String>()) {
            let _read = commands(&line);
        }
    }

    /// Each command of the line, shown instead of run.
    fn read_by_shell(line: &str) -> String {
        let mut parts = vec![String::new()];
        let mut is_quoted = false;
        for character in line.chars() {
            is_quoted ^= character == '\'';
            match character {
                ';' if !is_quoted => parts.push(String::new()),
                other => parts.last_mut().unwrap().push(other),
            }
        }
        let trimmed = parts.iter().map(|part| part.trim());
        trimmed
            .filter(|part| !part.is_empty() && *part != ":" && *part != "true")
            .map(|part| format!("show {part}\n"))
            .collect()
    }
}
