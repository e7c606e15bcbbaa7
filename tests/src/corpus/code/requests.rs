//! What the request itself brings into the workspace.

use anyhow::ensure;
use stap_jail::layer::Layer;
use stap_protocol::job::InputFile;

use crate::corpus::service::said;
use crate::corpus::{Case, Control, Family, Goal, Guard, Held, Verdict};

pub(super) fn cases() -> Vec<Case> {
    vec![Case {
        name: "run-a-file-of-the-request",
        family: Family::Code,
        goal: Goal::Rule("programs of the client's own"),
        lesson: "compile-time plugins and tools that a request brings along",
        guards: vec![
            held(Guard::Rung("files"), "Permission denied"),
            held(Guard::Layer(Layer::Mount), "Permission denied"),
            held(Guard::Landlock(1), "Permission denied"),
        ],
        covers: vec!["rung:files"],
        attempt: Box::new(|field| {
            let file = InputFile {
                path: "script/program".try_into()?,
                content: std::fs::read("/usr/bin/true")?,
            };
            let order = ["-p2", "-e", "run script/program"];
            let reply = field.service()?.ask(&order, vec![file])?;
            let stderr = String::from_utf8_lossy(&reply.stderr);
            said(&String::from_utf8_lossy(&reply.stdout), &stderr)
        }),
        control: Box::new(|field| {
            let words = field.filled("run-copy planted-program")?;
            let verdict = field.bare(field.situation.job_uid(), &words)?;
            ensure!(matches!(verdict, Verdict::Escaped { .. }), "{verdict:?}");
            Ok(Control::Succeeded {
                how: "as the same user without a jail, who may mark it as a program".to_owned(),
            })
        }),
    }]
}

fn held(by: Guard, says: &'static str) -> Held {
    Held {
        by,
        says,
        only: None,
    }
}
