//! From a plan to the request that is sent.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use stap_protocol::job::InputFile;
use stap_protocol::locale;
use stap_protocol::request::{InvalidRequest, MachineOwnerKeys, Parts, Request, SysInfo};
use stap_protocol::target::{KernelRelease, TargetName, TargetNameError};
use stap_protocol::text::escape;

use super::command_line::{Plan, Script};
use super::sources::{SourceError, Sources};
use crate::host::Host;

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("The request cannot be sent: {0}")]
    Request(#[from] InvalidRequest),
}

/// Why it is not known what to build for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("Invalid kernel release '{given}': {source}")]
    Release {
        given: String,
        source: TargetNameError,
    },
    #[error(
        "The kernel release of the build tree {} is not known: {source}\n\
         Build the kernel there first, or give -r its release",
        tree.display()
    )]
    Tree { tree: PathBuf, source: io::Error },
}

/// A request, and what went less well while it was made.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) request: Request,
    pub(crate) warnings: Vec<String>,
    /// Lines that go out as they are.
    pub(crate) notices: Vec<String>,
}

/// What the modules are to be built for: `-r`, else `SYSTEMTAP_RELEASE`, else the running kernel.
pub(crate) fn target(plan: &Plan, host: &Host) -> Result<TargetName, TargetError> {
    let release = match given_release(plan) {
        Some(given) => release(&given)?,
        None => host.target.release.clone(),
    };
    let arch = plan
        .arch
        .clone()
        .unwrap_or_else(|| host.target.arch.clone());
    Ok(TargetName { release, arch })
}

/// Reads all that is to be sent. It may wait for standard input.
pub(crate) fn package(
    plan: &Plan,
    target: &TargetName,
    machine_owner_keys: MachineOwnerKeys,
) -> Result<Package, PackageError> {
    let mut sources = Sources::default();
    let mut arguments = Vec::new();
    match &plan.script {
        Script::File(path) => arguments.push(sources.add_script(path)?),
        Script::StandardInput => arguments.push(sources.add_standard_input(io::stdin().lock())?),
        Script::Inline | Script::None => (),
    }
    for tapset in &plan.tapsets {
        arguments.extend([b"-I".to_vec(), sources.add_tapset(tapset)?]);
    }
    arguments.extend(plan.forwarded.iter().cloned());
    if given_release(plan).is_some() {
        arguments.push(format!("-r{}", target.release).into_bytes());
    }
    if !plan.script_arguments.is_empty() {
        arguments.push(b"--".to_vec());
        arguments.extend(plan.script_arguments.iter().cloned());
    }
    let (locale, notices) = locale_of(|name| env::var_os(name));
    let warnings = sources.take_warnings();
    let files = sources.into_files().into_iter();
    let request = Request::new(Parts {
        files: files
            .map(|(path, content)| InputFile { path, content })
            .collect(),
        locale,
        machine_owner_keys,
        wants_origin: plan.verbosity > 0,
        ..Parts::new(SysInfo::from(target.clone()), arguments)
    })?;
    Ok(Package {
        request,
        warnings,
        notices,
    })
}

/// The variable counts as if `-r` had been given, for the server's stap too.
fn given_release(plan: &Plan) -> Option<OsString> {
    let from_environment =
        || env::var_os("SYSTEMTAP_RELEASE").filter(|release| !release.is_empty());
    plan.release.clone().or_else(from_environment)
}

fn release(given: &OsStr) -> Result<KernelRelease, TargetError> {
    let tree = Path::new(given);
    let text = if tree.is_absolute() {
        let read = |source| TargetError::Tree {
            tree: tree.to_owned(),
            source,
        };
        release_of_tree(tree).map_err(read)?
    } else {
        given.to_string_lossy().into_owned()
    };
    text.trim().parse().map_err(|source| TargetError::Release {
        given: escape(text.as_bytes()),
        source,
    })
}

fn release_of_tree(tree: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(tree.join("include/config/kernel.release"))?
        .take(MAX_RELEASE_FILE)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The locale variables that are set, and a line for each that cannot be sent.
fn locale_of(value: impl Fn(&str) -> Option<OsString>) -> (Vec<(String, String)>, Vec<String>) {
    let mut variables = Vec::new();
    let mut notices = Vec::new();
    for name in locale::VARIABLES {
        let Some(value) = value(name) else { continue };
        match value.to_str() {
            Some(text) if locale::is_legal(text) => {
                variables.push((name.to_owned(), text.to_owned()));
            }
            _ => notices.push(format!(
                "Server: Localization value '{}' contains illegal characters",
                escape(value.as_encoded_bytes())
            )),
        }
    }
    (variables, notices)
}

/// One line with a release.
const MAX_RELEASE_FILE: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::fs;

    use stap_protocol::options::Order;

    use super::super::command_line::Asked;
    use super::*;

    fn packaged(words: &[&str]) -> Package {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let Asked::Compile(plan) = Asked::parse(&words, Order::Permute).unwrap() else {
            panic!("{words:?} asks for no compile");
        };
        let target = TargetName {
            release: "6.1".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        };
        package(&plan, &target, MachineOwnerKeys::NotAsked).unwrap()
    }

    fn arguments(package: &Package) -> Vec<&str> {
        let words = package.request.arguments.iter();
        words
            .map(|word| std::str::from_utf8(word).unwrap())
            .collect()
    }

    #[test]
    fn the_script_comes_first_and_its_arguments_last() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("s.stp");
        fs::write(&script, "probe begin {}").unwrap();
        let script = script.canonicalize().unwrap();
        let tapset = directory.path().join("t");
        fs::create_dir(&tapset).unwrap();
        fs::write(tapset.join("a.stp"), "").unwrap();

        let sent = packaged(&[
            "-v",
            script.to_str().unwrap(),
            "-I",
            tapset.to_str().unwrap(),
            "-p4",
            "one",
            "--",
            "-x y",
        ]);

        let real = script.parent().unwrap().display();
        let script_name = format!("script{real}/s.stp");
        let tapset_name = format!("tapset{real}/t");
        assert_eq!(
            arguments(&sent),
            [
                &script_name,
                "-I",
                &tapset_name,
                "-v",
                "-p4",
                "--",
                "one",
                "-x y"
            ]
        );
        let files: Vec<String> = sent
            .request
            .files
            .iter()
            .map(|file| file.path.to_string())
            .collect();
        assert_eq!(files, [script_name, format!("{tapset_name}/a.stp")]);
    }

    #[test]
    fn a_release_is_sent_as_a_release_and_not_as_a_tree() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("include/config")).unwrap();
        fs::write(
            tree.path().join("include/config/kernel.release"),
            "6.9.9-x\n",
        )
        .unwrap();
        assert_eq!(
            release(tree.path().as_os_str()).unwrap().as_str(),
            "6.9.9-x"
        );

        let missing = release(OsStr::new("/nonexistent/tree")).unwrap_err();
        assert!(
            missing.to_string().contains("/nonexistent/tree"),
            "{missing}"
        );
        assert!(matches!(
            release(OsStr::new("../x")),
            Err(TargetError::Release { .. })
        ));
    }

    #[test]
    fn only_legal_locale_values_are_sent() {
        let (sent, notices) = locale_of(|name| match name {
            "LANG" => Some("fr_FR.UTF-8".into()),
            "LC_ALL" => Some("".into()),
            "LC_TIME" => Some("$(id)".into()),
            _ => None,
        });
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(sent, [pair("LANG", "fr_FR.UTF-8"), pair("LC_ALL", "")]);
        assert_eq!(
            notices,
            ["Server: Localization value '$(id)' contains illegal characters"]
        );
    }
}
