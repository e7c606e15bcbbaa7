//! The bodies of the fuzz targets in `fuzz/`, as plain functions, so that the committed corpus is
//! replayed by the ordinary tests. Each panics when a promise is broken.

use crate::announcement::Announcement;
use crate::frame::{Progress, RequestFrame};
use crate::job::{FromWorker, ToWorker};
use crate::notice::{MAX_NOTICE, Notices};
use crate::options;
use crate::reply::{Answer, Replies, Reply, ReplyLimits};
use crate::request::{Limits, Request};

/// Small enough that a fuzzer can reach every limit.
const LIMITS: Limits = Limits {
    compressed: 1 << 20,
    unpacked: 4 << 20,
    entries: 200,
};
const REPLY_LIMITS: ReplyLimits = ReplyLimits {
    compressed: 1 << 20,
    unpacked: 4 << 20,
    entries: 200,
};

/// A request that is accepted stays within its limits and survives being sent on.
pub fn request(bytes: &[u8]) {
    let Ok(request) = Request::decode(bytes, &LIMITS) else {
        return;
    };
    let unpacked: usize = request.files.iter().map(|file| file.content.len()).sum();
    assert!(
        unpacked as u64 <= LIMITS.unpacked,
        "more was unpacked than allowed"
    );
    let again = Request::decode(&request.encode(), &Limits::default());
    let again = again
        .expect("a request that was accepted can be sent on")
        .into_parts();
    let mut expected = request.into_parts();
    expected.notices.clear();
    assert_eq!(again, expected, "a request changes on its way");
}

/// A reply that is accepted stays within its limits and survives being sent on.
pub fn reply(bytes: &[u8]) {
    let Ok(reply) = Reply::decode(bytes, &REPLY_LIMITS) else {
        return;
    };
    let unpacked: usize = reply.files.iter().map(|file| file.content.len()).sum();
    assert!(
        unpacked as u64 <= REPLY_LIMITS.unpacked,
        "more was unpacked than allowed"
    );
    let again = Reply::decode(&reply.encode(), &ReplyLimits::default());
    assert_eq!(again.as_ref(), Ok(&reply), "a reply changes on its way");
}

/// A reply for several targets stays within its limits and survives being sent on.
pub fn several(bytes: &[u8]) {
    let Ok(Answer::Several(replies)) = Replies::decode(bytes, &REPLY_LIMITS) else {
        return;
    };
    let unpacked: u64 = replies.each().iter().map(|one| one.reply.bytes()).sum();
    assert!(
        unpacked <= REPLY_LIMITS.unpacked,
        "more was unpacked than allowed"
    );
    let again = Replies::decode(&replies.encode(), &ReplyLimits::for_several());
    assert_eq!(
        again,
        Ok(Answer::Several(replies)),
        "a reply changes on its way"
    );
}

/// The words of a command line, separated by NUL bytes, keep their meaning when they are spelled in
/// full.
pub fn options(bytes: &[u8]) {
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    for order in [options::Order::Permute, options::Order::Posix] {
        let Ok(line) = options::parse_ordered(&words, order) else {
            continue;
        };
        let again = options::parse(&line.to_arguments()).expect("a full spelling is accepted");
        assert!(line.options().eq(again.options()), "the options change");
        assert!(line.operands().eq(again.operands()), "the operands change");
    }
}

/// Strings of an announcement, `key=value` separated by NUL bytes.
pub fn announcement(bytes: &[u8]) {
    let pair = |string: &[u8]| {
        let equals = string.iter().position(|byte| *byte == b'=')?;
        let key = String::from_utf8_lossy(&string[..equals]).into_owned();
        Some((key, string[equals + 1..].to_vec()))
    };
    let pairs: Vec<_> = bytes.split(|byte| *byte == 0).filter_map(pair).collect();
    if let Some(server) = Announcement::from_txt(&pairs) {
        assert!(
            !server.sysinfo().chars().any(char::is_control),
            "control characters get through"
        );
    }
}

/// The stream of a peer, cut into pieces whose length is the first byte.
pub fn frame(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else {
        return;
    };
    let mut frame = RequestFrame::new(LIMITS.compressed);
    for piece in stream.chunks(usize::from(*size) + 1) {
        match frame.feed(piece) {
            Ok(taken) if taken == piece.len() => {}
            Ok(_) => break,
            Err(_) => return,
        }
    }
    if let Progress::Request(body) = frame.progress() {
        assert!(
            body.len() < stream.len(),
            "a request is longer than what was sent"
        );
    }
}

/// What a server sends in front of its reply, cut into pieces whose length is the first byte: each byte is
/// either in a line that begins as a notice does, or in the reply behind them.
pub fn notices(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else {
        return;
    };
    let (mut notices, mut reply) = (Notices::default(), Vec::new());
    for piece in stream.chunks(usize::from(*size) + 1) {
        let heard = notices.feed(piece, |notice| {
            assert!(notice.encode().len() <= MAX_NOTICE, "a notice grows");
            assert!(!notice.to_string().chars().any(char::is_control));
        });
        match heard {
            Ok(more) => reply.extend(more),
            Err(_) => return,
        }
    }
    reply.extend(notices.into_rest());
    let front = stream.strip_suffix(reply.as_slice());
    let front = front.expect("the reply changes on its way");
    assert!(front.is_empty() || front.ends_with(b"\n"), "a line is cut");
    let mut lines = front.split_inclusive(|byte| *byte == b'\n');
    let is_notice = |line: &[u8]| line.starts_with(b"notice: ") && line.len() <= MAX_NOTICE;
    assert!(lines.all(is_notice), "a byte of the reply is lost");
    let is_whole = |line: &&[u8]| line.ends_with(b"\n") && is_notice(line);
    let next = reply.split_inclusive(|byte| *byte == b'\n').next();
    assert!(
        next.filter(is_whole).is_none(),
        "a notice is taken for the reply"
    );
}

/// A message of the coordinator's or the worker's socket never panics the other end.
pub fn job(bytes: &[u8]) {
    drop(postcard::from_bytes::<ToWorker>(bytes));
    drop(postcard::from_bytes::<FromWorker>(bytes));
}
