//! Command lines, announcements and frames for the corpus; their promises are tested beside the code.

use crate::Seed;

pub(crate) fn options() -> Vec<Seed<()>> {
    vec![
        ("hello", b"-e\0probe begin { exit() }".to_vec(), ()),
        (
            "bundle",
            b"-vvp4\0--vp\x00010\0script.stp\0--\0-x".to_vec(),
            (),
        ),
        (
            "abbreviated",
            b"--priv=stapusr\0--colo\0--comp\x004.8".to_vec(),
            (),
        ),
        ("ambiguous", b"--rlimit=1\0--dump".to_vec(), ()),
        ("empty-values", b"-e\0\0-c\0\0--vp=".to_vec(), ()),
        ("unknown", b"-Z\0--no-such=1\0-vZp4".to_vec(), ()),
        ("dash-among-letters", b"-v-p4\0x\0--\0-g".to_vec(), ()),
        ("missing-value", b"x.stp\0-p".to_vec(), ()),
        ("value-is-a-separator", b"-e\0--\0-p\0-v".to_vec(), ()),
        (
            "operands-like-options",
            b"x.stp\0-p9\0-\0--\0--\0-e".to_vec(),
            (),
        ),
        ("not-text", b"-e\xff\xfe\0--\xff=\0-\xff".to_vec(), ()),
    ]
}

pub(crate) fn announcements() -> Vec<Seed<()>> {
    vec![
        (
            "stock",
            b"sysinfo=6.12.1 x86_64\0optinfo=\0version=5.1\0certinfo=00:cc:1b:64:0d".to_vec(),
            (),
        ),
        (
            "nonsense-version",
            b"sysinfo=x86_64\0version=abc".to_vec(),
            (),
        ),
        (
            "control-characters",
            b"SYSINFO=\x1b[2J\nx\0version=\xff".to_vec(),
            (),
        ),
        ("no-sysinfo", b"version=5.1\0=\0==".to_vec(), ()),
        ("endless", b"sysinfo=x\0".repeat(100), ()),
    ]
}

pub(crate) fn notices() -> Vec<Seed<()>> {
    vec![
        (
            "three-and-a-reply",
            b"\x07notice: queued 3 7 12\nnotice: running\nnotice: ended 1 2 6.1.0-9 x86_64 ok\nPK\x03\x04"
                .to_vec(),
            (),
        ),
        ("no-notice", b"\xffPK\x03\x04notice: running\n".to_vec(), ()),
        ("half-a-lead", b"\0notic".to_vec(), ()),
        ("unknown-words", b"\xffnotice: paused 7\nPK".to_vec(), ()),
        (
            "control-characters",
            b"\xffnotice: ended 1 2 \x1b[2J x86_64 ok\nPK".to_vec(),
            (),
        ),
        (
            "behind-the-last",
            b"\xffnotice: queued 8 7 0\nnotice: ended 3 2 6.1 x86_64 ok\nPK".to_vec(),
            (),
        ),
        ("endless-line", [&b"\xffnotice: "[..], &[b'9'; 300]].concat(), ()),
        (
            "endless-lines",
            [&b"\x0f"[..], &b"notice: running\n".repeat(20)].concat(),
            (),
        ),
    ]
}

pub(crate) fn frames() -> Vec<Seed<()>> {
    vec![
        ("probe", b"\xff\0\0\0\0".to_vec(), ()),
        ("small-pieces", b"\0\0\0\0\x04bodyand more".to_vec(), ()),
        ("one-piece", b"\xff\0\0\0\x04body".to_vec(), ()),
        ("negative", b"\x03\xff\xff\xff\xff".to_vec(), ()),
        ("too-large", b"\x03\x7f\xff\xff\xffx".to_vec(), ()),
        ("cut-short", b"\x01\0\0\0\x0abody".to_vec(), ()),
    ]
}
