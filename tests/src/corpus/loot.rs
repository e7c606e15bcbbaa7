//! What there is to be stolen from a server besides what lies around any: files that scripts can name.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use super::service::{SECRET, database};
use super::{Against, Situation};

/// Names of the field, and what they stand for.
pub(super) type Names = Vec<(&'static str, String)>;

/// Plants it. Where the stock server is attacked, names of the server's own files stand for its.
///
/// # Errors
/// When something cannot be made.
pub(super) fn plant(situation: &Situation) -> anyhow::Result<Names> {
    let mut names = drawer(situation)?;
    let shown = |name: &str| situation.scratch.join(name).display().to_string();
    match situation.against {
        Against::Ours => {
            let key = database(situation).join("stap.key");
            names.push(("key", key.display().to_string()));
            names.push(("job-home", "/work/home".to_owned()));
        }
        Against::Stock => {
            let home = situation.scratch.join("stock-home");
            let cache = home.join(".systemtap/cache/b5");
            fs::create_dir_all(&cache)?;
            let warm = cache.join("stapconf_b5_1.h");
            fs::write(&warm, SECRET)?;
            let owner = Some(situation.ordinary);
            for path in warm.ancestors().take_while(|path| path.starts_with(&home)) {
                chown(path, owner, owner)?;
            }
            // The stock server keeps results in the same place.
            for name in ["warm", "kept"] {
                names.push((name, warm.display().to_string()));
            }
            names.push(("key", shown("stock-home/.systemtap/ssl/server/key4.db")));
            names.push(("log", shown("stock-home/stock-hostile.log")));
            names.push(("job-home", shown("stock-home")));
        }
    }
    Ok(names)
}

/// A directory of the job's user: a script and a module with the secret in them, a program with a symbol,
/// and a program that fetches the secret.
fn drawer(situation: &Situation) -> anyhow::Result<Names> {
    let owner = situation.job_uid();
    let own = |path: &Path, mode| -> anyhow::Result<String> {
        chown(path, Some(owner), Some(owner))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(path.display().to_string())
    };
    let drawer = situation.scratch.join("drawer");
    fs::create_dir_all(&drawer)?;
    for name in ["private.stp", "private.ko"] {
        fs::write(drawer.join(name), SECRET)?;
        own(&drawer.join(name), 0o600)?;
    }
    let thief = drawer.join("thief");
    let secret = situation.scratch.join("secret");
    let fetch = format!("#!/bin/sh\ncat {} >&2\nexit 1\n", secret.display());
    fs::write(&thief, fetch)?;
    let program = drawer.join("program");
    let symbol = format!("{SYMBOL}=.text:0,function,global");
    let made = Command::new("objcopy")
        .args(["--add-symbol", &symbol, "/usr/bin/sleep"])
        .arg(&program)
        .env("PATH", crate::world::PATH)
        .status();
    let mut names = vec![
        ("drawer", own(&drawer, 0o700)?),
        ("thief", own(&thief, 0o700)?),
        ("program", program.display().to_string()),
    ];
    // Without binutils, as in a guest, nothing that needs it can be tried either.
    if made.is_ok_and(|status| status.success()) {
        own(&program, 0o700)?;
    } else {
        names.retain(|(name, _)| *name != "program");
    }
    Ok(names)
}

/// A symbol of the planted program.
pub(super) const SYMBOL: &str = "secret_function_of_the_corpus";
