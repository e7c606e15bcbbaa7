//! The NSS store of a server: a stock server's pair is taken over, and ours is kept where a stock
//! server would find it.
//!
//! The private key goes through pk12util in both directions, within a directory that only this
//! process enters. It is as well protected in the store as in our own key file, by the file's mode.

use super::contents::{Contents, Held};
use super::pkcs12;
use super::programs::{Program, ProgramError, Programs};
use super::sqlite::SqliteError;
use super::stage::{HERE, PASSWORD, Stage};
use super::store::{Store, holds_key};
use super::{CERTIFICATES, KEYS, NICKNAME, StoreError};
use crate::certificate::Certificate;
use crate::directory::{Directory, Lock};
use crate::error::DatabaseError;
use crate::issue::PrivateKey;
use crate::server::Password;
use crate::text::{quoted, shown};

/// A pair that was found in a store.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
}

/// The mode of every file of a server's store: it holds the key.
const MODE: u32 = 0o600;

/// The trust that stock servers give to themselves.
const OWN: &str = "PCu,,PCu";

/// The file that goes from one program to the other, and the password on it.
const BUNDLE: &str = "pair.p12";
const BUNDLE_PASSWORD: &str = "pair.pw";

/// The largest bundle: a few certificates and their keys.
const MAX_BUNDLE_BYTES: usize = 256 * 1024;

/// The store of a server-side database, and what it is read and changed with.
#[derive(Debug)]
pub(crate) struct ServerStore<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) lock: &'a Lock,
    pub(crate) programs: &'a Programs,
    /// The store's password, if it has one.
    pub(crate) password: Option<&'a Password>,
}

/// What a store may have had before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Former certificates of this server, which are ours to replace.
    pub(crate) former: &'a [Certificate],
    /// Whether the password was made just now, so that a store cannot have it yet.
    pub(crate) is_new_password: bool,
}

/// A store with a pair in it, and its keys.
struct Found {
    store: Store,
    keys: Vec<u8>,
}

impl ServerStore<'_> {
    /// Returns the pair of the stock server that used this database, if one did. `beside` is the
    /// certificate file in it; with one, only its own pair is looked for.
    ///
    /// # Errors
    /// When there is a pair and it cannot be had. Its clients would not trust another one.
    pub(crate) fn take_over(
        &self,
        beside: Option<&Certificate>,
    ) -> Result<Option<Takeover>, DatabaseError> {
        let found = self
            .find(beside)
            .map_err(|error| self.refusal(&error, self.anew()))?;
        let Some(found) = found else { return Ok(None) };
        if !self.programs.has(Program::Pk12util) {
            let error = ProgramError::Missing(Program::Pk12util).into();
            let hint = format!("install libnss3-tools (nss-tools), or {}", self.anew());
            return Err(self.refusal(&error, hint));
        }
        let keys = self
            .private_keys(&found)
            .map_err(|error| self.refusal(&error, self.about_the_password()))?;
        let keys = keys.iter().filter_map(|key| PrivateKey::from_pkcs8(key));
        let pairs = keys.filter_map(|key| found.pair_of(key, beside));
        // Of several, the one that clients will be shown for the longest.
        let pair = pairs.max_by_key(|pair| pair.certificate.not_after());
        pair.map(Some).ok_or_else(|| {
            let error = StoreError::NotAsAsked("pk12util");
            let hint = format!("an RSA key and its certificate are needed; {}", self.anew());
            self.refusal(&error, hint)
        })
    }

    /// Looks for a store that has a certificate of a server with its key.
    fn find(&self, beside: Option<&Certificate>) -> Result<Option<Found>, StoreError> {
        let Some(store) = Store::read(self.directory)? else {
            return Ok(None);
        };
        let keys = Store::read_keys(self.directory)?;
        let found = Found { store, keys };
        let mut holds_pair = false;
        for held in found.servers(beside) {
            holds_pair |= holds_key(&found.keys, Some(&held.key_id))?;
        }
        Ok(holds_pair.then_some(found))
    }

    /// Has the private keys of the server's certificates written out.
    fn private_keys(&self, found: &Found) -> Result<Vec<Vec<u8>>, StoreError> {
        let stage = Stage::prepare(self.directory, self.lock, self.programs)?;
        stage.copy(&found.store.bytes, &found.keys)?;
        stage.set_password(self.password)?;
        let secret = bundle_password(&stage)?;
        let words = [
            "-o",
            BUNDLE,
            "-n",
            NICKNAME,
            "-d",
            HERE,
            "-k",
            PASSWORD,
            "-w",
            BUNDLE_PASSWORD,
            "-c",
            pkcs12::CIPHER,
        ];
        stage.run(Program::Pk12util, &words)?;
        let bundle = stage.private.read(BUNDLE, MAX_BUNDLE_BYTES)?;
        Ok(pkcs12::private_keys(&bundle, secret.secret())?)
    }

    /// Keeps the pair in the store, where NSS's programs are installed. Returns a warning when it does
    /// not work: our own files serve, whatever becomes of the store.
    pub(crate) fn export(&self, pair: &Takeover, context: Context<'_>) -> Option<String> {
        if !self.programs.has(Program::Certutil) || !self.programs.has(Program::Pk12util) {
            return None;
        }
        let what = "A stock server would not find the pair in";
        let error = self.export_or_fail(pair, context).err()?;
        Some(error.warning(self.directory.path(), what))
    }

    fn export_or_fail(&self, pair: &Takeover, context: Context<'_>) -> Result<(), StoreError> {
        let store = Store::read(self.directory)?;
        if let Some(store) = &store {
            let keys = Store::read_keys(self.directory)?;
            let is_there = holds(&store.contents, &keys, &pair.certificate)?;
            if is_there && !context.is_new_password {
                return Ok(());
            }
            // What is not ours to replace: there is no other copy of it.
            let is_ours = |held: &Held| {
                let mut ours = context.former.iter().chain([&pair.certificate]);
                held.nickname == NICKNAME && ours.any(|own| own.der() == held.der)
            };
            let has_foreign = !store.contents.held.iter().all(is_ours);
            if has_foreign || (store.contents.held.is_empty() && holds_key(&keys, None)?) {
                return Err(StoreError::Foreign);
            }
        }
        let stage = Stage::prepare(self.directory, self.lock, self.programs)?;
        stage.create(self.password)?;
        let secret = bundle_password(&stage)?;
        let (certificate, key) = (pair.certificate.der(), pair.key.pkcs8());
        let bundle = pkcs12::pack(certificate, key, secret.secret());
        stage.private.write(BUNDLE, &bundle)?;
        let words = [
            "-i",
            BUNDLE,
            "-d",
            HERE,
            "-k",
            PASSWORD,
            "-w",
            BUNDLE_PASSWORD,
        ];
        stage.run(Program::Pk12util, &words)?;
        let words = ["-M", "-d", HERE, "-f", PASSWORD, "-n", NICKNAME, "-t", OWN];
        stage.certutil(&words)?;
        let made = Contents::read(&stage.certificates()?)?;
        if !holds(&made, &stage.keys()?, &pair.certificate)? {
            return Err(StoreError::NotAsAsked("pk12util"));
        }
        let before = store.map(|store| store.digest);
        Store::replace(self.directory, before, &stage.private, MODE)
    }

    fn refusal(&self, error: &StoreError, hint: String) -> DatabaseError {
        DatabaseError::Takeover {
            store: self.directory.file_path(CERTIFICATES),
            reason: error.to_string(),
            hint,
        }
    }

    fn anew(&self) -> String {
        format!(
            "move it and {KEYS} away from {} to start with a new certificate, which clients have to be told to trust",
            quoted(self.directory.path())
        )
    }

    fn about_the_password(&self) -> String {
        let pw = quoted(&self.directory.file_path("pw"));
        let anew = self.anew();
        match self.password {
            None => {
                format!("if it has a password, write it to {pw} (chmod 600 {pw}); else {anew}")
            }
            Some(_) => format!("correct the password in {pw}, or {anew}"),
        }
    }
}

impl Found {
    /// The certificates of a server; with one given, only this one.
    fn servers<'f>(&'f self, only: Option<&'f Certificate>) -> impl Iterator<Item = &'f Held> {
        self.store.contents.held.iter().filter(move |held| {
            let is_meant = |found| only.is_none_or(|only| only == found);
            held.nickname == NICKNAME && held.certificate.as_ref().is_some_and(is_meant)
        })
    }

    /// The pair of this key whose certificate lives longest.
    fn pair_of(&self, key: PrivateKey, only: Option<&Certificate>) -> Option<Takeover> {
        let certificates = self
            .servers(only)
            .filter_map(|held| held.certificate.as_ref());
        let certificate = certificates
            .filter(|certificate| key.belongs_to(certificate))
            .max_by_key(|certificate| certificate.not_after())?
            .clone();
        Some(Takeover { certificate, key })
    }
}

/// Makes the password of a bundle.
fn bundle_password(stage: &Stage<'_>) -> Result<Password, StoreError> {
    let secret = Password::generate().map_err(DatabaseError::from)?;
    let line = format!("{}\n", secret.secret());
    stage.private.write(BUNDLE_PASSWORD, line.as_bytes())?;
    Ok(secret)
}

/// Tells whether a server finds this certificate and its key in a store.
fn holds(contents: &Contents, keys: &[u8], certificate: &Certificate) -> Result<bool, SqliteError> {
    let is_it = |held: &&Held| held.nickname == NICKNAME && held.der == certificate.der();
    match contents.held.iter().find(is_it) {
        Some(held) => holds_key(keys, Some(&held.key_id)),
        None => Ok(false),
    }
}

/// What a person is told when a pair was taken over.
pub(crate) fn taken_over(directory: &Directory) -> String {
    format!(
        "the certificate and the key of the stock server in '{}' were taken over: clients that trust it need \
         nothing new",
        shown(&directory.file_path(CERTIFICATES))
    )
}
