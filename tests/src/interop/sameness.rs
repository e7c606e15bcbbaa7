//! What is taken out of an answer before it is compared. It is what stock's own pair needs to be like bare stap, and is
//! taken out of all columns alike.

use super::answer::Answer;
use super::rows::{Compared, Row};
use crate::root::is_said_by_chance;

/// One thing that is not compared.
#[derive(Debug)]
pub struct Exception {
    /// What it is.
    pub what: &'static str,
    /// Why it cannot be the same.
    pub why: &'static str,
    /// Takes it out of a line; none leaves the line out.
    take_out: fn(&str) -> Option<String>,
}

/// All of them, in the order in which they are applied.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        what: "the client's lines about the server: `Using a compile server.`, `Passes: via server ...`, `The server ... (store: ...)`",
        why: "bare stap has no server to tell about",
        take_out: |line| {
            let is_about_it = line == "Using a compile server."
                || line.starts_with("Passes: via server ")
                || line.starts_with("The server ") && line.contains(" (store: ");
            (!is_about_it).then(|| line.to_owned())
        },
    },
    Exception {
        what: "Debian's `Tip: /usr/share/doc/systemtap/README.Debian ...`",
        why: "each stap that ends with an error gives it, so the client and the server do",
        take_out: |line| {
            (!line.starts_with("Tip: /usr/share/doc/systemtap/")).then(|| line.to_owned())
        },
    },
    Exception {
        what: "make's `*** Waiting for unfinished jobs....`",
        why: "it says so if another compiler is still at work when one fails, which is chance",
        take_out: |line| (!is_said_by_chance(line)).then(|| line.to_owned()),
    },
    Exception {
        what: "the memory and the time that a pass took",
        why: "they are never the same twice",
        take_out: |line| Some(without_figures(line)),
    },
    Exception {
        what: "`script/` and `tapset/` in front of the path of a file that was sent",
        why: "the server has it below the directory of the request",
        take_out: |line| Some(words(line, without_place)),
    },
    Exception {
        what: "the directory of a module or of its C file, and the number in a name that stap chose",
        why: "it is the cache or the temporary directory of whoever compiles, and the number comes from paths and users",
        take_out: |line| Some(words(line, without_choice)),
    },
    Exception {
        what: "the name of stap's temporary directory",
        why: "it is made at random, and the server calls its own `<server>/stap000000`",
        take_out: |line| Some(without_temporary(line)),
    },
];

/// Leaves of an answer what has to be the same.
#[must_use]
pub fn comparable(row: &Row, answer: &Answer) -> Answer {
    let text = |text: &str| {
        let lines = text.lines().filter_map(line);
        let kept =
            lines.filter(|line| row.compared == Compared::Whole || line.starts_with("Pass "));
        kept.map(|line| line + "\n").collect::<String>()
    };
    let (left, module) = if is_named(answer) {
        (answer.left.clone(), answer.module.clone())
    } else {
        Default::default()
    };
    Answer {
        status: answer.status,
        out: text(&answer.out),
        err: text(&answer.err),
        left,
        module,
    }
}

/// A module without a name of its own stays in the cache of bare stap, and is left in the working directory by clients.
fn is_named(answer: &Answer) -> bool {
    !answer.left.iter().any(|name| name.starts_with("stap_"))
}

fn line(text: &str) -> Option<String> {
    let first = Some(text.to_owned());
    EXCEPTIONS.iter().fold(first, |line, exception| {
        line.and_then(|line| (exception.take_out)(&line))
    })
}

/// Changes each word of a line; blanks and quotation marks stay.
fn words(line: &str, change: fn(&str) -> String) -> String {
    let is_end = |end: char| end.is_whitespace() || "'\"[](),:".contains(end);
    line.split_inclusive(is_end)
        .map(|word| {
            let (body, end) = word.split_at(word.trim_end_matches(is_end).len());
            change(body) + end
        })
        .collect()
}

fn without_figures(line: &str) -> String {
    let end = [" using ", " in "].iter().filter_map(|word| {
        let at = line.rfind(word)?;
        line[at..].ends_with("ms.").then_some(at)
    });
    let is_pass = line.starts_with("Pass ");
    end.min()
        .filter(|_| is_pass)
        .map_or_else(|| line.to_owned(), |at| line[..at].to_owned())
}

fn without_temporary(line: &str) -> String {
    let mut pieces = line.split("/tmp/stap");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_random = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let behind = piece.get(..6).filter(is_random).map(|_| &piece[6..]);
        match behind {
            Some(behind) => text.extend([THERE, behind]),
            None => text.extend(["/tmp/stap", piece]),
        }
    }
    text
}

fn without_place(word: &str) -> String {
    let sent = ["script/", "tapset/"]
        .iter()
        .find_map(|place| word.strip_prefix(place));
    sent.map_or_else(|| word.to_owned(), |path| format!("/{path}"))
}

fn without_choice(word: &str) -> String {
    let name = word.rsplit('/').next().unwrap_or(word);
    if let Some(rest) = name.strip_prefix("stap_") {
        let is_chosen = |digit: char| digit.is_ascii_hexdigit() || digit == '_';
        return format!("stap_N{}", rest.trim_start_matches(is_chosen));
    }
    let is_of_a_module = name.ends_with(".ko") || name.ends_with("_src.c");
    if is_of_a_module {
        name.to_owned()
    } else {
        word.to_owned()
    }
}

/// What servers call it.
const THERE: &str = "<server>/stap000000";

#[cfg(test)]
mod tests {
    use super::*;

    fn left_of(text: &str) -> String {
        text.lines().filter_map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_depends_on_the_place_is_taken_out() {
        for (bare, served) in [
            (
                "/home/a/.systemtap/cache/c8/stap_99ff_3.ko",
                "stap_0a1b_12.ko",
            ),
            ("at /home/m/x.stp:1:2", "at script/home/m/x.stp:1:2"),
            (
                "Pass 3: translated to C into \"/tmp/stapAb0xYz/told_src.c\" using 1virt/2res/3shr/4data kb, in 0usr/0sys/0real ms.",
                "Pass 3: translated to C into \"<server>/stap000000/told_src.c\" using 5virt/6res/7shr/8data kb, in 1usr/2sys/3real ms.",
            ),
            (
                "make: *** [/usr/src/Makefile:20: /tmp/stapAb0xYz] Error 2",
                "make: *** [/usr/src/Makefile:20: <server>/stap000000] Error 2",
            ),
            ("", "Using a compile server."),
            ("", "make[1]: *** Waiting for unfinished jobs...."),
        ] {
            assert_eq!(left_of(bare), left_of(served));
        }
    }

    #[test]
    fn what_matters_is_kept() {
        for (one, other) in [
            ("stap_1_src.c:4: error", "stap_1_src.c:5: error"),
            ("at x.stp:1:2", "at y.stp:1:2"),
            ("answer.ko", "other.ko"),
            (
                "Pass 2: analyzed script: 1 probe using 1virt",
                "Pass 2: analyzed script: 2 probes using 1virt",
            ),
            ("in 3usr/4sys/5real ms.", ""),
            ("a\nb", "b\na"),
        ] {
            assert_ne!(left_of(one), left_of(other));
        }
    }
}
