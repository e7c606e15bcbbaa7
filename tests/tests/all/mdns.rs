//! Our programs and stock ones find each other by mDNS, on the same host and on another one: row X12.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;
use stap_tests::command::Invocation;
use stap_tests::finished::Finished;
use stap_tests::host::Host;
use stap_tests::interop::Site;
use stap_tests::lab::{self, HELLO, Lab, User};
use stap_tests::mdns::{Avahi, Entry, Protocol};
use stap_tests::process;
use stap_tests::requirement;
use stap_tests::root;
use stap_tests::wait;

use crate::authorize::certificate;

const PARSE: [&str; 3] = ["-p1", "-e", HELLO];

/// Two hosts with avahi, and the stock programs on both.
struct Network {
    site: Site,
    hosts: [Host; 2],
    avahis: [Avahi; 2],
}

impl Network {
    fn of(lab: &Lab) -> Self {
        let site = Site::lay_out(lab);
        let hosts = [lab.first_host(), lab.second_host()];
        let avahis = hosts.map(Avahi::start_on);
        Self {
            site,
            hosts,
            avahis,
        }
    }

    /// What both hosts' avahis see, once they see a server at the port and no other.
    fn see(&self, port: u16) -> [Vec<Entry>; 2] {
        self.avahis.each_ref().map(|avahi| {
            wait::until(&format!("avahi sees port {port} alone"), || {
                let entries = avahi.entries();
                let alone = entries.iter().all(|entry| entry.port == port);
                let everywhere = entries.iter().any(|entry| entry.protocol == "IPv6")
                    && entries.iter().any(|entry| entry.protocol == "IPv4");
                (alone && everywhere).then_some(entries)
            })
        })
    }

    fn stap(&self, host: Host, user: User, words: &[&str]) -> Invocation {
        let stap = self.site.command(user, "stap");
        stap.args(words).on(host)
    }

    /// Stock clients take an IPv4 address that they got by IPv6 for `::`.
    fn tells_each_protocol_its_addresses(&self) {
        let [name] = <[String; 1]>::try_from(names_of("labhost", 1)).unwrap();
        let resolves = |over, address| self.avahis[1].resolves(&name, over, address);
        assert!(resolves(Protocol::V4, Protocol::V4));
        assert!(resolves(Protocol::V6, Protocol::V6));
        assert!(!resolves(Protocol::V6, Protocol::V4));
    }

    fn see_nobody(&self) {
        for avahi in &self.avahis {
            wait::until_true("avahi sees no server", || avahi.entries().is_empty());
        }
    }
}

/// What two servers of one host and target may say differently.
fn comparable(mut entry: Entry) -> Entry {
    entry.port = 0;
    for text in &mut entry.texts {
        for own in ["version=", "certinfo=00:"] {
            if text.starts_with(own) {
                own.clone_into(text);
            }
        }
    }
    // Which of a host's addresses avahi tells first is chance.
    entry.address.clear();
    entry
}

fn serial(entries: &[Entry]) -> String {
    let texts = entries.iter().flat_map(|entry| &entry.texts);
    let mut serials = texts.filter_map(|text| text.strip_prefix("certinfo="));
    serials
        .next()
        .expect("a server tells its number")
        .to_owned()
}

#[test]
fn an_announcement_is_that_of_a_stock_server() {
    let Some(peer) = requirement::peer("testing") else {
        return;
    };
    lab::inside_with(&peer, |lab| {
        let network = Network::of(lab);
        let ours = lab.serve(lab.alice());
        let announced = network.see(ours.port);
        for entry in announced.iter().flatten() {
            assert!(entry.texts.contains(&"version=5.1".to_owned()), "{entry:?}");
        }
        network.tells_each_protocol_its_addresses();
        ours.stop();
        network.see_nobody();
        let theirs = network
            .site
            .start(network.site.server(lab.bob()), lab.bob());
        let expected = network.see(theirs.port);
        network.tells_each_protocol_its_addresses();
        for (ours, theirs) in announced.into_iter().zip(expected) {
            let ours: Vec<_> = ours.into_iter().map(comparable).collect();
            let theirs: Vec<_> = theirs.into_iter().map(comparable).collect();
            assert_eq!(ours, theirs);
        }
        theirs.stop();
    });
}

#[test]
fn each_target_is_announced_under_a_name_of_its_own() {
    if !requirement::has_target_root() {
        return;
    }
    lab::inside(|lab| {
        let second = Avahi::start_on(lab.second_host());
        let server = root::serve(lab.alice());
        let releases = root::releases();
        let announced = wait::until("every target is announced", || {
            let of_one_kind = |entry: &Entry| entry.protocol == "IPv4" && entry.port == server.port;
            let entries = second.entries().into_iter().filter(of_one_kind);
            let entries: Vec<_> = entries.collect();
            (entries.len() == releases.len()).then_some(entries)
        });
        let mut names: Vec<_> = announced.iter().map(|entry| entry.name.clone()).collect();
        names.sort();
        assert_eq!(names, names_of("labhost", releases.len()));
        let mut targets: Vec<_> = announced
            .iter()
            .flat_map(|entry| entry.texts.last())
            .collect();
        targets.sort();
        let expected = releases
            .iter()
            .map(|release| format!("sysinfo={release} x86_64"));
        assert!(
            targets.into_iter().eq(&expected.collect::<Vec<_>>()),
            "{announced:?}"
        );
    });
}

/// What the instances of one host are called, as avahi-browse prints it.
fn names_of(host: &str, count: usize) -> Vec<String> {
    let name = |number| match number {
        1 => format!("Systemtap Compile Server on {host}"),
        _ => format!("Systemtap Compile Server on {host} \\035{number}"),
    };
    (1..=count).map(name).collect()
}

#[test]
fn x12_stock_clients_list_our_server_and_use_it_5_6() {
    if let Some(peer) = requirement::peer("testing") {
        lab::inside_with(&peer, |lab| {
            stock_clients_use_our_server(lab);
        });
    }
}

#[test]
fn x12_stock_clients_list_our_server_and_use_it_5_1() {
    if let Some(peer) = requirement::peer("trixie") {
        lab::inside_with(&peer, |lab| {
            stock_clients_use_our_server(lab);
        });
    }
}

#[test]
fn x12_stock_clients_list_our_server_and_use_it_4_8() {
    if let Some(peer) = requirement::peer("bookworm") {
        lab::inside_with(&peer, |lab| {
            stock_clients_use_our_server(lab);
        });
    }
}

fn stock_clients_use_our_server(lab: &Lab) {
    let network = Network::of(lab);
    let server = lab.serve(lab.alice());
    let serial = serial(&network.see(server.port)[0]);
    let release = lab.alice().run("uname", ["-r"]).out();
    let arch = lab.alice().run("uname", ["-m"]).out();
    let tail = format!(
        " port={} sysinfo=\"{} {}\" version=5.1 certinfo=\"{serial}\"",
        server.port,
        release.trim(),
        arch.trim()
    );
    for host in network.hosts {
        let stap = |user: User, words: &[&str]| network.stap(host, user, words);
        for words in ["online", "online,trusted,compatible", "specified"] {
            let words = format!("--list-servers={words}");
            lists(|| stap(lab.alice(), &[&words]), &tail);
        }
        // Bob sees it and does not trust it.
        lists(|| stap(lab.bob(), &["--list-servers=online"]), &tail);
        let trusted = stap(lab.bob(), &["--list-servers=online,trusted"]).run();
        trusted.exits(0).says("No servers found");
        let by_number = format!("--use-server={serial}");
        for named in ["--use-server", &by_number] {
            let used = stap(lab.alice(), &[&[named][..], &PARSE].concat()).run();
            used.exits(0).prints("# parse tree dump\n");
            let refused = stap(lab.bob(), &[&[named][..], &PARSE].concat()).run();
            refused.exits(1).prints_nothing();
        }
    }
    let stap = |words: &[&str]| network.stap(network.hosts[1], lab.bob(), words);
    lab.bob()
        .run("stap-authorize-server-cert", [certificate(lab)])
        .exits(0);
    lists(|| stap(&["--list-servers"]), &tail);
    let used = stap(&[&["--use-server"][..], &PARSE].concat()).run();
    used.exits(0).prints("# parse tree dump\n");
}

#[test]
fn a_stock_client_passes_over_a_server_that_was_killed() {
    let Some(peer) = requirement::peer("testing") else {
        return;
    };
    lab::inside_with(&peer, |lab| {
        let network = Network::of(lab);
        let [first, second] = network.hosts;
        let killed = lab.serve_with(lab.alice(), []);
        let other = second.serve_with(lab.alice(), []);
        let both = || network.avahis[0].entries();
        for server in [&killed, &other] {
            wait::until_true("avahi sees both", || {
                both().iter().any(|entry| entry.port == server.port)
            });
        }
        process::signal(killed.pid, Signal::KILL);
        wait::until_true("it has ended", || !killed.is_alive());
        assert!(both().iter().any(|entry| entry.port == killed.port));
        let words = [&["--use-server"][..], &PARSE].concat();
        let used = network.stap(first, lab.alice(), &words).run();
        used.exits(0).prints("# parse tree dump\n");
        assert_eq!(other.requests().len(), 1, "{}", other.said());
    });
}

/// Asserts that a listing has our server at an address of the first host, and nothing that is not
/// ours. Now and then a stock client takes an address of one protocol for one of the other.
fn lists(listing: impl Fn() -> Invocation, tail: &str) {
    let there = format!(" host=labhost.local address=10.77.0.1{tail}");
    let is_ours = |line: &str| line.starts_with(" host=labhost.local ") && line.ends_with(tail);
    wait::until_true("the address is listed", || {
        let listing = listing().run();
        let said = listing.exits(0).prints_nothing().err();
        assert!(said.lines().skip(1).all(is_ours), "{listing}");
        said.lines().any(|line| line == there)
    });
}

#[test]
fn our_clients_find_a_stock_server_and_use_it_5_6() {
    if let Some(peer) = requirement::peer("testing") {
        lab::inside_with(&peer, |lab| {
            our_clients_use_a_stock_server(lab);
        });
    }
}

#[test]
fn our_clients_find_a_stock_server_and_use_it_5_1() {
    if let Some(peer) = requirement::peer("trixie") {
        lab::inside_with(&peer, |lab| {
            our_clients_use_a_stock_server(lab);
        });
    }
}

#[test]
fn our_clients_find_a_stock_server_and_use_it_4_8() {
    if let Some(peer) = requirement::peer("bookworm") {
        lab::inside_with(&peer, |lab| {
            our_clients_use_a_stock_server(lab);
        });
    }
}

fn our_clients_use_a_stock_server(lab: &Lab) {
    let network = Network::of(lab);
    // It serves the running kernel, too, which the root cannot compile for.
    let option = format!("-r{}", network.site.release());
    let server = network.site.server(lab.bob()).arg(&option);
    let server = network.site.start(server, lab.bob());
    let entries = &network.see(server.port)[1];
    let serial = serial(entries);
    let names: BTreeSet<_> = entries.iter().map(|entry| entry.name.clone()).collect();
    assert!(names.into_iter().eq(names_of("labhost", 2)), "{entries:?}");
    let there = format!("labhost.local 10.77.0.1 {} 'sysinfo=", server.port);
    for host in network.hosts {
        for (search, count) in [(&[][..], 1), (&["--all"], 2)] {
            let search = host.command(lab.alice(), "stap-find-servers").args(search);
            let found = search.run();
            let listed = found.exits(0).out();
            assert!(
                listed.lines().all(|line| line.starts_with(&there)),
                "{found}"
            );
            assert_eq!(listed.lines().count(), count, "{found}");
        }
    }
    for (host, user) in network.hosts.into_iter().zip([lab.bob(), lab.alice()]) {
        let client = |words: &[&str]| host.command(user, "stap-client").args(words).run();
        let parse = [&[option.as_str()][..], &PARSE].concat();
        if user == lab.alice() {
            client(&parse).exits(1).prints_nothing();
        }
        trust(user, &lab.bob().server_database().join("stap.cert"));
        let by_number = format!("--server={serial}");
        for named in [
            &[][..],
            &["--use-server"],
            &[&by_number],
            &["--server=labhost.local"],
        ] {
            parsed(&client(&[named, &parse].concat()));
        }
    }
    server.stop();
}

/// What a stock server of 5.1 and 5.6 leaves is open to everybody, which our clients reject with the way to mend it.
fn trust(user: User, certificate: &Path) {
    if user.client_database().exists() {
        for closed in [user.home().join(".systemtap/ssl"), user.client_database()] {
            user.command("chmod")
                .arg("-R")
                .arg("go-w")
                .arg(closed)
                .run()
                .exits(0);
        }
    }
    user.run("stap-authorize-server-cert", [certificate])
        .exits(0);
}

fn parsed(used: &Finished) {
    let out = used.exits(0).out();
    assert!(out.starts_with("# parse tree dump\n"), "{used}");
}
