//! For whom a module is built when nobody said so.
//!
//! `staprun` loads what it likes for root and `stapdev`. Whoever is only in `stapusr`, or in `stapsys` too,
//! needs a module that was built for that group and signed by a server, so that is what is asked for.

use stap_certs::account;
use stap_protocol::signing::Privilege;

/// The privilege that this user needs for pass 5; `None` when no signature will be asked of him, or no
/// signature would help.
pub(crate) fn needed() -> Option<Privilege> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    of_groups(account::is_in_group)
}

fn of_groups(is_in: impl Fn(&str) -> bool) -> Option<Privilege> {
    // Without stapusr staprun does not even start.
    if is_in("stapdev") || !is_in("stapusr") {
        return None;
    }
    Some(if is_in("stapsys") {
        Privilege::Stapsys
    } else {
        Privilege::Stapusr
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_group_decides() {
        for (groups, needed) in [
            (&[][..], None),
            (&["stapsys"], None),
            (&["stapusr"], Some(Privilege::Stapusr)),
            (&["stapusr", "stapsys"], Some(Privilege::Stapsys)),
            (&["stapusr", "stapsys", "stapdev"], None),
        ] {
            assert_eq!(
                of_groups(|name| groups.contains(&name)),
                needed,
                "{groups:?}"
            );
        }
    }
}
