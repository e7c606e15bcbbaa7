//! What comes back to an attacker, taken apart without belief in any of it.

use std::io::{Cursor, Read as _};

use anyhow::Context as _;

use super::service::Service;

/// What an attacker hears.
#[derive(Debug, Default)]
pub struct Heard {
    /// Whether nothing of ours had a say.
    pub without_us: bool,
    /// The exit status that is reported.
    pub rc: String,
    /// stdout of stap.
    pub stdout: String,
    /// stderr of stap and server.
    pub stderr: String,
    /// Everything that came back, unpacked, one member behind another.
    pub bytes: Vec<u8>,
    /// The members below the directory of results.
    pub results: Vec<String>,
}

impl Heard {
    /// Whether these bytes are anywhere in what came back.
    pub fn holds(&self, part: impl AsRef<[u8]>) -> bool {
        // Replies may have many megabytes, and many parts are looked for.
        memchr::memmem::find(&self.bytes, part.as_ref()).is_some()
    }

    /// Whether the connection was closed without an answer.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        self.rc.is_empty() && self.stderr == SILENCE
    }

    /// That a file came back, if it did.
    #[must_use]
    pub fn has_result(&self, name: &str) -> Option<String> {
        let came = self.results.iter().any(|result| result == name);
        came.then(|| format!("{name} came back"))
    }

    /// The first line with one of these words, or the last of all.
    pub fn reason(&self, words: &[&str]) -> String {
        let lines = || {
            let all = self.stderr.lines().chain(self.stdout.lines());
            all.filter(|line| !line.trim().is_empty())
        };
        let telling = lines().find(|line| words.iter().any(|word| line.contains(word)));
        let tip = |line: &&str| line.starts_with("Tip:");
        let line = telling.or_else(|| {
            self.stderr
                .lines()
                .rfind(|line| !line.trim().is_empty() && !tip(line))
        });
        let line = line.or_else(|| lines().next_back()).unwrap_or_default();
        let line: String = line.trim().chars().take(MAX_LINE).collect();
        format!("rc {}, {} results: {line}", self.rc, self.results.len())
    }
}

/// Sends a package and takes the reply apart, without belief in any of it.
pub fn send(service: &Service, package: &[u8]) -> anyhow::Result<Heard> {
    let reply = service.exchange(package)?;
    if reply.is_empty() {
        return Ok(Heard {
            stderr: SILENCE.to_owned(),
            ..Heard::default()
        });
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(reply)).context("reading a reply")?;
    let mut heard = Heard::default();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let mut content = Vec::new();
        member.by_ref().take(MAX_MEMBER).read_to_end(&mut content)?;
        let text = || String::from_utf8_lossy(&content).into_owned();
        let name = member.name()?.into_owned();
        match name.as_str() {
            "rc" => heard.rc = text(),
            "stdout" => heard.stdout = text(),
            "stderr" => heard.stderr = text(),
            _ => {}
        }
        if let Some((_, result)) = name.split_once('/').filter(|(_, name)| !name.is_empty()) {
            heard.results.push(result.to_owned());
        }
        heard.bytes.extend(content);
    }
    Ok(heard)
}

const SILENCE: &str = "it closes without an answer";
const MAX_MEMBER: u64 = 64 << 20;
const MAX_LINE: usize = 160;
