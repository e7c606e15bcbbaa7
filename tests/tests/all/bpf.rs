//! The bpf runtime: an object instead of a module, from the real stap.

use std::fs;

use stap_tests::finished::Finished;
use stap_tests::interop::site::Site;
use stap_tests::lab::{self, HELLO, User};
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::server::Server;

use crate::authorize::authorize;

/// The number of bpf's machine in an ELF file.
const EM_BPF: [u8; 2] = [247, 0];

fn ask(user: User, server: &Server, arguments: &[&str]) -> Finished {
    let at = format!("--server={}", server.address());
    let release = &root::releases()[0];
    let client = user
        .command("stap-client")
        .args([&at, "-r", release, "-p4"]);
    let client = client.args(arguments).args(["-e", HELLO]);
    client.directory(user.home()).deadline(lab::SLOW).run()
}

/// What the only line of stdout names.
fn object(user: User, got: &Finished) -> (String, Vec<u8>) {
    got.exits(0);
    let name = got.out().trim_end().to_owned();
    assert!(name.ends_with(".bo") && !name.contains('\n'), "{got}");
    let content = fs::read(user.home().join(&name)).unwrap();
    (name, content)
}

fn assert_is_bpf(object: &[u8]) {
    assert!(object.starts_with(b"\x7fELF"));
    assert_eq!(object[18..20], EM_BPF);
}

#[test]
fn the_bpf_runtime_gives_an_object_of_the_same_kind_as_bare_stap() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let server = root::serve_making(alice);
        let (name, named) = object(alice, &ask(alice, &server, &["--runtime=bpf", "-m", "foo"]));
        assert_eq!(name, "foo.bo");
        assert_is_bpf(&named);
        // The same again is found, if stap did not name it after its process.
        let (name, again) = object(alice, &ask(alice, &server, &["--runtime=bpf", "-m", "foo"]));
        assert_eq!((name.as_str(), &again), ("foo.bo", &named));
        // It is what stap makes each time: other words for the same are another request.
        let (_, made) = object(alice, &ask(alice, &server, &["-m", "foo", "--runtime=bpf"]));
        assert_eq!(made, named);
        assert_eq!(crate::store::origins(&server), ["miss", "hit", "miss"]);
        let (_, unnamed) = object(alice, &ask(alice, &server, &["--bpf"]));
        assert_is_bpf(&unnamed);
        let said = server.said();
        assert!(!said.contains("warming"), "no headers were needed:\n{said}");

        let refused = ask(alice, &server, &["--bpf", "--privilege=stapusr"]);
        refused.exits(1);
        assert!(refused.err().contains("Server: "), "{refused}");
        let several = ask(alice, &server, &["--bpf", "--json", "-m", "foo"]);
        several.exits(0);
        let place = format!(
            "foo-{}-{}/foo.bo",
            root::releases()[0],
            std::env::consts::ARCH
        );
        assert_is_bpf(&fs::read(alice.home().join(place)).unwrap());
    });
}

#[test]
fn a_stock_5_6_server_gives_our_client_a_bpf_object() {
    if let Some(peer) = requirement::peer("testing") {
        lab::inside_with(&peer, |lab| {
            let site = Site::lay_out(lab);
            let stock = site.serve(lab.alice());
            authorize(lab, lab.bob());
            let got = ask(lab.bob(), &stock, &["--runtime=bpf"]);
            assert_is_bpf(&object(lab.bob(), &got).1);
        });
    }
}

/// It keeps the option to itself, is sent a kernel module, looks for an object, and says that all is well.
#[test]
fn a_stock_5_6_client_never_asks_for_bpf() {
    if let Some(peer) = requirement::peer("testing") {
        lab::inside_with(&peer, |lab| {
            let site = Site::lay_out(lab);
            let server = root::serve_making(lab.alice());
            let to = format!("--use-server={}", server.address());
            let release = format!("-r{}", site.release());
            let client = site.command(lab.alice(), "stap");
            let client = client.args([&to, "-p4", &release, "--runtime=bpf", "-e", HELLO]);
            let got = client.run();
            got.exits(0);
            assert!(
                got.out().ends_with(".bo\n") && got.err().contains("Copy failed"),
                "{got}"
            );
            // -p4, -r and -e.
            let accepted = server.logs("request accepted");
            assert!(accepted.contains("arguments=3 "), "{accepted}");
        });
    }
}
