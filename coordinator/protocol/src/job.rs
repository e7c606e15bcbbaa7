//! What coordinator and worker say to each other.
//!
//! They share one socket pair that is made before either of them hears a foreign byte. Each message
//! is one frame: a big-endian 32-bit length, then the message in postcard's encoding. The first
//! message is the coordinator's [`ToWorker::Configure`], answered by [`FromWorker::Ready`] or
//! [`FromWorker::NotReady`]; after that jobs overlap freely and are told apart by [`JobId`]. The end
//! of the stream means that the other side is gone: the worker then kills every job and exits.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::examination::{Examination, Question};
use crate::path::{FileName, RelativePath};
use crate::signing::SignatureHash;
use crate::target::{TargetIdentity, TargetName};

/// The largest frame either side accepts, in bytes. A request may unpack to 64 MiB by default and a
/// result holds at most a few modules, so this leaves room for a raised request limit.
pub const MAX_FRAME: usize = 256 << 20;

/// Tells the jobs of one worker apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// From the coordinator to the worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first message, and the only one of its kind.
    Configure(Box<Configuration>),
    /// The first message instead, to a worker that is to look and not to serve; it exits after the
    /// answer, [`FromWorker::Examined`] or [`FromWorker::NotReady`].
    Examine(Box<Question>),
    /// Run a job; answered by exactly one [`FromWorker::Done`] with the same id.
    Run {
        /// Chosen by the coordinator, never used twice.
        id: JobId,
        /// What to run.
        job: Box<Job>,
    },
    /// The client went away: kill the job's whole tree. Its `Done` still comes.
    Cancel {
        /// The job to kill; one that is already done is ignored.
        id: JobId,
    },
    /// What a job for this target would find now; answered by one [`FromWorker::Identity`] with the
    /// same number.
    Identify {
        /// Chosen by the coordinator, never used twice.
        number: u64,
        /// One of [`Readiness::targets`].
        target: TargetName,
    },
    /// Do the next piece of what makes the jobs of a target cheaper; answered by one
    /// [`FromWorker::Warmed`], before which this is not said again.
    Warm {
        /// One of [`Readiness::targets`].
        target: TargetName,
        /// For jobs in guru mode, for which stap finds out everything anew.
        guru: bool,
    },
}

/// From the worker to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// The worker can take jobs.
    Ready(Readiness),
    /// The worker cannot work under this configuration; it exits after saying so.
    NotReady {
        /// What happened, why, and what to do, in one paragraph.
        reason: String,
    },
    /// What a worker found that was only asked to look.
    Examined(Box<Examination>),
    /// A job left the queue of slots and its jail is being prepared.
    Started {
        /// The job.
        id: JobId,
    },
    /// A job ended.
    Done {
        /// The job.
        id: JobId,
        /// How.
        report: Box<Report>,
        /// Whether the worker goes on in the job's slot, on its own account, until it says
        /// [`FromWorker::Released`].
        keeps_slot: bool,
    },
    /// The slot of a job that is done is free now.
    Released {
        /// The job.
        id: JobId,
    },
    /// What jobs of a target find.
    Identity {
        /// The number of the question.
        number: u64,
        /// `Err` says, for the log, why that cannot be known.
        identity: Result<TargetIdentity, String>,
    },
    /// How warm a target is after a piece of work.
    Warmed(Warming),
}

/// How far a target is from being warm. What is done stays done, also when the next worker asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warming {
    /// So many pieces of all are done.
    Underway {
        /// Done.
        done: usize,
        /// All of them.
        all: usize,
    },
    /// Nothing is left to do.
    Warm,
    /// Something is missing, and this worker does not try again.
    Cold {
        /// What, and why.
        reason: String,
    },
}

/// All that the worker needs to know before the first job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Where to look for targets: `/` and unpacked distribution roots.
    pub roots: Vec<PathBuf>,
    /// Targets to serve; empty means all that are found.
    pub releases: Vec<ReleaseChoice>,
    /// Architecture served, when it is not this host's (`-a`).
    pub arch: Option<String>,
    /// A stap to run instead of the root's own (`SYSTEMTAP_STAP`).
    pub stap: Option<PathBuf>,
    /// Options added in front of every job's own (`-B -D -I -R` of the server), already in argv form.
    pub server_options: Vec<String>,
    /// The policy file's text.
    pub policy: String,
    /// Jobs that may run at the same time.
    pub slots: usize,
    /// Where warm state is kept between runs; made by the worker with mode 0700.
    pub cache: PathBuf,
    /// Parent of anything that must be on a file system for a while (`TMPDIR`).
    pub temporary: PathBuf,
    /// Keep each job's workspace for inspection below `temporary` (`-k`).
    pub keep: bool,
    /// Directories that neither the worker nor a job has any business in: the server's databases.
    pub hidden: Vec<PathBuf>,
}

/// One `-r` of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseChoice {
    /// A release whose build tree is `/lib/modules/REL/build` of a root.
    Release(String),
    /// A build tree; its release is read from `include/config/kernel.release`.
    BuildTree(PathBuf),
}

/// What the worker found and what it can enforce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Targets that it serves, sorted by name.
    pub targets: Vec<Target>,
    /// Build trees it saw and does not serve, with the reason.
    pub unusable: Vec<Unusable>,
    /// Every isolation layer, in the order in which a job meets them.
    pub layers: Vec<Layer>,
}

/// A kernel that modules can be built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What clients ask for.
    pub name: TargetName,
    /// The root whose compiler and stap are used.
    pub root: PathBuf,
    /// The kernel build tree, inside the root.
    pub build_tree: PathBuf,
    /// The stap that runs, inside the root (or the override).
    pub stap: PathBuf,
    /// Its version as `stap --version` says, for example `5.6`.
    pub stap_version: String,
    /// The compiler that the build tree asks for, for example `x86_64-linux-gnu-gcc-15`.
    pub compiler: String,
    /// Names this exact build: differs when the release is the same but the headers are not.
    pub build_id: String,
    /// The digest that this kernel's build uses to sign its own modules.
    pub signature_hash: SignatureHash,
    /// How pass 4 is done, for each set of flags; as far as is known now.
    pub pass_4: Vec<Pass4>,
}

/// How pass 4 of a target is done with one set of flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass4 {
    /// `plain`, or `guru` with `-g`.
    pub flags: String,
    /// Who runs the compiler.
    pub way: Way,
    /// Why it is make; empty otherwise.
    pub reason: String,
}

/// Who runs the compiler in pass 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// What make was seen to run is run again without it.
    Replayed,
    /// make.
    Make,
    /// It will be tried when it is first needed.
    Untried,
}

impl Target {
    /// How pass 4 is done, in a few words.
    #[must_use]
    pub fn pass_4_in_words(&self) -> String {
        let words = |pass: &Pass4| match pass.way {
            Way::Replayed => "replayed".to_owned(),
            Way::Make => format!("by make ({})", pass.reason),
            Way::Untried => "not yet recorded".to_owned(),
        };
        let Some((first, others)) = self.pass_4.split_first() else {
            return "by make".to_owned();
        };
        let mut all = vec![words(first)];
        for other in others.iter().filter(|other| words(other) != words(first)) {
            let with = if other.flags == "guru" {
                "-g"
            } else {
                &other.flags
            };
            all.push(format!("with {with} {}", words(other)));
        }
        all.join("; ")
    }
}

/// A build tree that is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// Where it is.
    pub build_tree: PathBuf,
    /// Why, and what would help.
    pub reason: String,
}

/// One layer of isolation on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name in policies and reports, for example `landlock`.
    pub name: String,
    /// Whether jobs run under it.
    pub state: LayerState,
    /// What exactly is in force, or why it is not and what would change that.
    pub detail: String,
}

/// Whether a layer is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerState {
    /// Tried, and found to hold.
    Enforced,
    /// This host cannot give it; the policy does not require it.
    Absent,
}

/// One compile, for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The request that it belongs to, as it appears in the logs.
    pub request: String,
    /// What to build for; one of [`Readiness::targets`].
    pub target: TargetName,
    /// stap's arguments after the server's own, checked by the coordinator's intake; bytes, because
    /// a script argument need not be UTF-8.
    pub arguments: Vec<Vec<u8>>,
    /// The client's files, at paths relative to the job's working directory.
    pub files: Vec<InputFile>,
    /// Locale variables for the job's environment.
    pub locale: Vec<(String, String)>,
    /// Whether its module is to be signed: then no limit is looser than the strictest class has it.
    pub to_be_signed: bool,
}

/// A file that goes into the job's working directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Where, relative to that directory.
    pub path: RelativePath,
    /// Its content.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What happened.
    pub outcome: Outcome,
    /// What stap wrote to stdout, up to the policy's bound. Paths are those inside the jail.
    #[serde(with = "serde_bytes")]
    pub stdout: Vec<u8>,
    /// What stap wrote to stderr, up to the policy's bound.
    #[serde(with = "serde_bytes")]
    pub stderr: Vec<u8>,
    /// Results, taken by an allow-list of names from the job's output directory.
    pub files: Vec<OutputFile>,
    /// Directories inside the jail whose names mean nothing to the client; they become `<server>`.
    pub private_directories: Vec<PathBuf>,
    /// What it cost.
    pub usage: Usage,
    /// Whether no limit had a part in it, and nothing that the job left was passed over: another run
    /// with wider limits would have given the same.
    pub is_whole: bool,
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// What it is called, without any directory.
    pub name: FileName,
    /// Its content.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
}

/// The end of a job. A failed compile is an outcome like any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// stap ended by itself.
    Exited {
        /// Its exit status.
        code: i32,
    },
    /// stap was ended by a signal that we did not send.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// A limit of the policy was hit and the whole tree was killed.
    LimitReached {
        /// Which limit, as it is named in the policy, for example `wall`.
        limit: String,
        /// Its value with its unit, for example `300 s`.
        value: String,
        /// The policy class that set it.
        class: String,
        /// How much the job used of it, with a unit, where that was counted.
        used: Option<String>,
        /// The class of the program that would allow more, if one does.
        wider: Option<Wider>,
    },
    /// The coordinator asked for it.
    Cancelled,
    /// The worker could not run it; the job itself is not to blame.
    WorkerFault {
        /// What broke, for the log; peers get a general sentence.
        reason: String,
    },
}

/// A policy class that allows more of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wider {
    /// Its name.
    pub class: String,
    /// What it allows, with its unit.
    pub value: String,
}

/// What a job used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From the start of the jail to the end of its last process.
    pub wall: Duration,
    /// User and system time of the whole tree.
    pub cpu: Duration,
    /// Peak memory of the whole tree in bytes, where the host can tell.
    pub peak_memory: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_for_all_flags_is_said_once() {
        let told = |ways: &[(&str, Way, &str)]| {
            let pass = |(flags, way, reason): &(&str, Way, &str)| Pass4 {
                flags: (*flags).to_owned(),
                way: *way,
                reason: (*reason).to_owned(),
            };
            let target = Target {
                name: TargetName {
                    release: "1".parse().unwrap(),
                    arch: "x86_64".parse().unwrap(),
                },
                root: "/".into(),
                build_tree: "/".into(),
                stap: "/".into(),
                stap_version: String::new(),
                compiler: String::new(),
                build_id: String::new(),
                signature_hash: SignatureHash::default(),
                pass_4: ways.iter().map(pass).collect(),
            };
            target.pass_4_in_words()
        };
        let (plain, guru) = ("plain", "guru");
        let replayed = (plain, Way::Replayed, "");
        assert_eq!(told(&[replayed, (guru, Way::Replayed, "")]), "replayed");
        assert_eq!(
            told(&[replayed, (guru, Way::Untried, "")]),
            "replayed; with -g not yet recorded"
        );
        let refused = "the policy says so";
        assert_eq!(
            told(&[(plain, Way::Make, refused), (guru, Way::Make, refused)]),
            "by make (the policy says so)"
        );
        assert_eq!(told(&[]), "by make");
    }
}
