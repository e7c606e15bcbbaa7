//! Attacks on what is in files, and on the space for them.

use std::fs::{self, File};
use std::io::{self, Write};

use crate::{Attempt, number, stopped};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["read", path] => fs::read(path).map(|bytes| format!("{} bytes", bytes.len())),
        ["write", path] => fs::write(path, "x").map(|()| format!("wrote {path}")),
        ["namespace", kind, known] => shares_namespace(kind, known),
        ["open-files", path, count] => open_files(path, count),
        ["fill", path, mebibytes] => fill(path, mebibytes),
        ["many-files", directory, count] => many_files(directory, count),
        _ => return None,
    })
}

fn shares_namespace(kind: &str, known: &str) -> Attempt {
    let own = fs::read_link(format!("/proc/self/ns/{kind}"))?;
    if own.as_os_str() == known {
        Ok("the host's".to_owned())
    } else {
        stopped(own)
    }
}

fn open_files(path: &str, count: &str) -> Attempt {
    let opened: io::Result<Vec<_>> = (0..number(count)?).map(|_| File::open(path)).collect();
    opened.map(|files| format!("{} files at once", files.len()))
}

fn fill(path: &str, mebibytes: &str) -> Attempt {
    let mut file = File::create(path)?;
    for _ in 0..number(mebibytes)? {
        file.write_all(&[7; 1 << 20])?;
    }
    fs::remove_file(path)?;
    Ok(format!("{mebibytes} MiB"))
}

fn many_files(directory: &str, count: &str) -> Attempt {
    let count = number(count)?;
    let path = |at: usize| format!("{directory}/many-{at}");
    let made = (0..count).try_for_each(|at| fs::write(path(at), ""));
    for at in (0..count).take_while(|at| fs::exists(path(*at)).is_ok_and(|there| there)) {
        fs::remove_file(path(at))?;
    }
    made.map(|()| format!("{count} files"))
}
