//! Modules that were compiled by a server of ours, loaded by the real staprun on the very kernel that
//! they were compiled for: row S48.

use std::path::{Path, PathBuf};

use stap_tests::command::Invocation;
use stap_tests::lab::{self, HELLO};
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::world::{GUEST, PATH, TARGET_ROOT};

const COUNTING: &str = "global n probe timer.ms(50) { if (++n == 3) exit() } probe end { printf(\"counted %d\\n\", n) }";

#[test]
fn s48_two_modules_run_on_their_kernel() {
    if !requirement::has_target_root() || !requirement::met("guest", no_emulator()) {
        return;
    }
    lab::inside(|lab| {
        let server = root::serve(lab.alice());
        let at = format!("--server={}", server.address());
        let release = bootable();
        for (name, script, printed) in [
            ("hello", HELLO, "Hello World!\n"),
            ("counting", COUNTING, "counted 3\n"),
        ] {
            let compile = [&at, "-p4", "-m", name, "-r", &release, "-e", script];
            let client = lab.alice().command("stap-client").args(compile);
            client.deadline(lab::SLOW).run().exits(0);
            let module: PathBuf = lab.alice().home().join(format!("{name}.ko"));
            let options = ["--root", TARGET_ROOT, "--kernel", &release];
            let guest = Invocation::new(GUEST)
                .args(options)
                .arg(module)
                .env("PATH", PATH);
            guest.deadline(lab::SLOW).run().exits(0).prints(printed);
        }
    });
}

/// A release of the root whose kernel image is there too.
fn bootable() -> String {
    let image = |release: &String| {
        Path::new(TARGET_ROOT)
            .join("boot")
            .join(format!("vmlinuz-{release}"))
            .exists()
    };
    let bootable = root::releases().into_iter().find(image);
    bootable.expect("deploy/target-root installs the kernels too")
}

fn no_emulator() -> Option<String> {
    let emulator = Path::new("/usr/bin/qemu-system-x86_64");
    (!emulator.exists()).then(|| format!("{} is not installed", emulator.display()))
}
