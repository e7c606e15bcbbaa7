//! The account under which a server that was started by root faces the network.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Gid, Uid};

/// An unprivileged account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
}

/// Why the account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The list of accounts is not readable.
    #[error("cannot look up the account {SERVICE} in {PASSWD}: {0}")]
    Unreadable(#[from] io::Error),
    /// An account with root's powers would give nothing up.
    #[error(
        "the account {SERVICE} is uid or gid 0; make it an ordinary system account or remove it"
    )]
    Root,
}

impl Account {
    /// The account `stap-server`, if this host has it.
    ///
    /// # Errors
    /// When that cannot be known, or the account is root.
    pub fn of_service() -> Result<Option<Self>, AccountError> {
        let mut accounts = Vec::new();
        File::open(Path::new(PASSWD))?
            .take(LONGEST_PASSWD)
            .read_to_end(&mut accounts)?;
        match find(&String::from_utf8_lossy(&accounts)) {
            Some(account) if account.uid.is_root() || account.gid.is_root() => {
                Err(AccountError::Root)
            }
            account => Ok(account),
        }
    }
}

/// Reads passwd(5): name, password, uid, gid, and more.
fn find(accounts: &str) -> Option<Account> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| *name == SERVICE)?;
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        let valid = uid != u32::MAX && gid != u32::MAX;
        valid.then(|| Account {
            name: name.to_owned(),
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
        })
    })
}

const SERVICE: &str = "stap-server";
/// The file and not the C library's look-up, which would load network code into a process of root.
const PASSWD: &str = "/etc/passwd";
const LONGEST_PASSWD: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_account_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0::/root:/bin/sh\nstap-server2:x:7:7:::\nstap-server:x:990:991:::/sbin/nologin\n";
        let account = find(accounts).unwrap();
        assert_eq!((account.uid.as_raw(), account.gid.as_raw()), (990, 991));
    }

    #[test]
    fn a_broken_line_is_no_account() {
        for line in [
            "stap-server",
            "stap-server:x:a:1",
            "stap-server:x:4294967295:1",
            "stap-server:x:1",
            "",
        ] {
            assert_eq!(find(line), None);
        }
    }
}
