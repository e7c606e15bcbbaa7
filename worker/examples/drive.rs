//! Runs one command line of stap through a worker, by hand and without a coordinator.
//!
//! ```text
//! cargo build -p stap-worker -p stap-jail
//! cargo run -p stap-worker --example drive -- ROOT CACHE TIMES -p4 -e 'probe begin { exit() }'
//! ```
//!
//! It prints what the worker serves, the layers in force, and for each run the outcome, the cost and
//! the results. As root, put `setpriv --reuid` or the like in front to see the rootless worker.
#![expect(clippy::print_stdout, reason = "a tool for the eyes")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use command_fds::{CommandFdExt as _, FdMapping};
use stap_protocol::job::{
    Configuration, FromWorker, Job, JobId, MAX_FRAME, Readiness, Report, ToWorker,
};

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let mut word = || {
        words
            .next()
            .context("usage: drive ROOT CACHE TIMES STAP-ARGUMENTS...")
    };
    let (root, cache, times) = (word()?, word()?, word()?.parse::<u64>()?);
    let arguments: Vec<_> = words.map(String::into_bytes).collect();
    let mut worker = Worker::start()?;
    worker.say(&ToWorker::Configure(Box::new(configuration(
        root.into(),
        cache.into(),
    ))))?;
    let readiness = match worker.hear()? {
        FromWorker::Ready(readiness) => readiness,
        FromWorker::NotReady { reason } => bail!("{reason}"),
        other => bail!("the worker says {other:?}"),
    };
    show(&readiness);
    let target = readiness.targets.first().context("no target")?.name.clone();
    for number in 0..times {
        let job = Job {
            request: "by hand".to_owned(),
            target: target.clone(),
            arguments: arguments.clone(),
            files: Vec::new(),
            locale: Vec::new(),
            to_be_signed: false,
        };
        worker.say(&ToWorker::Run {
            id: JobId(number),
            job: Box::new(job),
        })?;
        show_report(&worker.report()?);
    }
    Ok(())
}

fn configuration(root: PathBuf, cache: PathBuf) -> Configuration {
    Configuration {
        roots: vec![root],
        releases: Vec::new(),
        arch: None,
        stap: None,
        server_options: Vec::new(),
        policy: stap_policy::builtin::SHARED_HOST.to_owned(),
        slots: 2,
        cache,
        temporary: std::env::temp_dir(),
        keep: false,
        hidden: Vec::new(),
    }
}

fn show(readiness: &Readiness) {
    for target in &readiness.targets {
        let (stap, compiler) = (&target.stap_version, &target.compiler);
        println!(
            "target {} stap {stap} {compiler} {}",
            target.name, target.build_id
        );
    }
    for unusable in &readiness.unusable {
        println!(
            "unusable {}: {}",
            unusable.build_tree.display(),
            unusable.reason
        );
    }
    for layer in &readiness.layers {
        println!("layer {} {:?}: {}", layer.name, layer.state, layer.detail);
    }
}

fn show_report(report: &Report) {
    println!("{:?}", report.outcome);
    println!("{:?}", report.usage);
    println!("stdout: {}", String::from_utf8_lossy(&report.stdout));
    println!("stderr: {}", String::from_utf8_lossy(&report.stderr));
    for file in &report.files {
        println!("result: {} {} bytes", file.name, file.content.len());
    }
}

struct Worker(UnixStream);

impl Worker {
    fn start() -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let directory = own
            .ancestors()
            .nth(2)
            .context("an example lies in target/*/examples")?;
        let (socket, theirs) = UnixStream::pair()?;
        let mut command = Command::new(directory.join("stap-worker"));
        let mapping = FdMapping {
            parent_fd: theirs.into(),
            child_fd: stap_worker::SOCKET,
        };
        command.fd_mappings(vec![mapping])?;
        // It ends by itself when the socket does.
        command.spawn().context("starting stap-worker")?;
        Ok(Self(socket))
    }

    fn say(&mut self, message: &ToWorker) -> anyhow::Result<()> {
        let message = postcard::to_stdvec(message)?;
        self.0
            .write_all(&u32::try_from(message.len())?.to_be_bytes())?;
        Ok(self.0.write_all(&message)?)
    }

    fn hear(&mut self) -> anyhow::Result<FromWorker> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u64::from(u32::from_be_bytes(length)).min(MAX_FRAME as u64);
        let mut message = Vec::new();
        (&self.0).take(length).read_to_end(&mut message)?;
        Ok(postcard::from_bytes(&message)?)
    }

    fn report(&mut self) -> anyhow::Result<Report> {
        loop {
            if let FromWorker::Done { report, .. } = self.hear()? {
                return Ok(*report);
            }
        }
    }
}
