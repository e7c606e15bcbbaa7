//! Small requests that cost much.

use super::super::heard::Heard;
use super::super::{Case, Field, Goal, Guard, Who};
use super::script::script;

pub(super) fn cases() -> Vec<Case> {
    let memory = Goal::Exhaust("the memory of the host");
    vec![
        script("macro-bomb", memory)
            .ask(&["-p1", "-e", &macros(8)])
            .lesson("10^8 terms from a thousand bytes")
            .wins(took_it_all)
            .held_as(Who::Root, Guard::Limit("memory"), "'memory'")
            .held_as(Who::User, Guard::Limit("memory"), "emory")
            .covers("limit:memory")
            .case(),
        script("macro-names-itself", memory)
            .ask(&[
                "-p1",
                "-e",
                "@define x %( @x %) probe begin { println(@x) }",
            ])
            .lesson("PR13338: expansion without end")
            .wins(took_it_all)
            .held_as(Who::Root, Guard::Limit("memory"), "'memory'")
            .held_as(Who::User, Guard::Limit("memory"), "emory")
            .case(),
        script("include-without-end", memory)
            .guru("#include \"/dev/zero\"")
            .lesson("judge0#64: #include </dev/random> hung the queue")
            .wins(took_it_all)
            .held(Guard::Limit("memory"), "emory")
            .case(),
        script(
            "deep-nesting",
            Goal::Disturb("the server by a crash of stap"),
        )
        .ask(&["-p1", "script/x.stp"])
        .with("script/x.stp", nested(200_000))
        .held(Guard::Check("stap is a process of its own"), "signal 11")
        .without_control("a crash of stap hurts nobody but its client anywhere")
        .case(),
        script("many-probes", Goal::Exhaust("the time of the server"))
            .ask(&["-p2", "script/x.stp"])
            .with(
                "script/x.stp",
                format!("probe {} {{ exit() }}", vec!["begin"; 5_000].join(",")),
            )
            .held_as(Who::User, Guard::Limit("stdout"), "rc 0")
            .held_as(Who::Root, Guard::Limit("stdout"), "'stdout'")
            .without_control("it costs seconds, which everybody may have")
            .case(),
        script("huge-array", memory)
            .ask(&[
                "-p3",
                "-DMAXMAPENTRIES=2000000000",
                "-e",
                "global a[2000000000] probe begin { a[1] = 1 exit() }",
            ])
            .held(Guard::Limit("memory"), "rc 0")
            .without_control("it costs nothing before the module is loaded")
            .case(),
    ]
}

/// A script whose macros each hold ten of the one before.
fn macros(levels: usize) -> String {
    let mut text = "@define a0 %( 1 %)\n".to_owned();
    for level in 1..=levels {
        let terms = vec![format!("@a{}", level - 1); 10].join("+");
        text.push_str(&["@define a", &level.to_string(), " %( ", &terms, " %)\n"].concat());
    }
    [
        &text,
        "probe begin { println(@a",
        &levels.to_string(),
        ") }",
    ]
    .concat()
}

fn nested(depth: usize) -> String {
    let (open, close) = ("(".repeat(depth), ")".repeat(depth));
    format!("probe begin {{ println({open}1{close}) }}")
}

/// The stock server's bound is the lab's, and three times what our policy gives.
fn took_it_all(_: &Field, heard: &Heard) -> Option<String> {
    let said = ["--rlimit-as", "out of memory", "memory exhausted"];
    let ended = said.iter().any(|words| heard.stderr.contains(words));
    (heard.without_us && ended)
        .then(|| "it takes all that the lab lets it have (1.6 GB)".to_owned())
}
