//! Removes what there is no room for. Called under the directory's lock.

use std::io;

use rustix::fs::{AtFlags, Dir, Stat, Timestamps};
use rustix::io::Errno;

use super::{NOW, PENDING, Shelf, is_plain};
use crate::key::Key;

/// What lies in the directory under the name of a key.
struct Lying {
    /// `None` for a time that has not come.
    used: Option<(i64, i64)>,
    bytes: u64,
    name: String,
}

impl Shelf {
    /// Makes room for one more entry of `length` bytes called `name`, which may replace one.
    pub(super) fn make_room(&self, name: &str, length: u64) -> io::Result<()> {
        let mut lying = self.lying()?;
        lying.retain(|entry| entry.name != name);
        lying.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut bytes: u64 = lying.iter().map(|entry| entry.bytes).sum();
        while let Some(oldest) = lying.last() {
            let fits = bytes.saturating_add(length) <= self.bounds.bytes
                && (lying.len() as u64) < self.bounds.entries;
            if fits {
                break;
            }
            rustix::fs::unlinkat(&self.directory, &*oldest.name, AtFlags::empty())?;
            bytes -= oldest.bytes;
            lying.pop();
        }
        Ok(())
    }

    /// What time it is where the files get theirs.
    fn now(&self) -> io::Result<(i64, i64)> {
        let now = Timestamps {
            last_access: NOW,
            last_modification: NOW,
        };
        rustix::fs::futimens(&self.directory, &now)?;
        Ok(time_of(&rustix::fs::fstat(&self.directory)?))
    }

    /// Everything that counts; leftovers of dead servers are removed on the way. Other files are not
    /// ours to remove, and are never read.
    fn lying(&self) -> io::Result<Vec<Lying>> {
        let mut lying = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name == PENDING {
                self.remove(PENDING);
                continue;
            }
            if !is_key(name) {
                continue;
            }
            let stat = match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Another server found a flaw in it.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if !is_plain(stat.st_mode) {
                self.remove(name);
                continue;
            }
            lying.push(Lying {
                used: Some(time_of(&stat)),
                bytes: u64::try_from(stat.st_size).unwrap_or_default(),
                name: name.to_owned(),
            });
        }
        // After the clock was set back, what is from a time that has not come again would stay for ever, and
        // everything new would go. The clock is read last: others use entries meanwhile.
        let now = self.now()?;
        for one in &mut lying {
            one.used = one.used.filter(|used| *used <= now);
        }
        Ok(lying)
    }
}

fn time_of(stat: &Stat) -> (i64, i64) {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    (stat.st_mtime, nanoseconds)
}

fn is_key(name: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == Key::LENGTH * 2 && name.bytes().all(hexadecimal)
}
