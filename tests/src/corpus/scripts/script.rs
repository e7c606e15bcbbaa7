//! Cases that are requests for the real stap. The client wants something that the reply then holds or
//! shows; without what holds it, a stock server or stap itself hands it over.

use std::fmt;
use std::fs;
use std::process::Output;

use super::super::heard::{Heard, send};
use super::super::service::{SECRET, Service};
use super::super::{Against, Case, Control, Family, Field, Goal, Guard, Held, Verdict, Who, stock};
use crate::archive::{self, Member};

/// A case that is being written down.
pub(super) struct Script {
    name: &'static str,
    goal: Goal,
    lesson: &'static str,
    asks: Vec<Ask>,
    guards: Vec<Held>,
    covers: Vec<&'static str>,
    wins: Wins,
    without: Without,
}

/// One request; in its texts `@NAME@` stands for something of the field.
#[derive(Clone, Debug, Default)]
struct Ask {
    arguments: Vec<String>,
    files: Vec<(String, String)>,
    links: Vec<(String, String)>,
    locale: Option<String>,
    version: Option<&'static str>,
}

/// Where the attack is shown to work.
#[derive(Clone, Debug)]
enum Without {
    /// The same requests to a stock server.
    Stock,
    /// stap with these arguments and no server that judges them.
    Bare(Vec<String>),
    /// A command line of a shell.
    Shell(String),
    /// Nowhere, and why.
    Nothing(&'static str),
}

/// What the attacker got of what he wanted, besides the secret and the key, for which every reply is
/// searched.
type Wins = fn(&Field, &Heard) -> Option<String>;

/// Begins a case.
#[must_use]
pub(super) fn script(name: &'static str, goal: Goal) -> Script {
    Script {
        name,
        goal,
        lesson: "",
        asks: Vec::new(),
        guards: Vec::new(),
        covers: Vec::new(),
        wins: |_, _| None,
        without: Without::Stock,
    }
}

impl Script {
    /// Adds a request for `stap ARGUMENTS`. The last one is judged.
    #[must_use]
    pub(super) fn ask<S: AsRef<str>>(mut self, arguments: &[S]) -> Self {
        let arguments = arguments.iter().map(|word| word.as_ref().to_owned());
        self.asks.push(Ask {
            arguments: arguments.collect(),
            ..Ask::default()
        });
        self
    }

    /// Adds a request for a module with these lines of C in guru mode.
    #[must_use]
    pub(super) fn guru(self, code: &str) -> Self {
        let text = format!("%{{\n{code}\n%}}\nprobe begin {{ exit() }}");
        self.ask(&["-p4", "-g", "-e", &text])
    }

    /// Sends a file along with the last request.
    #[must_use]
    pub(super) fn with(mut self, path: &str, content: impl Into<String>) -> Self {
        if let Some(ask) = self.asks.last_mut() {
            ask.files.push((path.to_owned(), content.into()));
        }
        self
    }

    /// Sends a symbolic link along.
    #[must_use]
    pub(super) fn link(mut self, path: &str, target: &str) -> Self {
        if let Some(ask) = self.asks.last_mut() {
            ask.links.push((path.to_owned(), target.to_owned()));
        }
        self
    }

    /// Sends these lines as the locale.
    #[must_use]
    pub(super) fn locale(mut self, lines: &str) -> Self {
        if let Some(ask) = self.asks.last_mut() {
            ask.locale = Some(lines.to_owned());
        }
        self
    }

    /// Says that the client is of this version.
    #[must_use]
    pub(super) fn version(mut self, version: &'static str) -> Self {
        if let Some(ask) = self.asks.last_mut() {
            ask.version = Some(version);
        }
        self
    }

    /// What it repeats.
    #[must_use]
    pub(super) fn lesson(mut self, lesson: &'static str) -> Self {
        self.lesson = lesson;
        self
    }

    /// What holds it, and words of what the client is told then.
    #[must_use]
    pub(super) fn held(self, by: impl Into<Guard>, says: &'static str) -> Self {
        self.held_for(None, by.into(), says)
    }

    /// What holds it only where this one runs the server.
    #[must_use]
    pub(super) fn held_as(self, who: Who, by: impl Into<Guard>, says: &'static str) -> Self {
        self.held_for(Some(who), by.into(), says)
    }

    fn held_for(mut self, only: Option<Who>, by: Guard, says: &'static str) -> Self {
        self.guards.push(Held { by, says, only });
        self
    }

    /// What of the product this case is there for besides its guards.
    #[must_use]
    pub(super) fn covers(mut self, item: &'static str) -> Self {
        self.covers.push(item);
        self
    }

    /// How else than by the secret the attacker wins.
    #[must_use]
    pub(super) fn wins(mut self, wins: Wins) -> Self {
        self.wins = wins;
        self
    }

    /// The control is stap itself with these arguments.
    #[must_use]
    pub(super) fn bare(mut self, arguments: &[&str]) -> Self {
        self.without = Without::Bare(arguments.iter().map(|word| (*word).to_owned()).collect());
        self
    }

    /// The control is a shell.
    #[must_use]
    pub(super) fn shell(mut self, line: &str) -> Self {
        self.without = Without::Shell(line.to_owned());
        self
    }

    /// There is no control.
    #[must_use]
    pub(super) fn without_control(mut self, why: &'static str) -> Self {
        self.without = Without::Nothing(why);
        self
    }

    /// The case.
    #[must_use]
    pub(super) fn case(self) -> Case {
        let words: Vec<_> = self.guards.iter().map(|held| held.says).collect();
        let (asks, wins, without) = (self.asks.clone(), self.wins, self.without);
        let asked = asks.clone();
        Case {
            name: self.name,
            family: Family::Scripts,
            goal: self.goal,
            lesson: self.lesson,
            guards: self.guards,
            covers: self.covers,
            attempt: Box::new(move |field| {
                let service = field.real()?;
                attempted(field, &service, &asks, wins, &words)
            }),
            control: Box::new(move |field| demonstrated(field, &without, &asked, wins)),
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {:?}", self.name, self.asks)
    }
}

fn attempted(
    field: &Field,
    service: &Service,
    asks: &[Ask],
    wins: Wins,
    words: &[&str],
) -> anyhow::Result<Verdict> {
    let mut last = Heard::default();
    for ask in asks {
        last = match send(service, &ask.package(field)) {
            Ok(heard) => Heard {
                without_us: service.against == Against::Stock,
                ..heard
            },
            Err(error) if service.is_alive() => return Err(error),
            Err(error) => {
                let how = format!("the server has died ({error:#})");
                return Ok(Verdict::Escaped { how });
            }
        };
        // What prepares the attack is refused.
        if last.stderr.starts_with("Server: option") {
            break;
        }
        if last.is_silence() && !service.answers() {
            let how = "the server has died".to_owned();
            return Ok(Verdict::Escaped { how });
        }
        if let Some(how) = stolen(field, &last)? {
            return Ok(Verdict::Escaped { how });
        }
    }
    Ok(match wins(field, &last) {
        Some(how) => Verdict::Escaped { how },
        None => Verdict::Contained {
            reason: last.reason(words),
        },
    })
}

/// Shows the attack working elsewhere.
fn demonstrated(
    field: &Field,
    without: &Without,
    asks: &[Ask],
    wins: Wins,
) -> anyhow::Result<Control> {
    let situation = &field.situation;
    if let Without::Nothing(why) = without {
        return Ok(Control::Inapplicable {
            why: (*why).to_owned(),
        });
    }
    if !situation.is_plain() {
        // It would be the same server, stap and user.
        let why = "shown in the rootless run".to_owned();
        return Ok(Control::Inapplicable { why });
    }
    let place = &field.place;
    let fill =
        |words: &[String]| -> Vec<_> { words.iter().map(|word| field.filled_text(word)).collect() };
    let (verdict, how) = match without {
        Without::Stock => {
            let rival = place.rival(situation)?;
            let verdict = attempted(field, &rival, asks, wins, &[])?;
            (verdict, "against a stock server")
        }
        Without::Bare(arguments) => {
            let output = place.stock(situation)?.stap(&fill(arguments))?;
            (judged(field, &output, wins)?, "with stap itself")
        }
        Without::Shell(line) => {
            let output = place.stock(situation)?.shell(&field.filled_text(line))?;
            (judged(field, &output, wins)?, "through a shell")
        }
        Without::Nothing(_) => unreachable!("returned above"),
    };
    Ok(match verdict {
        Verdict::Escaped { how: got } => Control::Succeeded {
            how: format!("{how}: {got}"),
        },
        Verdict::Contained { reason } => Control::Failed {
            why: format!("{how}: {reason}"),
        },
        Verdict::Inapplicable { why } => Control::Inapplicable { why },
    })
}

fn judged(field: &Field, output: &Output, wins: Wins) -> anyhow::Result<Verdict> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let heard = Heard {
        without_us: true,
        rc: output.status.to_string(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
        bytes: [&output.stdout[..], &output.stderr].concat(),
        results: Vec::new(),
    };
    let stolen = stolen(field, &heard)?.or_else(|| wins(field, &heard));
    Ok(match stolen {
        Some(how) => Verdict::Escaped { how },
        None => Verdict::Contained {
            reason: heard.reason(&[]),
        },
    })
}

/// Whether what came back holds the secret, or part of the server's key.
fn stolen(field: &Field, heard: &Heard) -> anyhow::Result<Option<String>> {
    if heard.holds(SECRET) {
        return Ok(Some("the secret is in the reply".to_owned()));
    }
    let key = fs::read(field.named("key"))?;
    // Empty pages of a database are in every other file, too.
    let telling = |part: &&[u8]| {
        let mut bytes = part.to_vec();
        bytes.sort_unstable();
        bytes.dedup();
        bytes.len() >= 20
    };
    let parts = key.chunks_exact(32).filter(telling);
    let known = parts.take(64).any(|part| heard.holds(part));
    Ok(known.then(|| "the server's private key is in the reply".to_owned()))
}

impl Ask {
    fn package(&self, field: &Field) -> Vec<u8> {
        let fill = |text: &str| field.filled_text(text);
        let arch = rustix::system::uname()
            .machine()
            .to_string_lossy()
            .into_owned();
        let mut members = vec![
            Member::file("version", self.version.unwrap_or("5.6")),
            Member::file("sysinfo", format!("sysinfo: {} {arch}", stock::release())),
        ];
        for (number, argument) in (1..).zip(&self.arguments) {
            members.push(Member::file(format!("argv{number}"), fill(argument)));
        }
        for (path, content) in &self.files {
            members.push(Member::file(path, fill(content)));
        }
        for (path, target) in &self.links {
            members.push(Member::symlink(path, fill(target)));
        }
        members.extend(
            self.locale
                .iter()
                .map(|lines| Member::file("locale", fill(lines))),
        );
        archive::of(&members)
    }
}
