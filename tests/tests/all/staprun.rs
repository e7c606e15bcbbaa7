//! What stock `staprun` makes of a module that a server of ours signed: the table of `docs/signing.md`.
//!
//! Each release is tried as it is and with its faults worked around, in a root that ends with the lab.
//! A fault that a later version mends fails its test here, so that the document is changed with it.

use std::fs;
use std::path::Path;

use stap_tests::finished::Finished;
use stap_tests::lab::{self, HELLO, Lab};
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::staprun::Staprun;
use stap_tests::world::TARGET_ROOT;

use crate::authorize::certificate;
use crate::nss::another_certificate;

/// What differs between releases.
struct Release {
    /// What verification gives where the store lacks a file, or where everybody may write the directory.
    with_an_unfit_store: i32,
    /// What it gives for a signature of a server that is not trusted.
    of_another_server: i32,
    /// Whether it takes the name of the store for a relative path.
    path_is_relative: bool,
}

const BEFORE_5_6: Release = Release {
    with_an_unfit_store: 0,
    of_another_server: 0,
    path_is_relative: false,
};

const SINCE_5_6: Release = Release {
    with_an_unfit_store: -1,
    of_another_server: -2,
    path_is_relative: true,
};

/// One test for each release.
macro_rules! releases {
    ($($name:ident: $release:ident with $suite:literal;)*) => {$(
        #[test]
        fn $name() {
            let peer = requirement::peer($suite);
            if let Some(peer) = peer.filter(|_| requirement::has_target_root()) {
                lab::inside_beside(&peer.root, |lab| hold(lab, &$release));
            }
        }
    )*};
}

releases! {
    staprun_4_8_verifies_what_we_signed: BEFORE_5_6 with "bookworm";
    staprun_5_1_verifies_what_we_signed: BEFORE_5_6 with "trixie";
    staprun_5_6_verifies_what_we_signed: SINCE_5_6 with "testing";
}

/// A module and its signature.
struct Signed {
    name: String,
    module: Vec<u8>,
    signature: Vec<u8>,
}

fn hold(lab: &Lab, release: &Release) {
    let signed = compile(lab);
    let staprun = Staprun::install(lab, lab.bob());
    staprun.put(&signed.name, &signed.module, Some(&signed.signature));
    staprun.add_former_files();
    staprun.set_store_mode(0o666);
    staprun.add_sql_entry();

    staprun.trust(&another_certificate(lab));
    refuses(&staprun.run(&signed.name), release.of_another_server);
    staprun.trust(&certificate(lab));
    verifies(&staprun.run(&signed.name));
    it_refuses_what_was_not_signed(&staprun, &signed);
    it_has_the_faults(&staprun, release, &signed.name);
}

/// Compiles for the target root, as a member of `stapusr` asks for it.
fn compile(lab: &Lab) -> Signed {
    let alice = lab.alice();
    let server = root::serve(alice);
    let at = format!("--server={}", server.address());
    let release = root::bootable(Path::new(TARGET_ROOT));
    let compile = [&at, "-p4", "--privilege=stapusr", "-r", &release];
    let client = alice.command("stap-client").args(compile);
    let compiled = client.args(["-e", HELLO]).deadline(lab::SLOW).run();
    let name = compiled.exits(0).out().trim_end().to_owned();
    let module = alice.home().join(&name);
    let signature = module.with_added_extension("sgn");
    Signed {
        name,
        module: fs::read(module).unwrap(),
        signature: fs::read(signature).unwrap(),
    }
}

/// A signature is for one content, whatever its file is called.
fn it_refuses_what_was_not_signed(staprun: &Staprun<'_>, signed: &Signed) {
    staprun.put("unsigned.ko", &signed.module, None);
    let unsigned = staprun.run("unsigned.ko");
    refuses(&unsigned, 0);
    unsigned.says("unsigned.ko.sgn not found");

    let mut changed = signed.module.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    staprun.put("changed.ko", &changed, Some(&signed.signature));
    let changed = staprun.run("changed.ko");
    refuses(&changed, -2);
    changed.says("may have been altered since it was created");

    staprun.put("renamed.ko", &signed.module, Some(&signed.signature));
    verifies(&staprun.run("renamed.ko"));
}

/// Takes each workaround away while the others are there.
fn it_has_the_faults(staprun: &Staprun<'_>, release: &Release, module: &str) {
    staprun.remove_former_files();
    let ran = staprun.run(module);
    refuses(&ran, release.with_an_unfit_store);
    for name in ["cert8.db", "key3.db", "secmod.db"] {
        let missing = format!("staprun/{name}.\nNo such file or directory\n");
        ran.says("Could not obtain information on certificate database file")
            .says(&missing);
    }
    staprun.add_former_files();

    staprun.set_store_mode(0o644);
    let ran = staprun.run(module);
    refuses(&ran, -1);
    ran.says("SEC_ERROR_READ_ONLY");
    staprun.set_store_mode(0o666);

    staprun.set_directory_mode(0o777);
    let ran = staprun.run(module);
    refuses(&ran, release.with_an_unfit_store);
    ran.says("staprun must not be writable by others");
    staprun.set_directory_mode(0o755);

    staprun.remove_sql_entry();
    let ran = staprun.run(module);
    if release.path_is_relative {
        refuses(&ran, -1);
        ran.never_says("certificate").never_says("NSS");
    } else {
        verifies(&ran);
    }
}

/// Asserts that the signature is taken for good, and that only the kernel is in the way.
#[track_caller]
fn verifies(ran: &Finished) {
    assert_ne!(ran.code(), Some(0), "{ran}");
    ran.says("verify_module returns 1\n")
        .never_says("Unable to verify")
        .says("ERROR: Couldn't insert module");
    // The second is a kernel that loads no modules at all.
    let refusals = ["Operation not permitted", "Function not implemented"];
    let said = ran.err();
    assert!(refusals.iter().any(|why| said.contains(why)), "{ran}");
}

/// Asserts that verification gave this, and that the kernel was not asked.
#[track_caller]
fn refuses(ran: &Finished, verdict: i32) {
    assert_ne!(ran.code(), Some(0), "{ran}");
    ran.says(&format!("verify_module returns {verdict}\n"))
        .never_says("verify_module returns 1\n")
        .never_says("inserted from file")
        .never_says("Couldn't insert module");
}
