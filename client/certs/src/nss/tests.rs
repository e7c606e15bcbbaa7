//! What is promised about NSS stores, with NSS's own programs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::contents::Contents;
use super::*;
use crate::certificate::{Certificate, Fingerprint};
use crate::client::{Added, ClientDatabase, OwnerRule};
use crate::issue::{Identity, PrivateKey};

mod bad;
mod both_ways;
mod reading;
mod sequences;
mod server;

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

/// 2026-01-01, whatever the clock of the machine says.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn certificate(host: &str) -> Certificate {
    KEY.certify(&Identity::of_host(host), now()).unwrap()
}

/// A certificate with another subject than those of servers.
fn stranger(name: &str) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["elsewhere".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
}

/// A directory that may hold both databases.
struct Scene {
    home: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            home: TempDir::new().unwrap(),
        };
        fs::create_dir(scene.path()).unwrap();
        set_mode(&scene.path(), 0o755);
        scene
    }

    /// With an NSS store, as stock programs make it.
    fn with_store() -> Self {
        let scene = Self::new();
        scene.certutil(&["-N", "--empty-password"]);
        scene.open_to_readers();
        scene
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("db")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn open_to_readers(&self) {
        for name in SQL {
            set_mode(&self.file(name), 0o644);
        }
    }

    fn try_certutil(&self, words: &[&str]) -> Output {
        Command::new("certutil")
            .args(words)
            .args(["-d", &format!("sql:{}", self.path().display())])
            .output()
            .expect("the tests need certutil: run tests/run")
    }

    fn certutil(&self, words: &[&str]) -> String {
        let output = self.try_certutil(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What stock `--trust-servers` does.
    fn trust_there(&self, certificate: &Certificate) {
        self.trust_there_as(certificate, NICKNAME, "P,P,P");
    }

    fn trust_there_as(&self, certificate: &Certificate, nickname: &str, flags: &str) {
        let file = self.home.path().join("certificate");
        fs::write(&file, certificate.der()).unwrap();
        let file = file.to_str().unwrap();
        self.certutil(&["-A", "-n", nickname, "-t", flags, "-i", file]);
        self.open_to_readers();
    }

    /// Revokes one of the certificates that have the nickname of servers, and says which. certutil
    /// takes any of them.
    fn revoke_one_there(&self) -> Option<Fingerprint> {
        let before = self.theirs();
        if !self.try_certutil(&["-D", "-n", NICKNAME]).status.success() {
            return None;
        }
        let after = self.theirs();
        before.into_iter().find(|one| !after.contains(one))
    }

    fn try_add(&self, certificate: &Certificate) -> Added {
        let programs = Programs::installed();
        let database = ClientDatabase::open_or_create_with(&self.path(), &programs).unwrap();
        database.add(certificate).unwrap()
    }

    fn add(&self, certificate: &Certificate) {
        assert_eq!(self.try_add(certificate).warnings, Vec::<String>::new());
    }

    fn remove(&self, certificate: &Certificate) {
        let programs = Programs::installed();
        let database = ClientDatabase::open_or_create_with(&self.path(), &programs).unwrap();
        let removed = database.remove(certificate.sha256()).unwrap();
        assert_eq!(removed.warnings, Vec::<String>::new());
    }

    /// What our clients trust; there must be nothing to say about it.
    fn trusted(&self) -> Vec<Fingerprint> {
        let (trusted, warnings) = self.opened();
        assert_eq!(warnings, Vec::<String>::new());
        trusted
    }

    fn opened(&self) -> (Vec<Fingerprint>, Vec<String>) {
        let opened = ClientDatabase::open(&self.path(), OwnerRule::EffectiveUser).unwrap();
        let trusted = opened.certificates.iter().map(Certificate::sha256);
        (sorted(trusted), opened.warnings)
    }

    /// What stock programs trust.
    fn theirs(&self) -> Vec<Fingerprint> {
        let contents = Contents::read(&fs::read(self.file(CERTIFICATES)).unwrap()).unwrap();
        sorted(contents.trusted().map(Certificate::sha256))
    }

    /// Names and bytes of everything.
    fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut all: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with(".lock"))
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        all.sort();
        all
    }
}

fn sorted(set: impl Iterator<Item = Fingerprint>) -> Vec<Fingerprint> {
    let mut all: Vec<_> = set.collect();
    all.sort();
    all
}

fn these(certificates: &[&Certificate]) -> Vec<Fingerprint> {
    sorted(certificates.iter().map(|one| one.sha256()))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
