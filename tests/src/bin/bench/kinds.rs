//! The kinds of scripts that are compiled. Each holds a constant, so that no module comes from a
//! cache. For some, stap has to know the kernel's tracepoints, which it finds out with modules of their own, once.

use std::ffi::OsString;
use std::path::Path;

use stap_tests::lab::User;

/// A name, and a script in which `@` is the constant.
pub(crate) type Kind = (&'static str, &'static str);

/// A script, ready to be compiled.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    text: String,
    has_tapset: bool,
}

/// The one whose parts are shown.
pub(crate) const HELLO: Kind = KINDS[0];

/// All.
pub(crate) const KINDS: &[Kind] = &[
    (
        "hello",
        "probe begin { printf(\"Hello World! %d\\n\", @) exit() }",
    ),
    (
        "timer",
        "global n = @ probe timer.ms(100) { if (++n % 3 == 0) exit() } probe end { println(n) }",
    ),
    (
        "histogram",
        "global s probe timer.profile { s <<< cpu() + @ } probe end { print(@hist_log(s)) }",
    ),
    (
        "strings",
        "function twist(s:string) { return substr(s, 1, 3) . sprintf(\"%s-%5d\", s, @) } \
         probe begin { println(twist(tokenize(\"a,b,c\", \",\")), str_replace(\"aaa\", \"a\", \"b\")) exit() }",
    ),
    (
        "regex",
        "probe begin { if (\"abc\" =~ \"a(b|c)*\") println(matched(0), @) exit() }",
    ),
    (
        "procfs",
        "global v = @ probe procfs(\"x\").read { $value = sprint(v) } \
         probe procfs(\"x\").write { v = strtol($value, 10) }",
    ),
    (
        "process",
        "probe process(\"/bin/ls\").begin, process(\"/bin/ls\").end { println(pid(), @) }",
    ),
    (
        "system calls of a process",
        "probe process(\"/bin/ls\").syscall { println(pid(), $syscall, @) }",
    ),
    (
        "latencies",
        "global t, s probe timer.profile { t[tid(), execname()] = gettimeofday_us() + @ } \
         probe timer.ms(100) { foreach ([id, name] in t) s[name] <<< gettimeofday_us() - t[id, name] } \
         probe end { foreach (name in s+) println(name, @count(s[name]), @avg(s[name])) }",
    ),
    (
        "try and catch",
        "probe begin { try { println(@ / strtol(\"0\", 10)) } catch (m) { warn(m) } exit() }",
    ),
    (
        "backtrace",
        "probe timer.profile { print_backtrace() println(@) exit() }",
    ),
    (
        "times of day",
        "probe timer.s(1) { println(ctime(gettimeofday_s() + @), tz_ctime(@)) exit() }",
    ),
    (TAPSET, "probe begin { println(bench_tapset(@)) exit() }"),
    (
        "mark in a library",
        "probe process(\"/usr/lib/*/libc.so.6\").mark(\"memory_heap_new\") { println(pid(), $arg2, @) }",
    ),
    (
        "tracepoint",
        "global n probe kernel.trace(\"sched_switch\") { n <<< @ } probe end { println(@count(n)) }",
    ),
    (
        "system calls",
        "probe syscall.openat, syscall.close { println(name, argstr, @) }",
    ),
];

/// The kind that has a tapset of the user's own.
const TAPSET: &str = "a tapset of one's own";

/// A script that was never compiled before.
pub(crate) fn script((name, text): Kind, constant: u64) -> Script {
    // Statistics have operators that begin with the same character.
    let mut script = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('@') {
        let (before, at) = rest.split_at(position);
        script.push_str(before);
        rest = &at[1..];
        if rest.starts_with(|next: char| next.is_ascii_lowercase()) {
            script.push('@');
        } else {
            script.push_str(&constant.to_string());
        }
    }
    script.push_str(rest);
    Script {
        text: script,
        has_tapset: name == TAPSET,
    }
}

impl Script {
    /// For stap, or for a client, of a user for whom [`write_tapset`] was called.
    pub(crate) fn arguments(&self, home: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["-e".into(), self.text.clone().into()];
        if self.has_tapset {
            arguments.extend(["-I".into(), home.join(PLACE).into_os_string()]);
        }
        arguments
    }

    /// The same as one word of a request.
    pub(crate) fn word(&self) -> Vec<u8> {
        format!("-e{}", self.text).into_bytes()
    }
}

/// Makes a user's own tapset.
pub(crate) fn write_tapset(user: User) {
    let functions = (0..FUNCTIONS)
        .map(|number| format!("function bench_tapset_{number}(n) {{ return n + {number} }}\n"));
    let entrance = format!(
        "function bench_tapset(n) {{ return bench_tapset_{}(n) }}\n",
        FUNCTIONS - 1
    );
    let text = functions.chain([entrance]).collect::<String>();
    user.write(Path::new(PLACE).join("bench.stp"), text);
}

/// Below the user's home.
const PLACE: &str = "tapset";
const FUNCTIONS: usize = 50;
