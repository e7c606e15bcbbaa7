//! From what a server-side database holds to a pair that can be served.
//!
//! Runs under the directory's lock. Every step leaves a state that the next start understands, so a
//! crash at any point costs at most a certificate that nobody had seen.

use super::files::{
    CERTIFICATE, CERTIFICATE_MODE, Contents, KEY, MAX_RETIRED, PASSWORD, SECRET_MODE, retired_name,
};
use super::{Opened, Origin, Password, PasswordRule, Setup};
use crate::certificate::Certificate;
use crate::directory::{Directory, Lock};
use crate::error::DatabaseError;
use crate::issue::PrivateKey;
use crate::nss::{self, Context, ServerStore, Takeover};
use crate::text::{quoted, shown};

/// Coming from what is there to a pair that can be served.
pub(super) struct Pairing<'a> {
    pub(super) directory: &'a Directory,
    pub(super) lock: &'a Lock,
    pub(super) setup: Setup<'a>,
    pub(super) warnings: Vec<String>,
}

impl Pairing<'_> {
    /// Reuses, renews, completes or makes the pair, whatever what is there asks for.
    pub(super) fn settle(mut self, contents: Contents) -> Result<Opened, DatabaseError> {
        let taken = self.take_over(&contents)?;
        let was_taken = taken.is_some();
        let (key, certificate) = match taken {
            Some(pair) => (Some(pair.key), Some(pair.certificate)),
            None => (contents.key, contents.certificate),
        };
        let mut retired = contents.retired;
        let (key, certificate, origin) = self.pair(key, certificate, &mut retired)?;
        let is_new_password = contents.password.is_none();
        let password = self.password(contents.password)?;
        let pair = Takeover { certificate, key };
        let context = Context {
            former: &retired,
            is_new_password: is_new_password && password.is_some(),
        };
        let exported = self.store(password.as_ref()).export(&pair, context);
        self.warnings.extend(exported);
        let origin = match origin {
            Origin::Found if was_taken => Origin::TakenOver,
            origin => origin,
        };
        if origin == Origin::TakenOver {
            self.warnings.push(nss::taken_over(self.directory));
        }
        Ok(Opened {
            certificate: pair.certificate,
            private_key_pkcs8: pair.key.pkcs8().to_vec(),
            retired,
            origin,
            warnings: self.warnings,
        })
    }

    /// Makes the pair of a stock server that used this database ours: where we have none, and where
    /// such a server has renewed its own since. The certificate comes first: without a key beside it,
    /// the next start takes the pair over again.
    fn take_over(&self, contents: &Contents) -> Result<Option<Takeover>, DatabaseError> {
        let beside = match (&contents.key, &contents.certificate) {
            (None, _) => None,
            (Some(key), Some(certificate)) if !key.belongs_to(certificate) => Some(certificate),
            (Some(_), _) => return Ok(None),
        };
        let (directory, lock) = (self.directory, self.lock);
        let taken = self.store(contents.password.as_ref()).take_over(beside)?;
        if let Some(pair) = &taken {
            let (certificate, key) = (pair.certificate.der(), pair.key.pkcs8());
            directory.write(lock, CERTIFICATE, CERTIFICATE_MODE, certificate)?;
            directory.write(lock, KEY, SECRET_MODE, key)?;
        }
        Ok(taken)
    }

    fn store<'s>(&'s self, password: Option<&'s Password>) -> ServerStore<'s> {
        ServerStore {
            directory: self.directory,
            lock: self.lock,
            programs: self.setup.programs,
            password,
        }
    }

    fn pair(
        &mut self,
        key: Option<PrivateKey>,
        certificate: Option<Certificate>,
        retired: &mut Vec<Certificate>,
    ) -> Result<(PrivateKey, Certificate, Origin), DatabaseError> {
        match (key, certificate) {
            (Some(key), Some(own)) if key.belongs_to(&own) => {
                if !own.needs_renewal(self.setup.now) {
                    self.warn_of_the_clock(&own);
                    return Ok((key, own, Origin::Found));
                }
                self.retire(own, retired)?;
                let (key, certificate) = self.new_pair()?;
                Ok((key, certificate, Origin::Renewed))
            }
            (Some(key), stranger) => {
                self.set_aside(stranger, retired)?;
                let certificate = self.new_certificate(&key)?;
                Ok((key, certificate, Origin::Completed))
            }
            (None, orphan) => {
                self.set_aside(orphan, retired)?;
                let (key, certificate) = self.new_pair()?;
                Ok((key, certificate, Origin::Created))
            }
        }
    }

    /// The key comes first: a crash between the two leaves a key without its certificate, which the
    /// next start completes, and never a certificate whose key is lost.
    fn new_pair(&self) -> Result<(PrivateKey, Certificate), DatabaseError> {
        let key = PrivateKey::generate()?;
        self.directory
            .write(self.lock, KEY, SECRET_MODE, key.pkcs8())?;
        let certificate = self.new_certificate(&key)?;
        Ok((key, certificate))
    }

    fn new_certificate(&self, key: &PrivateKey) -> Result<Certificate, DatabaseError> {
        let certificate = key.certify(self.setup.identity, self.setup.now)?;
        self.directory
            .write(self.lock, CERTIFICATE, CERTIFICATE_MODE, certificate.der())?;
        Ok(certificate)
    }

    fn password(&self, found: Option<Password>) -> Result<Option<Password>, DatabaseError> {
        if found.is_some() || self.setup.password == PasswordRule::AsFound {
            return Ok(found);
        }
        let password = Password::generate()?;
        self.directory
            .write(self.lock, PASSWORD, SECRET_MODE, &password.file_bytes())?;
        Ok(Some(password))
    }

    /// Remembers a certificate that clients of this user may still trust, so that they can forget it
    /// when it has expired.
    fn retire(
        &self,
        old: Certificate,
        retired: &mut Vec<Certificate>,
    ) -> Result<(), DatabaseError> {
        while retired.len() >= MAX_RETIRED {
            let oldest = (0..retired.len()).min_by_key(|index| retired[*index].not_after());
            let Some(oldest) = oldest else { break };
            let forgotten = retired.swap_remove(oldest);
            self.directory
                .remove(self.lock, &retired_name(&forgotten))?;
        }
        self.directory
            .write(self.lock, &retired_name(&old), CERTIFICATE_MODE, old.der())?;
        if !retired.contains(&old) {
            retired.push(old);
        }
        Ok(())
    }

    /// Retires a certificate that cannot be served because its key is not here.
    fn set_aside(
        &mut self,
        certificate: Option<Certificate>,
        retired: &mut Vec<Certificate>,
    ) -> Result<(), DatabaseError> {
        let Some(certificate) = certificate else {
            return Ok(());
        };
        let path = self.directory.file_path(CERTIFICATE);
        self.warnings.push(format!(
            "Certificate file '{}' is not for the private key beside it and was replaced\n  \
             try: stap-authorize-server-cert {} for every client that trusted the old one",
            shown(&path),
            quoted(&path)
        ));
        self.retire(certificate, retired)
    }

    /// A clock that went back is likelier than a certificate from the future, and making a new one
    /// would lose the trust of every client: so it is only told.
    fn warn_of_the_clock(&mut self, certificate: &Certificate) {
        if self.setup.now < certificate.not_before() {
            let path = self.directory.file_path(CERTIFICATE);
            self.warnings.push(format!(
                "Certificate file '{}' is not valid yet; clients will refuse it\n  \
                 try: set this host's clock; if it is right now and was not when the certificate was made, \
                 rm {} before the server is started again",
                shown(&path),
                quoted(&path)
            ));
        }
    }
}
