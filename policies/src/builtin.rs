//! The policy files that are part of the program.

/// For a server that people who do not trust each other, or the network, can reach.
pub const STRICT: &str = include_str!("../strict.toml");

/// For a build host shared by colleagues; the default.
pub const SHARED_HOST: &str = include_str!("../shared-host.toml");

/// For the server that somebody starts for himself.
pub const PERSONAL: &str = include_str!("../personal.toml");

/// The name of the class that is in force when nobody chose one.
pub const DEFAULT: &str = "shared-host";

/// Every built-in class, by name.
pub const ALL: [(&str, &str); 3] = [
    ("strict", STRICT),
    ("shared-host", SHARED_HOST),
    ("personal", PERSONAL),
];

/// Returns the text of a built-in class.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}
