//! Whether the module of a job could be signed, before anything is compiled for it.
//!
//! Nobody should wait for a compile whose result no kernel would load. The signer judges the same again.

use stap_policy::{Isolation, Layers, Policy};
use stap_protocol::job::{InputFile, Layer, LayerState};
use stap_protocol::options::CommandLine;
use stap_protocol::request::{Fingerprint, MachineOwnerKeys};
use stap_protocol::signing::messages::{Keys, MachineOwnerKey};
use stap_protocol::signing::{Demand, Privilege, rules};

use crate::refusal::Refusal;

/// What can be signed with, and whether this host keeps jobs apart well enough for it.
#[derive(Clone, Debug, Default)]
pub struct Surety {
    /// Layers that have to be in force and are not.
    missing: Vec<&'static str>,
}

impl Surety {
    /// Compares what the policy wants with the layers that the worker found to hold.
    #[must_use]
    pub fn of(policy: &Policy, layers: &[Layer]) -> Self {
        if policy.signing().isolation == Isolation::Any {
            return Self::default();
        }
        let is_enforced = |name: &str| {
            layers
                .iter()
                .any(|layer| layer.name == name && layer.state == LayerState::Enforced)
        };
        Self {
            missing: strict_layers().missing(is_enforced).collect(),
        }
    }

    /// What there is to say about it in the log.
    #[must_use]
    pub fn describe(&self, policy: &Policy, keys: &Keys) -> String {
        if !self.missing.is_empty() {
            return format!(
                "no module is signed, because this host does not give {}; see [signing] in the policy",
                self.missing.join(", ")
            );
        }
        let signing = policy.signing();
        let mut whom: Vec<String> = [
            stap_policy::Privilege::Stapusr,
            stap_policy::Privilege::Stapsys,
        ]
        .into_iter()
        .filter(|privilege| signing.signs_for(*privilege))
        .map(|privilege| format!("{privilege:?}").to_lowercase())
        .collect();
        let prints = keys.machine_owner_keys.iter();
        whom.extend(prints.map(|key| format!("machine owner key {}", key.fingerprint)));
        if whom.is_empty() {
            return "no module is signed".to_owned();
        }
        format!("modules are signed for {}", whom.join(", "))
    }

    /// The signatures that the module of this job needs; `None` when it needs none.
    ///
    /// # Errors
    /// When it needs one that this server would not give.
    pub fn demand(
        &self,
        line: &CommandLine,
        files: &[InputFile],
        wanted: &MachineOwnerKeys,
        keys: &Keys,
        policy: &Policy,
    ) -> Result<Option<Demand>, Refusal> {
        let privilege = Privilege::of(line)
            .map_err(|conflict| Refusal::Privilege(conflict.to_string()))?
            .unwrap_or(Privilege::Stapdev);
        if !rules::makes_module(line) {
            return Ok(None);
        }
        let class = || policy.class().to_owned();
        if privilege.needs_signature() && !signs_for(policy, privilege) {
            let (whom, class) = (format!("privilege '{privilege}'"), class());
            return Err(Refusal::SignsNotFor { whom, class });
        }
        let demand = Demand {
            privilege,
            machine_owner_key: machine_owner_key(wanted, keys, policy)?,
        };
        if !demand.is_any() {
            return Ok(None);
        }
        rules::judge(line, files.iter().map(|file| &file.path))
            .map_err(|fault| Refusal::NotSignable(fault.to_string()))?;
        if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            return Err(Refusal::UnsafeToSign { missing });
        }
        Ok(Some(demand))
    }
}

fn machine_owner_key(
    wanted: &MachineOwnerKeys,
    keys: &Keys,
    policy: &Policy,
) -> Result<Option<Fingerprint>, Refusal> {
    let enrolled: &[Fingerprint] = match wanted {
        MachineOwnerKeys::NotAsked => return Ok(None),
        MachineOwnerKeys::Missing => &[],
        MachineOwnerKeys::Enrolled(enrolled) => enrolled,
    };
    if !policy.signing().machine_owner_keys {
        return Err(Refusal::SignsNotFor {
            whom: "hosts that load only signed modules".to_owned(),
            class: policy.class().to_owned(),
        });
    }
    let ours = |print: &Fingerprint| {
        let mut keys = keys.machine_owner_keys.iter();
        keys.any(|key| key.fingerprint == *print)
    };
    match (
        enrolled.iter().copied().find(ours),
        keys.machine_owner_keys.first(),
    ) {
        (Some(common), _) => Ok(Some(common)),
        (
            None,
            Some(MachineOwnerKey {
                fingerprint,
                certificate,
            }),
        ) => Err(Refusal::KeyNotEnrolled {
            fingerprint: *fingerprint,
            certificate: certificate.clone(),
        }),
        (None, None) => Err(Refusal::CannotSign),
    }
}

fn signs_for(policy: &Policy, privilege: Privilege) -> bool {
    policy.signing().signs_for(match privilege {
        Privilege::Stapusr => stap_policy::Privilege::Stapusr,
        Privilege::Stapsys => stap_policy::Privilege::Stapsys,
        Privilege::Stapdev => stap_policy::Privilege::Stapdev,
    })
}

fn strict_layers() -> Layers {
    let strict = Policy::builtin("strict").expect("a test reads every built-in policy");
    strict.layers().clone()
}

#[cfg(test)]
mod tests;
