//! Trust automation: a server is trusted by the clients of the user who started it, with no further
//! step, and by nobody else.

use std::path::Path;
use std::time::SystemTime;

use crate::client::ClientDatabase;
use crate::error::DatabaseError;
use crate::nss::Programs;
use crate::server::Opened;

/// Makes sure that the user's clients trust the server's certificate, and that former certificates of
/// this server that have expired are forgotten. Called on every start; doing it again changes nothing.
/// Returns warnings, one line each.
///
/// A former certificate that is still valid stays trusted: another server of this user may be using
/// it. A user who removed the current one on purpose gets it back.
///
/// # Errors
/// Fails when the client database cannot be made or changed.
pub fn authorize_own(
    client_database: &Path,
    server: &Opened,
    now: SystemTime,
) -> Result<Vec<String>, DatabaseError> {
    authorize_own_with(client_database, server, now, &Programs::none())
}

/// As [`authorize_own`], with the programs that keep an NSS store in step.
///
/// # Errors
/// As there.
pub fn authorize_own_with(
    client_database: &Path,
    server: &Opened,
    now: SystemTime,
    programs: &Programs,
) -> Result<Vec<String>, DatabaseError> {
    let database = ClientDatabase::open_or_create_with(client_database, programs)?;
    let mut warnings = database.add(&server.certificate)?.warnings;
    for former in server
        .retired
        .iter()
        .filter(|former| former.is_expired(now))
    {
        let removed = database.remove(former.sha256())?;
        warnings.extend(removed.warnings);
    }
    Ok(warnings)
}
