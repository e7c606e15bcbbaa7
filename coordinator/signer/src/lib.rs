//! `stap-signer`: signs modules, and is the only program that uses the keys for it.
//!
//! The coordinator starts it once, before it has heard a foreign byte, and talks to it over one socket,
//! which is its stdin. It runs nothing, listens nowhere, sees no file but the server's database and the
//! machine owner keys, and reads those when it needs them, so that a key that was added or renewed is
//! used and one that was removed is not. [`desk`] decides, [`module`] looks at what came out of the
//! compiler, [`signature`] makes the two kinds of signatures.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod confine;
pub mod desk;
#[cfg(test)]
mod forge;
mod link;
pub mod module;
pub mod signature;

use std::io;
use std::process::ExitCode;

use stap_protocol::signing::messages::{FromSigner, ToSigner};

use desk::Desk;
use link::{Link, say};

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("ERROR {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut link = Link::inherited()?;
    let Some(ToSigner::Configure(configuration)) = link.next()? else {
        return Ok(());
    };
    let opened = Desk::open(&configuration)
        .and_then(|desk| confine::confine(&configuration.database).map(|held| (desk, held)));
    let (desk, in_force) = match opened {
        Ok(opened) => opened,
        Err(reason) => return link.send(&FromSigner::NotReady { reason }),
    };
    say(&format!("INFO this process is confined: {in_force}"));
    link.send(&FromSigner::Keys(desk.keys()))?;
    while let Some(message) = link.next()? {
        let answer = match message {
            ToSigner::ListKeys => FromSigner::Keys(desk.keys()),
            ToSigner::Sign(order) => desk.sign(*order, say),
            ToSigner::Configure(_) => {
                return Err(io::Error::other(
                    "the coordinator configured the signer twice",
                ));
            }
        };
        link.send(&answer)?;
    }
    Ok(())
}
