//! What a job sees, gets and runs.

use std::path::{Path, PathBuf};

use stap_driver::shim;
use stap_jail::plan::{
    Access, Bind, Command, HostPath, Identity, JailPath, PathError, VISIBLE, View, WorkspaceFile,
    WorkspaceLink, WorkspacePath,
};
use stap_policy::Limits;
use stap_protocol::job::{Job, JobId};

use super::collect::RESULTS;
use crate::driver::workspace_files;
use crate::jail::{Errand, Fault, Room};
use crate::queries::{self, Ready};
use crate::slots::Slot;
use crate::station::Station;
use crate::targets::Served;
use crate::targets::tree::PROGRAM_DIRECTORIES;
use crate::warm::{Seed, Variant};

/// A place for one errand of one target.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// What this worker has.
    pub station: &'a Station,
    /// What is built for.
    pub served: &'a Served,
    /// Whose turn it is.
    pub slot: Slot,
    /// What replays kbuild, on this host.
    pub driver: Option<&'a Path>,
}

impl Stage<'_> {
    /// Whose processes they will be.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.station.identity(self.slot)
    }

    /// A client's job: what the stock server runs, in a place of its own.
    ///
    /// # Errors
    ///
    /// When a path makes no plan.
    pub fn job(
        &self,
        id: JobId,
        job: Job,
        limits: Limits,
        seed: &Seed,
        room: &Room,
    ) -> Result<Errand, Fault> {
        let mut files = Vec::with_capacity(job.files.len() + seed.files.len());
        for file in job.files {
            let path = Path::new("request").join(file.path.as_path());
            let path = path.try_into().map_err(irregular)?;
            files.push(WorkspaceFile {
                path,
                content: file.content,
            });
        }
        files.extend(seeded(seed)?);
        let mut arguments = self.server_arguments();
        arguments.push(tmpdir(room));
        arguments.push(b"--client-options".to_vec());
        arguments.extend(job.arguments);
        let mut errand =
            self.errand(format!("job-{}", id.0), room, files, arguments, job.locale)?;
        if let Some(queries) = &seed.queries {
            let place = Path::new(queries::DIRECTORY);
            let bind = bind_of(queries.directory(), place, Access::Read);
            errand.view.binds.push(bind.map_err(irregular)?);
            errand.links = linked(queries)?;
        }
        // A policy that has make run wants jobs kept apart more than it wants them quick.
        if self.station.replays && self.station.pace.is_quick() {
            use_huge_pages(&mut errand.command.environment);
        }
        Ok(Errand {
            limits: Some(limits),
            ..errand
        })
    }

    /// A job without any user's input that leaves stap's feature probes behind.
    ///
    /// # Errors
    ///
    /// When a path makes no plan.
    pub fn warm_up(&self, variant: Variant, room: &Room) -> Result<Errand, Fault> {
        let mut arguments = self.server_arguments();
        arguments.push(tmpdir(room));
        if variant == Variant::Guru {
            arguments.push(b"-g".to_vec());
        }
        let script = ["-p4", "-e", "probe begin { exit() }"];
        arguments.extend(script.map(|argument| argument.as_bytes().to_vec()));
        let build = self.served.target.build_id.get(..12).unwrap_or_default();
        let name = format!("warm-{build}-{}-{}", self.slot.0, variant.name());
        self.errand(name, room, Vec::new(), arguments, Vec::new())
    }

    /// A job without any user's input that builds the module of a script in the directory of results.
    ///
    /// # Errors
    ///
    /// When a path makes no plan.
    pub fn trusted_script(
        &self,
        variant: Variant,
        seed: &Seed,
        room: &Room,
        module: &str,
        script: &str,
    ) -> Result<Errand, Fault> {
        let mut arguments = self.server_arguments();
        arguments.push(tmpdir(room));
        if variant == Variant::Guru {
            arguments.push(b"-g".to_vec());
        }
        let script = ["-p4", "-m", module, "-e", script];
        arguments.extend(script.map(|argument| argument.as_bytes().to_vec()));
        let files = seeded(seed)?.collect();
        self.errand(self.name_of_trusted(), room, files, arguments, Vec::new())
    }

    /// A job without any user's input that starts `env` with these arguments, in a directory of results
    /// that holds what stap wrote before.
    ///
    /// # Errors
    ///
    /// When a path makes no plan.
    pub fn trusted_make(
        &self,
        words: &[String],
        files: &[(String, Vec<u8>)],
        room: &Room,
    ) -> Result<Errand, Fault> {
        let files = workspace_files(files, Path::new(RESULTS)).map_err(irregular)?;
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut errand = self.errand(self.name_of_trusted(), room, files, words, Vec::new())?;
        let program = Path::new("/usr/bin/env");
        errand.command.program = program.try_into().map_err(irregular)?;
        Ok(errand)
    }

    /// A job without any user's input that starts one program as kbuild does, in `directory`, while the
    /// directory of results holds the files.
    ///
    /// # Errors
    ///
    /// When a path makes no plan.
    pub fn trusted_program(
        &self,
        words: &[String],
        directory: &Path,
        files: &[(String, Vec<u8>)],
        room: &Room,
    ) -> Result<Errand, Fault> {
        let mut errand = self.trusted_make(words, files, room)?;
        errand.command.directory = directory.try_into().map_err(irregular)?;
        Ok(errand)
    }

    /// A control group is named after it, so no two that run at once may have the same.
    fn name_of_trusted(&self) -> String {
        let build = self.served.target.build_id.get(..12).unwrap_or_default();
        format!("warm-{build}-{}-pass-4", self.slot.0)
    }

    pub(super) fn server_arguments(&self) -> Vec<Vec<u8>> {
        let mut arguments = vec![format!("-r{}", self.served.named).into_bytes()];
        let own = self
            .served
            .is_foreign
            .then_some(&self.served.target.name.arch);
        match (&self.station.arch, own) {
            (Some(arch), _) => arguments.push(format!("-a{arch}").into_bytes()),
            (None, Some(arch)) => arguments.push(format!("-a{arch}").into_bytes()),
            (None, None) => (),
        }
        arguments.extend(
            self.station
                .server_options
                .iter()
                .map(|option| option.clone().into_bytes()),
        );
        arguments
    }

    pub(super) fn errand(
        &self,
        name: String,
        room: &Room,
        mut files: Vec<WorkspaceFile>,
        arguments: Vec<Vec<u8>>,
        locale: Vec<(String, String)>,
    ) -> Result<Errand, Fault> {
        // stap is told to use this directory, so it must be there before it starts.
        let path = WorkspacePath::try_from(RESULT_MARK).map_err(irregular)?;
        files.push(WorkspaceFile {
            path,
            content: Vec::new(),
        });
        let command = Command {
            program: self
                .station
                .program_of(self.served)
                .try_into()
                .map_err(irregular)?,
            arguments,
            environment: environment(room, locale),
            directory: room.path.join("request").try_into().map_err(irregular)?,
        };
        let mut binds = self.station.binds.clone();
        if let Some(driver) = self.driver {
            let place = Path::new(shim::DIRECTORY);
            binds.push(bind_of(driver, place, Access::ReadExecute).map_err(irregular)?);
            let asking = driver.join(shim::MAKEFILE);
            let makefile = self.served.target.build_tree.join("Makefile");
            binds.push(bind_of(&asking, &makefile, Access::Read).map_err(irregular)?);
        }
        let view = View {
            root: self
                .served
                .target
                .root
                .as_path()
                .try_into()
                .map_err(irregular)?,
            binds,
        };
        Ok(Errand {
            name,
            identity: self.identity(),
            view,
            files,
            links: Vec::new(),
            command,
            limits: None,
        })
    }
}

/// A question to a stap: its version.
///
/// # Errors
///
/// When a path makes no plan.
pub fn version(
    name: String,
    identity: Identity,
    program: &Path,
    root: &Path,
    binds: &[Bind],
    room: &Room,
) -> Result<Errand, Fault> {
    let command = Command {
        program: program.try_into().map_err(irregular)?,
        arguments: vec![b"--version".to_vec()],
        environment: environment(room, Vec::new()),
        directory: room.path.join("request").try_into().map_err(irregular)?,
    };
    let view = View {
        root: root.try_into().map_err(irregular)?,
        binds: binds.to_vec(),
    };
    Ok(Errand {
        name,
        identity,
        view,
        files: Vec::new(),
        links: Vec::new(),
        command,
        limits: None,
    })
}

/// Directories whose names mean nothing to a client.
pub(super) fn private_directories(room: &Room) -> Vec<PathBuf> {
    ["response", "request", "home"]
        .iter()
        .map(|name| room.path.join(name))
        .collect()
}

/// Shows something of the host.
///
/// # Errors
///
/// When a path is irregular.
pub fn bind_of(source: &Path, target: &Path, access: Access) -> Result<Bind, PathError> {
    let source = HostPath::try_from(source)?;
    let target = JailPath::try_from(target)?;
    Ok(Bind {
        source,
        target,
        access,
    })
}

/// Whether a path is below one of the directories that a view shows of its root.
#[must_use]
pub fn is_visible(path: &Path) -> bool {
    let below = path.strip_prefix("/").unwrap_or(path);
    VISIBLE.iter().any(|directory| below.starts_with(directory))
}

pub(super) fn tmpdir(room: &Room) -> Vec<u8> {
    let directory = room.path.join("response/stap000000");
    [b"--tmpdir=", directory.as_os_str().as_encoded_bytes()].concat()
}

/// How the C library gets a program's heap from the kernel: in large pieces, and without giving any back. stap reads its
/// tapset into 100 MB, and spends less on that than on asking 4 kB at a time for it; see `docs/performance.md`. A library
/// that knows none of these goes on as it always did.
const MEMORY: [&str; 2] = [
    "glibc.malloc.top_pad=67108864",
    "glibc.malloc.trim_threshold=268435456",
];
/// The same with huge pages, where the host has them.
const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Has the heaps of a job in huge pages, which is cheaper only while the kernel has free ones at hand.
fn use_huge_pages(environment: &mut [(String, String)]) {
    let tunables = environment.iter_mut().find(|(name, _)| name == TUNABLES);
    if let Some((_, tunables)) = tunables {
        *tunables = format!("{tunables}:{HUGE_PAGES}");
    }
}

/// All of it; nothing of the server's own environment reaches a job.
fn environment(room: &Room, locale: Vec<(String, String)>) -> Vec<(String, String)> {
    let path = |name: &str| room.path.join(name).display().to_string();
    let mut environment = vec![
        ("PATH".to_owned(), PROGRAM_DIRECTORIES.join(":")),
        ("HOME".to_owned(), path("home")),
        ("TMPDIR".to_owned(), path("tmp")),
        ("SYSTEMTAP_DIR".to_owned(), path("home/.systemtap")),
        (TUNABLES.to_owned(), MEMORY.join(":")),
    ];
    if locale.is_empty() {
        environment.push(("LC_ALL".to_owned(), "C".to_owned()));
    }
    environment.extend(locale);
    environment
}

/// The feature probes as files of a workspace.
fn seeded(seed: &Seed) -> Result<impl Iterator<Item = WorkspaceFile>, Fault> {
    let file = |(name, content): &(PathBuf, Vec<u8>)| {
        let path = Path::new(SEED_DIRECTORY).join(name);
        Ok(WorkspaceFile {
            path: path.try_into().map_err(irregular)?,
            content: content.clone(),
        })
    };
    let files: Result<Vec<_>, Fault> = seed.files.iter().map(file).collect();
    Ok(files?.into_iter())
}

/// The answers to queries, where stap looks for what it compiled earlier.
fn linked(queries: &Ready) -> Result<Vec<WorkspaceLink>, Fault> {
    let link = |(cached, file): &(String, String)| {
        let path = Path::new(SEED_DIRECTORY).join(cached);
        let target = Path::new(queries::DIRECTORY).join(file);
        Ok(WorkspaceLink {
            path: path.try_into().map_err(irregular)?,
            target: target.try_into().map_err(irregular)?,
        })
    };
    queries.links().iter().map(link).collect()
}

pub(super) fn irregular(error: PathError) -> Fault {
    Fault::Io("naming a path of the job", std::io::Error::other(error))
}

/// Where stap keeps its feature probes, below the workspace.
pub const SEED_DIRECTORY: &str = "home/.systemtap/cache";
const RESULT_MARK: &str = "response/stap000000/.server";
