//! What is done for each action.

use std::time::Duration;

use super::arguments::{Action, Description, Identity};
use super::launch::launch;
use super::places::{Places, files_in, read_if_there};
use super::registry::{Entry, Registry};
use super::settings::{Setting, Settings};
use super::{Failure, Outcome};
use crate::diagnostics::{Diagnostics, print_result};
use crate::host::Host;

/// One run of the tool.
#[derive(Debug)]
pub(super) struct Manager<'a> {
    pub(super) places: &'a Places,
    pub(super) diagnostics: &'a Diagnostics,
}

/// A server that an action is about.
#[derive(Clone, Debug)]
struct Wanted {
    settings: Settings,
    /// It, where it was started already.
    entry: Option<Entry>,
}

impl Manager<'_> {
    /// Does it.
    ///
    /// # Errors
    /// What keeps all of it from being done. What concerns one server of several is said, and counts in the outcome.
    pub(super) fn perform(
        &self,
        action: Action,
        servers: &[Description],
    ) -> Result<Outcome, Failure> {
        let registry = if action.starts() {
            Registry::open_for_starting(&self.places.states)?
        } else {
            Registry::open(&self.places.states)?
        };
        match action {
            Action::Start => {
                let wanted = self.named_or_configured(&registry, servers)?;
                self.start_all(&registry, wanted)
            }
            Action::Stop => {
                let wanted = self.named_or_started(&registry, servers, action)?;
                self.stop_all(&registry, wanted)
            }
            Action::Restart => {
                let mut wanted = self.named_or_started(&registry, servers, action)?;
                if servers.is_empty() && wanted.iter().all(|one| !one.runs()) {
                    wanted.extend(self.configured(&registry)?);
                }
                self.restart(&registry, wanted)
            }
            Action::CondRestart => {
                let mut wanted = self.named_or_started(&registry, servers, action)?;
                wanted.retain(Wanted::runs);
                self.restart(&registry, wanted)
            }
            Action::ForceReload => {
                // Configurations are read after the stop, and the servers looked for before it.
                let named = self.named(&registry, servers, action)?;
                let running = started(&registry)?;
                let stopped = self.stop_all(&registry, running)?;
                let wanted = if servers.is_empty() {
                    self.configured(&registry)?
                } else {
                    named
                };
                Ok(stopped.and(self.start_all(&registry, wanted)?))
            }
            Action::Status => {
                let wanted = self.named_or_started(&registry, servers, action)?;
                self.status(&wanted)
            }
            Action::Reload => {
                self.diagnostics.error(
                    "reload is not supported: a server reads its configuration when it starts. Use restart or force-reload",
                );
                Ok(Outcome::NotRunning)
            }
            Action::Usage => Ok(Outcome::Done),
        }
    }

    fn named_or_configured(
        &self,
        registry: &Registry,
        servers: &[Description],
    ) -> Result<Vec<Wanted>, Failure> {
        if servers.is_empty() {
            return self.configured(registry);
        }
        self.named(registry, servers, Action::Start)
    }

    fn named_or_started(
        &self,
        registry: &Registry,
        servers: &[Description],
        action: Action,
    ) -> Result<Vec<Wanted>, Failure> {
        if servers.is_empty() {
            return started(registry);
        }
        self.named(registry, servers, action)
    }

    fn named(
        &self,
        registry: &Registry,
        servers: &[Description],
        action: Action,
    ) -> Result<Vec<Wanted>, Failure> {
        let entries = registry.entries()?;
        servers
            .iter()
            .map(|description| self.wanted(description, &entries, action))
            .collect()
    }

    /// Finds out which server a description is about.
    fn wanted(
        &self,
        description: &Description,
        entries: &[Entry],
        action: Action,
    ) -> Result<Wanted, Failure> {
        let found = match &description.identity {
            Identity::Settings => None,
            Identity::Pid(pid) => {
                let is_it =
                    |entry: &&Entry| entry.pid.as_raw_nonzero().get().cast_unsigned() == *pid;
                let entry = entries.iter().find(is_it);
                Some(entry.cloned().ok_or(Failure::NoSuchPid(*pid))?.into())
            }
            Identity::Nickname(nickname) => self.called(nickname, entries)?,
        };
        let settings = match (found, &description.identity) {
            (Some(found), _) if description.changes.is_empty() => return Ok(found),
            // What differs from a server is another server, which has no name yet.
            (Some(found), _) => {
                let mut settings = found.settings.without(Setting::Nickname);
                settings.change(&description.changes);
                settings
            }
            (None, Identity::Nickname(nickname)) if action.starts() => {
                let mut settings = self.completed(description.changes.clone())?;
                settings.add(Setting::Nickname, nickname.clone());
                settings
            }
            (None, Identity::Nickname(nickname)) => {
                return Err(Failure::NoSuchNickname(nickname.clone()));
            }
            (None, _) => self.completed(description.changes.clone())?,
        };
        let entry = entries
            .iter()
            .find(|entry| entry.settings.is_same_server(&settings));
        Ok(Wanted {
            entry: entry.cloned(),
            settings,
        })
    }

    /// A running server of that nickname, else a configured one.
    fn called(&self, nickname: &str, entries: &[Entry]) -> Result<Option<Wanted>, Failure> {
        let mut known = entries.iter().filter(|entry| entry.is_called(nickname));
        if let Some(entry) = known.clone().find(|entry| entry.process().is_some()) {
            return Ok(Some(entry.clone().into()));
        }
        let configured = self
            .configurations()?
            .into_iter()
            .find(|settings| settings.one(Setting::Nickname) == Some(nickname));
        Ok(match configured {
            Some(settings) => {
                let entry = entries
                    .iter()
                    .find(|entry| entry.settings.is_same_server(&settings));
                Some(Wanted {
                    entry: entry.cloned(),
                    settings,
                })
            }
            None => known.next().cloned().map(Wanted::from),
        })
    }

    /// What `start` starts when nobody is named: all that is configured, else one for this host.
    fn configured(&self, registry: &Registry) -> Result<Vec<Wanted>, Failure> {
        let mut all = self.configurations()?;
        if all.is_empty() {
            all.push(self.completed(Settings::default())?);
        }
        let entries = registry.entries()?;
        let wanted = all.into_iter().map(|settings| Wanted {
            entry: entries
                .iter()
                .find(|entry| entry.settings.is_same_server(&settings))
                .cloned(),
            settings,
        });
        Ok(wanted.collect())
    }

    fn configurations(&self) -> Result<Vec<Settings>, Failure> {
        let mut all = Vec::new();
        for file in files_in(&self.places.configurations, "conf")? {
            let Some(text) = read_if_there(&file)? else {
                continue;
            };
            let settings = Settings::parse(&text).map_err(|invalid| invalid.in_file(&file))?;
            all.push(self.completed(settings)?);
        }
        Ok(all)
    }

    /// Adds what a server needs and nobody said.
    fn completed(&self, mut settings: Settings) -> Result<Settings, Failure> {
        use Setting::{AllReleases, Arch, Log, Release, Root, User};
        let host = Host::this().map_err(|error| Failure::Host(error.to_string()))?;
        let says_which = [Release, AllReleases, Root];
        if !says_which.into_iter().any(|setting| settings.has(setting)) {
            settings.add(Release, host.target.release.to_string());
        }
        if !settings.has(Arch) {
            settings.add(Arch, host.target.arch.to_string());
        }
        if !settings.has(Log) {
            settings.add(Log, self.places.log.display().to_string());
        }
        if let Some(user) = self.places.user.as_ref().filter(|_| !settings.has(User)) {
            settings.add(User, user.clone());
        }
        Ok(settings)
    }

    fn start_all(&self, registry: &Registry, wanted: Vec<Wanted>) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::Done;
        for one in wanted {
            outcome = outcome.and(self.start(registry, one)?);
        }
        Ok(outcome)
    }

    fn start(&self, registry: &Registry, wanted: Wanted) -> Result<Outcome, Failure> {
        print(&format!("Starting stap-server {}", wanted.settings))?;
        if wanted.runs() {
            print(OK)?;
            return Ok(Outcome::Done);
        }
        if let Some(dead) = &wanted.entry {
            registry.forget(dead)?;
        }
        let user = wanted.settings.one(Setting::User).map(str::to_owned);
        let started = launch(&wanted.settings, user.as_deref(), self.diagnostics);
        let outcome = match started {
            Ok(pid) => {
                registry.record(pid, wanted.settings)?;
                Outcome::Done
            }
            Err(error) => {
                self.diagnostics.error(error);
                Outcome::Failed
            }
        };
        print(outcome.word())?;
        Ok(outcome)
    }

    fn stop_all(&self, registry: &Registry, wanted: Vec<Wanted>) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::Done;
        for one in wanted {
            outcome = outcome.and(self.stop(registry, &one)?);
        }
        Ok(outcome)
    }

    /// What does not run has been stopped.
    fn stop(&self, registry: &Registry, wanted: &Wanted) -> Result<Outcome, Failure> {
        print(&format!("Stopping stap-server {}", wanted.settings))?;
        let mut outcome = Outcome::Done;
        if let Some(process) = wanted.entry.as_ref().and_then(Entry::process) {
            let asked = process.ask_to_end();
            if let Err(error) = asked {
                self.diagnostics
                    .error(format_args!("it cannot be told to end: {error}"));
            }
            let has_ended = asked.is_ok() && process.has_ended_within(PATIENCE);
            if asked.is_ok() && !has_ended {
                let seconds = PATIENCE.as_secs();
                self.diagnostics.error(format_args!(
                    "it was told to end, and still runs {seconds} s later; its log says what it waits for"
                ));
            }
            if !has_ended {
                outcome = Outcome::Failed;
            }
        }
        if let Some(entry) = wanted.entry.as_ref().filter(|_| outcome == Outcome::Done) {
            registry.forget(entry)?;
        }
        print(outcome.word())?;
        Ok(outcome)
    }

    /// What cannot be stopped is not started a second time beside itself.
    fn restart(&self, registry: &Registry, wanted: Vec<Wanted>) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::Done;
        for mut one in wanted {
            let stopped = match one.entry {
                Some(_) => self.stop(registry, &one)?,
                None => Outcome::Done,
            };
            outcome = outcome.and(stopped);
            one.entry = None;
            if stopped == Outcome::Done {
                outcome = outcome.and(self.start(registry, one)?);
            }
        }
        Ok(outcome)
    }

    fn status(&self, wanted: &[Wanted]) -> Result<Outcome, Failure> {
        if wanted.is_empty() {
            print("No managed stap-server is running")?;
            return Ok(Outcome::NotRunning);
        }
        let mut outcome = Outcome::Done;
        for one in wanted {
            let settings = &one.settings;
            let (line, found) = match &one.entry {
                Some(entry) if one.runs() => {
                    let pid = entry.pid.as_raw_nonzero();
                    (
                        format!("stap-server {settings} running as PID {pid}"),
                        Outcome::Done,
                    )
                }
                Some(entry) => {
                    let pid = entry.pid.as_raw_nonzero();
                    let line =
                        format!("stap-server {settings} started as PID {pid} is no longer running");
                    (line, Outcome::Failed)
                }
                None => (
                    format!("stap-server {settings} is not running"),
                    Outcome::NotRunning,
                ),
            };
            print(&line)?;
            outcome = outcome.and(found);
        }
        Ok(outcome)
    }
}

fn started(registry: &Registry) -> Result<Vec<Wanted>, Failure> {
    Ok(registry.entries()?.into_iter().map(Wanted::from).collect())
}

impl Wanted {
    fn runs(&self) -> bool {
        self.entry.as_ref().and_then(Entry::process).is_some()
    }
}

impl From<Entry> for Wanted {
    fn from(entry: Entry) -> Self {
        Self {
            settings: entry.settings.clone(),
            entry: Some(entry),
        }
    }
}

impl Action {
    /// Whether it may start a server that never ran.
    const fn starts(self) -> bool {
        matches!(self, Self::Start | Self::Restart | Self::ForceReload)
    }
}

fn print(line: &str) -> Result<(), Failure> {
    print_result(format!("{line}\n").as_bytes()).map_err(Failure::Stdout)
}

const OK: &str = "OK";
/// A server gives the requests under way three seconds, and its worker as many.
const PATIENCE: Duration = Duration::from_secs(15);
