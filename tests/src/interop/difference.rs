//! Every difference from bare stap that is left, with its reason. What is not listed here is equal.

use super::column::Pair;
use super::rows::Row;
use super::verdict::{OURS_OURS, OURS_STOCK, STOCK_OURS, STOCK_STOCK, Verdict};

/// Some command lines that are answered otherwise by some pairs.
#[derive(Debug)]
pub struct Difference {
    rows: &'static [&'static str],
    pairs: &'static [Pair],
    /// Versions of stap; all, if there are none.
    only: &'static [&'static str],
    /// How the answer compares.
    pub verdict: Verdict,
    /// The exit status of an answer that is like no other, and what its stderr has.
    pub says: Option<(i32, &'static str)>,
    /// Why, in a sentence.
    pub reason: &'static str,
}

/// What is expected of an answer that is not equal to bare stap's; its number is the place in the list of reasons.
#[must_use]
pub fn expected(pair: Pair, version: &str, row: &Row) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|difference| {
        let applies = difference.only.is_empty() || difference.only.contains(&version);
        applies && difference.pairs.contains(&pair) && difference.rows.contains(&row.name)
    })
}

/// All reasons, each once, in the order of the list.
#[must_use]
pub fn reasons() -> Vec<&'static str> {
    let mut reasons = Vec::new();
    for difference in DIFFERENCES {
        if !reasons.contains(&difference.reason) {
            reasons.push(difference.reason);
        }
    }
    reasons
}

/// The names of all rows that are mentioned.
pub fn rows() -> impl Iterator<Item = &'static str> {
    DIFFERENCES
        .iter()
        .flat_map(|difference| difference.rows)
        .copied()
}

const fn as_stock(
    reason: &'static str,
    pairs: &'static [Pair],
    rows: &'static [&'static str],
) -> Difference {
    Difference {
        rows,
        pairs,
        only: &[],
        verdict: Verdict::AsStock,
        says: None,
        reason,
    }
}

const fn differs(
    reason: &'static str,
    pairs: &'static [Pair],
    rows: &'static [&'static str],
    says: (i32, &'static str),
) -> Difference {
    Difference {
        rows,
        pairs,
        only: &[],
        verdict: Verdict::Differs,
        says: Some(says),
        reason,
    }
}

const STOCK_CLIENT: &[Pair] = &[STOCK_STOCK, STOCK_OURS];
const OUR_CLIENT: &[Pair] = &[OURS_STOCK, OURS_OURS];
const ALL: &[Pair] = &[STOCK_STOCK, STOCK_OURS, OURS_STOCK, OURS_OURS];

const MODULE_OF_A_LIST: &str = "a stock client that lists for another kernel than the running one names a module that \
    nobody asked for, and complains that it is not there";
const SMALL: &str = "a stock server takes 5,000 packed bytes, unless --max-compressed-request says otherwise, and closes \
    the connection; our client packs tighter, and our server takes more";
const NOT_FROM_CLIENTS: &str =
    "stap takes this option from nobody who asks through a server below stapdev";
const BAD_LOCALE: &str =
    "what a locale may be called is judged before it is sent or used, and the value is left out";
const MISSING: &str =
    "a stock client names a script that it cannot find by the current directory and the path";
const NOT_SENT: &str =
    "a stock client does not send -T, so the time limit is not in the module; ours does";
const NO_KERNEL: &str = "a server knows before it starts stap that it does not serve a kernel: a stock server sends an \
    empty answer, ours the kernels that it does serve";
const REFUSED: &str = "stap takes this option from no client; our server says so itself, with the reason and a next step";
const OWN_PREFIX: &str =
    "our client judges what concerns this host itself, in stap's words and under its own name";
const STAP_BY_PATH: &str = "our client leaves options that stap does not have to the server's stap, which is called by its \
    path";
const UNKNOWN_THERE: &str = "our client leaves options that stap does not have to the server, and our server says so itself";
const LEFT_OUT: &str = "stap takes this option from no client; a stock client leaves it out and says nothing, ours warns";
const NO_GROUP: &str = "bare stap and stock clients compile without -p4 only for members of stapusr; ours leaves it to \
    staprun who may run a module";
const NOT_THAT_PROCESS: &str = "stap looks for the process of -x where it runs; a job of our server sees its own processes \
    only";

/// The list.
pub const DIFFERENCES: &[Difference] = &[
    as_stock(
        MODULE_OF_A_LIST,
        STOCK_CLIENT,
        &["a list", "a list with variables", "a list of aliases"],
    ),
    as_stock(SMALL, &[STOCK_STOCK], &["a tapset of many files"]),
    as_stock(NOT_FROM_CLIENTS, ALL, &["--privilege and -D"]),
    as_stock(BAD_LOCALE, ALL, &["a bad locale"]),
    as_stock(MISSING, STOCK_CLIENT, &["a missing script"]),
    as_stock(NOT_SENT, STOCK_CLIENT, &["options of the run"]),
    as_stock(NO_KERNEL, &[STOCK_STOCK], &["a kernel that is not there"]),
    differs(
        NO_KERNEL,
        &[STOCK_OURS, OURS_OURS],
        &["a kernel that is not there"],
        (1, "this server does not build for 1.2.3-none"),
    ),
    differs(
        NO_KERNEL,
        &[OURS_STOCK],
        &["a kernel that is not there"],
        (1, "the server may not serve this kernel"),
    ),
    as_stock(REFUSED, &[STOCK_STOCK, OURS_STOCK], &["-q", "-B"]),
    differs(
        REFUSED,
        &[STOCK_OURS, OURS_OURS],
        &["-q"],
        (
            1,
            "Server: option -q is not allowed by this server's policy",
        ),
    ),
    differs(
        REFUSED,
        &[STOCK_OURS, OURS_OURS],
        &["-B"],
        (
            1,
            "Server: option -B is not accepted from clients: it would change",
        ),
    ),
    differs(
        OWN_PREFIX,
        OUR_CLIENT,
        &["-s in vain"],
        (
            1,
            "stap-client: ERROR: Invalid buffer size (should be 1-4095).\n",
        ),
    ),
    differs(
        OWN_PREFIX,
        OUR_CLIENT,
        &["-c and -x"],
        (
            1,
            "stap-client: ERROR: You can't specify -c and -x together.\n",
        ),
    ),
    differs(
        OWN_PREFIX,
        OUR_CLIENT,
        &["a pass that does not exist"],
        (
            1,
            "stap-client: ERROR: Invalid pass number (should be 1-5).\n",
        ),
    ),
    differs(
        OWN_PREFIX,
        OUR_CLIENT,
        &["a bad module name"],
        (1, "stap-client: ERROR: Invalid module name"),
    ),
    differs(
        STAP_BY_PATH,
        &[OURS_STOCK],
        &["an unknown option"],
        (1, "/usr/bin/stap: unrecognized option '--no-such'\n"),
    ),
    differs(
        STAP_BY_PATH,
        &[OURS_STOCK],
        &["an unknown letter"],
        (1, "/usr/bin/stap: invalid option -- 'Z'\n"),
    ),
    differs(
        UNKNOWN_THERE,
        &[OURS_OURS],
        &["an unknown option"],
        (1, "Server: unrecognized option '--no-such'. "),
    ),
    differs(
        UNKNOWN_THERE,
        &[OURS_OURS],
        &["an unknown letter"],
        (1, "Server: unrecognized option '-Z'. "),
    ),
    differs(
        LEFT_OUT,
        OUR_CLIENT,
        &["--ldd"],
        (0, "WARNING: --ldd is not sent"),
    ),
    differs(
        LEFT_OUT,
        OUR_CLIENT,
        &["--all-modules"],
        (0, "WARNING: --all-modules is not sent"),
    ),
    // The compile that follows is one that this stap cannot do.
    Difference {
        only: &["4.8"],
        ..differs(
            NO_GROUP,
            OUR_CLIENT,
            &["no pass named"],
            (1, "mismatch with host forces last-pass 4."),
        )
    },
    differs(
        NO_GROUP,
        OUR_CLIENT,
        &["no pass named"],
        (0, "mismatch with host forces last-pass 4."),
    ),
    differs(
        NOT_THAT_PROCESS,
        &[STOCK_OURS, OURS_OURS],
        &["-x of process 1"],
        (
            0,
            "WARNING: missing unwind/symbol data for module '/proc/1/exe'",
        ),
    ),
];
