//! The targets that this server builds for.

use stap_protocol::job::Target;
use stap_protocol::request::SysInfo;
use stap_protocol::target::{TargetName, TargetPattern};

/// All targets, sorted by name.
#[derive(Clone, Debug)]
pub struct Catalogue {
    targets: Vec<Target>,
}

impl Catalogue {
    /// Keeps the first target of each name: a client has no way to choose between two.
    #[must_use]
    pub fn new(mut targets: Vec<Target>) -> Self {
        targets.sort_by(|one, other| one.name.cmp(&other.name));
        targets.dedup_by(|later, first| later.name == first.name);
        Self { targets }
    }

    /// What there is.
    pub fn names(&self) -> impl Iterator<Item = &TargetName> {
        self.targets.iter().map(|target| &target.name)
    }

    /// The target that a client means.
    #[must_use]
    pub fn find(&self, wanted: &SysInfo) -> Option<&Target> {
        self.targets.iter().find(|target| wanted.is(&target.name))
    }

    /// The targets that patterns mean, each once: pattern by pattern, and by name within one.
    ///
    /// # Errors
    /// When there is nothing that some of them mean.
    pub fn choose(&self, patterns: &[TargetPattern]) -> Result<Vec<Chosen<'_>>, NothingFits> {
        let mut chosen: Vec<Chosen<'_>> = Vec::new();
        let mut in_vain = Vec::new();
        for pattern in patterns {
            let fitting = self.targets.iter();
            let mut meant: Vec<_> = fitting
                .filter(|target| pattern.matches(&target.name))
                .map(Chosen::Served)
                .collect();
            if meant.is_empty() {
                match pattern.single().and_then(complete) {
                    Some(missing) => meant.push(Chosen::Missing(missing)),
                    None => in_vain.push(pattern.to_string()),
                }
            }
            meant.retain(|one| chosen.iter().all(|other| other.name() != one.name()));
            chosen.extend(meant);
        }
        match in_vain.is_empty() {
            true => Ok(chosen),
            false => Err(NothingFits(shortened(in_vain))),
        }
    }

    /// The targets that resemble what a client wanted, best first: of the same architecture, then
    /// with the longest common beginning.
    #[must_use]
    pub fn nearest(&self, wanted: &SysInfo) -> Vec<&TargetName> {
        let other_arch =
            |name: &TargetName| wanted.arch.as_ref().is_some_and(|arch| *arch != name.arch);
        let common = |name: &TargetName| {
            let pairs = name
                .release
                .as_str()
                .bytes()
                .zip(wanted.release.as_str().bytes());
            pairs.take_while(|(one, other)| one == other).count()
        };
        let mut names: Vec<_> = self.names().collect();
        names.sort_by_key(|name| (other_arch(name), std::cmp::Reverse(common(name))));
        names.truncate(MOST_SUGGESTIONS);
        names
    }
}

/// One of the targets that a request for several names.
#[derive(Clone, Debug)]
pub enum Chosen<'a> {
    /// One that is there.
    Served(&'a Target),
    /// One that was named in full and is not.
    Missing(TargetName),
}

impl Chosen<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TargetName {
        match self {
            Self::Served(target) => &target.name,
            Self::Missing(name) => name,
        }
    }
}

/// Whoever asks for nothing sixty times is not told so sixty times, and neither is the log.
fn shortened(mut patterns: Vec<String>) -> Vec<String> {
    let more = patterns.len().saturating_sub(MOST_SUGGESTIONS);
    patterns.truncate(MOST_SUGGESTIONS);
    if more > 0 {
        patterns.push(format!("{more} more"));
    }
    patterns
}

/// Patterns for which there is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NothingFits(pub Vec<String>);

fn complete(SysInfo { release, arch }: SysInfo) -> Option<TargetName> {
    let arch = arch?;
    Some(TargetName { release, arch })
}

/// A refusal is one line; a server can have hundreds of targets.
const MOST_SUGGESTIONS: usize = 4;

#[cfg(test)]
mod tests {
    use stap_protocol::signing::SignatureHash;

    use super::*;

    fn target(release: &str, arch: &str, root: &str) -> Target {
        Target {
            name: TargetName {
                release: release.parse().unwrap(),
                arch: arch.parse().unwrap(),
            },
            root: root.into(),
            build_tree: "/b".into(),
            stap: "/usr/bin/stap".into(),
            stap_version: "5.6".to_owned(),
            compiler: "gcc".to_owned(),
            build_id: "1".to_owned(),
            signature_hash: SignatureHash::default(),
            pass_4: Vec::new(),
        }
    }

    fn catalogue() -> Catalogue {
        Catalogue::new(vec![
            target("7.2.12-cloud", "x86_64", "/"),
            target("6.1.0-9", "arm64", "/"),
            target("6.1.0-9", "x86_64", "/srv/a"),
            target("6.1.0-9", "x86_64", "/srv/b"),
        ])
    }

    fn wanted(line: &str) -> SysInfo {
        SysInfo::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_has_one_target() {
        let catalogue = catalogue();
        assert_eq!(catalogue.names().count(), 3);
        assert_eq!(
            catalogue
                .find(&wanted("sysinfo: 6.1.0-9 x86_64"))
                .unwrap()
                .root
                .to_str(),
            Some("/srv/a")
        );
        assert!(catalogue.find(&wanted("sysinfo: 6.1.0 x86_64")).is_none());
    }

    fn chosen(patterns: &[&str]) -> Result<Vec<String>, NothingFits> {
        let patterns: Vec<_> = patterns.iter().map(|text| text.parse().unwrap()).collect();
        let catalogue = catalogue();
        let chosen = catalogue.choose(&patterns)?;
        let shown = |one: &Chosen<'_>| match one {
            Chosen::Served(target) => target.name.to_string(),
            Chosen::Missing(name) => format!("no {name}"),
        };
        Ok(chosen.iter().map(shown).collect())
    }

    #[test]
    fn patterns_choose_each_target_once_in_the_order_of_the_request() {
        let all = chosen(&["7*:*", "6.1.0-9:arm64", "*:*"]).unwrap();
        assert_eq!(
            all,
            ["7.2.12-cloud x86_64", "6.1.0-9 arm64", "6.1.0-9 x86_64"]
        );
        let any = chosen(&["6.1.0-9"]).unwrap();
        assert_eq!(any, ["6.1.0-9 arm64", "6.1.0-9 x86_64"]);
    }

    #[test]
    fn a_name_without_a_target_is_kept_and_a_pattern_without_one_is_not() {
        let missing = chosen(&["5.4:x86_64", "7*", "5.4:x86_64"]).unwrap();
        assert_eq!(missing, ["no 5.4 x86_64", "7.2.12-cloud x86_64"]);
        assert_eq!(
            chosen(&["5*", "7*", "5.4"]),
            Err(NothingFits(vec!["5*".to_owned(), "5.4".to_owned()]))
        );
    }

    #[test]
    fn of_many_patterns_without_a_target_some_are_named() {
        let NothingFits(named) = chosen(&["5*"; 64]).unwrap_err();
        assert_eq!(named, ["5*", "5*", "5*", "5*", "60 more"]);
    }

    #[test]
    fn the_nearest_is_of_the_same_machine_and_looks_alike() {
        let catalogue = catalogue();
        let wanted = wanted("sysinfo: 6.1.0-12 x86_64");
        let names: Vec<_> = catalogue
            .nearest(&wanted)
            .into_iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            names,
            ["6.1.0-9 x86_64", "7.2.12-cloud x86_64", "6.1.0-9 arm64"]
        );
    }
}
