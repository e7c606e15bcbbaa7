//! Cases that are one order to `hostile-stap`: it says itself whether it worked or what stopped it.

use std::collections::BTreeSet;

use anyhow::ensure;
use stap_jail::layer::Layer;

use super::bench::{NAMESPACES, Without};
use super::{Case, Control, Family, Field, Goal, Guard, Held, Verdict, Who};

/// A case that is being written down.
#[derive(Debug)]
pub struct Payload {
    name: &'static str,
    goal: Goal,
    order: &'static str,
    lesson: &'static str,
    guards: Vec<Held>,
    covers: Vec<&'static str>,
    bare: Option<&'static str>,
}

/// Begins a case. The order's words are separated by blanks; `{NAME}` stands for something of the
/// [`Field`].
#[must_use]
pub fn payload(name: &'static str, goal: Goal, order: &'static str) -> Payload {
    Payload {
        name,
        goal,
        order,
        lesson: "",
        guards: Vec::new(),
        covers: Vec::new(),
        bare: None,
    }
}

impl Payload {
    /// What it repeats.
    #[must_use]
    pub fn lesson(mut self, lesson: &'static str) -> Self {
        self.lesson = lesson;
        self
    }

    /// What holds it, and what that says when it is alone. The first that is named is the one that
    /// answers when all are there.
    #[must_use]
    pub fn held(self, by: impl Into<Guard>, says: &'static str) -> Self {
        self.held_for(None, by.into(), says)
    }

    /// What holds it only where this one runs the server.
    #[must_use]
    pub fn held_as(self, who: Who, by: impl Into<Guard>, says: &'static str) -> Self {
        self.held_for(Some(who), by.into(), says)
    }

    fn held_for(mut self, only: Option<Who>, by: Guard, says: &'static str) -> Self {
        self.guards.push(Held { by, says, only });
        self
    }

    /// What of the product this case is there for besides its guards.
    #[must_use]
    pub fn covers(mut self, item: &'static str) -> Self {
        self.covers.push(item);
        self
    }

    /// Another order for the control without a jail, where things have other names.
    #[must_use]
    pub fn without_a_jail(mut self, order: &'static str) -> Self {
        self.bare = Some(order);
        self
    }

    /// The case.
    #[must_use]
    pub fn case(self) -> Case {
        let (order, guards) = (self.order, self.guards.clone());
        let bare = self.bare.unwrap_or(order);
        Case {
            name: self.name,
            family: Family::Code,
            goal: self.goal,
            lesson: self.lesson,
            guards: self.guards,
            covers: self.covers,
            attempt: Box::new(move |field| field.service()?.attack(&field.filled(order)?)),
            control: Box::new(move |field| demonstrate(field, order, bare, &guards)),
        }
    }
}

/// Takes the guards away one by one and all together. The attack must work when none is left, and be
/// stopped by each of them alone.
fn demonstrate(field: &Field, order: &str, bare: &str, guards: &[Held]) -> anyhow::Result<Control> {
    let who = field.situation.who;
    let here = |held: &&Held| held.applies_to(who) && field.has(held.by);
    let guards: Vec<&Held> = guards.iter().filter(here).collect();
    let layers: BTreeSet<Layer> = guards.iter().filter_map(|held| held.by.layer()).collect();
    let last = guards.iter().find(|held| held.by.is_beyond_layers());
    let words = field.filled(order)?;
    for held in &guards {
        let Some(own) = held.by.layer() else { continue };
        // What stays besides it would stop the attack, too.
        let rests_on_another =
            who == Who::User && NAMESPACES.contains(&own) && layers.contains(&Layer::User);
        let answers_the_same = last.is_some_and(|last| last.says == held.says);
        if (layers.len() == 1 && last.is_none()) || answers_the_same || rests_on_another {
            continue;
        }
        let others = layers.iter().copied().filter(|layer| *layer != own);
        let mut others = Without::layers(who, others);
        others.keep(own);
        judge_alone(held, &field.bench(&others, &words)?, &others)?;
    }
    let none = Without::layers(who, layers);
    let verdict = field.bench(&none, &words)?;
    if let Some(why) = lacking(field, &verdict, &words)? {
        return Ok(Control::Inapplicable { why });
    }
    let Some(last) = last else {
        return Ok(succeeded(verdict, &format!("without {none}")));
    };
    judge_alone(last, &verdict, &none)?;
    let words = field.filled(bare)?;
    Ok(match last.by {
        Guard::Unprivileged | Guard::Undelegated => {
            succeeded(field.bare(0, &words)?, "as root without a jail")
        }
        _ => {
            let verdict = field.bare(field.situation.job_uid(), &words)?;
            succeeded(verdict, "as the same user without a jail")
        }
    })
}

/// A guard that is left alone must stop the attack, in its own words.
fn judge_alone(held: &Held, verdict: &Verdict, without: &Without) -> anyhow::Result<()> {
    let Verdict::Contained { reason } = verdict else {
        anyhow::bail!(
            "{} alone (without {without}) does not hold it: {verdict:?}",
            held.by
        );
    };
    let (by, says) = (held.by, held.says);
    ensure!(
        reason.contains(says),
        "{by} alone (without {without}) says {reason:?}, not {says:?}"
    );
    Ok(())
}

/// What a kernel does not have at all cannot be shown to work; root without a jail knows.
fn lacking(field: &Field, verdict: &Verdict, words: &[String]) -> anyhow::Result<Option<String>> {
    let Verdict::Contained { reason } = verdict else {
        return Ok(None);
    };
    if !ABSENT.iter().any(|words| reason.contains(words)) {
        return Ok(None);
    }
    Ok(match field.bare(0, words)? {
        Verdict::Contained { reason: same } if ABSENT.iter().any(|words| same.contains(words)) => {
            Some(format!("this machine lacks it altogether ({reason})"))
        }
        _ => None,
    })
}

fn succeeded(verdict: Verdict, how: &str) -> Control {
    match verdict {
        Verdict::Escaped { .. } => Control::Succeeded {
            how: how.to_owned(),
        },
        Verdict::Contained { reason } => Control::Failed {
            why: format!("{how}: {reason}"),
        },
        Verdict::Inapplicable { why } => Control::Inapplicable { why },
    }
}

/// How a kernel says that it was built without something, the last by killing: it runs no 32-bit
/// programs.
const ABSENT: [&str; 4] = [
    "Function not implemented",
    "Address family not supported",
    "No such device",
    "signal 11",
];
