//! Request packages that do not play fair, sent to the running server.
//!
//! Each is an honest request with one trick in it. It must be refused, to the client and in the log, for
//! that trick; the same request without it, or under a policy that allows more, must be served; and where
//! the trick does something, a reader that believes the archive must show it.

mod believer;
mod contents;
mod kinds;
mod kit;
mod lookalikes;
mod names;
mod places;
mod sizes;
mod targets;

use std::rc::Rc;

use anyhow::Context as _;

use self::kit::Kit;
use super::service::Service;
use super::{Against, Case, Control, Family, Field, Goal, Guard, Held, Verdict, several};

/// Every case.
#[must_use]
pub fn cases() -> Vec<Case> {
    let families = [
        names::tricks(),
        kinds::tricks(),
        places::tricks(),
        sizes::tricks(),
        contents::tricks(),
        targets::tricks(),
    ];
    let tricks = families.into_iter().flatten().map(Trick::case);
    let cases = tricks.chain(lookalikes::cases());
    cases.chain([targets::named_again_and_again()]).collect()
}

/// A trick with a package.
#[derive(Clone, Copy, Debug)]
struct Trick {
    name: &'static str,
    goal: Goal,
    /// What it repeats.
    lesson: &'static str,
    package: fn(&Kit) -> Vec<u8>,
    /// Words of the refusal.
    says: &'static str,
    proof: Proof,
}

/// One of which nobody has written yet, and whose honest request is served.
fn trick(
    name: &'static str,
    goal: Goal,
    package: fn(&Kit) -> Vec<u8>,
    says: &'static str,
) -> Trick {
    Trick {
        name,
        goal,
        lesson: "",
        package,
        says,
        proof: Proof::Honest,
    }
}

/// How it is shown that the refusal is for the trick.
#[derive(Clone, Copy, Debug)]
enum Proof {
    /// The honest request is served.
    Honest,
    /// That, and a reader without our checks does what the trick is for, as it says.
    Believed(fn(&[u8]) -> anyhow::Result<String>),
    /// The same bytes are served under another policy.
    Allowed(&'static [(&'static str, &'static str)]),
}

impl Trick {
    fn case(self) -> Case {
        let by = match self.proof {
            Proof::Allowed([(limit, _), ..]) => Guard::Limit(limit),
            _ => Guard::Check("the reader of packages"),
        };
        Case {
            name: self.name,
            family: Family::Packages,
            goal: self.goal,
            lesson: self.lesson,
            guards: vec![Held {
                by,
                says: self.says,
                only: None,
            }],
            covers: covered(self.name),
            attempt: Box::new(move |field| self.attempt(field)),
            control: Box::new(move |field| self.control(field)),
        }
    }

    fn attempt(&self, field: &Field) -> anyhow::Result<Verdict> {
        if let (Against::Stock, Proof::Allowed(_)) = (field.situation.against, self.proof) {
            let why = "it is about a limit of our policy".to_owned();
            return Ok(Verdict::Inapplicable { why });
        }
        let server = server(field, "packages", &[])?;
        let package = (self.package)(&Kit::of(field));
        match kit::answer(&server, &package)? {
            Ok(how) => Ok(Verdict::Escaped { how }),
            Err(reason) => Ok(Verdict::Contained { reason }),
        }
    }

    fn control(&self, field: &Field) -> anyhow::Result<Control> {
        let kit = Kit::of(field);
        let (server, package) = match self.proof {
            Proof::Allowed(changes) => {
                let server = server(field, self.name, changes)?;
                (server, (self.package)(&kit))
            }
            _ => {
                // One of its own, so that its lines are not those of the refusals.
                let server = server(field, "honest", &[])?;
                (server, kit.honest())
            }
        };
        let answer = kit::answer(&server, &package)?;
        drop(server);
        if let Err(why) = answer {
            return Ok(Control::Failed { why });
        }
        let how = match self.proof {
            Proof::Honest => "without the trick".to_owned(),
            Proof::Believed(believe) => {
                let hostile = (self.package)(&kit);
                let how = believe(&hostile).context("believing the archive")?;
                format!("on a reader that believes it: {how}")
            }
            Proof::Allowed(changes) => {
                let all = changes
                    .iter()
                    .map(|(key, value)| format!("{key} = {value}"));
                format!("under {}", all.collect::<Vec<_>>().join(", "))
            }
        };
        if let Proof::Allowed(_) = self.proof {
            field.close(self.name)?;
        }
        Ok(Control::Succeeded { how })
    }
}

/// What of the product a package is there for.
fn covered(name: &str) -> Vec<&'static str> {
    let item = match name {
        "one-byte-too-many-unpacked" | "one-byte-too-many-on-the-wire" => "item:oversize packages",
        "bomb" | "bomb-of-many-members" => "item:zip bombs",
        "other-sizes-before-the-content" | "unpacks-to-more" => "item:lying headers",
        "archive-in-the-archive" => "item:nested packages",
        "many-members" | "announces-many-members" => "item:many entries",
        "name-that-goes-up-inside" => "item:names that leave",
        "name-from-the-root" => "item:absolute names",
        "name-with-a-nul" => "item:names with NUL",
        "name-longer-than-a-path" => "item:long names",
        "name-twice" => "item:duplicate names",
        "name-in-another-case" => "item:case tricks",
        "link-to-a-file" => "item:links",
        "one-target-too-many" => "item:targets of a request",
        _ => return Vec::new(),
    };
    vec![item]
}

/// A server with room for few and small requests, so that a case needs no large one.
fn server(
    field: &Field,
    name: &'static str,
    changes: &[(&str, &str)],
) -> anyhow::Result<Rc<Service>> {
    let small = [
        ("compressed", "\"64 KiB\""),
        ("unpacked", "\"4 MiB\""),
        ("files", "64"),
        ("arguments", "64"),
        ("targets", "1"),
    ];
    let all: Vec<_> = changes.iter().chain(&small).copied().collect();
    let (server, _) = several::serve(field, name, &all, "--max-threads=1", 2)?;
    Ok(server)
}
