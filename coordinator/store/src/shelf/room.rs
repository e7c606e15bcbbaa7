//! Removes what there is no room for. Called under the directory's lock.

use std::io;

use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use super::{PENDING, Shelf, is_plain};
use crate::key::Key;

/// What lies in the directory under the name of a key.
struct Lying {
    used: (i64, i64),
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
                used: (
                    stat.st_mtime,
                    i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
                ),
                bytes: u64::try_from(stat.st_size).unwrap_or_default(),
                name: name.to_owned(),
            });
        }
        Ok(lying)
    }
}

fn is_key(name: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == Key::LENGTH * 2 && name.bytes().all(hexadecimal)
}
