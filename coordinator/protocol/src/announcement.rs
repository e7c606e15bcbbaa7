//! What a server says about itself on the local network, and what a client makes of it.
//!
//! One service instance per target, each with a handful of `key=value` strings. Anybody on the
//! network can announce anything: whatever is read here is bounded, cleaned of control characters
//! and never a reason to fail.

use crate::request::Fingerprint;
use crate::target::TargetName;
use crate::text;
use crate::version::ProtocolVersion;

/// The DNS-SD service type.
pub const SERVICE_TYPE: &str = "_stap._tcp";

/// DNS holds a key, an equals sign and a value in one string of at most this many bytes.
pub const MAX_STRING: usize = 255;

/// More strings than any server announces; the rest of a longer list is not looked at.
pub const MAX_STRINGS: usize = 64;

/// What one service instance announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    sysinfo: String,
    version: ProtocolVersion,
    certificate_serial: Option<String>,
    options: String,
    mok_fingerprints: Vec<String>,
}

impl Announcement {
    /// Announces `target`, served under the certificate with this serial number
    /// (`00:cc:1b:64:0d`), with these fixed options of the server, joined by blanks.
    #[must_use]
    pub fn new(
        target: &TargetName,
        version: ProtocolVersion,
        certificate_serial: &str,
        options: &str,
    ) -> Self {
        Self {
            sysinfo: target.to_string(),
            version,
            certificate_serial: Some(certificate_serial.to_owned()),
            options: options.to_owned(),
            mok_fingerprints: Vec::new(),
        }
    }

    /// Adds the fingerprints of the machine owner keys that sign for this server.
    #[must_use]
    pub fn with_machine_owner_keys(mut self, fingerprints: &[Fingerprint]) -> Self {
        self.mok_fingerprints = fingerprints.iter().map(ToString::to_string).collect();
        self
    }

    /// Reads the strings of a service instance. Keys count in any case, and of several equal keys the
    /// first counts (but every `mok_info`). `None` without `sysinfo`: no client could ask for it.
    #[must_use]
    pub fn from_txt(pairs: &[(String, Vec<u8>)]) -> Option<Self> {
        let pairs = &pairs[..pairs.len().min(MAX_STRINGS)];
        let all = |key: &'static str| {
            let named = move |(name, _): &&(String, Vec<u8>)| name.eq_ignore_ascii_case(key);
            pairs.iter().filter(named).map(|(_, value)| cleaned(value))
        };
        Some(Self {
            sysinfo: all("sysinfo").next().filter(|text| !text.is_empty())?,
            version: all("version")
                .next()
                .and_then(|text| ProtocolVersion::parse_lenient(text.as_bytes()))
                .unwrap_or(ProtocolVersion::OLDEST),
            certificate_serial: all("certinfo").next().filter(|text| !text.is_empty()),
            options: all("optinfo").next().unwrap_or_default(),
            mok_fingerprints: all("mok_info").collect(),
        })
    }

    /// The strings of the service instance, in the order in which stock servers give them.
    #[must_use]
    pub fn txt(&self) -> Vec<(String, Vec<u8>)> {
        let mut pairs = vec![
            pair("sysinfo", &self.sysinfo),
            pair("optinfo", &self.options),
            pair("version", &self.version.to_string()),
        ];
        pairs.extend(
            self.certificate_serial
                .iter()
                .map(|serial| pair("certinfo", serial)),
        );
        pairs.extend(
            self.mok_fingerprints
                .iter()
                .map(|print| pair("mok_info", print)),
        );
        pairs
    }

    /// The target as it was announced: `<release> <arch>` from every server since 2009.
    #[must_use]
    pub fn sysinfo(&self) -> &str {
        &self.sysinfo
    }

    /// The target, if what was announced is `<release> <arch>` and nothing else.
    #[must_use]
    pub fn target(&self) -> Option<TargetName> {
        let (release, arch) = self.sysinfo.split_once(' ')?;
        let (release, arch) = (release.parse().ok()?, arch.parse().ok()?);
        Some(TargetName { release, arch })
    }

    /// The protocol version of the server.
    #[must_use]
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The serial number of the server's certificate, if it says so.
    #[must_use]
    pub fn certificate_serial(&self) -> Option<&str> {
        self.certificate_serial.as_deref()
    }

    /// The fixed options of the server.
    #[must_use]
    pub fn options(&self) -> &str {
        &self.options
    }

    /// Fingerprints of the keys with which the server can sign modules for Secure Boot.
    #[must_use]
    pub fn mok_fingerprints(&self) -> &[String] {
        &self.mok_fingerprints
    }

    /// Whether the server says that it builds for `target`: exactly `<release> <arch>`, or
    /// `<arch>` alone (any release), or the form of 2009, `uname -rvm` of the kernel in question,
    /// which the caller knows when that kernel is the running one.
    #[must_use]
    pub fn serves(&self, target: &TargetName, uname_rvm: Option<&str>) -> bool {
        self.sysinfo == target.to_string()
            || self.sysinfo == target.arch.as_str()
            || uname_rvm.is_some_and(|text| self.sysinfo == text)
    }
}

/// A string that fits into DNS: a longer value is cut, since a long option list is only informative.
fn pair(key: &str, value: &str) -> (String, Vec<u8>) {
    let room = MAX_STRING - key.len() - "=".len();
    (
        key.to_owned(),
        value.as_bytes()[..value.len().min(room)].to_vec(),
    )
}

fn cleaned(value: &[u8]) -> String {
    text::escape(&value[..value.len().min(MAX_STRING)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target() -> TargetName {
        TargetName {
            release: "6.12.107+deb13-amd64".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        }
    }

    fn announced(pairs: &[(&str, &str)]) -> Option<Announcement> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        Announcement::from_txt(&pairs)
    }

    #[test]
    fn the_strings_are_those_of_stock_servers() {
        let ours = Announcement::new(&target(), ProtocolVersion::CURRENT, "00:cc:1b:64:0d", "");
        let strings: Vec<_> = ours
            .txt()
            .into_iter()
            .map(|(key, value)| format!("{key}={}", String::from_utf8(value).unwrap()))
            .collect();
        assert_eq!(
            strings,
            [
                "sysinfo=6.12.107+deb13-amd64 x86_64",
                "optinfo=",
                "version=5.1",
                "certinfo=00:cc:1b:64:0d"
            ]
        );
    }

    #[test]
    fn each_machine_owner_key_is_a_string_behind_the_certificate() {
        let keys = [Fingerprint::new([0x08; 20]), Fingerprint::new([0xfc; 20])];
        let ours = Announcement::new(&target(), ProtocolVersion::CURRENT, "00:cc:1b:64:0d", "")
            .with_machine_owner_keys(&keys);
        let names: Vec<_> = ours.txt().into_iter().map(|(key, _)| key).collect();
        let expected = [
            "sysinfo", "optinfo", "version", "certinfo", "mok_info", "mok_info",
        ];
        assert_eq!(names, expected);
        assert_eq!(Announcement::from_txt(&ours.txt()), Some(ours));
    }

    #[test]
    fn a_nonsense_version_is_the_oldest_and_harms_nobody() {
        let server = announced(&[("sysinfo", "x86_64"), ("version", "abc")]).unwrap();
        assert_eq!(server.version(), ProtocolVersion::OLDEST);
    }

    #[test]
    fn keys_count_in_any_case_and_the_first_counts() {
        let server = announced(&[("SysInfo", "a x86_64"), ("sysinfo", "b x86_64")]).unwrap();
        assert_eq!(server.sysinfo(), "a x86_64");
        assert_eq!(server.certificate_serial(), None);
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let server = announced(&[("sysinfo", "x\x1b[2J\n x86_64")]).unwrap();
        assert_eq!(server.sysinfo(), "x\\u{1b}[2J\\n x86_64");
    }

    #[test]
    fn a_server_without_sysinfo_is_not_one() {
        assert_eq!(announced(&[("version", "5.1")]), None);
        assert_eq!(announced(&[("sysinfo", "")]), None);
    }

    #[test]
    fn compatible_is_an_exact_match() {
        let old = "6.12.107+deb13-amd64 #1 SMP Debian x86_64";
        for (sysinfo, compatible) in [
            ("6.12.107+deb13-amd64 x86_64", true),
            ("x86_64", true),
            (old, true),
            ("6.12.107+deb13-amd64 x86_6", false),
            ("6.12.107+deb13-amd64", false),
            ("6.12.107+deb13-amd64 x86_64 ", false),
            ("6.12.10 x86_64", false),
            ("arm64", false),
        ] {
            let server = announced(&[("sysinfo", sysinfo)]).unwrap();
            assert_eq!(
                server.serves(&target(), Some(old)),
                compatible,
                "{sysinfo:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_we_announce_is_understood(options in "[ -~&&[^\\\\]]{0,200}") {
            let ours = Announcement::new(&target(), ProtocolVersion::CURRENT, "00:ff:00:00:01", &options);
            prop_assert_eq!(Announcement::from_txt(&ours.txt()), Some(ours));
        }

        #[test]
        fn any_strings_are_taken(pairs: Vec<(String, Vec<u8>)>) {
            if let Some(server) = Announcement::from_txt(&pairs) {
                prop_assert!(!server.sysinfo().chars().any(char::is_control));
                prop_assert!(server.txt().iter().all(|(key, value)| key.len() + 1 + value.len() <= MAX_STRING));
            }
        }
    }
}
