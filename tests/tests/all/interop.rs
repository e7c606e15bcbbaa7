//! Ours and stock SystemTap together: row S56, and the matrix of `docs/interop.md`.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;

use stap_tests::interop::difference;
use stap_tests::interop::document::{promised, put_into};
use stap_tests::interop::matrix::hold;
use stap_tests::interop::rows::ROWS;
use stap_tests::interop::site::Site;
use stap_tests::interop::verdict::{
    OURS_OURS, OURS_STOCK, STOCK_OURS, STOCK_OURS_ROOT, STOCK_STOCK,
};
use stap_tests::lab;
use stap_tests::requirement;
use stap_tests::wait;

/// One test for each pair and release, so that each is reported by itself.
macro_rules! pairs {
    ($($name:ident: $pair:ident with $suite:literal;)*) => {$(
        #[test]
        fn $name() {
            if let Some(peer) = requirement::peer($suite) {
                lab::inside_with(&peer, |lab| hold(lab, $pair));
            }
        }
    )*};
}

pairs! {
    stock_4_8_alone: STOCK_STOCK with "bookworm";
    stock_5_1_alone: STOCK_STOCK with "trixie";
    stock_5_6_alone: STOCK_STOCK with "testing";
    s56_a_stock_4_8_client_with_our_server: STOCK_OURS with "bookworm";
    s56_a_stock_5_1_client_with_our_server: STOCK_OURS with "trixie";
    s56_a_stock_5_6_client_with_our_server: STOCK_OURS with "testing";
    a_stock_4_8_client_of_root_with_our_server: STOCK_OURS_ROOT with "bookworm";
    a_stock_5_1_client_of_root_with_our_server: STOCK_OURS_ROOT with "trixie";
    a_stock_5_6_client_of_root_with_our_server: STOCK_OURS_ROOT with "testing";
    s56_our_client_with_a_stock_4_8_server: OURS_STOCK with "bookworm";
    s56_our_client_with_a_stock_5_1_server: OURS_STOCK with "trixie";
    s56_our_client_with_a_stock_5_6_server: OURS_STOCK with "testing";
    our_own_pair_in_the_root_of_4_8: OURS_OURS with "bookworm";
    our_own_pair_in_the_root_of_5_1: OURS_OURS with "trixie";
    our_own_pair_in_the_root_of_5_6: OURS_OURS with "testing";
}

/// It takes a connection, and begins with nobody while each of its threads has somebody.
#[test]
fn our_client_waits_for_a_stock_server_that_is_busy() {
    let Some(peer) = requirement::peer("testing") else {
        return;
    };
    lab::inside_with(&peer, |lab| {
        let (site, bob) = (Site::lay_out(lab), lab.bob());
        let server = site.serve(lab.alice());
        let certificate = lab.alice().server_database().join("stap.cert");
        bob.run("stap-authorize-server-cert", [&certificate])
            .exits(0);
        let threads = std::thread::available_parallelism().unwrap().get();
        let connect = |_| TcpStream::connect(server.address()).unwrap();
        let silent: Vec<_> = (0..threads).map(connect).collect();
        let to = format!("--server={}", server.address());
        let asking = bob.command("stap-client").deadline(lab::SLOW);
        let asking = asking
            .args([&to, "-r", site.release(), "-p1", "-e", lab::HELLO])
            .start();
        let mark = format!("pid={},", asking.pid());
        let own = || {
            let sockets = lab.root().run("ss", ["-tnpH", "state", "established"]);
            let sockets = sockets.out();
            let own = sockets.lines().find(|line| line.contains(&mark))?;
            own.split_whitespace().nth(2).map(str::to_owned)
        };
        let first = wait::until("the client has connected", own);
        wait::until_true("it has connected once more", || {
            own().is_some_and(|port| port != first)
        });
        drop(silent);
        asking.finish().exits(0);
        server.stop();
    });
}

/// The document is written from what a run found, and that run's tests saw that it is what is promised here.
#[test]
fn the_document_has_the_matrix() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/interop.md");
    let text = fs::read_to_string(&file).unwrap();
    let current = put_into(&text, &promised()).unwrap();
    assert!(
        text == current,
        "docs/interop.md does not say what the tests promise: run them, then target/debug/interop-matrix docs/interop.md"
    );
}

#[test]
fn every_row_has_a_name_of_its_own_and_every_difference_a_row() {
    let mut names = BTreeSet::new();
    for row in ROWS {
        assert!(names.insert(row.name), "{} is there twice", row.name);
    }
    for row in difference::rows() {
        assert!(names.contains(row), "there is no row {row}");
    }
}
