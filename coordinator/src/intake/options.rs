//! Which options a client may send, one at a time.

use stap_policy::{Policy, Privilege};
use stap_protocol::options::Item;
use stap_protocol::target::{Arch, TargetName};

use crate::refusal::Refusal;

/// Judges one option and its value.
pub(super) fn judge(item: &Item, target: &TargetName, policy: &Policy) -> Result<(), Refusal> {
    if let Some((_, why)) = FORBIDDEN
        .iter()
        .find(|(option, _)| *option == item.to_string())
    {
        return Err(Refusal::ForbiddenOption {
            option: item.to_string(),
            why,
        });
    }
    let allowed = match item {
        Item::Short { letter, .. } => policy.options().allows_short(*letter),
        Item::Long { name, .. } => policy.options().allows_long(name),
        Item::Unknown(_) => return Err(Refusal::UnknownOption(item.to_string())),
        Item::Operand(_) => true,
    };
    if !allowed {
        let class = policy.class().to_owned();
        return Err(Refusal::OptionNotAllowed {
            option: item.to_string(),
            class,
        });
    }
    judge_value(item, target, policy)
}

fn judge_value(item: &Item, target: &TargetName, policy: &Policy) -> Result<(), Refusal> {
    match item {
        Item::Short {
            letter: 'I',
            value: Some(directory),
        } if !is_inside(directory) => Err(outside("the directory after -I,", directory)),
        Item::Short {
            letter: 'r',
            value: Some(release),
        } if *release != target.release.as_str().as_bytes() => {
            Err(other_target("-r", release, target))
        }
        Item::Short {
            letter: 'a',
            value: Some(arch),
        } if parsed(arch).as_ref() != Some(&target.arch) => Err(other_target("-a", arch, target)),
        Item::Long {
            name: "privilege",
            value: Some(value),
        } => judge_privilege(value, policy),
        Item::Long {
            name: "unprivileged",
            ..
        } => judge_privilege(b"stapusr", policy),
        _ => Ok(()),
    }
}

/// A word that is no privilege is left to stap, which knows how to say so.
fn judge_privilege(value: &[u8], policy: &Policy) -> Result<(), Refusal> {
    let privilege = match value {
        b"stapusr" => Privilege::Stapusr,
        b"stapsys" => Privilege::Stapsys,
        b"stapdev" => Privilege::Stapdev,
        _ => return Ok(()),
    };
    if policy.options().allows_privilege(privilege) {
        return Ok(());
    }
    Err(Refusal::PrivilegeNotAllowed {
        privilege: shown(value),
        class: policy.class().to_owned(),
    })
}

/// Whether stap takes the script from this option and not from the first operand.
pub(crate) fn stands_for_script(item: &Item) -> bool {
    match item {
        Item::Short { letter, .. } => matches!(letter, 'e' | 'l' | 'L'),
        Item::Long { name, .. } => name.starts_with("dump-"),
        _ => false,
    }
}

/// Whether a path cannot leave the directory of the request. The client sends what it names below
/// that directory; a doubled slash is how it writes a directory that it could not find.
pub(super) fn is_inside(path: &[u8]) -> bool {
    !path.starts_with(b"/")
        && path
            .split(|byte| *byte == b'/')
            .all(|component| component != b"..")
}

pub(super) fn outside(what: &'static str, path: &[u8]) -> Refusal {
    Refusal::PathOutside {
        what,
        path: shown(path),
    }
}

fn other_target(option: &'static str, value: &[u8], target: &TargetName) -> Refusal {
    Refusal::OtherTarget {
        option,
        value: shown(value),
        target: target.to_string(),
    }
}

fn parsed(arch: &[u8]) -> Option<Arch> {
    std::str::from_utf8(arch).ok()?.parse().ok()
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// What no policy can allow: options that would choose programs, files, keys or limits of the server.
/// stap refuses some of them itself; those that it lets through are why this list exists.
const FORBIDDEN: [(&str, &str); 32] = [
    (
        "--sign-module",
        "it would use or make a signing key of the server",
    ),
    (
        "--download-debuginfo",
        "it would make the server fetch files for the client",
    ),
    ("--rlimit-as", LIMITS),
    ("--rlimit-cpu", LIMITS),
    ("--rlimit-nproc", LIMITS),
    ("--rlimit-stack", LIMITS),
    ("--rlimit-fsize", LIMITS),
    ("--client-options", "the server sets it"),
    ("--tmpdir", SERVER_PATHS),
    ("--sysroot", SERVER_PATHS),
    ("--sysenv", SERVER_PATHS),
    ("--modinfo", SERVER_PATHS),
    ("-R", SERVER_PATHS),
    ("-B", "it would change how the server runs make"),
    ("-k", "the server keeps nothing for clients"),
    ("--save-uprobes", "the server keeps nothing for clients"),
    ("-i", INTERACTIVE),
    ("--interactive", INTERACTIVE),
    ("--monitor", INTERACTIVE),
    ("--language-server", INTERACTIVE),
    ("--example", "it names a file of the server"),
    ("--remote", OTHER_HOSTS),
    ("--remote-prefix", OTHER_HOSTS),
    ("--use-server", OTHER_HOSTS),
    ("--use-server-on-error", OTHER_HOSTS),
    ("--use-http-server", OTHER_HOSTS),
    ("--list-servers", OTHER_HOSTS),
    ("--trust-servers", OTHER_HOSTS),
    ("--disable-cache", CACHE),
    ("--poison-cache", CACHE),
    ("--clean-cache", CACHE),
    ("--benchmark-sdt", "it measures the server"),
];
const LIMITS: &str = "the server's policy sets the limits";
const SERVER_PATHS: &str = "it names files of the server";
const INTERACTIVE: &str = "it needs a terminal";
const OTHER_HOSTS: &str = "it would make the server talk to other hosts";
const CACHE: &str = "it concerns the server's cache";
