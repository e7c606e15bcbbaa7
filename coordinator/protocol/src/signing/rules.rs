//! What a job must be like for its module to be signed.
//!
//! One script and nothing else of the user's choosing: no other file, no option that brings C, macros,
//! tapsets or debug information of his into the compile, or decides what the module is called. What
//! stap itself refuses below `stapdev` is among it; here it also holds for machine owner keys, which
//! would otherwise let anybody into a kernel that Secure Boot protects.

use crate::options::{CommandLine, Item};
use crate::path::RelativePath;

/// Why the module of a job cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSignable {
    /// An option that is not among those of such jobs.
    #[error("option {0} is not for modules that are signed")]
    Option(String),
    /// More than one script, or none.
    #[error("a module that is signed is made of one script; this request has {0}")]
    Scripts(usize),
    /// A file beside the script.
    #[error("'{0}' was sent along, and a module that is signed is made of its script only")]
    File(String),
}

/// Whether stap is to go as far as a module.
#[must_use]
pub fn makes_module(line: &CommandLine) -> bool {
    let last_pass = line.short_values('p').last();
    let stops_early = last_pass.is_some_and(|pass| matches!(pass, b"1" | b"2" | b"3"));
    !stops_early && !line.options().any(ends_without_module)
}

/// Judges a job by its arguments and the names of its files.
///
/// # Errors
/// The first thing that does not belong in such a job.
pub fn judge<'a>(
    line: &CommandLine,
    files: impl IntoIterator<Item = &'a RelativePath>,
) -> Result<(), NotSignable> {
    if let Some(other) = line.options().find(|item| !is_harmless(item)) {
        return Err(NotSignable::Option(other.to_string()));
    }
    let inline = line.short_values('e').count();
    // With -e all operands are the script's arguments.
    let named = line.operands().next().filter(|_| inline == 0);
    let scripts = inline + usize::from(named.is_some());
    if scripts != 1 {
        return Err(NotSignable::Scripts(scripts));
    }
    let stranger = files
        .into_iter()
        .find(|path| named != Some(path.as_bytes()));
    stranger.map_or(Ok(()), |path| Err(NotSignable::File(path.to_string())))
}

fn is_harmless(item: &Item) -> bool {
    match item {
        Item::Short { letter, .. } => SHORT.contains(*letter),
        Item::Long { name, .. } => LONG.contains(name),
        Item::Unknown(_) => false,
        Item::Operand(_) => true,
    }
}

fn ends_without_module(item: &Item) -> bool {
    match item {
        Item::Short { letter, .. } => matches!(letter, 'l' | 'L' | 'h' | 'V'),
        Item::Long { name, .. } => name.starts_with("dump-") || matches!(*name, "help" | "version"),
        Item::Unknown(_) | Item::Operand(_) => false,
    }
}

/// The script, the last pass, words on stderr, the target that must be the request's anyway, and what
/// only matters when the module runs.
const SHORT: &str = "epraPvtwWucxosSFbT";
/// The same among the long options, and what lets a script leave out what is not there.
const LONG: [&str; 8] = [
    "check-version",
    "compatible",
    "privilege",
    "prologue-searching",
    "skip-badvars",
    "suppress-handler-errors",
    "unprivileged",
    "vp",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::options::{LONG as ALL_LONG, SHORT as ALL_SHORT, parse};
    use crate::signing::{Privilege, PrivilegeConflict};

    fn line(words: &[&str]) -> CommandLine {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        parse(&words).unwrap()
    }

    fn judged(words: &[&str], files: &[&str]) -> Result<(), NotSignable> {
        let files: Vec<_> = files
            .iter()
            .map(|path| RelativePath::try_from(*path).unwrap())
            .collect();
        judge(&line(words), &files)
    }

    #[test]
    fn one_script_is_enough() {
        for (words, files) in [
            (
                &["-p4", "--privilege=stapusr", "-eprobe begin {}"][..],
                &[][..],
            ),
            (
                &["script/home/a/x.stp", "--unprivileged"],
                &["script/home/a/x.stp"],
            ),
            (&["script/-", "-v", "--", "1", "-g"], &["script/-"]),
            (&["-e", "x", "script/y"], &[]),
        ] {
            assert_eq!(judged(words, files), Ok(()), "{words:?}");
        }
    }

    #[test]
    fn nothing_else_of_the_user_s_gets_into_the_compile() {
        for option in [
            "-g",
            "-Itapset/x",
            "-DX=1",
            "-mname",
            "-BX=1",
            "-R/x",
            "-dkernel",
            "-Ex",
            "-Gx=1",
            "-k",
            "-q",
            "-i",
            "-lx",
            "--runtime=bpf",
            "--bpf",
            "--dyninst",
            "--sign-module",
            "--suppress-time-limits",
            "--modinfo=a=b",
            "--ldd",
            "--sysroot=/",
            "--rlimit-cpu=1",
            "--download-debuginfo=yes",
            "--no-such-option",
            "--build-as=x",
        ] {
            let refused = judged(&[option, "-eprobe begin {}"], &[]);
            assert!(
                matches!(refused, Err(NotSignable::Option(_))),
                "{option}: {refused:?}"
            );
        }
        assert_eq!(
            judged(&["-ex"], &["tapset/a.stp"]),
            Err(NotSignable::File("tapset/a.stp".to_owned()))
        );
        let beside = judged(&["script/x.stp"], &["script/x.stp", "script/x.h"]);
        assert_eq!(beside, Err(NotSignable::File("script/x.h".to_owned())));
        assert_eq!(judged(&["-p4"], &[]), Err(NotSignable::Scripts(0)));
        assert_eq!(judged(&["-ea", "-eb"], &[]), Err(NotSignable::Scripts(2)));
    }

    #[test]
    fn the_allowed_options_exist() {
        assert!(SHORT.chars().all(|letter| ALL_SHORT.contains(letter)));
        let exists = |name: &&str| ALL_LONG.iter().any(|option| option.name == *name);
        assert!(LONG.iter().all(exists));
    }

    #[test]
    fn a_listing_or_an_early_pass_makes_no_module() {
        for words in [
            &["-p2", "-ex"][..],
            &["-lx"],
            &["-L", "x"],
            &["--dump-functions"],
            &["-p4", "-p1"],
        ] {
            assert!(!makes_module(&line(words)), "{words:?}");
        }
        for words in [
            &["-ex"][..],
            &["-p4", "-ex"],
            &["-p1", "-p4"],
            &["-p5"],
            &["-p", "junk"],
        ] {
            assert!(makes_module(&line(words)), "{words:?}");
        }
    }

    #[test]
    fn the_privilege_is_the_one_that_stap_sees() {
        for (words, privilege) in [
            (&["-ex"][..], Ok(None)),
            (&["--priv=stapusr"], Ok(Some(Privilege::Stapusr))),
            (&["--privilege", "stapsys"], Ok(Some(Privilege::Stapsys))),
            (
                &["--unprivileged", "--privilege=stapusr"],
                Ok(Some(Privilege::Stapusr)),
            ),
            (
                &["--unprivileged", "--privilege=stapsys"],
                Err(PrivilegeConflict),
            ),
            (&["--", "--privilege=stapusr"], Ok(None)),
            (&["-e", "--privilege=stapusr"], Ok(None)),
            (&["--privilege=STAPUSR"], Ok(None)),
        ] {
            assert_eq!(Privilege::of(&line(words)), privilege, "{words:?}");
        }
    }

    proptest! {
        /// Whatever the words, what is accepted holds no option outside of the two lists.
        #[test]
        fn what_is_accepted_has_only_harmless_options(words in proptest::collection::vec("(-[a-zA-Z]{1,3}|--[a-z-]{1,12}(=x)?|[a-z/]{0,6})", 0..6)) {
            let words: Vec<_> = words.into_iter().map(String::into_bytes).collect();
            if let Ok(line) = parse(&words) && judge(&line, []).is_ok() {
                for item in line.options() {
                    prop_assert!(is_harmless(item));
                    let name = item.to_string();
                    let risky = ["-g", "-I", "-D", "-m", "-B", "-R", "-d", "-E"].contains(&name.as_str());
                    prop_assert!(!risky, "{}", name);
                }
            }
        }
    }
}
