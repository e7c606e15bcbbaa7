//! Where the modules of several targets are saved: each in a directory of its own.
//!
//! The file keeps the name that stap gave to the module, because `staprun` finds a module in the kernel by
//! the name of its file.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use stap_protocol::job::OutputFile;
use stap_protocol::target::TargetName;

use crate::compile::command_line::{Plan, Script};

/// `NAME-RELEASE-ARCH`, NAME being that of `-m`, or of the script's file without its suffix, or `stap`.
pub(super) fn directory(target: &TargetName, plan: &Plan) -> String {
    let TargetName { release, arch } = target;
    format!("{}-{release}-{arch}", name(plan))
}

/// Saves a module and what belongs to it, and returns their paths below the current directory. In a directory
/// that is there already, files of these names are replaced and others stay.
///
/// # Errors
///
/// What could not be done, in words.
pub(super) fn save(
    target: &TargetName,
    plan: &Plan,
    files: &[&OutputFile],
) -> Result<Vec<String>, String> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let directory = directory(target, plan);
    let failed = |error: io::Error| {
        format!("the module cannot be saved in the directory {directory}: {error}")
    };
    let opened = opened(&directory).map_err(failed)?;
    let mut saved = Vec::new();
    for file in files {
        write(&opened, file).map_err(failed)?;
        saved.push(format!("{directory}/{}", file.name));
    }
    Ok(saved)
}

/// Somebody else's link of that name would lead the module elsewhere.
fn opened(directory: &str) -> io::Result<OwnedFd> {
    match mkdirat(CWD, directory, Mode::from(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(CWD, directory, flags, Mode::empty())?)
}

fn write(directory: &OwnedFd, file: &OutputFile) -> io::Result<()> {
    let here = format!("/proc/self/fd/{}", directory.as_raw_fd());
    crate::compile::scratch::save_in(Path::new(&here), file.name.as_path(), &file.content)
}

fn name(plan: &Plan) -> String {
    if let Some(name) = &plan.module_name {
        return name.clone();
    }
    let Script::File(path) = &plan.script else {
        return NAMELESS.to_owned();
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => character,
        _ => '_',
    };
    let name: String = stem.chars().take(LONGEST).map(plain).collect();
    match name.is_empty() {
        true => NAMELESS.to_owned(),
        false => name,
    }
}

/// What a script is called that has no file.
const NAMELESS: &str = "stap";
/// With two names of a target, well below what a file's name may have.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn named(script: Script, module_name: Option<&str>) -> String {
        let target = TargetName {
            release: "6.12.107+deb13-amd64".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        };
        let plan = Plan {
            script,
            module_name: module_name.map(str::to_owned),
            ..Plan::default()
        };
        directory(&target, &plan)
    }

    #[test]
    fn a_directory_is_named_after_script_and_target() {
        let file = |name: &str| Script::File(name.into());
        for (script, module_name, expected) in [
            (file("/x/hello.stp"), None, "hello"),
            (file("a b.c.stp"), None, "a_b_c"),
            (file("../.."), None, "stap"),
            (file(".stp"), None, "_stp"),
            (file("-rf.stp"), None, "_rf"),
            (Script::Inline, None, "stap"),
            (Script::StandardInput, None, "stap"),
            (file("hello.stp"), Some("foo"), "foo"),
        ] {
            let name = named(script, module_name);
            assert_eq!(name, format!("{expected}-6.12.107+deb13-amd64-x86_64"));
        }
        let long = named(file(&"x".repeat(300)), None);
        assert!(long.len() < 255, "{long}");
    }
}
