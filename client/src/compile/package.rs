//! From a plan to the request that is sent.

use std::env;
use std::ffi::OsString;
use std::io;

use stap_protocol::job::InputFile;
use stap_protocol::locale;
use stap_protocol::request::{InvalidRequest, MachineOwnerKeys, Parts, Request, SysInfo};
use stap_protocol::target::TargetName;
use stap_protocol::text::escape;

use super::command_line::{Plan, Script};
use super::sources::{SourceError, Sources};
use super::wanted::{self, TargetError, Wanted};

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

/// A request, and what went less well while it was made.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) request: Request,
    /// Where among the arguments more options can be put.
    options_end: usize,
    pub(crate) warnings: Vec<String>,
    /// Lines that go out as they are.
    pub(crate) notices: Vec<String>,
}

impl Package {
    /// The same request for one target, as any server knows it.
    ///
    /// # Errors
    ///
    /// When it has too many arguments.
    pub(crate) fn for_one(
        &self,
        target: &TargetName,
        is_foreign: bool,
    ) -> Result<Request, InvalidRequest> {
        let mut parts = self.request.clone().into_parts();
        let mut words = vec![format!("-r{}", target.release).into_bytes()];
        if is_foreign {
            words.push(format!("-a{}", target.arch).into_bytes());
        }
        let end = self.options_end;
        parts.arguments.splice(end..end, words);
        parts.targets.clear();
        parts.target = SysInfo::from(target.clone());
        Request::new(parts)
    }
}

/// Reads all that is to be sent. It may wait for standard input.
pub(crate) fn package(
    plan: &Plan,
    wanted: &Wanted,
    machine_owner_keys: MachineOwnerKeys,
    wants_progress: bool,
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
    match wanted {
        Wanted::One(target) => {
            let given = wanted::given(plan);
            arguments.extend(given.map(|_| format!("-r{}", target.release).into_bytes()));
            let arch = wanted::arch_of_release(plan);
            arguments.extend(arch.map(|arch| format!("-a{arch}").into_bytes()));
        }
        // Each target has its own.
        Wanted::Several(_) => arguments.retain(|word| !word.starts_with(b"-a")),
    }
    let options_end = arguments.len();
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
        wants_origin: plan.verbosity > 0 || plan.json,
        wants_progress,
        ..match wanted {
            Wanted::One(target) => Parts::new(SysInfo::from(target.clone()), arguments),
            Wanted::Several(patterns) => Parts::for_several(patterns.clone(), arguments),
        }
    })?;
    Ok(Package {
        request,
        options_end,
        warnings,
        notices,
    })
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

#[cfg(test)]
mod tests {
    use std::fs;

    use stap_protocol::options::Order;

    use super::super::command_line::Question;
    use super::*;

    fn packaged(words: &[&str]) -> Package {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let Question::Compile(plan) = Question::parse(&words, Order::Permute).unwrap() else {
            panic!("{words:?} asks for no compile");
        };
        let target = TargetName {
            release: "6.1".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
        };
        package(
            &plan,
            &Wanted::One(target),
            MachineOwnerKeys::NotAsked,
            false,
        )
        .unwrap()
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
    fn several_targets_are_in_no_option_and_one_can_be_asked_for_by_itself() {
        let words =
            ["-p4", "-a", "s390x", "-e", "x", "--", "-r"].map(|word| word.as_bytes().to_vec());
        let Question::Compile(plan) = Question::parse(&words, Order::Permute).unwrap() else {
            panic!("it asks for a compile");
        };
        let patterns = vec!["6.*:*".parse().unwrap()];
        let wanted = Wanted::Several(patterns.clone());
        let package = package(&plan, &wanted, MachineOwnerKeys::NotAsked, false).unwrap();
        assert_eq!(arguments(&package), ["-p4", "-ex", "--", "-r"]);
        assert_eq!(package.request.targets, patterns);
        assert_eq!(package.request.target.to_string(), "several-targets");

        let target = TargetName {
            release: "6.1".parse().unwrap(),
            arch: "arm64".parse().unwrap(),
        };
        let one = package.for_one(&target, true).unwrap();
        let words: Vec<_> = one
            .arguments
            .iter()
            .map(|word| String::from_utf8_lossy(word))
            .collect();
        assert_eq!(words, ["-p4", "-ex", "-r6.1", "-aarm64", "--", "-r"]);
        assert!(one.targets.is_empty());
        assert_eq!(one.target.to_string(), "6.1 arm64");
    }

    #[test]
    fn a_request_for_one_target_has_no_member_of_ours() {
        let sent = packaged(&["-r", "6.1:x86_64", "-p4", "-e", "x"]);
        assert_eq!(arguments(&sent), ["-p4", "-ex", "-r6.1", "-ax86_64"]);
        let bytes = sent.request.encode();
        for name in [&b"targets"[..], b"wants"] {
            assert!(!bytes.windows(name.len()).any(|window| window == name));
        }
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
