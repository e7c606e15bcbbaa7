//! The machine: who is on it, and how an operator installs and asks.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use stap_tests::command::Invocation;
use stap_tests::lab::User;
use stap_tests::world::{NOTES, PATH, STANDINS, USERS};

/// Two people without any privilege, and root.
pub(crate) const ALICE: User = user(0);
pub(crate) const BOB: User = user(1);
pub(crate) const ROOT: User = User {
    name: "root",
    id: 0,
};

/// A copy of the checkout's `deploy` and `policies`, the stand-ins, and the built programs.
pub(crate) fn payload(path: &str) -> PathBuf {
    Path::new("/run/guest/payload").join(path)
}

/// The account of the service.
pub(crate) const ACCOUNT: &str = "stap-server";
/// What the unit reads its environment and its options from.
pub(crate) const SETTINGS: &str = "/etc/default/stap-server";
/// The certificate of the service, which its operator hands out.
pub(crate) const CERTIFICATE: &str = "/var/lib/stap-server/.systemtap/ssl/server/stap.cert";

const fn user(number: usize) -> User {
    let (name, id) = USERS[number];
    User { name, id }
}

/// Runs a program as root and returns its output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let finished = Invocation::new(program)
        .args(arguments)
        .env("PATH", PATH)
        .run();
    ensure!(finished.code() == Some(0), "{finished}");
    Ok(finished.out())
}

/// Makes the users and installs the programs, as an operator does; nothing is started.
pub(crate) fn install() -> anyhow::Result<()> {
    for (name, id) in USERS {
        let id = id.to_string();
        run(
            "useradd",
            &["--create-home", "--user-group", "--uid", &id, name],
        )?;
    }
    fs::create_dir_all(NOTES)?;
    for user in [ALICE, BOB, ROOT] {
        let notes = Path::new(NOTES).join(user.name);
        fs::create_dir(&notes)?;
        chown(&notes, Some(user.id), Some(user.id))?;
    }
    copy_standins()?;
    let installer = payload("deploy/install");
    let installer = installer.to_str().context("our own path")?;
    let programs = payload("programs");
    let from = programs.to_str().context("our own path")?;
    run(installer, &["--from", from])?;
    run("systemctl", &["daemon-reload"])?;
    // Whatever a timer would start in the middle of a comparison would look like a remainder.
    run("systemctl", &["stop", "*.timer"])?;
    Ok(())
}

fn copy_standins() -> anyhow::Result<()> {
    fs::create_dir_all(STANDINS)?;
    for entry in fs::read_dir(payload("standins"))? {
        let entry = entry?;
        let copy = Path::new(STANDINS).join(entry.file_name());
        fs::copy(entry.path(), &copy)?;
        fs::set_permissions(copy, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Has the service run the stand-in for stap under the strictest policy, in which a job gets little
/// memory.
pub(crate) fn configure() -> anyhow::Result<()> {
    let strict = fs::read_to_string("/usr/local/share/stap-server/policies/strict.toml")?;
    let changed = |line: &str| match line.split_whitespace().next() {
        Some("memory") => format!("memory = \"{MEMORY} MiB\""),
        _ => line.to_owned(),
    };
    let policy: Vec<_> = strict.lines().map(changed).collect();
    fs::create_dir_all("/etc/stap-server")?;
    fs::write(POLICY, policy.join("\n"))?;
    let settings =
        format!("SYSTEMTAP_STAP={STANDINS}/fakestap\nSTAP_SERVERD_OPTIONS=\"--policy {POLICY}\"\n");
    Ok(fs::write(SETTINGS, settings)?)
}

/// The strictest class, with little memory for a job.
pub(crate) const POLICY: &str = "/etc/stap-server/policy.toml";
/// What a job of the configured service may use, in MiB.
pub(crate) const MEMORY: u64 = 64;
