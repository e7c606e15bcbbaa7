//! What a reply becomes on this host: text on the two streams, and perhaps a module.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use stap_certs::{Certificate, CertificateError};
use stap_protocol::job::OutputFile;
use stap_protocol::path::FileName;
use stap_protocol::reply::Reply;
use stap_protocol::request::Request;

use super::command_line::{LastPass, Plan, Script};
use super::scratch::{Scratch, save_here};
use super::staprun::Runtime;
use crate::diagnostics::print_result;

/// Why a reply that could be read is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("The output of the server cannot be written: {0}")]
    Output(#[source] io::Error),
    #[error("The module cannot be written to the temporary directory: {0}")]
    Scratch(#[source] io::Error),
    #[error(
        "{name} cannot be saved in the current directory: {source}\n\
         Call stap-client again from a directory that has room and that you can write to"
    )]
    Save { name: String, source: io::Error },
    #[error("Cannot unpack server response: {SIGNING_KEY} is not used: {0}")]
    SigningKey(#[source] CertificateError),
    #[error("No module was returned by the server")]
    NoModule,
    #[error("module {0} does not exist")]
    NotTheModule(String),
    #[error("Cannot unpack server response: a module may not be called {0}")]
    BadName(FileName),
}

impl ReplayError {
    /// Whether the server is to blame, and not this host.
    pub(crate) const fn is_the_server_s(&self) -> bool {
        matches!(
            self,
            Self::NoModule | Self::NotTheModule(_) | Self::BadName(_) | Self::SigningKey(_)
        )
    }
}

/// Prints what the server's stap printed, stdout before stderr.
pub(crate) fn print_streams(reply: &Reply, plan: &Plan) -> Result<(), ReplayError> {
    print_output(&own_output(reply, plan))?;
    print_words(&reply.stderr)
}

/// What the server's stap wrote to stdout, but for the name of its own copy of the module.
pub(crate) fn own_output(reply: &Reply, plan: &Plan) -> Vec<u8> {
    match reply.rc == 0 && plan.last_pass >= LastPass::Module {
        true => without_module_names(&reply.stdout, plan.run.runtime),
        false => reply.stdout.clone(),
    }
}

/// Prints a documented result.
pub(crate) fn print_output(bytes: &[u8]) -> Result<(), ReplayError> {
    print_result(bytes).map_err(ReplayError::Output)
}

/// Prints what a server's stap says.
pub(crate) fn print_words(bytes: &[u8]) -> Result<(), ReplayError> {
    match io::stderr().write_all(bytes) {
        // A reader that went away does not stop a compile.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ReplayError::Output(error)),
        _ => Ok(()),
    }
}

/// Saves the certificate that a server wants enrolled, for the command that its message names.
pub(crate) fn save_signing_key(reply: &Reply) -> Result<(), ReplayError> {
    let Some(der) = &reply.signing_key else {
        return Ok(());
    };
    // The file is given to the firmware, so at least it is what it is called.
    Certificate::from_der(der).map_err(ReplayError::SigningKey)?;
    save_here(Path::new(SIGNING_KEY), der).map_err(|source| ReplayError::Save {
        name: SIGNING_KEY.to_owned(),
        source,
    })
}

/// Puts the module where it was asked for, and returns it where it is to be run from.
pub(crate) fn place_module(
    reply: &Reply,
    plan: &Plan,
    scratch: &Scratch,
) -> Result<Option<PathBuf>, ReplayError> {
    let files = module_files(reply, plan)?;
    for file in &files {
        scratch
            .write(file.name.as_path(), &file.content)
            .map_err(ReplayError::Scratch)?;
        if plan.last_pass == LastPass::Module || plan.module_name.is_some() {
            save_here(file.name.as_path(), &file.content).map_err(|source| ReplayError::Save {
                name: file.name.to_string(),
                source,
            })?;
        }
    }
    let Some(module) = files.first().map(|file| &file.name) else {
        return Ok(None);
    };
    if plan.last_pass == LastPass::Module {
        let line = [module.as_bytes(), b"\n"].concat();
        print_result(&line).map_err(ReplayError::Output)?;
    }
    Ok(Some(scratch.path().join(module.as_path())))
}

/// The module and, behind it, its signature; nothing where no module was asked for.
pub(crate) fn module_files<'a>(
    reply: &'a Reply,
    plan: &Plan,
) -> Result<Vec<&'a OutputFile>, ReplayError> {
    if plan.last_pass < LastPass::Module {
        return Ok(Vec::new());
    }
    let Some(module) = chosen_module(reply, plan)? else {
        return Ok(Vec::new());
    };
    let signature = [module.as_bytes(), b".sgn"].concat();
    let wanted = [module.as_bytes(), &signature];
    let named = |name: &[u8]| reply.files.iter().find(|file| file.name.as_bytes() == name);
    Ok(wanted.into_iter().filter_map(named).collect())
}

fn chosen_module<'a>(reply: &'a Reply, plan: &Plan) -> Result<Option<&'a FileName>, ReplayError> {
    let suffix = plan.run.runtime.suffix();
    let module = reply.module().map(|file| &file.name);
    if let Some(name) = &plan.module_name {
        let wanted = format!("{name}{suffix}");
        return match module {
            Some(module) if module.as_bytes() == wanted.as_bytes() => Ok(Some(module)),
            _ => Err(ReplayError::NotTheModule(wanted)),
        };
    }
    match module {
        Some(module) if is_plain(module, suffix) => Ok(Some(module)),
        Some(module) => Err(ReplayError::BadName(module.clone())),
        None if plan.script == Script::None => Ok(None),
        None => Err(ReplayError::NoModule),
    }
}

/// The name becomes that of a file in the user's directory and of a module in the kernel.
fn is_plain(name: &FileName, suffix: &str) -> bool {
    let stem = name.as_bytes().strip_suffix(suffix.as_bytes());
    let stem = stem.unwrap_or_default();
    !stem.is_empty()
        && stem
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Leaves everything that was exchanged for somebody who wants to look at it.
///
/// # Errors
///
/// When the temporary directory cannot be written.
pub(crate) fn keep_exchange(
    scratch: &Scratch,
    request: &Request,
    packed: &[u8],
    reply: &[u8],
) -> io::Result<()> {
    scratch.write(Path::new("client.zip"), packed)?;
    for file in &request.files {
        scratch.write(
            &Path::new("client").join(file.path.as_path()),
            &file.content,
        )?;
    }
    for (number, argument) in (1..).zip(&request.arguments) {
        scratch.write(Path::new(&format!("client/argv{number}")), argument)?;
    }
    scratch.write(Path::new("server.zip"), reply)?;
    Ok(())
}

/// As [`keep_exchange`], for what was in the reply.
///
/// # Errors
///
/// When the temporary directory cannot be written.
pub(crate) fn keep_reply(scratch: &Scratch, server: &Path, reply: &Reply) -> io::Result<()> {
    scratch.write(&server.join("rc"), reply.rc.to_string().as_bytes())?;
    scratch.write(&server.join("stdout"), &reply.stdout)?;
    scratch.write(&server.join("stderr"), &reply.stderr)?;
    for file in &reply.files {
        let directory = server.join(stap_protocol::reply::RESULTS);
        scratch.write(&directory.join(file.name.as_path()), &file.content)?;
    }
    Ok(())
}

/// The server names its copy of the module; the client names its own, or none.
fn without_module_names(stdout: &[u8], runtime: Runtime) -> Vec<u8> {
    let lines = stdout.split_inclusive(|byte| *byte == b'\n');
    let suffix = runtime.suffix().as_bytes();
    let names_module = |line: &&[u8]| line.strip_suffix(b"\n").unwrap_or(line).ends_with(suffix);
    lines
        .filter(|line| !names_module(line))
        .collect::<Vec<_>>()
        .concat()
}

const SIGNING_KEY: &str = "signing_key.x509";

#[cfg(test)]
mod tests {
    use std::fs;

    use stap_protocol::reply::Parts;

    use super::*;

    fn reply(names: &[&str]) -> Reply {
        let file = |name: &&str| OutputFile {
            name: FileName::try_from(*name).unwrap(),
            content: name.as_bytes().to_vec(),
        };
        Reply::new(Parts {
            files: names.iter().map(file).collect(),
            ..Parts::default()
        })
        .unwrap()
    }

    fn to_run() -> Plan {
        Plan {
            script: Script::Inline,
            ..Plan::default()
        }
    }

    #[test]
    fn only_the_names_of_modules_are_taken_out() {
        let stdout = b"a.ko\nline about a.ko here\n<server>/x/stap_1.ko\nend.ko";
        let left = without_module_names(stdout, Runtime::Kernel);
        assert_eq!(left, b"line about a.ko here\n");
        let left = without_module_names(b"a.ko\n<server>/x/stap_1.bo\n", Runtime::Bpf);
        assert_eq!(left, b"a.ko\n");
    }

    #[test]
    fn a_module_is_run_from_the_temporary_directory() {
        let scratch = Scratch::new().unwrap();
        let reply = reply(&["stap_1.ko", "stap_1.ko.sgn", "stap_1_src.c"]);

        let module = place_module(&reply, &to_run(), &scratch).unwrap().unwrap();

        assert_eq!(fs::read(&module).unwrap(), b"stap_1.ko");
        let mut there: Vec<_> = fs::read_dir(scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, ["stap_1.ko", "stap_1.ko.sgn"]);
    }

    #[test]
    fn a_missing_module_is_an_error_where_one_was_asked_for() {
        let scratch = Scratch::new().unwrap();
        let none = reply(&["x.c"]);
        let named = Plan {
            module_name: Some("foo".to_owned()),
            ..to_run()
        };
        let text = Plan {
            last_pass: LastPass::Text,
            ..to_run()
        };

        assert!(matches!(
            place_module(&none, &to_run(), &scratch),
            Err(ReplayError::NoModule)
        ));
        let wrong = place_module(&reply(&["stap_1.ko"]), &named, &scratch).unwrap_err();
        assert_eq!(wrong.to_string(), "module foo.ko does not exist");
        assert!(place_module(&none, &text, &scratch).unwrap().is_none());
    }

    #[test]
    fn what_is_expected_depends_on_the_runtime() {
        let mut bpf = to_run();
        bpf.run.runtime = Runtime::Bpf;
        let named = |plan: &Plan| Plan {
            module_name: Some("foo".to_owned()),
            ..plan.clone()
        };
        let object = reply(&["foo.bo"]);
        assert_eq!(module_files(&object, &bpf).unwrap().len(), 1);
        assert_eq!(module_files(&object, &named(&bpf)).unwrap().len(), 1);
        assert!(matches!(
            module_files(&object, &to_run()),
            Err(ReplayError::BadName(_))
        ));
        assert!(matches!(
            module_files(&reply(&["foo.ko"]), &named(&bpf)),
            Err(ReplayError::NotTheModule(wanted)) if wanted == "foo.bo"
        ));
    }

    #[test]
    fn a_module_cannot_have_a_surprising_name() {
        let scratch = Scratch::new().unwrap();
        for name in [".ko", "a b.ko", "-x.ko", "a\n.ko"] {
            let placed = place_module(&reply(&[name]), &to_run(), &scratch);
            assert!(matches!(placed, Err(ReplayError::BadName(_))), "{name:?}");
        }
    }
}
