//! What a jail costs: beside no jail, beside bubblewrap, and without each of its layers.
#![expect(clippy::print_stdout, reason = "the measurements are the result")]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use stap_jail::layer::Layer;
use stap_jail::plan::{Identity, JailPlan, Place};
use stap_jail::report::{Event, JobEnd};

/// One way to run the program.
struct Way {
    name: String,
    how: How,
    costs: Vec<Cost>,
}

enum How {
    Bare,
    Bubblewrap,
    Jail(Box<JailPlan>),
}

/// Time on the wall, and that of the processors in all that was started and has ended.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    processor: Duration,
}

/// Runs each way so many times, by turns, so that all meet the same machine, and prints a table.
pub(crate) fn compare(plan: &JailPlan, times: usize) -> anyhow::Result<()> {
    let mut ways = ways(plan);
    for _ in 0..times {
        for way in &mut ways {
            let cost = cost_of(|| way.how.run(plan))?;
            way.costs.push(cost);
        }
    }
    let program = plan.command.program.as_path().display();
    println!("{program} {times} times each way, by turns\n");
    println!("| way | wall, least | wall, median | processor, least | processor, median |");
    println!("|---|---|---|---|---|");
    for way in ways {
        let (wall, processor) = (way.of(|cost| cost.wall), way.of(|cost| cost.processor));
        println!(
            "| {} | {} | {} | {} | {} |",
            way.name, wall.0, wall.1, processor.0, processor.1
        );
    }
    Ok(())
}

fn ways(plan: &JailPlan) -> Vec<Way> {
    let way = |name: &str, how| Way {
        name: name.to_owned(),
        how,
        costs: Vec::new(),
    };
    let mut ways = vec![way("fork and exec", How::Bare)];
    if Path::new(BUBBLEWRAP).exists() {
        ways.push(way(
            "`bwrap --unshare-all`, all else alike",
            How::Bubblewrap,
        ));
    } else {
        println!("SKIPPED: {BUBBLEWRAP} is missing; install bubblewrap to see it here\n");
    }
    ways.push(way("the jail", How::Jail(plan.clone().into())));
    for layer in Layer::ALL.into_iter().filter(|layer| plan.wants(*layer)) {
        if let Some((left_out, plan)) = without(plan, layer) {
            let names: Vec<_> = left_out.iter().map(|layer| format!("`{layer}`")).collect();
            let name = format!("the jail without {}", names.join(", "));
            ways.push(way(&name, How::Jail(plan.into())));
        }
    }
    ways.push(way(
        "its three processes, with `user` and `pid` only",
        How::Jail(bare(plan).into()),
    ));
    ways
}

/// The plan without a layer and those that rest on it; `None` where there is no job without it.
fn without(plan: &JailPlan, layer: Layer) -> Option<(Vec<Layer>, JailPlan)> {
    if layer == Layer::SlotUid {
        return None;
    }
    let gone = |other: &Layer| *other == layer || other.needs().contains(&layer);
    let mut plan = plan.clone();
    let left_out = plan.layers.iter().copied().filter(gone).collect();
    plan.layers.retain(|other| !gone(other));
    on_the_host(&mut plan);
    Some((left_out, plan))
}

/// What it costs to have a launcher and a first process at all. Without a pid namespace the launcher
/// would have to look for what its job leaves behind.
fn bare(plan: &JailPlan) -> JailPlan {
    let mut plan = plan.clone();
    let kept = [Layer::SlotUid, Layer::User, Layer::Pid];
    plan.layers.retain(|layer| kept.contains(layer));
    on_the_host(&mut plan);
    plan
}

/// Without a file system of its own the job has no workspace here.
fn on_the_host(plan: &mut JailPlan) {
    if !plan.wants(Layer::Mount) {
        plan.workspace.place = Place::Nowhere;
        plan.command.directory = "/".try_into().expect("the path is written out here");
    }
}

impl How {
    fn run(&self, plan: &JailPlan) -> anyhow::Result<()> {
        match self {
            Self::Bare => finished(&mut Command::new(plan.command.program.as_path())),
            Self::Bubblewrap => finished(&mut bubblewrap(plan)),
            Self::Jail(plan) => match crate::run(plan)?.0.last() {
                Some(Event::Ended {
                    end: JobEnd::Exited(0),
                    ..
                }) => Ok(()),
                other => bail!("the jail ended with {other:?}"),
            },
        }
    }
}

/// As near to the jail as its options come: the same user, the same directories, `/proc` and `/dev`
/// of its own, a workspace in memory.
fn bubblewrap(plan: &JailPlan) -> Command {
    let mut command = Command::new(BUBBLEWRAP);
    command.args([
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
    ]);
    for name in stap_jail::plan::VISIBLE {
        let path = format!("/{name}");
        match fs::read_link(&path) {
            Ok(target) => command.arg("--symlink").arg(target).arg(path),
            Err(_) if Path::new(&path).exists() => command.args(["--ro-bind", &path, &path]),
            Err(_) => &mut command,
        };
    }
    command.args([
        "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/work", "--tmpfs", "/tmp",
    ]);
    command.arg(plan.command.program.as_path());
    if let Identity::Slot { uid, gid } = plan.identity {
        command.uid(uid).gid(gid);
    }
    command
}

fn finished(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

fn cost_of(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Cost> {
    let (before, start) = (children()?, Instant::now());
    work()?;
    Ok(Cost {
        wall: start.elapsed(),
        processor: children()?.saturating_sub(before),
    })
}

fn children() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let both = usage.user_time() + usage.system_time();
    Ok(Duration::from_micros(both.num_microseconds().try_into()?))
}

impl Way {
    /// The least and the median of one kind of time, as a person reads them.
    fn of(&self, kind: impl Fn(&Cost) -> Duration) -> (String, String) {
        let mut all: Vec<_> = self.costs.iter().map(kind).collect();
        all.sort_unstable();
        let show = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        (show(all[0]), show(all[all.len() / 2]))
    }
}

const BUBBLEWRAP: &str = "/usr/bin/bwrap";
