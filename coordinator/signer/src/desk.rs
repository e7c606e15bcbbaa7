//! Decides whether a module is signed, and signs it.
//!
//! The coordinator says what the job was and what is wanted; neither is believed further than it can be
//! held against the policy, the rules for such jobs, and the module itself. What is signed is what is in
//! this process's memory and is sent back, never a file that could change in between (CVE-2011-2503).
//! Every signature and every refusal is a line of the log.

use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use stap_certs::DatabaseError;
use stap_certs::module_keys::{ModuleKey, ModuleKeys};
use stap_certs::server::Pair;
use stap_policy::{Policy, Signing};
use stap_protocol::options::{OptionError, parse};
use stap_protocol::request::Fingerprint;
use stap_protocol::signing::messages::{
    Configuration, FromSigner, Keys, MachineOwnerKey, Order, Signed,
};
use stap_protocol::signing::rules::{self, NotSignable};
use stap_protocol::signing::{Privilege, PrivilegeConflict};

use crate::module::{self, ModuleFault};
use crate::signature::{self, SignatureError};

/// Where orders are judged.
#[derive(Debug)]
pub struct Desk {
    database: PathBuf,
    signing: Signing,
}

/// Why a module is not signed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing was asked for.
    #[error("no signature was asked for")]
    Nothing,
    /// The arguments are no command line.
    #[error(transparent)]
    Grammar(#[from] OptionError),
    /// Two privileges.
    #[error(transparent)]
    Conflict(#[from] PrivilegeConflict),
    /// The arguments ask for another privilege than the order.
    #[error("the arguments ask for {arguments} and the order for {order}")]
    OtherPrivilege {
        /// In the arguments.
        arguments: Privilege,
        /// In the order.
        order: Privilege,
    },
    /// The job is not one whose module is signed.
    #[error(transparent)]
    Job(#[from] NotSignable),
    /// The policy says no.
    #[error("the policy signs no modules for {0}")]
    Policy(String),
    /// There is no such key, or no longer.
    #[error("there is no machine owner key {0}")]
    NoKey(Fingerprint),
    /// The module is not what was asked for.
    #[error("the module is not signed: {0}")]
    Module(#[from] ModuleFault),
    /// The keys cannot be read.
    #[error("the signing key cannot be used: {0}")]
    Database(#[from] DatabaseError),
    /// The key does not work.
    #[error("the signing key cannot be used: {0}")]
    Signature(#[from] SignatureError),
}

impl Desk {
    /// Reads the policy.
    ///
    /// # Errors
    /// When it is none, in words for the operator.
    pub fn open(configuration: &Configuration) -> Result<Self, String> {
        let policy = Policy::parse(&configuration.policy)
            .map_err(|error| format!("the signer cannot use the policy: {error}"))?;
        Ok(Self {
            database: configuration.database.clone(),
            signing: policy.signing().clone(),
        })
    }

    /// The keys that there are now; none where the policy does not want them used.
    #[must_use]
    pub fn keys(&self) -> Keys {
        if !self.signing.machine_owner_keys {
            return Keys::default();
        }
        let read = ModuleKeys::read(&self.database);
        let keys = read.unwrap_or_else(|error| ModuleKeys {
            usable: Vec::new(),
            warnings: error.lines(),
        });
        let public = |key: &ModuleKey| MachineOwnerKey {
            fingerprint: Fingerprint::new(key.fingerprint()),
            certificate: key.certificate().der().to_vec(),
        };
        Keys {
            machine_owner_keys: keys.usable.iter().map(public).collect(),
            warnings: keys.warnings,
        }
    }

    /// Signs a module, or says why not.
    pub fn sign(&self, order: Order, mut say: impl FnMut(&str)) -> FromSigner {
        let about = about(&order);
        match self.signed(order) {
            Ok((signed, with)) => {
                say(&format!("INFO signed {about}{with}"));
                FromSigner::Signed(Box::new(signed))
            }
            Err(refusal) => {
                say(&format!("WARN not signed: {refusal}: {about}"));
                let reason = refusal.to_string();
                FromSigner::Refused { reason }
            }
        }
    }

    fn signed(&self, order: Order) -> Result<(Signed, String), Refusal> {
        self.judge(&order)?;
        let mut with = String::new();
        let mut content = order.module.content;
        if let Some(fingerprint) = order.demand.machine_owner_key {
            let key = self.key(fingerprint)?;
            let certificate = key.certificate().der();
            content = signature::append(content, order.hash, certificate, key.private_key_pkcs8())?;
            note(&mut with, "mok", &fingerprint.to_string());
        }
        let mut own = None;
        if order.demand.privilege.needs_signature() {
            let pair = Pair::read(&self.database)?;
            own = Some(signature::detached(&content, &pair.private_key_pkcs8)?);
            note(&mut with, "key", &pair.certificate.serial_text());
        }
        note(&mut with, "signed-sha256", &digest(&content));
        let signed = Signed {
            module: content,
            signature: own,
        };
        Ok((signed, with))
    }

    fn judge(&self, order: &Order) -> Result<(), Refusal> {
        let demand = &order.demand;
        if !demand.is_any() {
            return Err(Refusal::Nothing);
        }
        let line = parse(&order.arguments)?;
        let asked = Privilege::of(&line)?.unwrap_or(Privilege::Stapdev);
        if asked != demand.privilege {
            return Err(Refusal::OtherPrivilege {
                arguments: asked,
                order: demand.privilege,
            });
        }
        rules::judge(&line, &order.files)?;
        if asked.needs_signature() && !self.signs_for(asked) {
            return Err(Refusal::Policy(asked.to_string()));
        }
        if demand.machine_owner_key.is_some() && !self.signing.machine_owner_keys {
            return Err(Refusal::Policy("hosts with machine owner keys".to_owned()));
        }
        let module = &order.module;
        module::judge(&module.name, &module.content, &order.target, asked)?;
        Ok(())
    }

    fn signs_for(&self, privilege: Privilege) -> bool {
        self.signing.signs_for(match privilege {
            Privilege::Stapusr => stap_policy::Privilege::Stapusr,
            Privilege::Stapsys => stap_policy::Privilege::Stapsys,
            Privilege::Stapdev => stap_policy::Privilege::Stapdev,
        })
    }

    fn key(&self, wanted: Fingerprint) -> Result<ModuleKey, Refusal> {
        let keys = ModuleKeys::read(&self.database)?.usable;
        keys.into_iter()
            .find(|key| Fingerprint::new(key.fingerprint()) == wanted)
            .ok_or(Refusal::NoKey(wanted))
    }
}

/// Who asked for what, in one line.
fn about(order: &Order) -> String {
    let Order {
        request,
        client,
        target,
        module,
        ..
    } = order;
    let mut line = format!("{} for {target}", module.name);
    note(&mut line, "request", request);
    note(&mut line, "client", client);
    note(&mut line, "privilege", &order.demand.privilege.to_string());
    note(&mut line, "sha256", &digest(&module.content));
    line
}

fn note(line: &mut String, key: &str, value: &str) {
    let value = stap_protocol::text::escape(value.as_bytes());
    write!(line, " {key}={value}").expect("writing to a String cannot fail");
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
