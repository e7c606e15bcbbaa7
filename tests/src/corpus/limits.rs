//! What a job may use: each limit of the policy, with the report that names it and its value.
//!
//! The control is the same attack under a policy that allows more: there it works, so it is the
//! limit and nothing else that stops it.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use stap_protocol::reply::Parts as Reply;

use super::service::{Service, said};
use super::{Case, Control, Family, Field, Goal, Guard, Held, Verdict, marked};

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let rows = ROWS.iter().map(Row::case);
    rows.chain(read_back()).collect()
}

/// One attack on one limit.
struct Row {
    name: &'static str,
    of: &'static str,
    order: &'static str,
    /// The limit, as the policy spells it, and the value that the report must name.
    limit: (&'static str, &'static str),
    policy: Policy,
    /// What stops it where no control group counts the whole tree; `None` when nothing does.
    without_groups: Option<&'static str>,
    lesson: &'static str,
}

/// A policy with small limits.
#[derive(Clone, Copy)]
enum Policy {
    Tight,
    /// Little memory, and time enough: a group that is full spends much of it looking for pages to free.
    Lean,
    /// Little time.
    Hurried,
    /// Small files in a large workspace, and time enough to write one.
    Short,
    /// Small limits of output, beyond which it is cut.
    Cutting,
}

impl Policy {
    fn serve(self, field: &Field) -> anyhow::Result<Rc<Service>> {
        let one = ["--max-threads=1"];
        match self {
            Self::Tight => field.serve("tight", &TIGHT, &one),
            Self::Lean => field.serve("lean", &LEAN, &one),
            Self::Hurried => field.serve("hurried", &HURRIED, &one),
            Self::Short => field.serve("short", &SHORT, &one),
            Self::Cutting => field.serve("cutting", &CUTTING, &one),
        }
    }
}

const TIGHT: [(&str, &str); 13] = [
    ("cpu", "\"1 s\""),
    ("memory", "\"64 MiB\""),
    ("processes", "24"),
    ("cpu-percent", "75"),
    ("workspace", "\"4 MiB\""),
    ("workspace-files", "300"),
    ("file", "\"8 MiB\""),
    ("open-files", "64"),
    ("stdout", "\"64 KiB\""),
    ("stderr", "\"64 KiB\""),
    ("on-flood", "\"kill\""),
    ("results", "2"),
    ("result-bytes", "\"256 KiB\""),
];
const LEAN: [(&str, &str); 2] = [("memory", "\"64 MiB\""), ("processes", "24")];
const HURRIED: [(&str, &str); 2] = [("wall", "\"1 s\""), ("processes", "64")];
const SHORT: [(&str, &str); 1] = [("file", "\"1 MiB\"")];
const CUTTING: [(&str, &str); 3] = [
    ("stdout", "\"64 KiB\""),
    ("stderr", "\"64 KiB\""),
    ("on-flood", "\"truncate\""),
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("take-long", "the time of a slot", "take-time 2500", ("wall", "1 s"), Policy::Hurried)
        .also(LIMIT).lesson("stap-serverd has no wall-clock limit anywhere"),
    row("use-the-processor", "processor time", "use-cpu 1800", ("cpu", "1 s"), Policy::Tight)
        .also(LIMIT),
    row("use-the-processor-by-many", "processor time, in many processes", "use-cpu-by-many 5 400", ("cpu", "1 s"), Policy::Tight),
    row("eat-memory", "memory", "eat 400", ("memory", "64 MiB"), Policy::Tight)
        .also("memory allocation failed").lesson("PR29661"),
    row("eat-memory-by-many", "memory, in many processes", "eat-by-many 8 24", ("memory", "64 MiB"), Policy::Lean),
    row("start-processes", "processes", "forks 60", ("processes", "24"), Policy::Tight)
        .also("Resource temporarily unavailable").lesson("PR16276"),
    row("start-threads", "threads", "threads 60", ("processes", "24"), Policy::Tight)
        .also("Resource temporarily unavailable"),
    row("bomb-with-forks", "processes", "grow 6", ("processes", "24"), Policy::Tight)
        .also("64 processes").lesson("compiler-explorer#429"),
    row("fill-the-workspace", "space", "keep planted 6", ("workspace", "4 MiB"), Policy::Tight)
        .also(LIMIT).lesson("PR11197"),
    row("fill-tmp", "space, in /tmp", "keep /tmp/planted 6", ("workspace", "4 MiB"), Policy::Tight)
        .also(LIMIT).lesson("/tmp of the host filled by jobs of a stock server"),
    row("fill-the-workspace-with-files", "inodes", "keep-many-files . 400", ("workspace-files", "300"), Policy::Tight)
        .also(LIMIT),
    row("flood-stdout", "output", "flood stdout 128", ("stdout", "64 KiB"), Policy::Tight).also(LIMIT),
    row("flood-stderr", "output", "flood stderr 128", ("stderr", "64 KiB"), Policy::Tight).also(LIMIT),
    row("flood-stdout-fast", "the server's memory, by output", "flood stdout 200000", ("stdout", "64 KiB"), Policy::Tight)
        .also(LIMIT),
    row("leave-many-results", "results", "results {results} 4 1", ("results", "2"), Policy::Tight).also(LIMIT),
    row("leave-large-results", "bytes of results", "results {results} 1 512", ("result-bytes", "256 KiB"), Policy::Tight)
        .also(LIMIT),
    row("write-a-large-file", "space, in one file", "keep planted 3", ("file", "1 MiB"), Policy::Short).also(LIMIT),
];

/// The report names the limit whether there are groups or not.
const LIMIT: &str = "limit '";

const fn row(
    name: &'static str,
    of: &'static str,
    order: &'static str,
    limit: (&'static str, &'static str),
    policy: Policy,
) -> Row {
    Row {
        name,
        of,
        order,
        limit,
        policy,
        without_groups: None,
        lesson: "",
    }
}

impl Row {
    /// What says so on a host without control groups.
    const fn also(mut self, says: &'static str) -> Self {
        self.without_groups = Some(says);
        self
    }

    const fn lesson(mut self, lesson: &'static str) -> Self {
        self.lesson = lesson;
        self
    }

    fn case(&'static self) -> Case {
        let (limit, value) = self.limit;
        let says: &'static str = format!("limit '{limit}' of {value}").leak();
        let covers: &'static str = format!("limit:{limit}").leak();
        let mut guards = vec![held(Guard::Limit(limit), says)];
        if let Some(says) = self.without_groups.filter(|says| *says != LIMIT) {
            guards.push(held(Guard::Limit(limit), says));
        }
        Case {
            name: self.name,
            family: Family::Limits,
            goal: Goal::Exhaust(self.of),
            lesson: self.lesson,
            guards,
            covers: vec![covers],
            attempt: Box::new(|field| self.attempt(field, says)),
            control: Box::new(|field| self.control(field)),
        }
    }

    fn attempt(&self, field: &Field, says: &str) -> anyhow::Result<Verdict> {
        let service = self.policy.serve(field)?;
        let grouped = service.enforces("cgroup");
        if !grouped && self.without_groups.is_none() {
            let why =
                "without a control group each process is bounded, and not the tree".to_owned();
            return Ok(Verdict::Inapplicable { why });
        }
        let verdict = limited(&service.run(&field.filled(self.order)?)?)?;
        let told = |words: &str| matches!(&verdict, Verdict::Contained { reason } if reason.contains(words));
        // With groups every report must name the limit; whenever it does, a class that allows more.
        if grouped || told(LIMIT) {
            for words in [says, " allows "] {
                anyhow::ensure!(told(words), "the report lacks {words:?}: {verdict:?}");
            }
        }
        Ok(verdict)
    }

    fn control(&self, field: &Field) -> anyhow::Result<Control> {
        let roomy = field.serve("roomy", &ROOMY, &["--max-threads=1"])?;
        let reply = roomy.run(&field.filled(self.order)?)?;
        let how = "under a policy that allows more".to_owned();
        // What an attack says of itself may have been cut; and more results than clients could choose from have all come
        // through.
        let says = String::from_utf8_lossy(&reply.stderr);
        if reply.rc == 0 || says.contains("there is more than one module") {
            return Ok(Control::Succeeded { how });
        }
        let verdict = limited(&reply)?;
        Ok(Control::Failed {
            why: format!("{how}: {verdict:?}"),
        })
    }
}

/// A policy that allows all of the attacks above.
const ROOMY: [(&str, &str); 5] = [
    ("wall", "\"120 s\""),
    ("memory", "\"1 GiB\""),
    ("stdout", "\"16 MiB\""),
    ("stderr", "\"16 MiB\""),
    ("on-flood", "\"truncate\""),
];

/// Where a limit was hit, that counts, whatever the attack says of itself.
fn limited(reply: &Reply) -> anyhow::Result<Verdict> {
    let stderr = String::from_utf8_lossy(&reply.stderr);
    let told = |line: &&str| line.contains("reached the limit '");
    if let Some(line) = stderr.lines().find(told) {
        return Ok(Verdict::Contained {
            reason: line.to_owned(),
        });
    }
    let end: String = stderr.lines().rev().take(3).collect::<Vec<_>>().join("\n");
    said(&String::from_utf8_lossy(&reply.stdout), &end)
}

fn held(by: Guard, says: &'static str) -> Held {
    Held {
        by,
        says,
        only: None,
    }
}

/// Limits that no single attack shows, read back from the kernel while a job runs, and what becomes
/// of output that is cut.
fn read_back() -> Vec<Case> {
    vec![
        Case {
            name: "swap",
            family: Family::Limits,
            goal: Goal::Exhaust("memory by way of swap"),
            lesson: "cgroups-rs reports success for limits that are not in force",
            guards: vec![
                held(Guard::Group, "67108864"),
                held(Guard::Group, "swap.max is 0"),
            ],
            covers: vec!["limit:memory", "item:swap"],
            attempt: Box::new(|field| in_force(field, &SWAP)),
            control: Box::new(|field| is_open_above(field, &SWAP)),
        },
        Case {
            name: "share-of-the-processors",
            family: Family::Limits,
            goal: Goal::Exhaust("both processors at once"),
            lesson: "",
            guards: vec![held(Guard::Group, "75000")],
            covers: vec!["limit:cpu-percent"],
            attempt: Box::new(|field| in_force(field, &SHARE)),
            control: Box::new(|field| is_open_above(field, &SHARE)),
        },
        Case {
            name: "open-many-files",
            family: Family::Limits,
            goal: Goal::Exhaust("descriptors"),
            lesson: "compiler-explorer#2569",
            guards: vec![held(Guard::Limit("open-files"), "Too many open files")],
            covers: vec!["limit:open-files"],
            attempt: Box::new(|field| {
                let service = Policy::Tight.serve(field)?;
                service.attack(&field.filled("open-files /dev/null 100")?)
            }),
            control: Box::new(|field| {
                let verdict = field
                    .service()?
                    .attack(&field.filled("open-files /dev/null 100")?)?;
                anyhow::ensure!(matches!(verdict, Verdict::Escaped { .. }), "{verdict:?}");
                Ok(Control::Succeeded {
                    how: "under a policy that allows more".to_owned(),
                })
            }),
        },
        Case {
            name: "flood-and-be-cut",
            family: Family::Limits,
            goal: Goal::Exhaust("the server's memory, by output"),
            lesson: "",
            guards: vec![held(Guard::Limit("stdout"), "the rest of stdout")],
            covers: vec!["limit:stdout", "limit:on-flood"],
            attempt: Box::new(|field| {
                let service = Policy::Cutting.serve(field)?;
                cut(&service.run(&field.filled("flood stdout 100000")?)?)
            }),
            control: Box::new(|field| {
                let roomy = field.serve("roomy", &ROOMY, &["--max-threads=1"])?;
                let verdict = cut(&roomy.run(&field.filled("flood stdout 128")?)?)?;
                anyhow::ensure!(matches!(verdict, Verdict::Escaped { .. }), "{verdict:?}");
                Ok(Control::Succeeded {
                    how: "under a policy that allows more".to_owned(),
                })
            }),
        },
    ]
}

/// Whether no more came than is kept.
fn cut(reply: &Reply) -> anyhow::Result<Verdict> {
    let stderr = String::from_utf8_lossy(&reply.stderr).into_owned();
    let note = stderr.lines().find(|line| line.contains("the rest of"));
    let size = reply.stdout.len();
    Ok(match note {
        Some(note) if size == 64 << 10 => Verdict::Contained {
            reason: note.to_owned(),
        },
        _ => Verdict::Escaped {
            how: format!("{size} bytes came, {stderr:?}"),
        },
    })
}

/// Files of a control group, of either version; the first that is there counts. With what they hold
/// where there is no limit.
type Files = [(&'static str, &'static str)];
const SWAP: [(&str, &str); 2] = [
    ("memory/memory.memsw.limit_in_bytes", "9223372036854771712"),
    ("memory.swap.max", "max"),
];
const SHARE: [(&str, &str); 2] = [("cpu/cpu.cfs_quota_us", "-1"), ("cpu.max", "max 100000")];

fn in_force(field: &Field, files: &Files) -> anyhow::Result<Verdict> {
    let service = Policy::Tight.serve(field)?;
    if !service.enforces("cgroup") {
        let why = "there is no control group".to_owned();
        return Ok(Verdict::Inapplicable { why });
    }
    let mark = marked::mark();
    let words = field.filled(&format!("linger {mark}"))?;
    let (found, _reply) = marked::meanwhile(&service, &words, &mark, 2, |processes| {
        let found = read(processes[0].pid, files);
        marked::end(&mark);
        found
    })?;
    Ok(match found {
        Some((file, value, open)) if value == open => Verdict::Escaped {
            how: format!("{file} is {value}"),
        },
        Some((file, value, _)) => Verdict::Contained {
            reason: format!("{file} is {value}"),
        },
        None => Verdict::Inapplicable {
            why: "this kernel does not account for it".to_owned(),
        },
    })
}

fn is_open_above(_field: &Field, files: &Files) -> anyhow::Result<Control> {
    let own = i32::try_from(std::process::id())?;
    Ok(match read(own, files)? {
        Some((file, value, open)) if value == open => Control::Succeeded {
            how: format!("in the group above, where {file} is {value}"),
        },
        Some((file, value, _)) => Control::Inapplicable {
            why: format!("the group above is limited, too: {file} is {value}"),
        },
        None => Control::Inapplicable {
            why: "the group above has no such file".to_owned(),
        },
    })
}

/// The first of the files that the group of a process has, its value, and what would be no limit.
fn read(pid: i32, files: &Files) -> anyhow::Result<Option<(String, String, String)>> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    for (name, open) in files {
        let (controller, file) = name.split_once('/').unwrap_or(("", name));
        let mut lines = groups.lines().filter_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            names
                .split(',')
                .any(|one| one == controller)
                .then_some(path)
        });
        // There is no such hierarchy where the unified one has all controllers.
        let Some(path) = lines.next() else { continue };
        let group: PathBuf = Path::new("/sys/fs/cgroup")
            .join(controller)
            .join(path.trim_start_matches('/'));
        if let Ok(value) = fs::read_to_string(group.join(file)) {
            return Ok(Some((
                (*file).to_owned(),
                value.trim().to_owned(),
                (*open).to_owned(),
            )));
        }
    }
    Ok(None)
}
