//! The user ids that users may give to processes of their own; subuid(5).
//!
//! Somebody with such a range can open connections under each of its ids. That must not make him as
//! many peers: the whole range counts as its first id.

use std::fs::File;
use std::io::Read as _;

/// The ranges that this host has given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SubordinateIds {
    ranges: Vec<(u32, u32)>,
}

impl SubordinateIds {
    /// Reads the host's file; without one, nobody has such ids.
    pub(super) fn of_host() -> Self {
        let mut text = String::new();
        let read =
            File::open(FILE).and_then(|file| file.take(LONGEST_FILE).read_to_string(&mut text));
        match read {
            Ok(_) => Self::parse(&text),
            Err(error) => {
                tracing::debug!(%error, "no subordinate ids");
                Self::default()
            }
        }
    }

    /// Lines of `name:first:count`; others are none of ours to judge.
    fn parse(text: &str) -> Self {
        let range = |line: &str| {
            let mut fields = line.split(':').skip(1);
            let first = fields.next()?.trim().parse().ok()?;
            let count = fields.next()?.trim().parse().ok()?;
            Some((first, count))
        };
        Self {
            ranges: text.lines().filter_map(range).collect(),
        }
    }

    /// The id that stands for everything that the holder of `id` could be.
    pub(super) fn holder(&self, id: u32) -> u32 {
        let of =
            |(first, count): &&(u32, u32)| id.checked_sub(*first).is_some_and(|at| at < *count);
        self.ranges.iter().find(of).map_or(id, |(first, _)| *first)
    }
}

const FILE: &str = "/etc/subuid";
const LONGEST_FILE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_not_as_many_peers_as_he_has_subordinate_ids() {
        let ids = SubordinateIds::parse(
            "alice:100000:65536\n# a comment\nbob:165536:65536\n1003:4294967295:2\nodd:x:1\n",
        );
        assert_eq!(ids.ranges.len(), 3);
        for (id, holder) in [
            (1000, 1000),
            (99_999, 99_999),
            (100_000, 100_000),
            (165_535, 100_000),
            (165_536, 165_536),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(ids.holder(id), holder, "{id}");
        }
    }
}
