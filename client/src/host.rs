//! What the tools know of the machine that they run on.

use rustix::system::uname;
use stap_protocol::announcement::Announcement;
use stap_protocol::target::{TargetName, TargetNameError};

/// This machine.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The running kernel and its architecture.
    pub(crate) target: TargetName,
    /// `uname -rvm`, which the first servers advertised.
    pub(crate) uname_rvm: String,
    /// The node name.
    pub(crate) name: String,
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// When the running kernel has a release that no server could be asked for.
    pub(crate) fn this() -> Result<Self, TargetNameError> {
        let uname = uname();
        let release = uname.release().to_string_lossy();
        let version = uname.version().to_string_lossy();
        let machine = uname.machine().to_string_lossy();
        Ok(Self {
            target: TargetName {
                release: release.parse()?,
                arch: machine.parse()?,
            },
            uname_rvm: format!("{release} {version} {machine}"),
            name: uname.nodename().to_string_lossy().into_owned(),
        })
    }

    /// Whether a server says that it builds modules for the running kernel.
    #[must_use]
    pub(crate) fn is_served_by(&self, announcement: &Announcement) -> bool {
        self.would_be_served(&self.target, announcement)
    }

    /// Whether a server says that it builds modules for `target`.
    ///
    /// Servers of August 2009 advertise `uname -rvm`, which only this host's own can be compared with.
    #[must_use]
    pub(crate) fn would_be_served(&self, target: &TargetName, announcement: &Announcement) -> bool {
        let uname_rvm = (*target == self.target).then_some(self.uname_rvm.as_str());
        announcement.serves(target, uname_rvm)
    }
}
