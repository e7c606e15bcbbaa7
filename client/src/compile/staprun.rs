//! Pass 5: the command line of `staprun`, or of `stapbpf`, and the run itself.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time;

use super::cpu_time::CpuTime;
use super::signals::{Interruption, Signals};
use crate::diagnostics::Diagnostics;
use crate::siblings;

/// What the command line says about pass 5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunOptions {
    /// What the result runs in.
    pub(crate) runtime: Runtime,
    /// The verbosity of pass 5.
    pub(crate) verbosity: usize,
    /// `-w`.
    pub(crate) no_warnings: bool,
    /// `-o FILE`.
    pub(crate) output: Option<OsString>,
    /// `-c CMD`.
    pub(crate) command: Option<OsString>,
    /// `-x PID`.
    pub(crate) target: Option<OsString>,
    /// `-s MB`.
    pub(crate) buffer: Option<OsString>,
    /// `-F`.
    pub(crate) flight_recorder: bool,
    /// `-S SIZE[,N]`.
    pub(crate) split: Option<OsString>,
    /// `--color`: nothing when it is left to `staprun`.
    pub(crate) color: Option<Color>,
    /// Whether `-m` fixed the name of the module, which may then not be changed.
    pub(crate) fixed_name: bool,
    /// `-G NAME=VALUE`, in order.
    pub(crate) globals: Vec<OsString>,
}

/// What a script becomes, and who runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// A kernel module, which `staprun` loads.
    #[default]
    Kernel,
    /// A bpf object, which `stapbpf` loads.
    Bpf,
}

impl Runtime {
    /// How the name of the result ends.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Kernel => ".ko",
            Self::Bpf => ".bo",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Kernel => "staprun",
            Self::Bpf => "stapbpf",
        }
    }

    /// The variable that names another program.
    const fn variable(self) -> &'static str {
        match self {
            Self::Kernel => "SYSTEMTAP_STAPRUN",
            Self::Bpf => "SYSTEMTAP_STAPBPF",
        }
    }
}

/// Whether the output is to be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    Always,
    Never,
}

impl RunOptions {
    /// The arguments of the program that runs the result.
    pub(crate) fn arguments(&self, module: &Path) -> Vec<OsString> {
        match self.runtime {
            Runtime::Kernel => self.arguments_of_staprun(module),
            Runtime::Bpf => self.arguments_of_stapbpf(module),
        }
    }

    /// An option that was given and that `stapbpf` has not.
    pub(crate) fn unknown_to_stapbpf(&self) -> Option<&'static str> {
        let given = [
            ("-G", !self.globals.is_empty()),
            ("-F", self.flight_recorder),
            ("-S", self.split.is_some()),
        ];
        given
            .into_iter()
            .find(|(_, is_given)| *is_given)
            .map(|(option, _)| option)
    }

    /// `stapbpf` has few options; what it cannot do has been refused before.
    fn arguments_of_stapbpf(&self, object: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        words.extend((1..self.verbosity).map(|_| "-v".into()));
        words.extend(self.no_warnings.then(|| "-w".into()));
        let values = [
            ("-c", &self.command),
            ("-x", &self.target),
            ("-o", &self.output),
        ];
        for (letter, value) in values {
            words.extend(
                value
                    .iter()
                    .flat_map(|value| [letter.into(), value.clone()]),
            );
        }
        words.push(object.into());
        words
    }

    /// In the order in which `stap` gives them.
    fn arguments_of_staprun(&self, module: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        words.extend((1..self.verbosity).map(|_| "-v".into()));
        words.extend(self.no_warnings.then(|| "-w".into()));
        let mut with_value = |letter: &str, value: &Option<OsString>| {
            words.extend(
                value
                    .iter()
                    .flat_map(|value| [letter.into(), value.clone()]),
            );
        };
        with_value("-o", &self.output);
        with_value("-c", &self.command);
        with_value("-t", &self.target);
        with_value("-b", &self.buffer);
        let background = if self.output.is_some() { "-D" } else { "-L" };
        words.extend(self.flight_recorder.then(|| background.into()));
        words.extend((!self.fixed_name).then(|| "-R".into()));
        words.extend(
            self.split
                .iter()
                .flat_map(|value| ["-S".into(), value.clone()]),
        );
        words.extend(
            self.color
                .iter()
                .flat_map(|color| ["-C".into(), color.word().into()]),
        );
        words.push(module.into());
        words.extend(self.globals.iter().cloned());
        words
    }
}

impl Color {
    const fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// How pass 5 ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// `staprun` ended with status 0.
    Completed,
    /// It did not start, or ended in any other way. It has been said how.
    Failed,
    /// The client was asked to end, and `staprun` has ended too.
    Terminated,
    /// The user insisted, and `staprun` may still be running.
    GivenUp,
}

/// Runs a module or a bpf object, in the caller's directory and with the caller's input and output.
pub(crate) async fn run(
    options: &RunOptions,
    module: &Path,
    signals: &mut Signals,
    diagnostics: &Diagnostics,
) -> RunEnd {
    let program = program(options.runtime);
    let arguments = options.arguments(module);
    if options.verbosity > 0 {
        diagnostics.plain("Pass 5: starting run.");
    }
    if options.verbosity > 1 {
        diagnostics.plain(format_args!("Running {}", shown(&program, &arguments)));
    }
    let start = (Instant::now(), CpuTime::of_children());
    let mut child = match Command::new(&program)
        .args(&arguments)
        .kill_on_drop(false)
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            diagnostics.error(format_args!(
                "{} cannot be run: {error}\n\
                 Install the package that contains {}, or name the program in {}",
                program.display(),
                options.runtime.program(),
                options.runtime.variable()
            ));
            return failed(diagnostics);
        }
    };
    let (status, asked_to_end) = match wait(&mut child, signals).await {
        Waited::Ended {
            status,
            asked_to_end,
        } => (status, asked_to_end),
        Waited::GivenUp => return RunEnd::GivenUp,
    };
    if options.verbosity > 0 {
        let spent = CpuTime::of_children().since(start.1);
        diagnostics.plain(format_args!(
            "Pass 5: run completed in {}.",
            spent.with_real(start.0.elapsed())
        ));
    }
    match status {
        Some(status) if status.success() && asked_to_end => RunEnd::Terminated,
        Some(status) if status.success() => RunEnd::Completed,
        Some(status) => {
            diagnostics.warning(format_args!("{} {}", program.display(), how(status)));
            let end = failed(diagnostics);
            if asked_to_end {
                RunEnd::Terminated
            } else {
                end
            }
        }
        None => failed(diagnostics),
    }
}

fn failed(diagnostics: &Diagnostics) -> RunEnd {
    diagnostics.plain("Pass 5: run failed.");
    RunEnd::Failed
}

fn program(runtime: Runtime) -> PathBuf {
    env::var_os(runtime.variable())
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| siblings::find(runtime.program()))
        // Where it is nowhere, the attempt to run it says so under its plain name.
        .unwrap_or_else(|| runtime.program().into())
}

enum Waited {
    Ended {
        status: Option<ExitStatus>,
        asked_to_end: bool,
    },
    GivenUp,
}

/// Waits for the end of `staprun`, which ends a run when it is told to by a signal.
///
/// Ctrl-C reaches `staprun` by itself, since it is in our process group; a signal for us alone does
/// not. The two cannot be told apart, so an interrupt is passed on only when `staprun` has not ended
/// within [`GRACE`]; for the real one a second signal changes nothing.
async fn wait(child: &mut Child, signals: &mut Signals) -> Waited {
    let mut received = 0;
    let mut asked_to_end = false;
    let mut pass_on_at = None;
    loop {
        tokio::select! {
            biased;
            status = child.wait() => {
                return Waited::Ended { status: status.ok(), asked_to_end };
            }
            interruption = signals.next() => {
                if interruption == Interruption::Hangup {
                    send(child, Signal::HUP);
                    continue;
                }
                received += 1;
                if received >= PATIENCE {
                    return Waited::GivenUp;
                }
                if interruption == Interruption::Terminate {
                    asked_to_end = true;
                    send(child, Signal::TERM);
                } else {
                    pass_on_at.get_or_insert_with(|| time::Instant::now() + GRACE);
                }
            }
            () = passed(pass_on_at) => {
                pass_on_at = None;
                send(child, Signal::TERM);
            }
        }
    }
}

async fn passed(at: Option<time::Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // The child is not reaped yet, so the number is still its own; that it has just ended by
        // itself is what was wanted.
        kill_process(pid, signal).unwrap_or(());
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status: {code}"),
        (None, Some(signal)) => format!("exited with signal: {signal} ({})", signal_name(signal)),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// The names that `strsignal` has for the signals that end programs.
const fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        11 => "Segmentation fault",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        _ => "Unknown signal",
    }
}

fn shown(program: &Path, arguments: &[OsString]) -> String {
    let words = std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsStr::new));
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// How long `staprun` has to end after a Ctrl-C that it may have got itself.
const GRACE: Duration = Duration::from_millis(500);

/// The interrupt that ends the wait.
const PATIENCE: u32 = 3;

#[cfg(test)]
mod tests;
