//! The options of stap, from 4.8 to 5.6.
//!
//! One table serves all versions: names were only ever added. An abbreviation may be unambiguous for
//! an old stap and ambiguous here; refusing it is right, since its meaning changes with an upgrade.

/// Short options in stap's own notation: a colon behind those that take a value.
pub const SHORT: &str = "hVvtp:I:e:E:o:R:r:a:m:kgPc:x:D:bs:uqiwl:d:L:FS:B:J:jWG:T:";

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Never.
    None,
    /// Always, attached or as the next word.
    Required,
    /// Only attached, with `=`.
    Optional,
}

/// A long option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongOption {
    /// Its name without the dashes.
    pub name: &'static str,
    /// Whether it takes a value.
    pub arity: Arity,
}

/// Every long option, those included that no client may use: they are known, to be refused by name.
pub const LONG: &[LongOption] = &[
    none("all-modules"),
    none("benchmark-sdt"),
    required("benchmark-sdt-loops"),
    required("benchmark-sdt-threads"),
    none("bpf"),
    optional("build-as"),
    none("check-version"),
    none("clean-cache"),
    none("client-options"),
    optional("color"),
    optional("colour"),
    required("compatible"),
    none("debug"),
    none("disable-cache"),
    optional("download-debuginfo"),
    none("dump-functions"),
    none("dump-probe-aliases"),
    none("dump-probe-types"),
    none("dyninst"),
    none("example"),
    none("help"),
    none("interactive"),
    none("language-server"),
    none("ldd"),
    optional("list-servers"),
    required("modinfo"),
    optional("monitor"),
    none("no-global-var-display"),
    none("poison-cache"),
    required("privilege"),
    optional("prologue-searching"),
    required("remote"),
    none("remote-prefix"),
    required("rlimit-as"),
    required("rlimit-cpu"),
    required("rlimit-fsize"),
    required("rlimit-nproc"),
    required("rlimit-stack"),
    required("runtime"),
    none("save-uprobes"),
    none("semantic-keep-going"),
    optional("sign-module"),
    none("skip-badvars"),
    none("suppress-handler-errors"),
    none("suppress-time-limits"),
    required("sysenv"),
    required("sysroot"),
    required("target-namespaces"),
    required("tmpdir"),
    optional("trust-servers"),
    none("unprivileged"),
    required("use-http-server"),
    optional("use-server"),
    optional("use-server-on-error"),
    none("version"),
    required("vp"),
];

/// Long options that stay with the client: stock clients do not send them either. They are about how stap works on the
/// machine where it is called, or have it look at programs there, so no server's stap takes them from a client.
pub const KEPT_BY_CLIENTS: [&str; 10] = [
    "all-modules",
    "disable-cache",
    "download-debuginfo",
    "ldd",
    "poison-cache",
    "rlimit-as",
    "rlimit-cpu",
    "rlimit-fsize",
    "rlimit-nproc",
    "rlimit-stack",
];

/// Names that mean the same to stap, so that an abbreviation of both is not ambiguous.
pub(super) const SYNONYMS: [&str; 2] = ["color", "colour"];

/// The arity of a short option, if there is one of this letter.
pub(super) fn short_arity(letter: u8) -> Option<Arity> {
    let known = letter != b':' && letter.is_ascii();
    let (_, behind) = known
        .then(|| SHORT.split_once(char::from(letter)))
        .flatten()?;
    Some(if behind.starts_with(':') {
        Arity::Required
    } else {
        Arity::None
    })
}

const fn none(name: &'static str) -> LongOption {
    LongOption {
        name,
        arity: Arity::None,
    }
}

const fn required(name: &'static str) -> LongOption {
    LongOption {
        name,
        arity: Arity::Required,
    }
}

const fn optional(name: &'static str) -> LongOption {
    LongOption {
        name,
        arity: Arity::Optional,
    }
}
