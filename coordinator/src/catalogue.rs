//! The targets that this server builds for.

use stap_protocol::job::Target;
use stap_protocol::request::SysInfo;
use stap_protocol::target::TargetName;

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
