//! Whether this host has the memory for one more job.
//!
//! Slots alone say how many jobs there may be, and not what they hold: on a host that others use, too, as many compilers
//! as there are slots may be more than it has left, and then the kernel kills whatever is largest. So no job is started
//! beside others unless memory for all of them is available.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Tells how much memory programs can get without swapping: `MemAvailable`, proc_meminfo(5).
pub struct Headroom(Box<dyn Fn() -> Option<u64> + Send + Sync>);

impl Headroom {
    /// Opens the kernel's account, which a confined process could not reach.
    ///
    /// # Errors
    /// When there is none, or none that can be read.
    pub fn open() -> io::Result<Self> {
        let account = File::open("/proc/meminfo")?;
        available(&account).ok_or_else(|| io::Error::other("/proc/meminfo has no MemAvailable"))?;
        Ok(Self(Box::new(move || available(&account))))
    }

    /// Never says that there is too little.
    #[must_use]
    pub fn unknown() -> Self {
        Self(Box::new(|| None))
    }

    /// Says what a function says.
    pub fn told_by(function: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self(Box::new(function))
    }

    /// In bytes; `None` when nobody knows.
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        (self.0)()
    }
}

impl fmt::Debug for Headroom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Headroom({:?})", self.available())
    }
}

/// The kernel writes the file anew for whoever reads from its beginning.
fn available(account: &File) -> Option<u64> {
    let mut buffer = [0; MOST];
    let length = account.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The line is the third.
const MOST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_some_and_less_than_it_has_in_all() {
        let headroom = Headroom::open().unwrap();
        let free = headroom.available().unwrap();
        assert!((1..crate::doctor::memory_of_host().unwrap()).contains(&free));
        assert_eq!(Headroom::unknown().available(), None);
    }
}
