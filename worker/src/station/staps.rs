//! Asks each stap what it is, and joins the answers with the build trees that were found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stap_protocol::job::Configuration;
use tokio_util::sync::CancellationToken;

use super::shown::Replacement;
use super::{NotReady, Station};
use crate::jail::{End, Fault};
use crate::job::{sentence, version};
use crate::slots::Slot;
use crate::targets::choice::releases;
use crate::targets::identity::{Stap, stamp};
use crate::targets::root::Root;
use crate::targets::{Catalogue, STAP, Staps, Survey};

impl Station {
    pub(super) async fn discovered(
        &self,
        survey: &Survey,
        configuration: &Configuration,
    ) -> Result<Catalogue, NotReady> {
        let choices = &configuration.releases;
        let Some(replacement) = &self.replacement else {
            let mut staps = Staps::new();
            for (index, root) in survey.roots_in_use() {
                staps.insert(index, self.ask(root).await);
            }
            let mut catalogue = Catalogue::join(survey, &staps, false);
            catalogue.choose(choices)?;
            return Ok(catalogue);
        };
        let stap = self.overriding(replacement).await?;
        let staps: Staps = survey
            .roots_in_use()
            .map(|(index, _)| (index, Ok(stap.clone())))
            .collect();
        let mut catalogue = Catalogue::join(survey, &staps, true);
        for release in releases(choices) {
            catalogue.add(survey.trusting(release, &stap)?);
        }
        if catalogue.served().next().is_none() {
            let running = rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned();
            catalogue.add(survey.trusting(&running, &stap)?);
        }
        catalogue.choose(choices)?;
        Ok(catalogue)
    }

    /// What is known about the stap of a root; the reason why there is none, for people.
    async fn ask(&self, root: &Root) -> Result<Stap, String> {
        let path = PathBuf::from(STAP);
        let stamp = stamp(root, &path).map_err(|error| {
            format!("there is no {STAP} in the root ({error}); install systemtap in it")
        })?;
        let version = self.version(&path, root.path()).await.map_err(|reason| {
            format!(
                "{STAP} does not start in its root ({reason}); raise the limit of the server if that is one, else install \
                 systemtap in it again"
            )
        })?;
        Ok(Stap {
            path,
            version,
            stamp,
        })
    }

    /// A replacement may be anything that behaves like stap; one that has no version is fine.
    async fn overriding(&self, replacement: &Replacement) -> Result<Stap, NotReady> {
        let path = &replacement.path;
        let refused = |error: std::io::Error| NotReady::path(path, &error);
        let host = Root::open(Path::new("/")).map_err(refused)?;
        let stamp = stamp(&host, path).map_err(refused)?;
        let version = self.version(&replacement.seen, Path::new("/")).await;
        let version = version.unwrap_or_else(|reason| {
            tracing::debug!(reason, "the replacement for stap tells no version");
            "unknown".to_owned()
        });
        Ok(Stap {
            path: path.clone(),
            version,
            stamp,
        })
    }

    /// Starts a stap in a jail like every other program of a root, and reads its version.
    async fn version(&self, program: &Path, root: &Path) -> Result<String, String> {
        let identity = self.identity(Slot(0));
        let ask = async {
            let room = self.jail.room(identity)?;
            let name = "version".to_owned();
            let errand = version(name, identity, program, root, &self.binds, &room)?;
            let patience = CancellationToken::new();
            let run = self.jail.run(errand, room, &patience);
            tokio::pin!(run);
            // Cancelled rather than dropped, so that the jail is taken down in good order.
            match tokio::time::timeout(VERSION_TIME, &mut run).await {
                Ok(finished) => finished,
                Err(_elapsed) => {
                    patience.cancel();
                    run.await
                }
            }
        };
        let finished = ask.await.map_err(|fault: Fault| sentence(&fault))?;
        let said = [finished.stdout.bytes, finished.stderr.bytes].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        match (finished.end, version_in(&said)) {
            (End::Exited(0), Some(version)) => Ok(version),
            (end, _) => Err(format!("{end:?}: {}", first_line(&said))),
        }
    }
}

/// The version in `Systemtap translator/driver (version 5.6/0.195, ...)`.
fn version_in(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("(version ")?;
    let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    (1..=MAX_VERSION)
        .contains(&end)
        .then(|| rest[..end].to_owned())
}

fn first_line(said: &str) -> String {
    let line = said.lines().next().unwrap_or("it said nothing");
    line.chars()
        .filter(|character| !character.is_control())
        .take(MAX_LINE)
        .collect()
}

/// stap answers within a tenth of a second; a loaded host needs longer.
const VERSION_TIME: Duration = Duration::from_secs(20);
const MAX_VERSION: usize = 16;
const MAX_LINE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_and_nothing_else() {
        let said = "Systemtap translator/driver (version 5.6/0.195, Debian version 5.6-1)\n";
        assert_eq!(version_in(said).as_deref(), Some("5.6"));
        assert_eq!(version_in("(version /"), None);
        assert_eq!(version_in("stap 5.6"), None);
    }
}
