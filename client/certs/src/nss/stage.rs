//! Changing a store: on a copy, by NSS's own programs, and held against what was asked for before it
//! counts.
//!
//! The copy has no list of modules: certutil would load the libraries that such a list names, and the
//! list may be anybody's. A new one is made there, which names none.

use super::contents::{Contents, Held};
use super::merge::Set;
use super::programs::{Program, Programs};
use super::store::{MAX_STORE_BYTES, Store, holds_key};
use super::{CERTIFICATES, KEYS, NICKNAME, StoreError};
use crate::certificate::Certificate;
use crate::directory::{Directory, Lock, Private};
use crate::server::Password;

/// A store that is being made.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) private: Private<'a>,
    programs: &'a Programs,
}

/// What a store is to become.
#[derive(Debug)]
pub(super) struct Edit<'a> {
    /// To be trusted.
    pub(super) add: Vec<&'a Certificate>,
    /// To be forgotten.
    pub(super) remove: Vec<&'a Certificate>,
}

/// What became of an edit.
#[derive(Debug, Default)]
pub(super) struct Edited {
    /// What the store trusts now of what was to be added.
    pub(super) added: Set,
    /// What went less well.
    pub(super) warnings: Vec<String>,
}

/// The flags of a trusted server.
const TRUSTED: &str = "P,P,P";

/// The store as certutil is to find it: in its own working directory, so that no path of anybody's
/// is among its words.
pub(super) const HERE: &str = "sql:.";

/// Names of files in the private directory.
pub(super) const PASSWORD: &str = "pw";
const INPUT: &str = "input.der";

impl<'a> Stage<'a> {
    /// An empty stage.
    pub(super) fn prepare(
        directory: &'a Directory,
        lock: &'a Lock,
        programs: &'a Programs,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            private: directory.private(lock)?,
            programs,
        })
    }

    /// Makes a new store on the stage.
    pub(super) fn create(&self, password: Option<&Password>) -> Result<(), StoreError> {
        self.set_password(password)?;
        self.certutil(&["-N", "-d", HERE, "-f", PASSWORD])
    }

    /// Puts a copy of a store on the stage.
    pub(super) fn copy(&self, certificates: &[u8], keys: &[u8]) -> Result<(), StoreError> {
        self.set_password(None)?;
        self.private.write(CERTIFICATES, certificates)?;
        Ok(self.private.write(KEYS, keys)?)
    }

    /// Changes a client's store.
    pub(super) fn edit(
        &self,
        current: Option<(&Store, &[u8])>,
        edit: &Edit<'_>,
    ) -> Result<Edited, StoreError> {
        let mut edited = Edited::default();
        let mut kept: Vec<&Held> = Vec::new();
        match current {
            None => self.create(None)?,
            Some((store, keys)) => {
                self.copy(&store.bytes, keys)?;
                kept = store.contents.held.iter().collect();
                if edit.needs_a_new_store(&store.contents) {
                    kept.retain(|held| !edit.replaces(held));
                    self.rebuild(&kept, keys)?;
                }
            }
        }
        let mut subject = subject_of_nickname(&kept);
        for certificate in &edit.add {
            let nickname = nickname(certificate, &mut subject);
            if nickname != NICKNAME {
                edited.warnings.push(format!(
                    "the certificate {} has another subject than those that are listed as {NICKNAME}, so stock \
                     programs know it as {nickname}: they trust it when the server is named, and do not choose \
                     it by themselves",
                    certificate.sha256()
                ));
            }
            if let Err(error) = self.add(certificate.der(), &nickname, TRUSTED) {
                self.needs_no_password()?;
                edited.warnings.push(format!(
                    "the certificate {} is trusted by our own programs only: {error}",
                    certificate.sha256()
                ));
            }
        }
        let made = Contents::read(&self.certificates()?)?;
        edited.added = made.trusted().map(Certificate::sha256).collect();
        let lost = kept.iter().any(|held| {
            let trusts = |made: &&Certificate| made.der() == held.der;
            held.is_trusted()
                && held.certificate.is_some()
                && !made.trusted().any(|one| trusts(&one))
        });
        let left = edit.remove.iter().any(|removed| made.mentions(removed));
        if lost || left {
            return Err(StoreError::NotAsAsked("certutil"));
        }
        Ok(edited)
    }

    /// The certificates of the store on the stage.
    pub(super) fn certificates(&self) -> Result<Vec<u8>, StoreError> {
        Ok(self.private.read(CERTIFICATES, MAX_STORE_BYTES)?)
    }

    /// The keys of the store on the stage.
    pub(super) fn keys(&self) -> Result<Vec<u8>, StoreError> {
        Ok(self.private.read(KEYS, MAX_STORE_BYTES)?)
    }

    pub(super) fn set_password(&self, password: Option<&Password>) -> Result<(), StoreError> {
        // An empty line is an empty password; an empty file would make certutil ask for one.
        let line = format!("{}\n", password.map_or("", Password::secret));
        Ok(self.private.write(PASSWORD, line.as_bytes())?)
    }

    pub(super) fn certutil(&self, arguments: &[&str]) -> Result<(), StoreError> {
        self.run(Program::Certutil, arguments)
    }

    pub(super) fn run(&self, program: Program, arguments: &[&str]) -> Result<(), StoreError> {
        let directory = self.private.working_directory();
        let lock = self.private.shared_lock()?;
        Ok(self.programs.run(program, &directory, lock, arguments)?)
    }

    /// Makes the store anew with what is to stay. certutil removes by nickname, which several share,
    /// and an older one leaves behind what a newer one wrote about trust.
    fn rebuild(&self, kept: &[&Held], keys: &[u8]) -> Result<(), StoreError> {
        if holds_key(keys, None)? {
            return Err(StoreError::Foreign);
        }
        self.needs_no_password()?;
        self.private.remove_all()?;
        self.create(None)?;
        for held in kept {
            let nickname = plain(&held.nickname).unwrap_or_else(|| named(&held.der));
            self.add(&held.der, &nickname, &held.flags())?;
        }
        Ok(())
    }

    /// Fails when the copy's password is another than the empty one, which replaces itself.
    fn needs_no_password(&self) -> Result<(), StoreError> {
        self.certutil(&["-W", "-d", HERE, "-f", PASSWORD, "-@", PASSWORD])
            .map_err(|_refused| StoreError::Password)
    }

    fn add(&self, der: &[u8], nickname: &str, flags: &str) -> Result<(), StoreError> {
        self.private.write(INPUT, der)?;
        let words = [
            "-A", "-d", HERE, "-f", PASSWORD, "-n", nickname, "-t", flags, "-i", INPUT,
        ];
        self.certutil(&words)
    }
}

impl Edit<'_> {
    fn needs_a_new_store(&self, contents: &Contents) -> bool {
        let distrusted: Set = contents.distrusted().collect();
        let is_marked =
            |one: &&Certificate| contents.has_stray(one) || distrusted.contains(&one.sha256());
        !self.remove.is_empty() || self.add.iter().any(is_marked)
    }

    /// What is added is added anew, so that no earlier word about it is left.
    fn replaces(&self, held: &Held) -> bool {
        let mut gone = self.add.iter().chain(&self.remove);
        gone.any(|one| one.der() == held.der)
    }
}

/// NSS keeps several certificates under one nickname only when their subjects are the same: whose
/// has it.
fn subject_of_nickname(kept: &[&Held]) -> Option<Vec<u8>> {
    let holder = kept.iter().find(|held| held.nickname == NICKNAME);
    holder.map(|held| held.subject.clone())
}

/// The documented nickname, unless certificates with another subject have it.
fn nickname(certificate: &Certificate, holder: &mut Option<Vec<u8>>) -> String {
    let holder = holder.get_or_insert_with(|| certificate.subject().to_vec());
    if holder == certificate.subject() {
        NICKNAME.to_owned()
    } else {
        named(certificate.der())
    }
}

/// A nickname that no other certificate has.
fn named(der: &[u8]) -> String {
    let fingerprint = crate::certificate::Fingerprint::of(der).to_string();
    format!("{NICKNAME} {}", &fingerprint[..16])
}

/// A nickname that is sure to be taken for one: certutil reads a token's name before a colon.
fn plain(nickname: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " .-_@()/+".contains(c);
    let good = (1..=128).contains(&nickname.len())
        && nickname.chars().all(is_plain)
        && nickname.starts_with(|first: char| first.is_ascii_alphanumeric());
    good.then(|| nickname.to_owned())
}
