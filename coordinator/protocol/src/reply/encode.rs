//! From a reply to a package, member by member as stock servers write it.

use super::{RESULTS, Reply};
use crate::archive::{Compression, Writer};

/// Listings shrink well; from here on the client would wait for the compressor rather than for the
/// network. A module is never deflated: that takes longer than everything else that a kept result costs.
const COMPRESSION: Compression = Compression {
    from: 512,
    up_to: 4 << 20,
};

pub(super) fn encode(reply: &Reply) -> Vec<u8> {
    let mut writer = Writer::new(COMPRESSION);
    writer.file(b"version", reply.version.to_string().as_bytes());
    writer.file(b"rc", reply.rc.to_string().as_bytes());
    writer.file(b"stdout", &reply.stdout);
    writer.file(b"stderr", &reply.stderr);
    if let Some(key) = &reply.signing_key {
        writer.file(b"signing_key.x509", key);
    }
    if let Some(origin) = reply.origin {
        writer.file(b"store", origin.word().as_bytes());
    }
    writer.directory(RESULTS);
    for file in &reply.files {
        let name = [RESULTS.as_bytes(), b"/", file.name.as_bytes()].concat();
        writer.stored(&name, &file.content);
    }
    writer.finish()
}
