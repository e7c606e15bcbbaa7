//! The kinds of scripts.

/// A name for the module, and the script.
pub(crate) type Script = (&'static str, &'static str);

/// Without guru mode.
pub(crate) const PLAIN: &[Script] = &[
    ("hello", "probe begin { println(\"hello\") exit() }"),
    // A name that occurs in every word.
    (
        "o",
        "global s probe timer.profile { s <<< cpu() } \
         probe end { print(@hist_log(s)) println(@variance(s)) }",
    ),
    (
        "timers",
        "global n probe timer.ms(7), timer.jiffies(3) { n++ } probe timer.s(1) { println(n) exit() }",
    ),
    (
        "strings",
        "function twist(s:string) { return substr(s, 1, 3) . sprintf(\"%s-%5d\", s, strlen(s)) } \
         probe begin { println(twist(tokenize(\"a,b,c\", \",\")), str_replace(\"aaa\", \"a\", \"b\")) exit() }",
    ),
    (
        "regex",
        "probe begin { if (\"abc\" =~ \"a(b|c)*\") println(matched(0)) exit() }",
    ),
    (
        "procfs",
        "global v probe procfs(\"x\").read { $value = v } probe procfs(\"x\").write { v = $value }",
    ),
    (
        "process",
        "probe process(\"/bin/ls\").begin, process(\"/bin/ls\").end { println(pid(), execname()) }",
    ),
    (
        "syscalls",
        "probe process(\"/bin/ls\").syscall { println(pid(), $syscall) }",
    ),
    (
        "latency",
        "global t, s probe timer.profile { t[tid(), execname()] = gettimeofday_us() } \
         probe timer.ms(100) { foreach ([id, name] in t) s[name] <<< gettimeofday_us() - t[id, name] } \
         probe end { foreach (name in s+) println(name, @count(s[name]), @avg(s[name]), @max(s[name])) }",
    ),
    (
        "trycatch",
        "probe begin { try { println(1 / strtol(\"0\", 10)) } catch (m) { warn(m) } exit() }",
    ),
    (
        "backtrace",
        "probe timer.profile { print_backtrace() print_ubacktrace() exit() }",
    ),
    (
        "dates",
        "probe timer.s(1) { println(ctime(gettimeofday_s()), tz_ctime(0)) exit() }",
    ),
    (
        "mark",
        "probe process(\"/usr/lib/*/libc.so.6\").mark(\"memory_heap_new\") { println(pid(), $arg2) }",
    ),
    // One with an object of its own for the header of its tracepoint, and one with two.
    (
        "tracepoint",
        "probe kernel.trace(\"sched_switch\") { println(pid(), $next->pid) exit() }",
    ),
    (
        "tracepoints",
        "probe kernel.trace(\"sched_process_fork\"), kernel.trace(\"sys_enter\") { println(pid()) exit() }",
    ),
    (
        "syscall",
        "probe syscall.openat, syscall.close { println(name, argstr) }",
    ),
];

/// With it.
pub(crate) const GURU: &[Script] = &[
    ("hello", "probe begin { println(\"hello\") exit() }"),
    (
        "embedded",
        "%{ #include <linux/utsname.h> %} \
         function release:string() %{ /* pure */ strscpy(STAP_RETVALUE, utsname()->release, MAXSTRINGLEN); %} \
         probe begin { println(release()) exit() }",
    ),
];
