//! From a request to a package, member by member as stock clients write it.

use super::{ORIGIN, PROGRESS, Request};
use crate::archive::{Compression, Writer};
use crate::locale;

/// Requests travel once and are small; what is worth deflating is deflated.
const COMPRESSION: Compression = Compression {
    from: 256,
    up_to: usize::MAX,
};

pub(super) fn encode(request: &Request) -> Vec<u8> {
    let mut writer = Writer::new(COMPRESSION);
    writer.file(b"version", request.version.to_string().as_bytes());
    writer.file(
        b"sysinfo",
        format!("sysinfo: {}", request.target).as_bytes(),
    );
    if !request.targets.is_empty() {
        let lines = request.targets.iter().map(|pattern| format!("{pattern}\n"));
        writer.file(b"targets", lines.collect::<String>().as_bytes());
    }
    for (number, argument) in (1..).zip(&request.arguments) {
        writer.file(format!("argv{number}").as_bytes(), argument);
    }
    for file in &request.files {
        writer.file(file.path.as_bytes(), &file.content);
    }
    writer.file(b"locale", &locale::encode(&request.locale));
    if let Some(keys) = request.machine_owner_keys.encode() {
        writer.file(b"mok_fingerprints", &keys);
    }
    let wants = [
        (request.wants_origin, ORIGIN),
        (request.wants_progress, PROGRESS),
    ];
    let wants: Vec<_> = wants
        .iter()
        .filter(|want| want.0)
        .map(|want| want.1)
        .collect();
    if !wants.is_empty() {
        writer.file(b"wants", &wants.join(&b'\n'));
    }
    writer.finish()
}
