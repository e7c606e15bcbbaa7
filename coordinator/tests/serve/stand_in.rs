//! A worker that runs nothing. The first `-e` of a job says what becomes of it.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use stap_protocol::job::{
    Configuration, FromWorker, Job, JobId, Layer, LayerState, Outcome, OutputFile, Readiness,
    ReleaseChoice, Report, Target, ToWorker, Unusable, Usage,
};
use stap_protocol::path::FileName;
use stap_protocol::signing::SignatureHash;
use stap_protocol::target::TargetName;

use crate::forge;

/// Ends at once and gives a module.
pub(crate) const HELLO: &str = "hello";
/// Runs until it is cancelled.
pub(crate) const WAIT: &str = "wait";
/// Hits a limit.
pub(crate) const LIMIT: &str = "limit";
/// Begins a script that says what to return: a privilege in digits, and the module's name.
pub(crate) const MODULE: &str = "module";
/// Begins a script that names the release for which it hits a limit; it is hello for others.
pub(crate) const LIMIT_ON: &str = "limit-on";
/// Begins a script that names the architecture for which it runs until it is cancelled; it is hello for others.
pub(crate) const WAIT_ON: &str = "wait-on";
/// Ends like hello; its slot stays taken until [`RELEASE_ALL`].
pub(crate) const KEEP: &str = "keep";
/// Ends like hello, and gives back what was kept.
pub(crate) const RELEASE_ALL: &str = "release all";
/// Takes the worker down.
pub(crate) const CRASH: &str = "crash";

/// A release for which there is nothing to build with.
pub(crate) const NOTHING: &str = "nothing";

/// A release that stands for three, for the second of which there are two architectures.
pub(crate) const THREE: &str = "three";

/// The only target.
pub(crate) const RELEASE: &str = "6.1.0-9";

/// Not a promise but the stand-in's process: the server starts this very program, with the socket on
/// stdin. As a test of its own it has nothing to say.
#[test]
#[ignore = "the server under test runs it"]
fn worker() {
    let socket = rustix::io::dup(rustix::stdio::stdin()).unwrap();
    serve(UnixStream::from(socket)).unwrap();
}

/// The same for the program with the keys, which is the real one.
#[test]
#[ignore = "the server under test runs it"]
fn signer() -> std::process::ExitCode {
    stap_signer::main()
}

fn serve(mut socket: UnixStream) -> io::Result<()> {
    let mut kept = Vec::new();
    while let Some(message) = receive(&mut socket)? {
        match message {
            ToWorker::Configure(asked) => {
                send(&mut socket, &FromWorker::Ready(readiness(&asked)))?;
            }
            ToWorker::Examine(_) => panic!("no test here asks the doctor"),
            ToWorker::Identify { number, .. } => {
                let identity = Err("nothing is seen here".to_owned());
                send(&mut socket, &FromWorker::Identity { number, identity })?;
            }
            ToWorker::Warm { .. } => panic!("no test here warms"),
            ToWorker::Run { id, job } => {
                run(&mut socket, id, &job)?;
                match script(&job) {
                    KEEP => kept.push(id),
                    RELEASE_ALL => {
                        for id in kept.drain(..) {
                            send(&mut socket, &FromWorker::Released { id })?;
                        }
                    }
                    _ => {}
                }
            }
            ToWorker::Cancel { id } => {
                say(&format!("cancelled job {}", id.0));
                done(&mut socket, id, Outcome::Cancelled, Vec::new())?;
            }
        }
    }
    Ok(())
}

fn script(job: &Job) -> &str {
    let mut arguments = job.arguments.iter();
    let script = arguments.find_map(|argument| argument.strip_prefix(b"-e"));
    std::str::from_utf8(script.unwrap_or_default()).unwrap_or_default()
}

fn run(socket: &mut UnixStream, id: JobId, job: &Job) -> io::Result<()> {
    let script = script(job);
    say(&format!("runs job {}: {script}", id.0));
    match script {
        WAIT => Ok(()),
        script if waits_on(script, job) => Ok(()),
        script if script.starts_with(MODULE) => {
            let mut words = script.split(' ').skip(1);
            let privilege = words.next().unwrap().parse().unwrap();
            let name = words.next().unwrap();
            let file = OutputFile {
                name: FileName::new(format!("{name}.ko")).unwrap(),
                content: forge::module(name, privilege),
            };
            done(socket, id, Outcome::Exited { code: 0 }, vec![file])
        }
        script if hits_on(script, job) => done(socket, id, limit(), Vec::new()),
        CRASH => panic!("the script takes the worker down"),
        LIMIT => done(socket, id, limit(), Vec::new()),
        _ => {
            let name = FileName::new("hello.ko").unwrap();
            let files = vec![OutputFile {
                name,
                content: module(&job.target),
            }];
            let code = 0;
            ended(socket, id, Outcome::Exited { code }, files, script == KEEP)
        }
    }
}

fn hits_on(script: &str, job: &Job) -> bool {
    let release = script.strip_prefix(LIMIT_ON).map(str::trim);
    release == Some(job.target.release.as_str())
}

fn waits_on(script: &str, job: &Job) -> bool {
    script.strip_prefix(WAIT_ON).map(str::trim) == Some(job.target.arch.as_str())
}

fn limit() -> Outcome {
    Outcome::LimitReached {
        limit: "wall".to_owned(),
        value: "300 s".to_owned(),
        class: "test".to_owned(),
        used: None,
        wider: None,
    }
}

fn done(
    socket: &mut UnixStream,
    id: JobId,
    outcome: Outcome,
    files: Vec<OutputFile>,
) -> io::Result<()> {
    ended(socket, id, outcome, files, false)
}

fn ended(
    socket: &mut UnixStream,
    id: JobId,
    outcome: Outcome,
    files: Vec<OutputFile>,
    keeps_slot: bool,
) -> io::Result<()> {
    let report = Box::new(Report {
        outcome,
        stdout: b"/jail/hello.ko\n".to_vec(),
        stderr: Vec::new(),
        files,
        private_directories: vec!["/jail".into()],
        usage: Usage {
            wall: Duration::from_millis(10),
            ..Usage::default()
        },
        is_whole: true,
    });
    let done = FromWorker::Done {
        id,
        report,
        keeps_slot,
    };
    send(socket, &done)
}

#[expect(clippy::print_stderr, reason = "the server writes it into its log")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// The header of a relocatable object for the target's machine.
fn module(target: &TargetName) -> Vec<u8> {
    let machine = match target.arch.as_str() {
        "arm64" => [0xb7, 0],
        _ => [0x3e, 0],
    };
    [
        &b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0"[..],
        &machine,
        &[0; 44],
    ]
    .concat()
}

fn readiness(asked: &Configuration) -> Readiness {
    let nothing = ReleaseChoice::Release(NOTHING.to_owned());
    if asked.releases.contains(&nothing) {
        return without_targets();
    }
    let three = ReleaseChoice::Release(THREE.to_owned());
    let names: &[(&str, &str)] = match asked.releases.contains(&three) {
        true => &[
            (RELEASE, "x86_64"),
            ("6.12.0-1", "arm64"),
            ("6.12.0-1", "x86_64"),
        ],
        false => &[(RELEASE, "x86_64")],
    };
    let layer = Layer {
        name: "seccomp".to_owned(),
        state: LayerState::Absent,
        detail: "nothing runs".to_owned(),
    };
    Readiness {
        targets: names.iter().copied().map(target).collect(),
        unusable: Vec::new(),
        layers: vec![layer],
    }
}

fn target((release, arch): (&str, &str)) -> Target {
    Target {
        name: TargetName {
            release: release.parse().unwrap(),
            arch: arch.parse().unwrap(),
        },
        root: "/".into(),
        build_tree: format!("/lib/modules/{release}/build").into(),
        stap: "/usr/bin/stap".into(),
        stap_version: "5.6".to_owned(),
        compiler: "gcc".to_owned(),
        build_id: "stand-in".to_owned(),
        signature_hash: SignatureHash::Sha256,
        pass_4: Vec::new(),
    }
}

fn without_targets() -> Readiness {
    say(" WARN there is no stap");
    let unusable = Unusable {
        build_tree: "/lib/modules/6.1.0-9/build".into(),
        reason: "there is no stap in /".to_owned(),
    };
    Readiness {
        targets: Vec::new(),
        unusable: vec![unusable],
        layers: Vec::new(),
    }
}

fn receive(socket: &mut UnixStream) -> io::Result<Option<ToWorker>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut message = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    socket.read_exact(&mut message)?;
    Ok(Some(postcard::from_bytes(&message).unwrap()))
}

fn send(socket: &mut UnixStream, message: &FromWorker) -> io::Result<()> {
    let message = postcard::to_stdvec(message).unwrap();
    socket.write_all(&u32::try_from(message.len()).unwrap().to_be_bytes())?;
    socket.write_all(&message)
}
