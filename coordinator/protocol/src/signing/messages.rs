//! What coordinator and signer say to each other.
//!
//! As with the worker: a socket pair made before either of them hears a foreign byte, and one frame per
//! message, a big-endian 32-bit length and postcard. The first message is [`ToSigner::Configure`]; after
//! that every message is answered, in order, by exactly one. The end of the stream ends the signer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Demand, SignatureHash};
use crate::job::OutputFile;
use crate::path::RelativePath;
use crate::request::Fingerprint;
use crate::target::TargetName;

/// The largest frame either side accepts: a module as large as a policy can allow, and its job.
pub const MAX_FRAME: usize = 160 << 20;

/// From the coordinator to the signer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToSigner {
    /// The first message, and the only one of its kind; answered by [`FromSigner::Keys`] or
    /// [`FromSigner::NotReady`].
    Configure(Configuration),
    /// Which keys are there now? Answered by [`FromSigner::Keys`].
    ListKeys,
    /// Sign a module; answered by [`FromSigner::Signed`] or [`FromSigner::Refused`].
    Sign(Box<Order>),
}

/// From the signer to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromSigner {
    /// The keys that could be used.
    Keys(Keys),
    /// The signer cannot work under this configuration, and exits after saying so.
    NotReady {
        /// Why, and what to do.
        reason: String,
    },
    /// The signatures that were asked for.
    Signed(Box<Signed>),
    /// There is no signature.
    Refused {
        /// Why, in words for the client; the signer's log has more.
        reason: String,
    },
}

/// All that a signer needs to know before the first order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Configuration {
    /// The server's database, with the server's own key and the machine owner keys below it.
    pub database: PathBuf,
    /// The policy file's text.
    pub policy: String,
}

/// What can be signed with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The machine owner keys, in the order of their fingerprints.
    pub machine_owner_keys: Vec<MachineOwnerKey>,
    /// What is wrong with others, one line each; they are not used.
    pub warnings: Vec<String>,
}

/// The public half of a machine owner key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineOwnerKey {
    /// The SHA-1 of its certificate, by which clients know it.
    pub fingerprint: Fingerprint,
    /// Its certificate, in DER.
    #[serde(with = "serde_bytes")]
    pub certificate: Vec<u8>,
}

/// A module with the record of the job that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The request, for the log.
    pub request: String,
    /// Who asked, for the log.
    pub client: String,
    /// What it was built for.
    pub target: TargetName,
    /// The digest that this target's kernel is sure to know.
    pub hash: SignatureHash,
    /// stap's arguments as they were run.
    pub arguments: Vec<Vec<u8>>,
    /// The names of the files that stap was given.
    pub files: Vec<RelativePath>,
    /// What the client asked for.
    pub demand: Demand,
    /// What came out.
    pub module: OutputFile,
}

/// What is sent to the client instead of the module that the job made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The module, with a machine owner key's signature appended where one was asked for.
    #[serde(with = "serde_bytes")]
    pub module: Vec<u8>,
    /// The server's own signature over these bytes, for `staprun`.
    #[serde(with = "serde_bytes")]
    pub signature: Option<Vec<u8>>,
}
