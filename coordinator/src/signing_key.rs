//! `--make-signing-key`: a machine owner key, made by the operator and never for a client.

use std::path::PathBuf;

use stap_certs::module_keys::{CERTIFICATE, ModuleKeys};
use stap_certs::{Environment, Paths};

use crate::options::Options;
use crate::settings::absolute;
use crate::{Clock, Failure};

/// Makes a key below the server's database, and says what to do with its certificate.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make(options: &Options, clock: Clock) -> Result<String, Failure> {
    let database = match &options.database {
        Some(named) => absolute(named)?,
        None => Paths::discover(&Environment::current())?
            .server()
            .to_owned(),
    };
    let (key, directory) = ModuleKeys::create(&database, clock())
        .map_err(|error| Failure::SigningKey(error.lines().join("\n")))?;
    let certificate: PathBuf = directory.join(CERTIFICATE);
    Ok(format!(
        "made the signing key {}\n\
         Its certificate is {}\n\
         A running server of this database uses it within a minute, if its policy says so ([signing]).\n\
         On each host whose kernel is to load modules that this server signs:\n  \
         sudo mokutil --import {CERTIFICATE}\n\
         then restart that host and confirm the key in the screen that appears.\n",
        key.fingerprint_text(),
        certificate.display(),
    ))
}
