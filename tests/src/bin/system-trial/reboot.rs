//! An enabled service comes back by itself with the machine.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::machine::{self, CERTIFICATE};
use crate::unit::Unit;
use crate::{Results, service};

/// Runs once before and once after.
pub(crate) fn try_out(results: &mut Results) -> anyhow::Result<()> {
    if !Path::new(REMEMBERED).exists() {
        machine::install()?;
        machine::configure()?;
        results.check("it serves before the machine is started anew", before);
        // Whoever started us does it.
        fs::write(REBOOT, "")?;
        return Ok(());
    }
    results.check("it serves after the machine was started anew", after);
    Ok(())
}

fn before() -> anyhow::Result<()> {
    UNIT.control("enable")?;
    UNIT.control("start")?;
    UNIT.logs("Using network address");
    service::found()?;
    service::served()?;
    fs::copy(CERTIFICATE, REMEMBERED).context("keeping the certificate")?;
    Ok(())
}

/// Nobody has told it to start, nor alice to trust it once more.
fn after() -> anyhow::Result<()> {
    UNIT.logs("Using network address");
    ensure!(
        fs::read(CERTIFICATE)? == fs::read(REMEMBERED)?,
        "the certificate is another one"
    );
    service::found()?;
    service::serves()?;
    let log = UNIT.log()?;
    ensure!(!log.contains("removing what a dead worker left"), "{log}");
    Ok(())
}

const UNIT: Unit = Unit("stap-server.service");
const REMEMBERED: &str = "/var/lib/system-trial.cert";
const REBOOT: &str = "/var/lib/guest/reboot";
