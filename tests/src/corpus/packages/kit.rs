//! What requests are made of, and how the server answers.

use std::io::{Cursor, Write as _};

use anyhow::Context as _;
use stap_protocol::reply::{Answer, Replies, ReplyLimits};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::corpus::service::Service;
use crate::corpus::{Against, Field, heard, stock};
use crate::wait;

/// Forged archives are those of the protocol's own tests.
#[path = "../../../../coordinator/protocol/tests/hostile/forge.rs"]
#[expect(
    clippy::unwrap_used,
    reason = "it is a test's, and what fails here fails the case"
)]
pub(super) mod forge;

use forge::{Member, archive, file};

/// Makes requests that the server under attack would serve.
#[derive(Clone, Debug)]
pub(super) struct Kit {
    sysinfo: String,
}

impl Kit {
    pub(super) fn of(field: &Field) -> Self {
        let host = rustix::system::uname();
        let release = match field.situation.against {
            Against::Ours => host.release().to_string_lossy().into_owned(),
            Against::Stock => stock::release(),
        };
        let machine = host.machine().to_string_lossy().into_owned();
        Self {
            sysinfo: format!("sysinfo: {release} {machine}"),
        }
    }

    /// What says for which kernel to build.
    pub(super) fn sysinfo(&self) -> Member {
        file("sysinfo", self.sysinfo.as_bytes())
    }

    /// The members of an honest request: a job that says who it is.
    pub(super) fn members(&self) -> Vec<Member> {
        vec![
            self.sysinfo(),
            file("argv1", b"-p2"),
            file("argv2", b"-eeffective-uid"),
        ]
    }

    /// The members of an honest request and these.
    pub(super) fn and(&self, more: impl IntoIterator<Item = Member>) -> Vec<Member> {
        self.members().into_iter().chain(more).collect()
    }

    /// An honest request with one member more.
    pub(super) fn with(&self, member: Member) -> Vec<u8> {
        archive(&self.and([member]))
    }

    /// A request for a job that reads a file of the request, and these members.
    pub(super) fn reading(&self, path: &str, more: impl IntoIterator<Item = Member>) -> Vec<u8> {
        let order = format!("-eread {path}");
        let members = [
            self.sysinfo(),
            file("argv1", b"-p2"),
            file("argv2", order.as_bytes()),
        ];
        let all: Vec<_> = members.into_iter().chain(more).collect();
        archive(&all)
    }

    /// An honest request with a script.
    pub(super) fn honest(&self) -> Vec<u8> {
        self.with(file("script/x", b"content"))
    }
}

/// Sends a package. `Ok` is what the job said; `Err` is why there was none, in the words of the reply,
/// which must be in the log as well.
pub(super) fn answer(server: &Service, package: &[u8]) -> anyhow::Result<Result<String, String>> {
    if server.against == Against::Stock {
        let heard = heard::send(server, package)?;
        let served = heard.rc == "0";
        return Ok(match served {
            true => Ok(format!(
                "it is unpacked and served: {}",
                heard.stdout.trim_end()
            )),
            false => Err(heard.reason(&[])),
        });
    }
    let reply = server.exchange(package)?;
    let reply = match Replies::decode(&reply, &ReplyLimits::for_several())? {
        Answer::One(reply) => reply,
        Answer::Several(replies) => replies.whole().clone(),
    };
    let reply = reply.into_parts();
    let said = String::from_utf8_lossy(&reply.stderr).into_owned();
    if reply.rc == 0 {
        let stdout = String::from_utf8_lossy(&reply.stdout);
        return Ok(Ok(stdout.trim_end().to_owned()));
    }
    let line = said.strip_prefix("Server: ").unwrap_or(&said);
    let (reason, number) = line
        .rsplit_once(" (request ")
        .with_context(|| format!("a refusal has the number of its request: {said}"))?;
    let number = number.trim_end().trim_end_matches(')');
    let mark = format!("[{number}] request refused: ");
    let logged = wait::until("the refusal is in the log", || {
        let log = server.said();
        let line = log.lines().find_map(|line| line.split_once(&mark))?;
        Some(line.1.to_owned())
    });
    let (begins, _address) = logged.rsplit_once(" address=").context("the log's line")?;
    anyhow::ensure!(
        reason.starts_with(begins),
        "the client was told {reason:?}, the log {begins:?}"
    );
    Ok(Err(reason.to_owned()))
}

/// Really compressed, unlike what the forge does.
pub(super) trait Squeeze {
    /// Compresses the content.
    fn squeezed(self) -> Self;
}

impl Squeeze for Member {
    fn squeezed(self) -> Self {
        let mut honest = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        let written = honest
            .start_file("x", options)
            .and_then(|()| Ok(honest.write_all(&self.data)?))
            .and_then(|()| honest.finish());
        let bytes = written.expect("memory takes everything").into_inner();
        let mut archive =
            ZipArchive::new(Cursor::new(bytes.as_slice())).expect("it was just written");
        let member = archive.by_index_raw(0).expect("it has one member");
        let start = usize::try_from(member.data_start().unwrap_or_default());
        let size = usize::try_from(member.compressed_size());
        let (start, size) = start.ok().zip(size.ok()).expect("it is in memory");
        let data = bytes[start..start + size].to_vec();
        Self {
            packed: u32::try_from(size).expect("it is small"),
            data,
            ..self.method(8)
        }
    }
}
