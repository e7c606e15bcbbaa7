//! The real stap by way of the unit, for the kernel that runs, and the module in that kernel.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use stap_tests::command::Invocation;
use stap_tests::lab::HELLO;
use stap_tests::world::PATH;

use crate::machine::{self, ALICE, CERTIFICATE, SETTINGS};
use crate::unit::Unit;
use crate::{Results, service};

/// As an operator and a user of a fresh installation.
pub(crate) fn try_out(results: &mut Results) -> anyhow::Result<()> {
    machine::install()?;
    // The only class whose limits an emulated processor meets.
    fs::write(SETTINGS, "STAP_SERVERD_OPTIONS=\"--policy personal\"\n")?;
    UNIT.control("start")?;
    UNIT.logs("Using network address");
    results.check("a user compiles with the real stap", compile);
    results.check("the module runs in the kernel that is running", run);
    results.check(
        "root's client compiles and runs in one go",
        founding_example,
    );
    UNIT.control("stop")
}

/// The quickstart where the host itself is the target, but for what needs a network.
pub(crate) fn quickstart(results: &mut Results) -> anyhow::Result<()> {
    results.check("deploy/quickstart with this host as its target", || {
        let quickstart = Invocation::new(machine::payload("deploy/quickstart"))
            .arg("--from")
            .arg(machine::payload("programs"))
            // The only class whose limits an emulated processor meets.
            .args(["--policy", "personal"])
            .env("PATH", PATH)
            .env("HOME", "/root")
            .deadline(COLD * 4)
            .run();
        ensure!(quickstart.code() == Some(0), "{quickstart}");
        ensure!(quickstart.out() == "Hello World!\n", "{quickstart}");
        ensure!(
            quickstart.err().contains("this host: its stap"),
            "{quickstart}"
        );
        Ok(quickstart.err())
    });
    Ok(())
}

fn compile() -> anyhow::Result<()> {
    service::found()?;
    let trust = ALICE.run("stap-authorize-server-cert", [CERTIFICATE]);
    ensure!(trust.code() == Some(0), "{trust}");
    let client = real(["-p4", "-m", "hello", "-e", HELLO], false);
    let client = client.deadline(COLD).run();
    ensure!(client.code() == Some(0), "{client}\n{}", UNIT.log()?);
    Ok(())
}

fn run() -> anyhow::Result<()> {
    let module = ALICE.home().join("hello.ko");
    let staprun = Invocation::new("staprun").arg(module).env("PATH", PATH);
    let finished = staprun.run();
    ensure!(finished.out() == "Hello World!\n", "{finished}");
    Ok(())
}

fn founding_example() -> anyhow::Result<()> {
    machine::run("stap-authorize-server-cert", &[CERTIFICATE])?;
    let client = real(["-e", HELLO], true).deadline(COLD).run();
    ensure!(client.out() == "Hello World!\n", "{client}");
    Ok(())
}

/// A client beside the real staprun.
fn real<const N: usize>(arguments: [&str; N], as_root: bool) -> Invocation {
    let user = if as_root { machine::ROOT } else { ALICE };
    user.command("stap-client")
        .without_env("SYSTEMTAP_STAP")
        .without_env("SYSTEMTAP_STAPRUN")
        .args(arguments)
}

const UNIT: Unit = Unit("stap-server.service");
/// For a compile that finds out first what the kernel has, on a real machine.
const COLD: Duration = Duration::from_secs(120);
