//! What a client makes of the words that somebody typed: what it sends, and what it keeps.

use std::path::{Component, Path};

use stap_protocol::options::{CommandLine, Item, KEPT_BY_CLIENTS};

/// A command line as it was typed and as it is sent, part by part.
#[derive(Debug)]
pub(super) struct Sent {
    /// Without what the client keeps.
    pub(super) typed: CommandLine,
    /// The same parts, with files named as they are in the request.
    pub(super) line: CommandLine,
    /// What the client keeps, for people.
    pub(super) kept: Vec<String>,
}

impl Sent {
    pub(super) fn of(mut typed: CommandLine) -> Self {
        let mut kept = Vec::new();
        typed.items.retain(|item| {
            let keeps = is_kept(item);
            if keeps {
                kept.push(item.to_string());
            }
            !keeps
        });
        let mut line = typed.clone();
        line.items.iter_mut().for_each(rename_tapset);
        let has_script = !line.options().any(crate::intake::stands_for_script);
        let among = line.items.iter_mut().find_map(|item| match item {
            Item::Operand(operand) => Some(operand),
            _ => None,
        });
        let script = among.or_else(|| line.after_separator.first_mut());
        if let Some(script) = script.filter(|_| has_script) {
            *script = inside("script", script);
        }
        Self { typed, line, kept }
    }
}

/// Options that choose or start a server, those that concern the client's own files, and those that no client sends.
fn is_kept(item: &Item) -> bool {
    match item {
        Item::Short { letter, .. } => *letter == 'k',
        Item::Long { name, .. } => {
            matches!(*name, "use-server" | "use-server-on-error") || KEPT_BY_CLIENTS.contains(name)
        }
        Item::Unknown(word) => OWN.iter().any(|own| word.starts_with(own.as_bytes())),
        Item::Operand(_) => false,
    }
}

fn rename_tapset(item: &mut Item) {
    if let Item::Short {
        letter: 'I',
        value: Some(directory),
    } = item
    {
        *directory = inside("tapset", directory);
    }
}

/// Below a directory of the request, whatever the path is on the client's machine; `-` is what comes
/// on standard input.
fn inside(directory: &str, path: &[u8]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;

    let mut plain = Path::new(directory).to_owned();
    let mut depth = 0_usize;
    for component in Path::new(std::ffi::OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => {
                plain.push(name);
                depth += 1;
            }
            Component::ParentDir if depth > 0 => {
                plain.pop();
                depth -= 1;
            }
            _ => {}
        }
    }
    plain.into_os_string().into_encoded_bytes()
}

/// Long options that only stap-client has.
const OWN: [&str; 2] = ["--server=", "--ssl="];
