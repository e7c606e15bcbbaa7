//! Requests that are refused, and some odd ones that are not.

use stap_protocol::ArchiveError;
use stap_protocol::frame::FrameError;
use stap_protocol::path::PathError;
use stap_protocol::request::{
    DecodeError, InvalidRequest, Limits, MAX_ARGUMENT, MAX_TARGETS, MachineOwnerKeys, Request,
    SysInfoError,
};
use stap_protocol::target::TargetNameError;
use stap_protocol::version::ProtocolVersion;

use crate::forge::{DIRECTORY, MS_DOS, Member, NO_MODE, archive, crc32, file};
use crate::{Seed, archives};

/// The extra field in which some archivers put a name in UTF-8, and some readers look for it.
const UNICODE_PATH: u16 = 0x7075;

pub(crate) const SYSINFO: &[u8] = b"sysinfo: 6.12.107+deb13-amd64 x86_64";

/// An honest request with one member more.
pub(crate) fn with(member: Member) -> Vec<u8> {
    archive(&[file("sysinfo", SYSINFO), file("argv1", b"-p4"), member])
}

/// Requests that are accepted.
pub(crate) fn accepted() -> Vec<Seed<()>> {
    let script = file("script/home/alice/hello.stp", b"probe begin { exit() }");
    let empty = file("tapset/empty/", b"").attributes(DIRECTORY);
    let dos = file("script/x", b"").attributes(NO_MODE).made_on(MS_DOS);
    let locale = b"PATH=/tmp\nLANG=;id\nLC_ALL=C\n";
    vec![
        (
            "minimal",
            archive(&[file("sysinfo", SYSINFO), file("argv1", b"-p4")]),
            (),
        ),
        ("script", with(script.clone()), ()),
        ("deflated", with(script.deflated()), ()),
        ("directories", with(empty), ()),
        ("made-on-dos", with(dos), ()),
        (
            "member-from-the-future",
            with(file("hello/from/the/future", b"")),
            (),
        ),
        (
            "several-targets",
            with(file("targets", b"6.1.*:*\n6.12-x:aarch64\n")),
            (),
        ),
        ("nonsense-version", with(file("version", b"abc")), ()),
        ("hostile-locale", with(file("locale", locale)), ()),
        (
            "hostile-keys",
            with(file("mok_fingerprints", b"../../x\nmissing\n")),
            (),
        ),
    ]
}

/// Requests that are refused, and why.
pub(crate) fn refused() -> Vec<Seed<DecodeError>> {
    [archives::refused(), bad_content()].concat()
}

fn bad_content() -> Vec<Seed<DecodeError>> {
    let and = |members: &[Member]| archive(&[&[file("sysinfo", SYSINFO)], members].concat());
    let without = archive(&[file("argv1", b"-p4")]);
    let short = archive(&[file("sysinfo", b"sysinfo:")]);
    let gap = and(&[file("argv1", b""), file("argv3", b"")]);
    let directory = and(&[file("argv1/", b"").attributes(DIRECTORY)]);
    let nul = and(&[file("argv1", b"-p4\0-g")]);
    let long = and(&[file("argv1", &[b'x'; MAX_ARGUMENT + 1])]);
    let too_long = InvalidRequest::ArgumentTooLong {
        number: 1,
        size: MAX_ARGUMENT + 1,
    };
    let is_directory = DecodeError::DirectoryInsteadOfFile("argv1".to_owned());
    vec![
        ("no-sysinfo", without, DecodeError::NoSysInfo),
        ("no-members", archive(&[]), DecodeError::NoSysInfo),
        (
            "no-targets",
            and(&[file("targets", b"\n \n")]),
            DecodeError::NoTargets,
        ),
        (
            "target-is-a-path",
            and(&[file("targets", b"6.1*\n../*\n")]),
            DecodeError::Target {
                given: "../*".to_owned(),
                reason: TargetNameError::BadCharacter("kernel release"),
            },
        ),
        (
            "too-many-targets",
            and(&[file("targets", &b"*\n".repeat(MAX_TARGETS + 1))]),
            InvalidRequest::TooManyTargets(MAX_TARGETS + 1).into(),
        ),
        ("short-sysinfo", short, SysInfoError::TooShort.into()),
        (
            "gap-in-arguments",
            gap,
            DecodeError::MissingArgument {
                missing: 2,
                present: 3,
            },
        ),
        ("argument-is-a-directory", directory, is_directory),
        (
            "argument-with-nul",
            nul,
            InvalidRequest::ArgumentWithNul(1).into(),
        ),
        ("long-argument", long, too_long.into()),
    ]
}

#[test]
fn odd_requests_are_accepted() {
    for (name, bytes, ()) in accepted() {
        if let Err(error) = Request::decode(&bytes, &Limits::default()) {
            panic!("{name} is refused: {error}");
        }
    }
}

#[test]
fn hostile_requests_are_refused_for_the_right_reason() {
    let wrong: Vec<_> = refused()
        .into_iter()
        .map(|(name, bytes, reason)| {
            (
                name,
                Request::decode(&bytes, &Limits::default()),
                Err(reason),
            )
        })
        .filter(|(_, outcome, expected)| outcome != expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_reason_is_one_line_for_people() {
    for (name, _, reason) in refused() {
        let text = reason.to_string();
        assert!(
            !text.contains(char::is_control) && text.len() > 20,
            "{name}: {text:?}"
        );
    }
}

#[test]
fn what_stock_servers_say_about_size_is_said_here_too() {
    let limits = Limits {
        compressed: 10,
        ..Limits::default()
    };
    let request = archive(&[file("sysinfo", SYSINFO)]);
    let error = Request::decode(&request, &limits).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::Frame(FrameError::TooLarge { limit: 10, .. })
    ));
    assert!(error.to_string().contains(" request file is too large"));

    let limits = Limits {
        unpacked: 10,
        ..Limits::default()
    };
    let error = Request::decode(&request, &limits).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Uncompressed request size of 36 bytes")
    );
}

#[test]
fn sizes_and_checksums_are_held_against_what_is_there() {
    let small = b"probe begin { exit() }";
    let honest = file("script/x", small).deflated();
    let lies = [
        Member {
            unpacked: 10,
            ..honest.clone()
        },
        Member {
            unpacked: 23,
            ..honest.clone()
        },
        Member {
            checksum: 7,
            ..honest.clone()
        },
        Member {
            packed: 26,
            data: honest.data[..26].to_vec(),
            ..honest.clone()
        },
        Member {
            unpacked: 8,
            ..file("script/x", b"content")
        },
        Member {
            unpacked: 6,
            ..file("script/x", b"content")
        },
        Member {
            data: b"\xff".repeat(27),
            ..honest
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let refused = Request::decode(&with(lie), &Limits::default());
        let is_damage = matches!(
            refused,
            Err(DecodeError::Archive(
                ArchiveError::DamagedMember { .. }
                    | ArchiveError::LyingSize { .. }
                    | ArchiveError::Unreadable(_)
            ))
        );
        assert!(is_damage, "lie {number}: {refused:?}");
    }
}

#[test]
fn headers_that_contradict_the_directory_are_refused() {
    let renamed = Member {
        local_name: Some(b"script/y".to_vec()),
        ..file("script/x", b"content")
    };
    let elsewhere = Member {
        start: Some(0),
        ..file("script/x", b"content")
    };
    let resized = Member {
        local_numbers: Some([7, 7, 7]),
        ..file("script/x", b"content")
    };
    // What is named in the directory lies in the content of another member, as in a bomb whose
    // members share their bytes.
    let inner = archive(&[file("script/y", b"content")]);
    let outer = with(file("script/x", &inner));
    let inside = u32::try_from(
        outer
            .windows(4)
            .rposition(|four| four == b"PK\x03\x04")
            .unwrap(),
    );
    let overlapping = archive(&[
        file("sysinfo", SYSINFO),
        file("argv1", b"-p4"),
        file("script/x", &inner),
        Member {
            start: Some(inside.unwrap()),
            ..file("script/y", b"content")
        },
    ]);
    let endless_extra = Member {
        extra: vec![0x75, 0x70, 0xff, 0xff],
        ..file("script/x", b"content")
    };
    let mut lies: Vec<_> = [renamed, elsewhere, resized, endless_extra]
        .map(with)
        .into();
    lies.push(overlapping);
    for lie in lies {
        let refused = Request::decode(&lie, &Limits::default());
        let unreadable = matches!(
            refused,
            Err(DecodeError::Archive(ArchiveError::Unreadable(_)))
        );
        assert!(unreadable, "{refused:?}");
    }
}

/// Archivers put names beyond ASCII there, so it has to be read, and judged like any name.
#[test]
fn a_name_in_an_extra_field_is_judged_as_well() {
    let path = [&[1][..], &crc32(b"script/x").to_le_bytes(), b"../../x"].concat();
    let renamed = with(file("script/x", b"content").extra(UNICODE_PATH, &path));
    let refused = Request::decode(&renamed, &Limits::default()).unwrap_err();
    let name = "../../x".to_owned();
    let reason = PathError::Parent;
    assert_eq!(refused, ArchiveError::Name { name, reason }.into());
}

#[test]
fn odd_members_are_tolerated_and_said() {
    let [version, locale, keys] =
        ["nonsense-version", "hostile-locale", "hostile-keys"].map(|wanted| {
            let seed = accepted().into_iter().find(|(name, ..)| *name == wanted);
            Request::decode(&seed.unwrap().1, &Limits::default()).unwrap()
        });
    assert_eq!(version.version, ProtocolVersion::OLDEST);
    assert_eq!(locale.locale, [("LC_ALL".to_owned(), "C".to_owned())]);
    assert_eq!(locale.notices.len(), 2);
    assert_eq!(keys.machine_owner_keys, MachineOwnerKeys::Missing);
    assert_eq!(keys.notices.len(), 1);
}
