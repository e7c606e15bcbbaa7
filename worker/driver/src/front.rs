//! The Makefile of a kernel's build tree, with a question in front: was it replayed?
//!
//! Jobs see it in the place of the real one. make, which stap starts as always, asks our program
//! before it reads anything else. If the answer is that the module is built, nothing is left to do;
//! otherwise make goes on with every word of the real Makefile. Nothing else about a job is
//! different, so stap and the user's script find what they would find without us.

/// Puts the question in front of a Makefile; `None` where that might change what it means, or the
/// numbers of lines that make tells in messages.
#[must_use]
pub fn fronted(text: &str) -> Option<String> {
    let first = text.lines().next()?;
    // A comment makes room for the question. Else all lines move, which nobody sees where there are
    // no rules: distributions that have the sources elsewhere include their Makefile by such a file.
    let is_comment = |line: &str| line.starts_with('#') && !line.ends_with('\\');
    let kept = if is_comment(first) {
        text.strip_prefix(first)?.strip_prefix('\n')?
    } else {
        let mut lines = text.lines();
        lines.all(says_no_rule).then_some(text)?
    };
    // A line that goes on would swallow what comes behind it.
    let is_whole = kept.ends_with('\n') && !kept.ends_with("\\\n");
    is_whole.then(|| format!("{QUESTION}\n{kept}else\nmodules: ; @:\nendif\n"))
}

/// Whether a line is empty, a comment, an inclusion or a plain assignment.
fn says_no_rule(line: &str) -> bool {
    let plain = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-~ ".contains(&byte);
        text.bytes().all(is_plain)
    };
    if line.is_empty() || (line.starts_with('#') && !line.ends_with('\\')) {
        return true;
    }
    if let Some(file) = line.strip_prefix("include ") {
        return plain(file);
    }
    let assigned = line.split_once('=');
    assigned.is_some_and(|(name, value)| {
        let name = name.strip_suffix(':').unwrap_or(name).trim_end();
        !name.is_empty() && plain(name) && !name.contains(' ') && plain(value)
    })
}

/// kbuild starts make again, maybe with the same file; only the first is asked.
const QUESTION: &str =
    "ifneq ($(if $(filter 0,$(MAKELEVEL)),$(shell /driver/stap-kbuild)),replayed)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::DIRECTORY;
    use crate::shim::{ANSWER, NAME};

    #[test]
    fn the_question_asks_the_program_for_its_answer() {
        assert!(QUESTION.contains(&format!("$(shell {DIRECTORY}/{NAME})),{ANSWER})")));
    }

    #[test]
    fn a_comment_makes_room_and_no_line_moves() {
        let text = "# SPDX-License-Identifier: GPL-2.0\nall:\n\techo $@\n";
        let fronted = fronted(text).unwrap();
        let lines: Vec<_> = fronted.lines().collect();
        assert_eq!(&lines[..3], [QUESTION, "all:", "\techo $@"]);
    }

    #[test]
    fn a_file_that_only_includes_may_move() {
        let text =
            "KBUILD_OUTPUT=/usr/src/x\ninclude /usr/src/linux-headers-7.2.12+deb14/Makefile\n";
        assert!(fronted(text).unwrap().contains(text));
    }

    #[test]
    fn what_might_mean_something_else_is_left_alone() {
        for text in [
            "",
            "all:\n\tid\n",
            "A=$(shell id)\n",
            "include x\\\n",
            "include x",
            "# a \\\nb:\n",
            "# a\nb:\n\tc \\\n",
            "if eq = x\n",
        ] {
            assert_eq!(fronted(text), None, "{text:?}");
        }
    }

    #[test]
    fn make_reads_the_real_one_unless_the_answer_is_yes() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("answer");
        let front = fronted("#\nmodules: ; @echo real $(MAKELEVEL)\n").unwrap();
        let question = front.replace("/driver/stap-kbuild", &program.display().to_string());
        std::fs::write(directory.path().join("Makefile"), question).unwrap();
        let said = |answer: &str, level: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{answer}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&program, mode).unwrap();
            let made = std::process::Command::new("make")
                .args(["-s", "modules"])
                .env("MAKELEVEL", level)
                .current_dir(directory.path())
                .output()
                .unwrap();
            assert!(made.status.success());
            String::from_utf8(made.stdout).unwrap()
        };
        assert_eq!(said("true", "0"), "real 0\n");
        assert_eq!(said("echo replayed", "0"), "");
        assert_eq!(said("echo replayed", "1"), "real 1\n");
    }
}
