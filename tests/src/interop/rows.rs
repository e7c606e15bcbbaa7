//! The command lines that are tried with every pair, as a person would type them.

/// One command line.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is about; unique.
    pub name: &'static str,
    /// What stap is given behind the kernel's release.
    pub arguments: &'static [&'static str],
    /// What it reads on stdin.
    pub input: &'static str,
    /// What is set besides the usual variables.
    pub environment: &'static [(&'static str, &'static str)],
    /// How much of the answer is compared.
    pub compared: Compared,
    /// Whether it is also tried where only the user differs.
    pub everywhere: bool,
}

/// How much of an answer is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// All of it.
    Whole,
    /// The lines of the passes: between them a verbose stap tells how it works and where.
    Passes,
}

impl Row {
    const fn reads(mut self, input: &'static str) -> Self {
        self.input = input;
        self
    }

    const fn with(mut self, environment: &'static [(&'static str, &'static str)]) -> Self {
        self.environment = environment;
        self
    }

    const fn by_passes(mut self) -> Self {
        self.compared = Compared::Passes;
        self
    }

    const fn everywhere(mut self) -> Self {
        self.everywhere = true;
        self
    }
}

const fn row(name: &'static str, arguments: &'static [&'static str]) -> Row {
    Row {
        name,
        arguments,
        input: "",
        environment: &[],
        compared: Compared::Whole,
        everywhere: false,
    }
}

/// Where [`FILES`] are, for everybody to read.
pub const FOLDER: &str = "/home/matrix";

/// Scripts and tapsets.
pub const FILES: &[(&str, &str)] = &[
    ("hello.stp", HELLO),
    ("broken.stp", "probe begin {\n  println(\"hello\"\n}\n"),
    ("arguments.stp", ARGUMENTS),
    (
        "tapset/greeting.stp",
        "function greeting() { return \"good day\" }\n",
    ),
    (
        "tapset/parting.stp",
        "function parting() { return \"good bye\" }\n",
    ),
    ("broken-tapset/bad.stp", "function bad( { }\n"),
];

/// How many files the tapset `many` has: more than a stock server's default size allows.
pub const MANY: usize = 20;

const HELLO: &str = "probe begin { println(\"hello\") exit() }\n";
const INLINE: &str = "probe begin { printf(\"Hello World!\\n\"); exit() }";
const ARGUMENTS: &str = "probe begin { println(@1, $2) exit() }\n";
const TAPSET: &str = "probe begin { println(greeting(), parting()) exit() }";
const UNUSED: &str = "global unused probe begin { x = 1 exit() }";
const NOT_C: &str = "function f() %{ this is not C %} probe begin { f() }";
const GURU: &str = "function f() %{ STAP_PRINTF(\"C\"); %} probe begin { f() exit() }";

/// All of them.
pub const ROWS: &[Row] = &[
    row("pass 1", &["-p1", "-e", INLINE]).everywhere(),
    row("pass 2", &["-p2", "-e", INLINE]),
    row("pass 3", &["-p3", "-e", INLINE]),
    row(
        "pass 4, -o and -x",
        &["-o", "/home/matrix/out", "-x", "99999", "-p4", "-e", INLINE],
    ),
    row(
        "a named module, -v",
        &["-v", "-p4", "-m", "answer", "-e", INLINE],
    )
    .everywhere(),
    row("no pass named", &["-e", INLINE]),
    row("a script file", &["-p2", "/home/matrix/hello.stp"]).everywhere(),
    row("a script on stdin", &["-p2", "-"])
        .reads(HELLO)
        .everywhere(),
    row("a list", &["-l", "begin"]),
    row("a list with variables", &["-L", "procfs(\"x\").read"]),
    row("a list of nothing", &["-l", "nosuch.point"]),
    row("a list of aliases", &["--dump-probe-aliases"]),
    row(
        "a tapset",
        &["-p2", "-I", "/home/matrix/tapset", "-e", TAPSET],
    )
    .everywhere(),
    row(
        "a tapset of many files",
        &[
            "-p2",
            "-I",
            "/home/matrix/many",
            "-e",
            "probe begin { println(many17()) exit() }",
        ],
    ),
    row(
        "a tapset that does not exist",
        &["-p2", "-I", "/home/matrix/none", "-e", INLINE],
    ),
    row(
        "a broken tapset",
        &[
            "-p2",
            "-I",
            "/home/matrix/broken-tapset",
            "-e",
            "probe begin { bad() }",
        ],
    ),
    row(
        "script arguments",
        &["-p2", "-e", ARGUMENTS, "two words", "42"],
    )
    .everywhere(),
    row(
        "arguments for a file",
        &[
            "-p1",
            "/home/matrix/arguments.stp",
            "a;b $(c) 'd' \"e\" *",
            "7",
        ],
    ),
    row(
        "an argument like an option",
        &[
            "-p1",
            "-e",
            "probe begin { println(@1, @2) }",
            "--",
            "-v",
            "",
        ],
    ),
    row("an argument too few", &["-p2", "-e", ARGUMENTS, "one"]),
    row("-k", &["-k", "-p2", "-e", INLINE]),
    row("-v", &["-v", "-p2", "-e", INLINE]),
    row("-vv", &["-vv", "-p2", "-e", INLINE]).by_passes(),
    row("--vp", &["--vp", "01", "-p2", "-e", INLINE]),
    row("--privilege", &["--privilege=stapusr", "-p2", "-e", INLINE]),
    row(
        "--privilege and guru",
        &["--privilege=stapusr", "-g", "-p2", "-e", INLINE],
    ),
    row(
        "--privilege and -D",
        &["--privilege=stapusr", "-DX=1", "-p2", "-e", INLINE],
    ),
    row(
        "--privilege of nobody",
        &["--privilege=nobody", "-p2", "-e", INLINE],
    ),
    row("a locale", &["-p1", "-e", "probe begin { x = }"]).with(&[("LANG", "C.UTF-8")]),
    row(
        "a locale that is not there",
        &["-p1", "-e", "probe begin { x = }"],
    )
    .with(&[("LC_ALL", "fr_FR.UTF-8")]),
    row("a bad locale", &["-p1", "-e", INLINE]).with(&[("LANG", "$(id)")]),
    row("an error in pass 1", &["-p4", "-e", "probe begin { x = }"]).everywhere(),
    row("an error in a file", &["-p4", "/home/matrix/broken.stp"]),
    row(
        "an error in pass 2",
        &["-p4", "-e", "probe nosuch.point { }"],
    )
    .everywhere(),
    row(
        "a wrong type",
        &["-p2", "-e", "probe begin { x = 1 x = \"s\" }"],
    ),
    row(
        "an unknown function",
        &["-p2", "-e", "probe begin { nosuch() }"],
    ),
    row(
        "an error in pass 3",
        &["-p4", "-e", "probe begin { break }"],
    ),
    row("an error in pass 4", &["-p4", "-g", "-e", NOT_C]),
    row("warnings", &["-p2", "-e", UNUSED]),
    row("-w", &["-w", "-p2", "-e", UNUSED]),
    row("-W", &["-W", "-p2", "-e", UNUSED]),
    row("-D", &["-DMAXACTION=7", "-p3", "-e", INLINE]),
    row("-D in vain", &["-D", "1=2", "-p1", "-e", INLINE]),
    row("-g", &["-g", "-p3", "-e", GURU]),
    row("embedded C without -g", &["-p2", "-e", GURU]),
    row("-t", &["-t", "-p3", "-e", INLINE]),
    row(
        "options of the run",
        &[
            "-s8", "-b", "-F", "-S", "1,2", "-T", "3", "-p3", "-e", INLINE,
        ],
    ),
    row(
        "options of the translator",
        &[
            "--skip-badvars",
            "--compatible=3.0",
            "-P",
            "-p2",
            "-e",
            INLINE,
        ],
    ),
    row("-s in vain", &["-s", "0", "-p1", "-e", INLINE]),
    row("-u", &["-u", "-p2", "-e", UNUSED]),
    row("-d", &["-d", "/bin/ls", "-p2", "-e", INLINE]),
    row(
        "-E",
        &["-E", "probe end { println(\"bye\") }", "-p2", "-e", INLINE],
    ),
    row("-x of process 1", &["-x", "1", "-p3", "-e", INLINE]),
    row("-c", &["-c", "/bin/true", "-p2", "-e", INLINE]),
    row(
        "-c and -x",
        &["-c", "/bin/true", "-x", "1", "-p2", "-e", INLINE],
    ),
    row("no script", &["-p4"]),
    row("a missing script", &["-p4", "/home/matrix/nosuch.stp"]),
    row("two scripts", &["-p1", "-e", INLINE, "-e", INLINE]),
    row("an unknown option", &["--no-such", "-p1", "-e", INLINE]),
    row("an unknown letter", &["-Z", "-p1", "-e", INLINE]),
    row("a pass that does not exist", &["-p9", "-e", INLINE]),
    row("a bad module name", &["-p4", "-m", "no/such", "-e", INLINE]),
    row(
        "a kernel that is not there",
        &["-r", "1.2.3-none", "-p2", "-e", INLINE],
    ),
    row("-q", &["-q", "-p2", "-e", INLINE]),
    row("-B", &["-B", "CONFIG_X=y", "-p2", "-e", INLINE]),
    row("--ldd", &["--ldd", "-p2", "-e", INLINE]),
    row("--all-modules", &["--all-modules", "-p2", "-e", INLINE]),
    row("--rlimit-cpu", &["--rlimit-cpu=100", "-p2", "-e", INLINE]),
    row("--disable-cache", &["--disable-cache", "-p2", "-e", INLINE]),
    row(
        "-G",
        &[
            "-G",
            "x=2",
            "-p2",
            "-e",
            "global x = 1 probe begin { println(x) exit() }",
        ],
    ),
];
