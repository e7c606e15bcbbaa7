//! Why a request is not served, in words for the person who sent it and for the log.

use std::time::Duration;

use stap_protocol::options::OptionError;
use stap_protocol::reply::Reply;
use stap_protocol::request::Fingerprint;

use crate::log::one_line;
use crate::request_id::RequestId;

/// A refusal. `Display` says what happened and why; [`Refusal::hint`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The package cannot be used; the text comes from the protocol.
    #[error("{0}")]
    Package(String),
    /// The package is too large, judged by its announced size; the phrase is known to test-suites.
    #[error("{0}")]
    TooLarge(String),
    /// No target fits.
    #[error("this server does not build for {wanted}")]
    Target {
        /// As the client calls it.
        wanted: String,
        /// What there is instead.
        nearest: Vec<String>,
    },
    /// Patterns of target names, and no target for them.
    #[error("this server has no target that is called {}", patterns.join(" or "))]
    NothingFits {
        /// As the client wrote them.
        patterns: Vec<String>,
        /// What there is instead.
        served: Vec<String>,
    },
    /// One of several results for which the reply has no room.
    #[error("the results for all targets of this request are together more than {limit} MiB")]
    TooMuchTogether {
        /// What a reply may hold.
        limit: u64,
    },
    /// The arguments are not a command line of stap.
    #[error("{0}")]
    Grammar(#[from] OptionError),
    /// More of something than the policy allows.
    #[error("the request has {count} {what}; this server's policy '{class}' allows {limit}")]
    TooMany {
        /// Arguments, files or targets.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: u64,
        /// The policy class.
        class: String,
    },
    /// An option that stap does not have.
    #[error("unrecognized option '{0}'")]
    UnknownOption(String),
    /// An option that no server takes from a client.
    #[error("option {option} is not accepted from clients: {why}")]
    ForbiddenOption {
        /// As stap spells it.
        option: String,
        /// What it would do here.
        why: &'static str,
    },
    /// An option that the policy leaves out.
    #[error("option {option} is not allowed by this server's policy '{class}'")]
    OptionNotAllowed {
        /// As stap spells it.
        option: String,
        /// The policy class.
        class: String,
    },
    /// A privilege level that the policy leaves out.
    #[error(
        "modules for privilege '{privilege}' are not allowed by this server's policy '{class}'"
    )]
    PrivilegeNotAllowed {
        /// As stap spells it.
        privilege: String,
        /// The policy class.
        class: String,
    },
    /// A script or tapset that is not part of the request.
    #[error(
        "{what} '{path}' lies outside of the request, and the server's own files are not for clients"
    )]
    PathOutside {
        /// The script, or the directory after -I.
        what: &'static str,
        /// As it was given.
        path: String,
    },
    /// `-r` or `-a` contradict the target of the request.
    #[error("{option} {value} contradicts the target of this request, {target}")]
    OtherTarget {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What the request is for.
        target: String,
    },
    /// Too much is going on.
    #[error("the server is busy: {why}")]
    Busy {
        /// What is exhausted.
        why: String,
        /// When there is probably room.
        retry: Duration,
    },
    /// There is a result, and no memory to send it.
    #[error("the server is busy: it has no memory for more results just now")]
    NoRoomForResult {
        /// When there is probably room.
        retry: Duration,
    },
    /// The server is going down.
    #[error("the server is stopping")]
    Stopping,
    /// The client's kernel insists on signatures that this server cannot make.
    #[error(
        "this client's kernel loads only signed modules, and this server has no key that signs for it"
    )]
    CannotSign,
    /// The client's kernel insists on signatures, and trusts none of this server's keys.
    #[error(
        "this client's kernel loads only signed modules, and the key of this server is not enrolled there; its \
         certificate {fingerprint} is now in signing_key.x509"
    )]
    KeyNotEnrolled {
        /// One of the keys.
        fingerprint: Fingerprint,
        /// Its certificate, for the client.
        certificate: Vec<u8>,
    },
    /// The policy leaves out the signature that the module would need.
    #[error("this server's policy '{class}' signs no modules for {whom}")]
    SignsNotFor {
        /// A privilege, or hosts.
        whom: String,
        /// The policy class.
        class: String,
    },
    /// The job has more in it than one whose module is signed may have.
    #[error("{0}")]
    NotSignable(String),
    /// `--privilege` contradicts itself; the words are stap's.
    #[error("{0}")]
    Privilege(String),
    /// Jobs are not kept apart well enough.
    #[error("this server signs no modules, because its host does not give {missing}")]
    UnsafeToSign {
        /// Layers of isolation.
        missing: String,
    },
    /// The program with the keys has ended.
    #[error("this server cannot sign modules at the moment")]
    SignerGone,
}

impl Refusal {
    /// What the person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Package(_) => "Use a client that speaks this protocol.".to_owned(),
            Self::TooLarge(_) => {
                "Send fewer or smaller files (-I takes whole directories), or ask the operator to raise the limit.".to_owned()
            }
            Self::Target { nearest, .. } if nearest.is_empty() => {
                "It has no targets at all; ask the operator to install kernel headers.".to_owned()
            }
            Self::Target { nearest, .. } => format!(
                "It builds for {}; choose one of these with -r, use another server, or ask the operator to install \
                 the headers of your kernel.",
                nearest.join(", ")
            ),
            Self::NothingFits { served, .. } => format!("It builds for {}.", served.join(", ")),
            Self::TooMuchTogether { .. } => "Ask for this target by itself.".to_owned(),
            Self::Grammar(_) | Self::UnknownOption(_) => "Try '--help' for more information.".to_owned(),
            Self::TooMany { .. } => "Send less, or ask the operator for another policy.".to_owned(),
            Self::ForbiddenOption { .. } => "Leave it out, or run stap on your own machine.".to_owned(),
            Self::OptionNotAllowed { .. } | Self::PrivilegeNotAllowed { .. } => {
                "Leave it out, or ask the operator for another policy.".to_owned()
            }
            Self::PathOutside { .. } => "Name files of your own machine; the client sends them along.".to_owned(),
            Self::OtherTarget { .. } => "Give -r and -a once.".to_owned(),
            Self::Busy { retry, .. } | Self::NoRoomForResult { retry } => format!("Try again in {} s.", retry.as_secs().max(1)),
            Self::Stopping => "Try again in a moment, or use another server.".to_owned(),
            Self::CannotSign => "Use a server whose key this machine trusts, or ask the operator to make one (stap-serverd \
                 --make-signing-key)."
                .to_owned(),
            Self::KeyNotEnrolled { .. } => "If you trust this server with this machine's kernel: sudo mokutil --import \
                 signing_key.x509, restart the machine, confirm the key there, and try again."
                .to_owned(),
            Self::SignsNotFor { .. } | Self::UnsafeToSign { .. } => {
                "Use another server, or ask the operator; without it a member of stapdev can load the module that is \
                 built without --privilege."
                    .to_owned()
            }
            Self::NotSignable(_) => {
                "Leave it out, or build without --privilege and let a member of stapdev load the module.".to_owned()
            }
            Self::Privilege(_) => "Give --privilege once.".to_owned(),
            Self::SignerGone => "Tell the operator; the server has to be restarted.".to_owned(),
        }
    }

    /// The complete reply that a refused client gets.
    #[must_use]
    pub fn reply(&self, id: RequestId) -> Reply {
        // stap's own sentences end with a full stop; a name may end with several.
        let said = self.to_string();
        let sentence = said.strip_suffix('.');
        let sentence = sentence.filter(|sentence| !sentence.ends_with('.'));
        let sentence = sentence.unwrap_or(&said);
        let text = format!("{sentence}. {}", self.hint());
        let refusal = Reply::refusal(&server_line(&text, id));
        match self {
            Self::KeyNotEnrolled { certificate, .. } => {
                refusal.with_signing_key(certificate.clone())
            }
            _ => refusal,
        }
    }
}

/// A line of the server in the client's stderr, in the form in which stock servers write theirs.
#[must_use]
pub fn server_line(text: &str, id: RequestId) -> String {
    format!("Server: {} (request {id})\n", one_line(text))
}

/// The same for what was tolerated: the request is served all the same, so the line is a stock server's to the letter.
#[must_use]
pub fn notice_line(text: &str) -> String {
    format!("Server: {}\n", one_line(text))
}
