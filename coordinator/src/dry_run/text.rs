//! A decision for people.

use super::{Decision, Rule, Ruled};
use crate::page::{Mark, Page};

pub(super) fn of(decision: &Decision, colored: bool) -> String {
    let mut page = Page::new(colored);
    let (mark, verdict) = if decision.allowed {
        (Mark::Good, "allowed")
    } else {
        (Mark::Bad, "denied")
    };
    page.marked(mark, verdict, &decision.command);
    let origin = decision.policy.file.as_deref().unwrap_or("built in");
    let (class, target) = (&decision.policy.class, &decision.target);
    page.item("policy", &format!("'{class}' ({origin})"));
    page.item(
        "target",
        &format!("{target}, if the server has it (--list-targets)"),
    );
    if !decision.kept_by_client.is_empty() {
        page.item("kept by client", &decision.kept_by_client.join(" "));
    }
    if let Some(peer) = &decision.peer {
        let (connections, jobs) = (peer.connections, peer.jobs);
        page.item(
            "peer",
            &format!(
                "{}: at most {connections} connections and {jobs} jobs",
                peer.counted_as
            ),
        );
    }
    page.gap();
    for ruled in &decision.rulings {
        write(&mut page, ruled);
    }
    if let Some(hint) = &decision.hint {
        page.gap();
        page.text(hint);
    }
    if decision.allowed {
        page.gap();
        page.text("It would run under these limits, with all its processes:");
        for limit in &decision.limits {
            let line = limit.line.map(|line| format!("  (line {line})"));
            page.item(
                limit.name,
                &[limit.value.as_str(), &line.unwrap_or_default()].concat(),
            );
        }
        page.item("isolation", &decision.required_layers.join(" "));
    }
    page.finish()
}

fn write(page: &mut Page, ruled: &Ruled) {
    let mark = if ruled.allowed { Mark::Good } else { Mark::Bad };
    let verdict = if ruled.allowed { "allowed" } else { "denied" };
    page.marked(mark, verdict, &ruled.word);
    if let Some(reason) = &ruled.reason {
        page.under(reason);
    }
    page.under(&format!("rule: {}", rule(&ruled.rule)));
    if !ruled.allowed_by.is_empty() {
        page.under(&format!(
            "allowed by the class {}",
            ruled.allowed_by.join(", ")
        ));
    }
}

fn rule(rule: &Rule) -> String {
    let Rule { field, line, says } = rule;
    match (field, line) {
        (Some(field), Some(line)) => format!("{field}, line {line}: {says}"),
        (Some(field), None) => format!("{field}: {says}"),
        (None, _) => says.clone(),
    }
}
