//! What the passwd database says about a user: the name for messages and the home directory.

use std::path::PathBuf;

use nix::unistd::{Uid, User};

/// Returns the user's name, or the number when the passwd database has no entry.
#[must_use]
pub fn name(uid: u32) -> String {
    entry(uid).map_or_else(|| uid.to_string(), |user| user.name)
}

/// Returns the user's home directory, if the passwd database names one.
#[must_use]
pub fn home(uid: u32) -> Option<PathBuf> {
    entry(uid)
        .map(|user| user.dir)
        .filter(|home| home.is_absolute())
}

/// A directory service that cannot be reached is treated as one that does not know the user: the
/// callers have a fallback or an error of their own, and this must not stop a tool that needs neither.
fn entry(uid: u32) -> Option<User> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_an_unknown_user_is_a_number() {
        assert_eq!(name(0), "root");
        assert_eq!(name(3_999_999_999), "3999999999");
        assert_eq!(home(3_999_999_999), None);
    }
}
