//! Puts signatures into the report of a job.

use stap_protocol::job::{Job, Outcome, OutputFile, Report};
use stap_protocol::path::{FileName, RelativePath};
use stap_protocol::signing::messages::{Order, Signed};
use stap_protocol::signing::{Demand, SIGNATURE_SUFFIX, SignatureHash};
use stap_protocol::target::TargetName;

use super::Signer;

/// What became of the signatures of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// None was needed.
    NotNeeded,
    /// They are in the report.
    Made,
    /// There is none, and the module is of no use without.
    Refused(String),
}

/// What the signer is to know of a job that is going to run.
#[derive(Clone, Debug)]
pub struct Record {
    request: String,
    target: TargetName,
    arguments: Vec<Vec<u8>>,
    files: Vec<RelativePath>,
    hash: SignatureHash,
    demand: Demand,
}

impl Record {
    /// Takes down what the job is.
    #[must_use]
    pub fn of(job: &Job, hash: SignatureHash, demand: Demand) -> Self {
        Self {
            request: job.request.clone(),
            target: job.target.clone(),
            arguments: job.arguments.clone(),
            files: job.files.iter().map(|file| file.path.clone()).collect(),
            hash,
            demand,
        }
    }

    /// Has the module of a successful job signed.
    pub async fn sign(self, report: &mut Report, client: &str, signer: &Signer) -> Signature {
        if report.outcome != (Outcome::Exited { code: 0 }) {
            return Signature::NotNeeded;
        }
        let modules = report
            .files
            .iter()
            .filter(|file| file.name.has_suffix(".ko"));
        let [module] = modules.collect::<Vec<_>>()[..] else {
            return Signature::Refused("the job made no module, or more than one".to_owned());
        };
        let module = module.clone();
        let name = module.name.clone();
        let key = self.demand.machine_owner_key;
        let order = Order {
            request: self.request,
            client: client.to_owned(),
            target: self.target,
            hash: self.hash,
            arguments: self.arguments,
            files: self.files,
            demand: self.demand,
            module,
        };
        match signer.sign(order).await {
            Ok(Ok(signed)) => {
                let made = put(report, &name, signed);
                if let Some(key) = key {
                    // stap's own words, which users of stock servers know.
                    let line = format!("Module signed with MOK, fingerprint \"{key}\"\n");
                    report.stderr.extend(line.into_bytes());
                }
                made
            }
            Ok(Err(reason)) => Signature::Refused(reason),
            Err(gone) => Signature::Refused(gone.to_string()),
        }
    }
}

/// The results of a signed job are the module and its signature, and nothing that was not looked at.
fn put(report: &mut Report, name: &FileName, signed: Signed) -> Signature {
    report.files = vec![OutputFile {
        name: name.clone(),
        content: signed.module,
    }];
    if let Some(content) = signed.signature {
        let name = [name.as_bytes(), SIGNATURE_SUFFIX.as_bytes()].concat();
        let Ok(name) = FileName::new(name) else {
            return Signature::Refused("the module's name is too long".to_owned());
        };
        report.files.push(OutputFile { name, content });
    }
    Signature::Made
}
