//! Attacks that use more than their share. Each has a number that bounds it where nothing else does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::calls::{call, end, fork};
use crate::{Attempt, number, stopped};

pub(crate) fn attack(arguments: &[&str]) -> Option<Attempt> {
    Some(match arguments {
        ["take-time", milliseconds] => take_time(milliseconds),
        ["use-cpu", milliseconds] => use_cpu(milliseconds),
        ["use-cpu-by-many", count, milliseconds] => {
            by_many(count, || use_cpu(milliseconds), InTurn::Yes)
        }
        ["eat", mebibytes] => eat(mebibytes),
        ["eat-by-many", count, mebibytes] => by_many(count, || eat_and_wait(mebibytes), InTurn::No),
        ["threads", count] => threads(count),
        ["grow", generations] => grow(generations),
        ["keep", path, mebibytes] => keep(path, mebibytes),
        ["keep-many-files", directory, count] => keep_many(directory, count),
        ["flood", stream, kibibytes] => flood(stream, kibibytes),
        ["results", directory, count, kibibytes] => results(directory, count, kibibytes),
        ["core-limit"] => core_limit(),
        ["outlast-the-host"] => outlast_the_host(),
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InTurn {
    Yes,
    No,
}

fn take_time(milliseconds: &str) -> Attempt {
    let end = Instant::now() + Duration::from_millis(number(milliseconds)? as u64);
    while Instant::now() < end {
        std::thread::park_timeout(end - Instant::now());
    }
    Ok(format!("{milliseconds} ms"))
}

fn use_cpu(milliseconds: &str) -> Attempt {
    let most = Duration::from_millis(number(milliseconds)? as u64);
    while used()? < most {
        std::hint::spin_loop();
    }
    Ok(format!("{milliseconds} ms of processor time"))
}

fn used() -> io::Result<Duration> {
    let mut time = [0_u64; 2];
    let at = time.as_mut_ptr().expose_provenance();
    call(libc::SYS_clock_gettime, &[OWN_TIME, at])?;
    Ok(Duration::from_secs(time[0]) + Duration::from_nanos(time[1]))
}

/// Lets children do it, each of them within what one process may.
fn by_many(count: &str, work: impl Fn() -> Attempt, in_turn: InTurn) -> Attempt {
    let mut children = Vec::new();
    for _ in 0..number(count)? {
        let child = fork()?;
        if child == 0 {
            match work() {
                Ok(_) => end(),
                Err(_) => std::process::abort(),
            }
        }
        children.push(usize::try_from(child).map_err(io::Error::other)?);
        if in_turn == InTurn::Yes {
            children.drain(..).try_for_each(ended_well)?;
        }
    }
    children.into_iter().try_for_each(ended_well)?;
    Ok(format!("{count} processes did it"))
}

fn ended_well(child: usize) -> io::Result<()> {
    let mut status = [0_i32; 1];
    let at = status.as_mut_ptr().expose_provenance();
    call(libc::SYS_wait4, &[child, at, 0, 0])?;
    if status == [0] {
        Ok(())
    } else {
        stopped(format!("a child ended with {}", status[0]))
    }
}

/// Takes memory and writes to all of it.
fn eat(mebibytes: &str) -> Attempt {
    let bytes = number(mebibytes)? << 20;
    let mut eaten: Vec<u8> = Vec::new();
    eaten.try_reserve_exact(bytes).map_err(io::Error::other)?;
    eaten.resize(bytes, 1);
    std::hint::black_box(&eaten);
    Ok(format!("{mebibytes} MiB"))
}

/// Holds it long enough for the others to have theirs.
fn eat_and_wait(mebibytes: &str) -> Attempt {
    let bytes = vec![1_u8; number(mebibytes)? << 20];
    take_time("300")?;
    std::hint::black_box(&bytes);
    Ok(String::new())
}

fn threads(count: &str) -> Attempt {
    let count = number(count)?;
    let mut held = Vec::new();
    for made in 0..count {
        let builder = std::thread::Builder::new().stack_size(64 << 10);
        match builder.spawn(std::thread::park) {
            Ok(thread) => held.push(thread),
            Err(cause) => return stopped(format!("after {made}: {cause}")),
        }
    }
    for thread in held {
        thread.thread().unpark();
    }
    Ok(format!("{count} threads"))
}

/// Every process makes another, then both go on: two to the power of the generations in the end, if
/// nothing keeps them.
fn grow(generations: &str) -> Attempt {
    let generations = number(generations)?;
    let (mut counted, mut counting) = io::pipe()?;
    let mut is_child = false;
    for _ in 0..generations {
        match fork() {
            Ok(0) => is_child = true,
            Ok(_) => {}
            Err(_full) => break,
        }
    }
    counting.write_all(b"1")?;
    drop(counting);
    if is_child {
        take_time("200")?;
        end()
    }
    let mut processes = Vec::new();
    counted.read_to_end(&mut processes)?;
    let (made, wanted) = (processes.len(), 1 << generations);
    if made < wanted {
        return stopped(format!("{made} instead of {wanted} processes"));
    }
    Ok(format!("{made} processes"))
}

/// Fills a file and leaves it.
fn keep(path: &str, mebibytes: &str) -> Attempt {
    let mut file = File::create(path)?;
    for _ in 0..number(mebibytes)? {
        file.write_all(&[7; 1 << 20])?;
    }
    Ok(format!("{mebibytes} MiB"))
}

fn keep_many(directory: &str, count: &str) -> Attempt {
    for at in 0..number(count)? {
        fs::write(format!("{directory}/many-{at}"), "")?;
    }
    Ok(format!("{count} files"))
}

fn flood(stream: &str, kibibytes: &str) -> Attempt {
    let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
    let mut stream: Box<dyn Write> = match stream {
        "stdout" => Box::new(io::stdout()),
        _ => Box::new(io::stderr()),
    };
    for _ in 0..number(kibibytes)? {
        stream.write_all(&line)?;
    }
    Ok(format!("{kibibytes} KiB"))
}

/// Leaves as many results of one size.
fn results(directory: &str, count: &str, kibibytes: &str) -> Attempt {
    let content = vec![b'x'; number(kibibytes)? << 10];
    for at in 0..number(count)? {
        fs::write(format!("{directory}/result{at}.bo"), &content)?;
    }
    Ok(format!("{count} results"))
}

/// A crash makes the kernel write a core, or start a program of root's with it. Only a limit of one
/// byte means that it does neither; see `core(5)`.
fn core_limit() -> Attempt {
    match getrlimit(Resource::Core).current {
        Some(1) => stopped("of 1 byte"),
        Some(limit) => Ok(format!("of {limit} bytes")),
        None => Ok("of none".to_owned()),
    }
}

/// Lets others be ended first when the host runs out of memory; see `proc_pid_oom_score_adj(5)`.
fn outlast_the_host() -> Attempt {
    let score = "/proc/self/oom_score_adj";
    let lowered = fs::write(score, "0");
    match fs::read_to_string(score)?.trim() {
        "1000" => stopped(format!("the first to go, and {lowered:?}")),
        score => Ok(format!("a score of {score}")),
    }
}

/// `CLOCK_PROCESS_CPUTIME_ID`.
const OWN_TIME: usize = 2;
