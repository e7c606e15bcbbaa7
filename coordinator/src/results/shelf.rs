//! Opens the directory of results, while the process still has all its rights.

use std::path::Path;

use stap_policy::{Policy, Scope};
use stap_store::{Bounds, Owner, Shelf};

use super::Keeping;
use crate::confine::Account;

/// Opens what the policy wants. A directory that cannot be used is a warning and no more: results are
/// then only shared by those who wait at the same time.
pub fn open(policy: &Policy, directory: &Path, account: Option<&Account>) -> Keeping {
    let store = policy.store();
    let bounds = Bounds {
        bytes: store.size.bytes(),
        entries: store.entries.get(),
    };
    let owner = account.map(|account| Owner {
        uid: account.uid,
        gid: account.gid,
    });
    let shelf = match store.scope {
        Scope::Off => None,
        Scope::Shared | Scope::User => Shelf::open(directory, bounds, owner)
            .inspect_err(|error| tracing::warn!("results are not kept: {error}"))
            .ok(),
    };
    Keeping {
        scope: store.scope,
        shelf,
        failures: store.failures.duration(),
    }
}
