//! A few connections that say nothing: the one case of the door that any server can be judged by.

use std::net::TcpStream;

use crate::corpus::service::Service;
use crate::corpus::{Case, Control, Family, Field, Goal, Guard, Held, Verdict};

pub(super) fn cases() -> Vec<Case> {
    vec![Case {
        name: "four-silent-connections",
        family: Family::Door,
        goal: Goal::Disturb("everybody else, without a byte"),
        lesson: "each connection of a stock server holds one of its threads, of which it has one for each processor",
        guards: vec![Held {
            by: Guard::Check("silence takes a seat and nothing else"),
            says: "others are served meanwhile",
            only: None,
        }],
        covers: vec!["item:idle connections"],
        attempt: Box::new(|field| attempt(&*field.service()?)),
        control: Box::new(control),
    }]
}

fn attempt(server: &Service) -> anyhow::Result<Verdict> {
    let connect = |_| TcpStream::connect(server.address);
    let silent: Vec<TcpStream> = (0..4).map(connect).collect::<Result<_, _>>()?;
    let request = server.request(
        vec![b"-p2".to_vec(), b"-eeffective-uid".to_vec()],
        Vec::new(),
    )?;
    let answer = server.exchange(&request.encode());
    drop(silent);
    Ok(match answer {
        Ok(_) => Verdict::Contained {
            reason: "others are served meanwhile".to_owned(),
        },
        Err(why) => Verdict::Escaped {
            how: format!("nobody else is served: {why:#}"),
        },
    })
}

fn control(field: &Field) -> anyhow::Result<Control> {
    if !field.situation.is_plain() {
        let why = "shown in the rootless run".to_owned();
        return Ok(Control::Inapplicable { why });
    }
    let rival = field.place.rival_with_hostile_stap(&field.situation)?;
    Ok(match attempt(&rival)? {
        Verdict::Escaped { how } => Control::Succeeded {
            how: format!("against a stock server: {how}"),
        },
        Verdict::Contained { reason } => Control::Failed { why: reason },
        Verdict::Inapplicable { why } => Control::Inapplicable { why },
    })
}
