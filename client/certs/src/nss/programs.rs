//! NSS's own programs, which change stores for us: finding them and running them.
//!
//! They read whole files that others may have written, with the rights of this user. So they are
//! taken from the system's directories only, get explicit words, an empty environment, no input, a
//! directory of their own, a process group that is killed at the deadline, and what they say is
//! bounded and only shown.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// The programs of NSS on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    certutil: Option<PathBuf>,
    pk12util: Option<PathBuf>,
}

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Certutil,
    Pk12util,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("{} is not installed", .0.name())]
    Missing(Program),
    #[error("{} cannot be started: {source}", program.name())]
    Start {
        program: Program,
        source: std::io::Error,
    },
    #[error("{} did not end within {} seconds", .0.name(), DEADLINE.as_secs())]
    Deadline(Program),
    #[error("{} failed{}", program.name(), said(what))]
    Failed { program: Program, what: String },
}

/// Where programs are taken from: nobody but root can write there, which is checked.
const DIRECTORIES: [&str; 3] = ["/usr/bin", "/bin", "/usr/local/bin"];

/// How long one run may last. It takes some hundredths of a second; making a password-based key on a
/// slow host takes seconds. A start, which has twenty seconds, survives one for each of its databases.
const DEADLINE: Duration = Duration::from_secs(8);

/// How much of what a program says is read.
const MAX_SAID_BYTES: usize = 4096;

impl Programs {
    /// The programs that this host has, in the system's directories.
    #[must_use]
    pub fn installed() -> Self {
        Self::in_directories(&DIRECTORIES.map(Path::new))
    }

    /// The programs in the first of these directories that has each.
    #[must_use]
    pub fn in_directories(directories: &[&Path]) -> Self {
        let find = |program: Program| {
            let mut candidates = directories.iter().map(|dir| dir.join(program.name()));
            candidates.find(|path| is_trustworthy(path))
        };
        Self {
            certutil: find(Program::Certutil),
            pk12util: find(Program::Pk12util),
        }
    }

    /// No programs: our files are followed by no store, but still follow one.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            certutil: None,
            pk12util: None,
        }
    }

    pub(super) fn has(&self, program: Program) -> bool {
        self.path(program).is_some()
    }

    /// Runs a program to its end in a directory. While it runs it has `input` open, which is empty.
    pub(super) fn run(
        &self,
        program: Program,
        directory: &Path,
        input: impl Into<Stdio>,
        arguments: &[&str],
    ) -> Result<(), ProgramError> {
        let path = self.path(program).ok_or(ProgramError::Missing(program))?;
        let mut child = Command::new(path)
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("LC_ALL", "C")
            // Without this, NSS measures how fast the directory is and may cache the store elsewhere.
            .env("NSS_SDB_USE_CACHE", "no")
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|source| ProgramError::Start { program, source })?;
        let (what, ended) = watch(&mut child, Instant::now() + DEADLINE);
        if !ended {
            end_group(&child);
        }
        let status = child
            .wait()
            .map_err(|source| ProgramError::Start { program, source })?;
        if !ended {
            return Err(ProgramError::Deadline(program));
        }
        if status.success() {
            return Ok(());
        }
        Err(ProgramError::Failed { program, what })
    }

    fn path(&self, program: Program) -> Option<&Path> {
        match program {
            Program::Certutil => self.certutil.as_deref(),
            Program::Pk12util => self.pk12util.as_deref(),
        }
    }
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Certutil => "certutil",
            Self::Pk12util => "pk12util",
        }
    }
}

/// A program that somebody else than root could have put there is as good as none.
fn is_trustworthy(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|status| {
        status.is_file()
            && status.uid() == 0
            && status.mode() & 0o022 == 0
            && status.mode() & 0o111 != 0
    })
}

/// Collects what a program says until it ends. Tells whether it ended before the deadline.
fn watch(child: &mut Child, deadline: Instant) -> (String, bool) {
    let mut stderr = child.stderr.take();
    let mut bytes = Vec::new();
    let ended = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(open) = &mut stderr else {
            break has_ended(child, left);
        };
        let Ok(timeout) = Timespec::try_from(left) else {
            break false;
        };
        let mut watched = [PollFd::new(open, PollFlags::IN)];
        match poll(&mut watched, Some(&timeout)) {
            Ok(0) => break false,
            Ok(_) => {
                if !read_some(open, &mut bytes) {
                    stderr = None;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break false,
        }
    };
    (last_words(&bytes), ended)
}

/// Reads what is there; what exceeds the bound is read and forgotten, so that the program can go on.
/// False at the end.
fn read_some(stderr: &mut ChildStderr, bytes: &mut Vec<u8>) -> bool {
    let mut piece = [0; 1024];
    match stderr.read(&mut piece) {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            let room = MAX_SAID_BYTES.saturating_sub(bytes.len());
            bytes.extend_from_slice(&piece[..length.min(room)]);
            true
        }
    }
}

fn has_ended(child: &Child, patience: Duration) -> bool {
    let Some(pid) = pid(child) else { return false };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    let Ok(timeout) = Timespec::try_from(patience) else {
        return false;
    };
    let mut watched = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
    matches!(poll(&mut watched, Some(&timeout)), Ok(1))
}

/// Kills the program and whatever it started. It is not reaped yet, so the id is still its own.
fn end_group(child: &Child) {
    if let Some(pid) = pid(child) {
        // It fails only when nothing is left to be killed.
        kill_process_group(pid, Signal::KILL).ok();
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// The last line, without what could move a cursor. NSS names the reason there.
fn last_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    let shown = last.unwrap_or_default().trim().chars();
    shown.filter(|c| !c.is_control()).take(300).collect()
}

fn said(what: &str) -> String {
    if what.is_empty() {
        String::new()
    } else {
        format!(": {what}")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::stage::Stage;
    use super::*;
    use crate::directory::Directory;
    use crate::error::DatabaseError;

    /// A directory whose `certutil` is this script.
    fn with_script(script: &str) -> (tempfile::TempDir, Programs) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("certutil");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let programs = Programs {
            certutil: Some(path),
            pk12util: None,
        };
        (home, programs)
    }

    fn run(script: &str, arguments: &[&str]) -> Result<(), ProgramError> {
        let (home, programs) = with_script(script);
        programs.run(Program::Certutil, home.path(), Stdio::null(), arguments)
    }

    #[test]
    fn a_program_gets_its_words_and_nothing_else() {
        let script =
            r#"[ "$#" = 2 ] && [ "$2" = '$(x) "; y' ] && [ -z "$HOME$PATH_SEEN" ] && ! read -r _"#;
        run(script, &["-L", r#"$(x) "; y"#]).unwrap();
    }

    #[test]
    fn a_program_that_fails_is_quoted_with_its_last_line_and_without_control_characters() {
        let error = run(
            "echo first >&2; printf 'bad \\033[2Jthing\\n' >&2; exit 3",
            &[],
        );
        let text = error.unwrap_err().to_string();
        assert_eq!(text, "certutil failed: bad [2Jthing");
    }

    #[test]
    fn a_program_may_say_more_than_is_kept() {
        let script = "i=0; while [ $i -lt 3000 ]; do echo 'a line of one hundred bytes or so, which fills the pipe soon' >&2; i=$((i+1)); done";
        run(script, &[]).unwrap();
    }

    #[test]
    fn a_program_that_closes_its_output_is_still_waited_for() {
        let (home, programs) = with_script("exec 2>&-; echo done > done");
        let ended = programs.run(Program::Certutil, home.path(), Stdio::null(), &[]);
        ended.unwrap();
        assert!(home.path().join("done").exists());
    }

    #[test]
    fn a_program_keeps_the_lock_when_who_started_it_is_killed() {
        let script = "[ /dev/stdin -ef ../.lock ] && flock --nonblock 0 && ! flock --nonblock ../.lock true && ! read -r _";
        let (_programs_home, programs) = with_script(script);
        let home = tempfile::tempdir().unwrap();
        let found = Directory::examine(home.path(), None, &mut Vec::new());
        let directory = found.unwrap().unwrap();
        fs::write(home.path().join(".lock"), "somebody's words\n").unwrap();
        let lock = directory.lock().unwrap();
        let stage = Stage::prepare(&directory, &lock, &programs).unwrap();
        stage.certutil(&[]).unwrap();
        let kept = stage.private.shared_lock().unwrap();
        drop(stage);
        drop(lock);
        let busy = directory.try_lock().unwrap_err();
        assert!(matches!(busy, DatabaseError::Busy { .. }), "{busy}");
        drop(kept);
        directory.try_lock().unwrap();
    }

    #[test]
    fn a_program_that_does_not_end_is_not_waited_for_without_end() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read -r _"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (_said, ended) = watch(&mut child, Instant::now() + Duration::from_millis(10));
        assert!(!ended);
        end_group(&child);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_program_that_others_could_have_replaced_is_not_run() {
        let (home, programs) = with_script("exit 0");
        let path = home.path().join("certutil");
        if rustix::process::geteuid().is_root() {
            assert_eq!(Programs::in_directories(&[home.path()]), programs);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o775)).unwrap();
        assert_eq!(Programs::in_directories(&[home.path()]), Programs::none());
    }
}
