//! Cases that are one order to `hostile-stap`, judged by what comes back.

use super::super::heard::{Heard, send};
use super::super::service::{SECRET, Service};
use super::super::{Against, Case, Control, Family, Field, Goal, Guard, Held, Verdict};
use crate::wait;

/// A case that is being written down.
pub(super) struct Left {
    name: &'static str,
    goal: Goal,
    lesson: &'static str,
    orders: Vec<String>,
    guards: Vec<Held>,
    covers: Vec<&'static str>,
    wins: Wins,
    no_control: Option<&'static str>,
}

/// What the attacker got, besides the secret, for which every reply is searched.
type Wins = fn(&Heard) -> Option<String>;

/// Begins a case: a job carries out this order.
pub(super) fn result(name: &'static str, goal: Goal, order: &str) -> Left {
    Left {
        name,
        goal,
        lesson: "",
        orders: vec![order.to_owned()],
        guards: Vec::new(),
        covers: Vec::new(),
        wins: |_| None,
        no_control: None,
    }
}

impl Left {
    /// Another job carries out this order afterwards; that one is judged.
    pub(super) fn then(mut self, order: &str) -> Self {
        self.orders.push(order.to_owned());
        self
    }

    /// What it repeats.
    pub(super) fn lesson(mut self, lesson: &'static str) -> Self {
        self.lesson = lesson;
        self
    }

    /// How else the attacker wins.
    pub(super) fn wins(mut self, wins: Wins) -> Self {
        self.wins = wins;
        self
    }

    /// What of the product this case is there for besides its guards.
    pub(super) fn covers(mut self, item: &'static str) -> Self {
        self.covers.push(item);
        self
    }

    /// What holds it, and words of what is said then.
    pub(super) fn held(mut self, by: impl Into<Guard>, says: &'static str) -> Self {
        self.guards.push(Held {
            by: by.into(),
            says,
            only: None,
        });
        self
    }

    /// There is no control.
    pub(super) fn without_control(mut self, why: &'static str) -> Self {
        self.no_control = Some(why);
        self
    }

    /// The case.
    pub(super) fn case(self) -> Case {
        let words: Vec<_> = self.guards.iter().map(|held| held.says).collect();
        let (orders, wins, no_control) = (self.orders.clone(), self.wins, self.no_control);
        let again = self.orders;
        Case {
            name: self.name,
            family: Family::Results,
            goal: self.goal,
            lesson: self.lesson,
            guards: self.guards,
            covers: self.covers,
            attempt: Box::new(move |field| {
                let off = [("landlock", "\"off\"")];
                let service = field.serve("without-landlock", &off, &["--max-threads=1"])?;
                attempted(field, &service, &orders, wins, &words)
            }),
            control: Box::new(move |field| demonstrated(field, &again, wins, no_control)),
        }
    }
}

fn attempted(
    field: &Field,
    service: &Service,
    orders: &[String],
    wins: Wins,
    words: &[&str],
) -> anyhow::Result<Verdict> {
    let logged = service.said().len();
    let mut last = Heard::default();
    for order in orders {
        let script = field.filled(order)?.join(" ");
        let arguments = ["-p2", "-e", &script].map(|word| word.as_bytes().to_vec());
        let package = service.request(arguments.to_vec(), Vec::new())?.encode();
        last = match send(service, &package) {
            Ok(heard) => heard,
            Err(error) if service.is_alive() => return Err(error),
            Err(error) => {
                let how = format!("the server has died ({error:#})");
                return Ok(Verdict::Escaped { how });
            }
        };
    }
    let secret = last
        .holds(SECRET)
        .then(|| "the secret is in the reply".to_owned());
    if let Some(how) = secret.or_else(|| wins(&last)) {
        return Ok(Verdict::Escaped { how });
    }
    // What is left behind is told to the operator, not to the client, and may come a moment later.
    let told = || service.said().get(logged..).unwrap_or_default().to_owned();
    if service.against == Against::Ours && words.contains(&NOTED) {
        wait::within_patience(|| told().contains(NOTED));
    }
    let told = told();
    let noted = told
        .lines()
        .find_map(|line| line.find(NOTED).map(|start| &line[start..]));
    let reason = if last.rc.is_empty() {
        format!("no result: {}", told.lines().last().unwrap_or_default())
    } else {
        last.reason(words)
    };
    let reason = noted.map_or(reason, str::to_owned);
    Ok(Verdict::Contained { reason })
}

/// The log's words about what is not taken.
pub(super) const NOTED: &str = "a result is not as it should be";

fn demonstrated(
    field: &Field,
    orders: &[String],
    wins: Wins,
    no_control: Option<&'static str>,
) -> anyhow::Result<Control> {
    let inapplicable = |why: &str| {
        Ok(Control::Inapplicable {
            why: why.to_owned(),
        })
    };
    if let Some(why) = no_control {
        return inapplicable(why);
    }
    if !field.situation.is_plain() {
        return inapplicable("shown in the rootless run");
    }
    let rival = field.place.rival_with_hostile_stap(&field.situation)?;
    let orders: Vec<_> = orders
        .iter()
        .map(|order| order.replace("{job-home}", &rival_home(field)))
        .collect();
    Ok(match attempted(field, &rival, &orders, wins, &[])? {
        Verdict::Escaped { how } => Control::Succeeded {
            how: format!("against a stock server: {how}"),
        },
        Verdict::Contained { reason } => Control::Failed { why: reason },
        Verdict::Inapplicable { why } => Control::Inapplicable { why },
    })
}

fn rival_home(field: &Field) -> String {
    field
        .situation
        .scratch
        .join("stock-home")
        .display()
        .to_string()
}
