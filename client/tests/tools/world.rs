//! A user's surroundings, empty at first and gone at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Home, databases and temporary files of nobody else.
pub(crate) struct World {
    directory: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for name in ["home", "tmp", "cwd", "bin", "etc"] {
            fs::create_dir(world.path(name)).unwrap();
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// One of our tools, in these surroundings and nothing else of the caller's.
    pub(crate) fn tool(&self, name: &str) -> Command {
        self.command(&binary(name))
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("SYSTEMTAP_DIR", self.path("home/systemtap"))
            .env("STAP_SYSCONFDIR", self.path("etc"))
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.path("cwd"));
        command
    }

    /// A shell script in the world's own `bin`, which is in nobody's `PATH`.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        let source = self.path(&format!("{name}.source"));
        fs::write(&source, format!("#!/bin/bash\n{body}\n")).unwrap();
        self.program(&source, name)
    }

    /// A copy of a program in the world's own `bin`.
    ///
    /// Another process writes it: a descriptor of ours that is open for writing could be inherited by
    /// a child that another test starts just now, and the kernel does not execute a file while
    /// somebody has it open for writing.
    pub(crate) fn program(&self, source: &Path, name: &str) -> PathBuf {
        let path = self.path("bin").join(name);
        let status = Command::new("install")
            .args(["-m", "755"])
            .arg(source)
            .arg(&path)
            .status();
        assert!(status.unwrap().success());
        path
    }

    /// Names below one of the world's directories.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn binary(name: &str) -> PathBuf {
    PathBuf::from(match name {
        "stap-client" => env!("CARGO_BIN_EXE_stap-client"),
        "stap-find-servers" => env!("CARGO_BIN_EXE_stap-find-servers"),
        "stap-start-server" => env!("CARGO_BIN_EXE_stap-start-server"),
        "stap-find-or-start-server" => env!("CARGO_BIN_EXE_stap-find-or-start-server"),
        "stap-stop-server" => env!("CARGO_BIN_EXE_stap-stop-server"),
        "stap-authorize-server-cert" => env!("CARGO_BIN_EXE_stap-authorize-server-cert"),
        other => panic!("there is no tool {other}"),
    })
}

/// What a finished tool left on the streams.
pub(crate) trait Finished {
    fn code(&self) -> i32;
    fn out(&self) -> String;
    fn err(&self) -> String;
    fn assert_failed(&self, because: &str);
}

impl Finished for Output {
    fn code(&self) -> i32 {
        self.status.code().expect("no signal ends our tools")
    }

    fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    fn err(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }

    /// Exit status 1, nothing on stdout, and this text on stderr.
    fn assert_failed(&self, because: &str) {
        assert!(
            self.err().contains(because),
            "{because:?} is not in:\n{}",
            self.err()
        );
        assert_eq!(
            (self.out().as_str(), self.code()),
            ("", 1),
            "{}",
            self.err()
        );
    }
}
