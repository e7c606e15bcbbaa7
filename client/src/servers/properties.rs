//! The words behind `--list-servers=` and `--trust-servers=`.

use std::fmt;

/// A set of servers, or what the servers of a set must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    All,
    Specified,
    Online,
    Trusted,
    Signer,
    Compatible,
}

/// Which servers are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Properties(Vec<Property>);

/// Where trust is put, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrustWords {
    /// As a server to talk to.
    pub(super) ssl: bool,
    /// As one whose modules unprivileged users may load.
    pub(super) signer: bool,
    /// For everybody on this host.
    pub(super) all_users: bool,
    /// Away instead of there.
    pub(super) revoke: bool,
    /// Without a question.
    pub(super) no_prompt: bool,
}

impl Property {
    const ALL: [Self; 6] = [
        Self::All,
        Self::Specified,
        Self::Online,
        Self::Trusted,
        Self::Signer,
        Self::Compatible,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Specified => "specified",
            Self::Online => "online",
            Self::Trusted => "trusted",
            Self::Signer => "signer",
            Self::Compatible => "compatible",
        }
    }
}

impl Properties {
    /// Reads the words, and returns those that mean nothing too. With no word, and for `specified` where no
    /// server was named, these are the servers that would be asked.
    pub(super) fn parse(text: &str, any_is_named: bool) -> (Self, Vec<String>) {
        let mut properties = Vec::new();
        let mut unknown = Vec::new();
        for word in text
            .split(',')
            .filter(|word| !word.is_empty())
            .take(MAX_WORDS)
        {
            match Property::ALL.into_iter().find(|one| one.word() == word) {
                Some(Property::Specified) if !any_is_named => properties.extend(ASKED),
                Some(property) => properties.push(property),
                None => unknown.push(word.to_owned()),
            }
        }
        if properties.is_empty() {
            match any_is_named {
                true => properties.push(Property::Specified),
                false => properties.extend(ASKED),
            }
        }
        let mut once = Vec::new();
        for property in properties {
            if !once.contains(&property) {
                once.push(property);
            }
        }
        (Self(once), unknown)
    }

    pub(super) fn has(&self, property: Property) -> bool {
        self.0.contains(&property)
    }
}

impl fmt::Display for Properties {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|property| property.word()).collect();
        formatter.write_str(&words.join(","))
    }
}

impl TrustWords {
    /// Reads the words, and returns those that mean nothing too.
    pub(super) fn parse(text: &str) -> (Self, Vec<String>) {
        let mut words = Self::default();
        let mut unknown = Vec::new();
        for word in text
            .split(',')
            .filter(|word| !word.is_empty())
            .take(MAX_WORDS)
        {
            match word {
                "ssl" => words.ssl = true,
                "signer" => words.signer = true,
                "all-users" => words.all_users = true,
                "revoke" => words.revoke = true,
                "no-prompt" => words.no_prompt = true,
                other => unknown.push(other.to_owned()),
            }
        }
        words.ssl |= !words.signer;
        (words, unknown)
    }

    /// Adds to what is said about the databases, in the words of the manual.
    pub(super) fn places(self) -> String {
        let whom = if self.all_users {
            "all users"
        } else {
            "the current user"
        };
        let ssl = self.ssl.then(|| format!("as an SSL peer for {whom}"));
        let signer = self
            .signer
            .then(|| "as a module signer for all users".to_owned());
        let places: Vec<_> = ssl.into_iter().chain(signer).collect();
        places.join(" and ")
    }
}

/// The properties of a server that is chosen when none is named.
const ASKED: [Property; 3] = [Property::Online, Property::Trusted, Property::Compatible];
const MAX_WORDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_those_are_listed_that_would_be_asked() {
        for text in ["", "specified", ","] {
            let (properties, unknown) = Properties::parse(text, false);
            assert_eq!(properties.to_string(), "online,trusted,compatible");
            assert_eq!(unknown, [""; 0]);
            assert_eq!(Properties::parse(text, true).0.to_string(), "specified");
        }
        let (properties, unknown) = Properties::parse("all,bogus,online,all", true);
        assert_eq!(properties.to_string(), "all,online");
        assert_eq!(unknown, ["bogus"]);
    }

    #[test]
    fn trust_is_for_talking_unless_only_signing_is_named() {
        let words = |text| TrustWords::parse(text).0;
        assert!(words("").ssl && words("revoke").ssl && words("signer,ssl").ssl);
        assert!(!words("signer").ssl);
        assert_eq!(words("all-users").places(), "as an SSL peer for all users");
        assert_eq!(
            words("ssl,signer").places(),
            "as an SSL peer for the current user and as a module signer for all users"
        );
        assert_eq!(TrustWords::parse("ssl,everything").1, ["everything"]);
    }
}
