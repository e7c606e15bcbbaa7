//! Packages that are accepted, because what would fool another reader is nothing to ours.
//!
//! A job reads `script/x` and must find the seven bytes that were sent under that name.

use super::kit::Kit;
use super::kit::forge::{Member, archive, file};
use super::{covered, kit, server};
use crate::corpus::{Case, Control, Family, Field, Goal, Guard, Held, Verdict};

pub(super) fn cases() -> Vec<Case> {
    let twin = |name, other| Lookalike {
        name,
        goal: Goal::Deceive("one of two readers of a name"),
        more: Vec::new,
        other: Some(other),
    };
    let odd = |name, goal, more| Lookalike {
        name,
        goal,
        more,
        other: None,
    };
    let lookalikes = [
        twin("name-in-another-case", "script/X"),
        twin("name-with-a-dot-behind", "script/x."),
        twin("name-with-a-blank-behind", "script/x "),
        twin("name-in-wide-letters", "script/\u{ff58}"),
        twin("name-with-an-invisible-letter", "script/x\u{200b}"),
        odd(
            "archive-in-the-archive",
            Goal::Exhaust("memory with bombs in bombs"),
            || {
                let bombs: Vec<_> = (0..20)
                    .map(|at| file(&format!("script/{at}"), &nested()))
                    .collect();
                bombs
            },
        ),
        odd(
            "much-in-extra-fields",
            Goal::Exhaust("memory with what nobody reads"),
            || vec![file("script/y", b"").extra(0x4242, &[0; 20_000])],
        ),
        odd(
            "dots-that-are-none",
            Goal::Write("files outside of the request"),
            || vec![file("script/\u{2024}\u{2024}/x", b"other")],
        ),
    ];
    lookalikes.map(Lookalike::case).into()
}

/// A package with something odd in it.
#[derive(Clone, Copy, Debug)]
struct Lookalike {
    name: &'static str,
    goal: Goal,
    more: fn() -> Vec<Member>,
    /// The name of a file that some file system would take for `script/x`.
    other: Option<&'static str>,
}

impl Lookalike {
    fn case(self) -> Case {
        Case {
            name: self.name,
            family: Family::Packages,
            goal: self.goal,
            lesson: "",
            guards: vec![Held {
                by: Guard::Check("names are bytes, and content is content"),
                says: "worked: 7 bytes",
                only: None,
            }],
            covers: covered(self.name),
            attempt: Box::new(move |field| self.attempt(field)),
            control: Box::new(move |field| self.control(field)),
        }
    }

    fn attempt(&self, field: &Field) -> anyhow::Result<Verdict> {
        Ok(
            match reads(field, "script/x", &self.package(&Kit::of(field)))? {
                said if said == "worked: 7 bytes" => Verdict::Contained { reason: said },
                how => Verdict::Escaped { how },
            },
        )
    }

    /// Where both names are one, the last wins.
    fn control(&self, field: &Field) -> anyhow::Result<Control> {
        let Some(other) = self.other else {
            let why = "nothing of ours would read it otherwise".to_owned();
            return Ok(Control::Inapplicable { why });
        };
        let package = Kit::of(field).reading("script/x", [file("script/x", b"the other content")]);
        let said = reads(field, "script/x", &package)?;
        let how = format!("where {other:?} is the same name: {said}");
        Ok(match said == "worked: 7 bytes" {
            false => Control::Succeeded { how },
            true => Control::Failed { why: how },
        })
    }

    fn package(&self, kit: &Kit) -> Vec<u8> {
        let other = self.other.map(|name| file(name, b"the other content"));
        let honest = file("script/x", b"content");
        kit.reading(
            "script/x",
            [honest].into_iter().chain(other).chain((self.more)()),
        )
    }
}

fn reads(field: &Field, what: &str, package: &[u8]) -> anyhow::Result<String> {
    let server = server(field, "honest", &[])?;
    let said = kit::answer(&server, package)?;
    said.map_err(|why| anyhow::anyhow!("{what} could not be read: {why}"))
}

/// An archive of an archive of an archive.
fn nested() -> Vec<u8> {
    (0..3).fold(b"content".to_vec(), |inner, _| {
        archive(&[file("x.zip", &inner)])
    })
}
