//! What a result depends on, as one number.

use std::fmt;

use sha2::{Digest, Sha256};
use stap_protocol::job::{InputFile, Job};
use stap_protocol::target::TargetIdentity;

/// Names a result. Two requests have the same key only if they are the same in everything that a job
/// could make a difference of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; Self::LENGTH]);

/// For whom a result is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenant<'a> {
    /// For whoever asks the same.
    Everybody,
    /// For the peer of this name.
    One(&'a str),
}

impl Key {
    /// Bytes of a key.
    pub const LENGTH: usize = 32;

    /// The key of what `job` gives on a target that is what `identity` stands for.
    ///
    /// Its number in the log is left out, which no job sees. Signatures are added later, for each client
    /// anew; a job whose module is to be signed runs under tighter limits, and is another one.
    #[must_use]
    pub fn of(job: &Job, identity: &TargetIdentity, tenant: Tenant<'_>) -> Self {
        let mut digest = Sha256::new();
        encode(job, identity, tenant, &mut |bytes| digest.update(bytes));
        Self(digest.finalize().into())
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Writes everything in an order that never changes. Each field is preceded by its length and each list
/// by its count, so that no two requests give the same bytes.
fn encode(job: &Job, identity: &TargetIdentity, tenant: Tenant<'_>, write: &mut dyn FnMut(&[u8])) {
    // A new field of a job has to be thought about here: it is in the key, or it is not seen by the job.
    let Job {
        request: _,
        target,
        arguments,
        files,
        locale,
        to_be_signed,
    } = job;
    field(FORMAT, write);
    match tenant {
        Tenant::Everybody => count(0, write),
        Tenant::One(name) => {
            count(1, write);
            field(name.as_bytes(), write);
        }
    }
    count(usize::from(*to_be_signed), write);
    field(&identity.0, write);
    field(target.release.as_str().as_bytes(), write);
    field(target.arch.as_str().as_bytes(), write);
    count(arguments.len(), write);
    for argument in arguments {
        field(argument, write);
    }
    // In the order of the request: a listing of the job's directory could show it.
    count(files.len(), write);
    for InputFile { path, content } in files {
        field(path.as_path().as_os_str().as_encoded_bytes(), write);
        field(content, write);
    }
    count(locale.len(), write);
    for (name, value) in locale {
        field(name.as_bytes(), write);
        field(value.as_bytes(), write);
    }
}

fn count(number: usize, write: &mut dyn FnMut(&[u8])) {
    write(&(number as u64).to_be_bytes());
}

fn field(bytes: &[u8], write: &mut dyn FnMut(&[u8])) {
    count(bytes.len(), write);
    write(bytes);
}

/// Changes whenever the list of fields, or what a result is, does.
const FORMAT: &[u8] = b"stap result 1";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn job() -> Job {
        Job {
            request: "1".to_owned(),
            target: stap_protocol::target::TargetName {
                release: "6.1.0".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
            },
            arguments: vec![b"-p4".to_vec(), b"script/a.stp".to_vec()],
            files: vec![InputFile {
                path: "script/a.stp".try_into().unwrap(),
                content: b"probe begin {}".to_vec(),
            }],
            locale: vec![("LANG".to_owned(), "C".to_owned())],
            to_be_signed: false,
        }
    }

    fn key(job: &Job) -> Key {
        Key::of(job, &TargetIdentity([7; 32]), Tenant::Everybody)
    }

    #[test]
    fn every_field_changes_the_key() {
        type Change = fn(&mut Job);
        let changes: [(&str, Change); 12] = [
            ("release", |job| {
                job.target.release = "6.1.1".parse().unwrap();
            }),
            ("arch", |job| job.target.arch = "arm64".parse().unwrap()),
            ("an argument", |job| job.arguments[0] = b"-p3".to_vec()),
            ("one argument more", |job| job.arguments.push(Vec::new())),
            ("order of arguments", |job| job.arguments.reverse()),
            ("content", |job| job.files[0].content.push(b' ')),
            ("path", |job| {
                job.files[0].path = "script/1a.stp".try_into().unwrap();
            }),
            ("one file more", |job| {
                job.files.push(InputFile {
                    path: "tapset/b.stp".try_into().unwrap(),
                    content: Vec::new(),
                });
            }),
            ("a variable", |job| job.locale[0].0 = "LC_ALL".to_owned()),
            ("its value", |job| job.locale[0].1 = "fr_FR".to_owned()),
            ("no variable", |job| job.locale.clear()),
            ("a signature", |job| job.to_be_signed = true),
        ];
        let mut seen = BTreeMap::from([(key(&job()), "nothing")]);
        for (what, change) in changes {
            let mut changed = job();
            change(&mut changed);
            assert_eq!(seen.insert(key(&changed), what), None, "{what}");
        }
        let identity = TargetIdentity([8; 32]);
        let one = Tenant::One("user 1000");
        for other in [
            Key::of(&job(), &identity, Tenant::Everybody),
            Key::of(&job(), &TargetIdentity([7; 32]), one),
        ] {
            assert_eq!(seen.insert(other, "target or tenant"), None);
        }
    }

    #[test]
    fn what_no_job_sees_does_not_change_the_key() {
        let other = Job {
            request: "2".to_owned(),
            ..job()
        };
        assert_eq!(key(&other), key(&job()));
    }

    /// Few and short words, so that different lists often run together to the same bytes.
    fn any_job() -> impl Strategy<Value = Job> {
        let word = "[ab]{0,2}";
        let files = vec(("[ab]{1,2}", vec(97_u8..99, 0..3)), 0..3);
        let locale = vec(("[ab]{0,2}", "[ab]{0,2}"), 0..3);
        (vec(word, 0..4), files, locale).prop_map(|(arguments, files, locale)| Job {
            arguments: arguments.into_iter().map(String::into_bytes).collect(),
            files: files
                .into_iter()
                .map(|(path, content)| InputFile {
                    path: path.as_str().try_into().unwrap(),
                    content,
                })
                .collect(),
            locale,
            ..job()
        })
    }

    fn encoded(job: &Job, tenant: Tenant<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut write = |part: &[u8]| bytes.extend_from_slice(part);
        encode(job, &TargetIdentity([7; 32]), tenant, &mut write);
        bytes
    }

    proptest! {
        #[test]
        fn different_requests_never_have_the_same_encoding(
            one in any_job(), other in any_job(), first in "[ab]?", second in "[ab]?"
        ) {
            let tenants = [Tenant::One(&first), Tenant::One(&second)];
            let same = encoded(&one, tenants[0]) == encoded(&other, tenants[1]);
            prop_assert_eq!(same, one == other && first == second);
        }

        #[test]
        fn no_encoding_is_the_beginning_of_another(one in any_job(), other in any_job()) {
            let (one_bytes, other_bytes) = (encoded(&one, Tenant::Everybody), encoded(&other, Tenant::Everybody));
            prop_assert!(one == other || !other_bytes.starts_with(&one_bytes));
        }
    }
}
