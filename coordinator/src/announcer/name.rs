//! What the announcement is called: pure text.

use std::collections::BTreeSet;

/// This host's name, in the two forms that an announcement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    nodename: String,
    label: String,
    domain_name: String,
}

impl Host {
    /// Makes them from what `uname -n` prints.
    #[must_use]
    pub fn from_nodename(nodename: &str) -> Self {
        let nodename: String = nodename
            .chars()
            .filter(|character| !character.is_control())
            .collect();
        let label = nodename.split('.').next().unwrap_or_default();
        let label = if label.is_empty() { "localhost" } else { label };
        Self {
            domain_name: format!("{}.local.", cut(label, LONGEST_LABEL)),
            label: label.to_owned(),
            nodename,
        }
    }

    /// The name that addresses are published under, with its final dot.
    #[must_use]
    pub fn domain_name(&self) -> &str {
        &self.domain_name
    }

    /// Publishes addresses under a name with this number from now on.
    pub(super) fn rename(&mut self, number: usize) {
        let suffix = format!("-{number}");
        let label = cut(&self.label, LONGEST_LABEL - suffix.len());
        self.domain_name = format!("{label}{suffix}.local.");
    }

    /// `count` instance names that are not in `taken`, told apart by ` #2`, ` #3` and so on.
    #[must_use]
    pub fn instance_names(&self, count: usize, taken: &BTreeSet<String>) -> Vec<String> {
        self.instance_names_from(1, count, taken)
    }

    /// The same with other numbers: `first` and more.
    pub(super) fn instance_names_from(
        &self,
        first: usize,
        count: usize,
        taken: &BTreeSet<String>,
    ) -> Vec<String> {
        (first..)
            .map(|number| self.instance_name(number))
            .filter(|name| !taken.contains(name))
            .take(count)
            .collect()
    }

    fn instance_name(&self, number: usize) -> String {
        let suffix = if number == 1 {
            String::new()
        } else {
            format!(" #{number}")
        };
        let name = format!("Systemtap Compile Server on {}", self.nodename);
        format!("{}{suffix}", cut(&name, LONGEST_LABEL - suffix.len()))
    }
}

/// The form in which a name is a label of a domain name: RFC 6763 4.3.
pub(super) fn escaped(instance: &str) -> String {
    instance.replace('\\', "\\\\").replace('.', "\\.")
}

/// The instance's name out of its full domain name.
pub(super) fn instance_of(fullname: &str, service_domain: &str) -> Option<String> {
    let escaped = fullname.strip_suffix(service_domain)?.strip_suffix('.')?;
    Some(escaped.replace("\\.", ".").replace("\\\\", "\\"))
}

fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes))
        .unwrap_or_default()
}

/// The longest label of a domain name, in bytes: RFC 1035 2.3.4.
const LONGEST_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_servers_of_one_host_get_different_names() {
        let taken = BTreeSet::from(["Systemtap Compile Server on box #2".to_owned()]);
        let names = Host::from_nodename("box").instance_names(3, &taken);
        let expected = [
            "Systemtap Compile Server on box",
            "Systemtap Compile Server on box #3",
            "Systemtap Compile Server on box #4",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_long_name_is_cut_and_keeps_its_number() {
        for nodename in ["n".repeat(64), "é".repeat(40)] {
            let names = Host::from_nodename(&nodename).instance_names(2, &BTreeSet::new());
            assert!(
                names.iter().all(|name| name.len() <= LONGEST_LABEL),
                "{names:?}"
            );
            assert!(names[1].ends_with(" #2"));
        }
    }

    #[test]
    fn addresses_are_published_under_the_first_label() {
        assert_eq!(
            Host::from_nodename("box.example.org").domain_name(),
            "box.local."
        );
        assert_eq!(Host::from_nodename("").domain_name(), "localhost.local.");
    }

    #[test]
    fn a_host_whose_name_is_taken_gets_a_number() {
        let mut host = Host::from_nodename(&"n".repeat(64));
        host.rename(17);
        let label = host.domain_name().strip_suffix(".local.").unwrap();
        assert!(
            label.len() == LONGEST_LABEL && label.ends_with("n-17"),
            "{label}"
        );
        let names = host.instance_names_from(17, 1, &BTreeSet::new());
        assert!(names[0].ends_with("n #17"), "{names:?}");
    }

    #[test]
    fn a_name_with_dots_survives_the_domain_name() {
        let name = "Systemtap Compile Server on a.b\\c";
        let fullname = format!("{}._stap._tcp.local.", escaped(name));
        assert_eq!(
            instance_of(&fullname, "_stap._tcp.local."),
            Some(name.to_owned())
        );
    }
}
