//! A diagnosis for people.

use super::{Class, Diagnosis, Finding, Layer, State};
use crate::page::{Mark, Page};

pub(super) fn of(diagnosis: &Diagnosis, colored: bool) -> String {
    let mut page = Page::new(colored);
    let host = rustix::system::uname();
    let (version, uid) = (diagnosis.version, diagnosis.uid);
    let host = host.nodename().to_string_lossy();
    page.text(&format!("stap-serverd {version} on {host}, as uid {uid}"));
    page.heading("Layers, in the order in which a job meets them");
    for layer in &diagnosis.layers {
        write_layer(&mut page, layer);
    }
    page.heading("What surrounds them");
    for finding in &diagnosis.host {
        write_finding(&mut page, finding);
    }
    write_targets(&mut page, diagnosis);
    page.heading("The classes that come with the program");
    for class in &diagnosis.classes {
        write_class(&mut page, class);
    }
    page.gap();
    write_verdict(&mut page, diagnosis);
    page.finish()
}

fn write_layer(page: &mut Page, layer: &Layer) {
    let (mark, word) = match (layer.in_force, layer.demand.as_str()) {
        (true, _) => (Mark::Good, "yes"),
        (false, "require") => (Mark::Bad, "NO"),
        (false, "off") => (Mark::Note, "off"),
        (false, _) => (Mark::Doubtful, "no"),
    };
    let demand = match layer.demand.as_str() {
        "require" => "required; ",
        "try" => "tried; ",
        _ => "",
    };
    page.finding(mark, word, &layer.name, &[demand, &layer.detail].concat());
    if !layer.remedy.is_empty() {
        page.beside(&format!("to do: {}", layer.remedy));
    }
}

fn write_finding(page: &mut Page, finding: &Finding) {
    let (mark, word) = match finding.state {
        State::Ok => (Mark::Good, "ok"),
        State::Note => (Mark::Note, "note"),
        State::Warn => (Mark::Doubtful, "warn"),
        State::Bad => (Mark::Bad, "BAD"),
    };
    page.finding(mark, word, finding.name, &finding.detail);
    if !finding.remedy.is_empty() {
        page.beside(&format!("to do: {}", finding.remedy));
    }
}

fn write_targets(page: &mut Page, diagnosis: &Diagnosis) {
    page.heading("Targets");
    for target in &diagnosis.targets {
        let (root, stap, compiler) = (
            target.root.display(),
            &target.stap_version,
            &target.compiler,
        );
        let detail = format!("from {root} with stap {stap} and {compiler}");
        page.marked(Mark::Good, "yes", &format!("{} {detail}", target.name));
        page.beside(&format!("pass 4: {}", target.pass_4_in_words()));
    }
    for unusable in &diagnosis.not_served {
        let (tree, reason) = (unusable.build_tree.display(), &unusable.reason);
        page.marked(Mark::Doubtful, "no", &format!("{tree}: {reason}"));
    }
    if let Some(obstacle) = &diagnosis.obstacle {
        page.marked(Mark::Doubtful, "unknown", obstacle);
    } else if diagnosis.targets.is_empty() {
        page.marked(
            Mark::Bad,
            "none",
            "no server starts; install systemtap and kernel headers, or add a root with --root",
        );
    }
}

fn write_class(page: &mut Page, class: &Class) {
    if class.met {
        let without = if class.without.is_empty() {
            "every layer that it asks for".to_owned()
        } else {
            format!("can be met, without {}", class.without.join(", "))
        };
        page.finding(Mark::Good, "yes", &class.class, &without);
        return;
    }
    let why = match (&class.refusal, class.missing.is_empty()) {
        (_, false) => format!("requires {}; see there", class.missing.join(", ")),
        (Some(refusal), true) => refusal.clone(),
        (None, true) => String::new(),
    };
    page.finding(Mark::Bad, "NO", &class.class, &why);
}

fn write_verdict(page: &mut Page, diagnosis: &Diagnosis) {
    let policy = &diagnosis.policy;
    let file = policy.file.as_ref().map(|file| format!(" ({file})"));
    let name = format!("The policy '{}'{}", policy.class, file.unwrap_or_default());
    match &policy.refusal {
        None => page.text(&format!("{name} can be met here.")),
        Some(refusal) => page.text(&format!("{name} cannot be met here: {refusal}")),
    }
}
