//! The kinds of scripts that are compiled. Each holds a constant, so that no module comes from a
//! cache. Scripts that stap builds more than one module for, to find out about tracepoints, are left
//! out: what that costs has nothing to do with the service.

/// A name, and a script in which `@` is the constant.
type Kind = (&'static str, &'static str);

/// The one whose parts are shown.
pub(crate) const HELLO: Kind = (
    "hello",
    "probe begin { printf(\"Hello World! %d\\n\", @) exit() }",
);

/// All others.
pub(crate) const OTHERS: &[Kind] = &[
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
];

/// A script that was never compiled before.
pub(crate) fn script((_, text): Kind, constant: u64) -> String {
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
    script
}
