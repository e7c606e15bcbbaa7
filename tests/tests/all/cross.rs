//! A kernel of another architecture: compiled here, by a cross compiler, for clients of there.

use std::fs;
use std::path::Path;

use stap_protocol::request::{Parts, Request, SysInfo};
use stap_tests::lab::{self, HELLO, User};
use stap_tests::peer;
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::server::Server;
use stap_tests::world::OTHER_ROOT;

/// As the kernel spells it, as `uname -m` prints it there, and the number in an ELF file.
const ARCH: &str = "arm64";
const MACHINE: &str = "aarch64";
const EM_AARCH64: [u8; 2] = [183, 0];

#[test]
#[ignore = "it takes minutes: tests/run --full"]
fn a_module_for_another_architecture_is_compiled_here() {
    if !requirement::has_target_root() {
        return;
    }
    if let Some(root) = requirement::cross_root() {
        lab::inside_beside(&root, |lab| compile(lab.alice()));
    }
}

fn compile(alice: User) {
    let server = root::serve_both(alice);
    let releases = root::releases_of(Path::new(OTHER_ROOT));
    let release = &releases[0];
    root::wait_until_served(alice, &server, &releases);
    let found = alice.run("stap-find-servers", ["--all"]).out();
    assert!(
        found.contains(&format!("'sysinfo={release} {ARCH}'")),
        "{found}"
    );

    let serving = server.logs(&format!("serving {release} "));
    let way = "pass 4 by make (it is for another machine)";
    assert!(serving.contains(way), "{serving}");

    let module = asked_from_here(alice, &server, release);
    assert_fits(&module, release);
    let module = asked_from_there(&server, release);
    assert_fits(&module, release);
    let log = server.said();
    assert!(!log.contains("run cold"), "{log}");

    both_in_one_request(alice, &server, release);
}

/// With the architecture behind the release, or as an option.
fn asked_from_here(user: User, server: &Server, release: &str) -> Vec<u8> {
    let at = format!("--server={}", server.address());
    let target = format!("-r{release}:{MACHINE}");
    let client = user.command("stap-client");
    let client = client.args([&at, &target, "-p4", "-m", "cross", "-e", HELLO]);
    let got = client.directory(user.home()).deadline(lab::SLOW).run();
    got.exits(0).prints("cross.ko\n");
    fs::read(user.home().join("cross.ko")).unwrap()
}

/// As a client of that machine asks for its own kernel.
fn asked_from_there(server: &Server, release: &str) -> Vec<u8> {
    let line = format!("sysinfo: {release} {MACHINE}");
    let target = SysInfo::parse(line.as_bytes()).unwrap();
    let words = ["-p4", "-m", "there", "-e", HELLO].map(|word| word.as_bytes().to_vec());
    let request = Request::new(Parts::new(target, words.into())).unwrap();
    let reply = peer::request(server, &request.encode());
    let said = String::from_utf8_lossy(&reply.stderr);
    assert_eq!(reply.rc, 0, "{said}");
    let mut modules = reply.files.into_iter();
    modules
        .find(|file| file.name.as_bytes() == b"there.ko")
        .unwrap_or_else(|| panic!("no module came: {said}"))
        .content
}

/// One of this machine and one of the other.
fn both_in_one_request(user: User, server: &Server, release: &str) {
    let own = &root::releases()[0];
    let at = format!("--server={}", server.address());
    let other = format!("-r{release}:{ARCH}");
    let client = user.command("stap-client");
    let client = client.args([&at, "-r", own, &other, "-l", "timer.ms(1)"]);
    let got = client.directory(user.home()).deadline(lab::SLOW).run();
    got.exits(0);
    let here = std::env::consts::ARCH;
    let expected =
        format!("==> {own}:{here} <==\ntimer.ms(1)\n==> {release}:{ARCH} <==\ntimer.ms(1)\n");
    got.prints(&expected);
}

fn assert_fits(module: &[u8], release: &str) {
    assert!(module.starts_with(b"\x7fELF"));
    assert_eq!(module[18..20], EM_AARCH64);
    let text = String::from_utf8_lossy(module);
    let start = text.find("vermagic=").expect("a module says what it fits");
    let magic = text[start..].split('\0').next().unwrap();
    assert!(
        magic.starts_with(&format!("vermagic={release} ")) && magic.contains(MACHINE),
        "{magic}"
    );
}
