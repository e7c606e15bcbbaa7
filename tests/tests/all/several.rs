//! One request for several targets, with the real stap: ours on both sides, and with a stock server.

use std::fs;
use std::path::Path;

use stap_tests::finished::Finished;
use stap_tests::interop::site::Site;
use stap_tests::lab::{self, HELLO, Lab, User};
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::server::Server;

use crate::authorize::authorize;

/// A release that nobody serves.
const UNKNOWN: &str = "5.4.0-1";

fn ask(user: User, server: &Server, directory: &str, arguments: &[&str]) -> Finished {
    let at = format!("--server={}", server.address());
    let place = user.write(format!("{directory}/hello.stp"), HELLO);
    let client = user.command("stap-client").arg(at).args(arguments);
    let client = client.directory(place.parent().unwrap());
    client.deadline(lab::SLOW).run()
}

/// The text of the module that was saved for this release, which names the kernel that it fits.
fn module(user: User, directory: &str, name: &str, release: &str) -> String {
    let arch = std::env::consts::ARCH;
    let place = format!("{directory}/{name}-{release}-{arch}");
    let place = user.home().join(place);
    let found = lab::list(&place);
    let [module] = &found[..] else {
        panic!("{} holds {found:?}", place.display());
    };
    let bytes = fs::read(place.join(module)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn fits(module: &str, release: &str) -> bool {
    module.contains(&format!("vermagic={release} "))
}

#[test]
fn one_request_gives_each_kernel_its_module() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let alice = lab.alice();
        let server = root::serve(alice);
        let releases = root::releases();
        assert!(releases.len() >= 2, "the root has {releases:?}");

        let arguments = ["-p4", "--targets", "*", "-r", UNKNOWN, "hello.stp"];
        let got = ask(alice, &server, "several", &arguments);

        got.exits(1);
        let arch = std::env::consts::ARCH;
        assert_eq!(got.out().lines().count(), releases.len(), "{got}");
        for release in &releases {
            assert!(fits(&module(alice, "several", "hello", release), release));
            let line = format!("{release}:{arch}");
            assert!(got.err().contains(&line), "{line} is not in\n{got}");
        }
        let unknown = format!("does not build for {UNKNOWN} {arch}");
        assert!(got.err().contains(&unknown), "{got}");
        let targets = releases.len() + 1;
        let counted = format!("1 of {targets} targets failed");
        assert!(got.err().contains(&counted), "{got}");
        let log = server.said();
        let ended = log.matches("job ended").count();
        assert_eq!(ended, releases.len(), "{log}");
        assert!(log.contains("-1.1] request refused") && log.contains("-1.2] request accepted"));

        the_same_again_is_found(alice, &server, &releases);
    });
}

/// As a document, and by mDNS instead of a name.
fn the_same_again_is_found(user: User, server: &Server, releases: &[String]) {
    root::wait_until_served(user, server, releases);
    let place = user.write("several/hello.stp", HELLO);
    let client = user.command("stap-client").args(["--json", "-p4"]);
    let client = client.args(["--targets=*:*", "hello.stp"]);
    let got = client
        .directory(place.parent().unwrap())
        .deadline(lab::SLOW)
        .run();
    got.exits(0);
    let document: serde_json::Value = serde_json::from_str(&got.out()).unwrap();
    let targets = document["targets"].as_array().unwrap();
    let found: Vec<_> = targets.iter().map(|target| &target["release"]).collect();
    assert_eq!(found, releases.iter().collect::<Vec<_>>());
    for (target, release) in targets.iter().zip(releases) {
        assert_eq!(target["store"], "hit", "{document}");
        let path = Path::new(target["module"].as_str().unwrap());
        assert!(place.parent().unwrap().join(path).is_file());
        assert!(fits(&module(user, "several", "hello", release), release));
    }
}

/// One test for each release.
macro_rules! releases {
    ($($name:ident: $suite:literal;)*) => {$(
        #[test]
        fn $name() {
            if let Some(peer) = requirement::peer($suite) {
                lab::inside_with(&peer, |lab| ask_a_stock_server(lab, $suite));
            }
        }
    )*};
}

releases! {
    a_stock_4_8_server_is_asked_for_each_target_by_itself: "bookworm";
    a_stock_5_1_server_is_asked_for_each_target_by_itself: "trixie";
    a_stock_5_6_server_is_asked_for_each_target_by_itself: "testing";
}

fn ask_a_stock_server(lab: &Lab, suite: &str) {
    let site = Site::lay_out(lab);
    let (alice, bob) = (lab.alice(), lab.bob());
    let server = site.serve(alice);
    authorize(lab, bob);
    let release = site.release();
    let several = ["-v", "-p2", "-r", release, "-r", UNKNOWN, "hello.stp"];
    let got = ask(bob, &server, "stock", &several);
    got.exits(1);
    let heading = format!(
        "==> {release}:{} <==\n# functions\n",
        std::env::consts::ARCH
    );
    assert!(got.out().contains(&heading), "{suite}: {got}");
    for text in [
        "builds for one target in a request: asking 2 times",
        "the server may not serve this kernel",
        "1 of 2 targets failed",
    ] {
        assert!(got.err().contains(text), "{text:?} is not in\n{got}");
    }
    let pattern = ask(
        bob,
        &server,
        "pattern",
        &["-p2", "--targets=*", "hello.stp"],
    );
    pattern.exits(1).prints_nothing();
    let told = "builds for one target in a request, and does not say which '*:";
    assert!(pattern.err().contains(told), "{pattern}");
}
