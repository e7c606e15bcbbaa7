//! What the passwd and group databases say about users: names for messages, home directories, ids.

use std::path::PathBuf;

use nix::unistd::{Group, Uid, User};

/// Somebody whom the passwd database knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
}

impl Account {
    /// Looks an account up by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        Some(Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir,
        })
    }

    /// Whether the account belongs to a group, as its primary one or as a member.
    #[must_use]
    pub fn belongs_to(&self, group: &str) -> bool {
        let group = Group::from_name(group).ok().flatten();
        group.is_some_and(|group| group.gid.as_raw() == self.gid || group.mem.contains(&self.name))
    }
}

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

/// Tells whether this process is in a group of this name.
#[must_use]
pub fn is_in_group(name: &str) -> bool {
    // As for users, a group that cannot be looked up is one that is not there.
    let Some(group) = Group::from_name(name).ok().flatten() else {
        return false;
    };
    let wanted = group.gid.as_raw();
    let others = rustix::process::getgroups().unwrap_or_default();
    rustix::process::getegid().as_raw() == wanted
        || others.iter().any(|other| other.as_raw() == wanted)
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
    fn this_process_is_in_its_own_group_and_in_none_that_is_not_there() {
        let own = nix::unistd::getegid();
        if let Some(group) = Group::from_gid(own).unwrap() {
            assert!(is_in_group(&group.name));
        }
        assert!(!is_in_group("no-such-group"));
    }

    #[test]
    fn root_belongs_to_the_group_root_and_nobody_to_one_that_is_not() {
        let root = Account::named("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.belongs_to("root"));
        assert!(!root.belongs_to("no-such-group"));
        assert_eq!(Account::named("no-such-user"), None);
    }

    #[test]
    fn root_has_a_name_and_an_unknown_user_is_a_number() {
        assert_eq!(name(0), "root");
        assert_eq!(name(3_999_999_999), "3999999999");
        assert_eq!(home(3_999_999_999), None);
    }
}
