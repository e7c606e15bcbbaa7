//! Lists of targets that name what is none, or too much.

use super::kit::forge::file;
use super::kit::{Kit, Squeeze as _};
use super::{Proof, Trick, server, trick};
use crate::corpus::{Against, Case, Control, Family, Field, Goal, Guard, Held, Verdict, several};

pub(super) fn tricks() -> Vec<Trick> {
    [names_of_none(), too_much()].concat()
}

fn names_of_none() -> Vec<Trick> {
    let deceiving = |name, package, says| {
        let goal = Goal::Deceive("the server about what is built for");
        trick(name, goal, package, says)
    };
    vec![
        trick(
            "target-that-goes-up",
            Goal::Read("a tree outside of the roots"),
            |kit| listing(kit, "../../etc"),
            "the target '../../etc' is not accepted",
        ),
        deceiving(
            "target-with-a-nul",
            |kit| listing(kit, "6.1\0-amd64"),
            "the target '6.1",
        ),
        deceiving(
            "target-with-a-line-break",
            |kit| listing(kit, "6.1\r-amd64"),
            "the target '6.1",
        ),
        deceiving(
            "target-of-two-architectures",
            |kit| listing(kit, "6.1:x86_64:x86_64"),
            "is not accepted",
        ),
        deceiving(
            "targets-without-a-target",
            |kit| listing(kit, "\n \n"),
            "its list of targets is empty",
        ),
    ]
}

fn too_much() -> Vec<Trick> {
    let exhausting = |name, package, says| {
        let goal = Goal::Exhaust("the server's attention");
        trick(name, goal, package, says)
    };
    vec![
        exhausting(
            "target-longer-than-a-name",
            |kit| listing(kit, &"6".repeat(1 << 20)),
            "is longer than",
        ),
        exhausting(
            "target-of-many-wildcards",
            |kit| listing(kit, &"*".repeat(1 << 20)),
            "is longer than",
        ),
        exhausting(
            "targets-of-many-wildcards-that-fit-nothing",
            |kit| listing(kit, &format!("{}b\n", "*a".repeat(30)).repeat(64)),
            "or 60 more",
        ),
        exhausting(
            "thousands-of-targets",
            |kit| listing(kit, &"*\n".repeat(100_000)),
            "there are 100000 targets",
        ),
        Trick {
            proof: Proof::Allowed(&[("targets", "2")]),
            ..trick(
                "one-target-too-many",
                Goal::Exhaust("what one request may have done"),
                |kit| listing(kit, &several::releases(2).join("\n")),
                "2 targets",
            )
        },
    ]
}

fn listing(kit: &Kit, targets: &str) -> Vec<u8> {
    kit.with(file("targets", targets.as_bytes()).squeezed())
}

/// Whoever names a target in every way has one job for it.
pub(super) fn named_again_and_again() -> Case {
    Case {
        name: "target-named-again-and-again",
        family: Family::Packages,
        goal: Goal::Exhaust("more than one job for a target"),
        lesson: "",
        guards: vec![Held {
            by: Guard::Check("the choice of targets"),
            says: "1 reply for 64 names",
            only: None,
        }],
        covers: Vec::new(),
        attempt: Box::new(|field| match field.situation.against {
            Against::Stock => Ok(Verdict::Inapplicable {
                why: "it knows of no requests for several targets".to_owned(),
            }),
            Against::Ours => {
                let only = several::releases(1).remove(0);
                let machine = rustix::system::uname();
                let whole = format!("{only}:{}", machine.machine().to_string_lossy());
                let wild = format!("{}*", &only[..only.len() - 1]);
                let names = [only, whole, wild].into_iter().cycle().take(64);
                Ok(match replies(field, &names.collect::<Vec<_>>())? {
                    1 => Verdict::Contained {
                        reason: "1 reply for 64 names".to_owned(),
                    },
                    more => Verdict::Escaped {
                        how: format!("{more} replies"),
                    },
                })
            }
        }),
        control: Box::new(|field| {
            Ok(match replies(field, &several::releases(2))? {
                2 => Control::Succeeded {
                    how: "two names of two targets: 2 replies".to_owned(),
                },
                other => Control::Failed {
                    why: format!("{other} replies for two targets"),
                },
            })
        }),
    }
}

fn replies(field: &Field, names: &[String]) -> anyhow::Result<usize> {
    let server = server(field, "named", &[("targets", "2")])?;
    let reply = server.exchange(&several::package("effective-uid", names)?)?;
    Ok(several::each(&reply)?.len())
}
