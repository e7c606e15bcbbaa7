//! Ours and stock SystemTap together.

use stap_tests::interop::Site;
use stap_tests::lab::{self, HELLO, Lab};
use stap_tests::requirement;

#[test]
fn stock_5_6_works_in_its_root() {
    let Some(peer) = requirement::peer("testing") else {
        return;
    };
    lab::inside_with(&peer, |lab| stock_works(lab, "5.6"));
}

#[test]
fn stock_5_1_works_in_its_root() {
    let Some(peer) = requirement::peer("trixie") else {
        return;
    };
    lab::inside_with(&peer, |lab| stock_works(lab, "5.1"));
}

#[test]
fn stock_4_8_works_in_its_root() {
    let Some(peer) = requirement::peer("bookworm") else {
        return;
    };
    lab::inside_with(&peer, |lab| stock_works(lab, "4.8"));
}

/// The fixture: the very version, its client and its server, without anything of ours.
fn stock_works(lab: &Lab, version: &str) {
    let site = Site::lay_out(lab);
    let told = site.command(lab.bob(), "stap").arg("-V").run();
    assert!(
        told.exits(0)
            .out()
            .contains(&format!("(version {version}/")),
        "{told}"
    );
    let server = site.serve(lab.bob());
    let named = format!("--use-server={}", server.address());
    let asked = site.command(lab.bob(), "stap");
    let asked = asked.args([&named, "-r", site.release(), "-p1", "-e", HELLO]);
    let parsed = asked.run();
    assert!(
        parsed.exits(0).out().starts_with("# parse tree dump\n"),
        "{parsed}"
    );
}
