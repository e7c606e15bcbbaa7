//! From a reply to a package, member by member as stock servers write it.

use super::several::TARGETS;
use super::{RESULTS, Replies, Reply};
use crate::archive::{Compression, Writer};

/// Listings shrink well; from here on the client would wait for the compressor rather than for the
/// network. A module is never deflated: that takes longer than everything else that a kept result costs.
const COMPRESSION: Compression = Compression {
    from: 512,
    up_to: 4 << 20,
};

pub(super) fn encode(reply: &Reply) -> Vec<u8> {
    let mut writer = Writer::new(COMPRESSION);
    write(&mut writer, "", reply);
    writer.finish()
}

pub(super) fn encode_several(replies: &Replies) -> Vec<u8> {
    let mut writer = Writer::new(COMPRESSION);
    write(&mut writer, "", &replies.whole);
    writer.directory(TARGETS);
    for (number, one) in (1..).zip(&replies.each) {
        let below = format!("{TARGETS}/{number}/");
        let mut file = |name, content: &str| {
            writer.file(
                [below.as_bytes(), name].concat().as_slice(),
                content.as_bytes(),
            );
        };
        file(b"sysinfo", &format!("sysinfo: {}", one.target));
        if let Some(took) = one.took {
            file(b"took", &took.as_millis().to_string());
        }
        write(&mut writer, &below, &one.reply);
    }
    writer.finish()
}

/// Writes the members of a reply into the directory `below`, which is empty or ends with a slash.
fn write(writer: &mut Writer, below: &str, reply: &Reply) {
    let named = |name: &str| [below, name].concat().into_bytes();
    writer.file(&named("version"), reply.version.to_string().as_bytes());
    writer.file(&named("rc"), reply.rc.to_string().as_bytes());
    writer.file(&named("stdout"), &reply.stdout);
    writer.file(&named("stderr"), &reply.stderr);
    if let Some(key) = &reply.signing_key {
        writer.file(&named("signing_key.x509"), key);
    }
    if let Some(origin) = reply.origin {
        writer.file(&named("store"), origin.word().as_bytes());
    }
    writer.directory(&[below, RESULTS].concat());
    for file in &reply.files {
        let name = [&named(RESULTS), &b"/"[..], file.name.as_bytes()].concat();
        writer.stored(&name, &file.content);
    }
}
