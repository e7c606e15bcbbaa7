//! An announcement while daemons, interfaces, names and servers come and go around it: row X11.

use rustix::process::Signal;
use stap_tests::host::Host;
use stap_tests::lab::{self, Lab, User};
use stap_tests::mdns::Avahi;
use stap_tests::process;
use stap_tests::server::Server;
use stap_tests::wait;

/// Waits until our tools and avahi find a server, on every host.
fn is_found(user: User, port: u16, avahis: &[(Host, Avahi)]) {
    for (host, avahi) in avahis {
        wait::until_true(&format!("our tools find {port} on {}", host.name), || {
            ports(*host, user).contains(&port)
        });
        wait::until_true(&format!("avahi finds {port} on {}", host.name), || {
            let entries = avahi.entries();
            entries.iter().any(|entry| entry.port == port)
        });
    }
}

/// Ports of the servers that our tools find.
fn ports(host: Host, user: User) -> Vec<u16> {
    let found = host
        .command(user, "stap-find-servers")
        .arg("--all")
        .run()
        .out();
    let port = |line: &str| line.split(' ').nth(2)?.parse().ok();
    found.lines().filter_map(port).collect()
}

fn on_two_hosts(lab: &Lab) -> [(Host, Avahi); 2] {
    [lab.first_host(), lab.second_host()].map(|host| (host, Avahi::start_on(host)))
}

#[test]
fn x11_restarts_of_daemons_on_either_host_change_nothing() {
    lab::inside(|lab| {
        let avahis = on_two_hosts(lab);
        let server = lab.serve(lab.alice());
        is_found(lab.alice(), server.port, &avahis);
        for (_, avahi) in &avahis {
            avahi.restart();
            is_found(lab.alice(), server.port, &avahis);
            avahi.restart_bus();
            is_found(lab.alice(), server.port, &avahis);
        }
    });
}

#[test]
fn we_and_avahi_share_a_host_in_either_order() {
    lab::inside(|lab| {
        let (first, second) = (lab.first_host(), lab.second_host());
        let there = Avahi::start_on(second);
        let before = lab.serve(lab.alice());
        let here = Avahi::start_on(first);
        let _other = here.publish("x", 65001, &["sysinfo=9.9.9 x86_64"]);
        let after = lab.serve(lab.bob());
        let avahis = [(first, here), (second, there)];
        for port in [before.port, after.port, 65001] {
            is_found(lab.alice(), port, &avahis);
        }
        // Nobody has taken the other one's name for a stranger's.
        for entry in avahis.iter().flat_map(|(_, avahi)| avahi.entries()) {
            assert_eq!(entry.host, "labhost.local", "{entry:?}");
        }
    });
}

#[test]
fn an_interface_may_go_and_come_back() {
    lab::inside(|lab| {
        let avahis = on_two_hosts(lab);
        let server = lab.serve(lab.alice());
        is_found(lab.alice(), server.port, &avahis);
        for (host, _) in &avahis {
            host.ip(&format!("link set {} down", host.interface));
            wait::until_true("the other host finds it no more", || {
                !ports(avahis[1].0, lab.alice()).contains(&server.port)
            });
            host.ip(&format!("link set {} up", host.interface));
            is_found(lab.alice(), server.port, &avahis);
        }
    });
}

#[test]
fn an_address_may_come_later_and_change() {
    lab::inside(|lab| {
        let first = lab.first_host();
        first.ip("addr flush dev lab0");
        let avahis = on_two_hosts(lab);
        // Loopback is enough for a start.
        let server = lab.serve_with(lab.alice(), []);
        assert_eq!(ports(avahis[1].0, lab.alice()), [0; 0]);
        for address in ["10.77.0.1", "10.77.0.9"] {
            first.ip(&format!("addr add {address}/24 dev lab0"));
            let there = format!(" {address} {} ", server.port);
            wait::until_true(&format!("it is found at {address}"), || {
                let second = avahis[1].0.command(lab.alice(), "stap-find-servers").run();
                second.out().contains(&there)
            });
            is_found(lab.alice(), server.port, &avahis);
            first.ip(&format!("addr del {address}/24 dev lab0"));
        }
    });
}

#[test]
fn servers_of_one_name_are_all_reached() {
    lab::inside(|lab| {
        let second = lab.second_host();
        second.rename("labhost");
        let hosts = [lab.first_host(), second];
        let servers: Vec<Server> = std::thread::scope(|scope| {
            let starts = [lab.alice(), lab.bob()].into_iter().zip(hosts);
            let starting =
                starts.map(|(user, host)| scope.spawn(move || host.serve_with(user, [])));
            let starting: Vec<_> = starting.collect();
            let started = starting.into_iter().map(|start| start.join());
            started.map(|server| server.expect("it starts")).collect()
        });
        let avahis = hosts.map(|host| (host, Avahi::start_on(host)));
        for server in &servers {
            is_found(lab.alice(), server.port, &avahis);
        }
        for (host, _) in &avahis {
            for (user, server) in [lab.alice(), lab.bob()].into_iter().zip(&servers) {
                // Each trusts only his own, whatever the other one is called. Until the names are settled
                // an answer can still have the old one.
                wait::until_true(&format!("{} is used on {}", server.port, host.name), || {
                    let used = host
                        .command(user, "stap-client")
                        .args(["-p1", "-e", lab::HELLO])
                        .run();
                    used.code() == Some(0) && used.out() == "# parse tree dump\n"
                });
                assert!(!server.requests().is_empty());
            }
        }
    });
}

#[test]
fn a_goodbye_is_heard_on_the_other_host() {
    lab::inside(|lab| {
        let avahis = on_two_hosts(lab);
        let by_signal = |server: &Server| server.stop();
        let by_tool = |server: &Server| {
            let pid = server.pid.to_string();
            lab.alice().run("stap-stop-server", [pid]).exits(0);
        };
        for stop in [&by_signal as &dyn Fn(&Server), &by_tool] {
            let server = lab.serve(lab.alice());
            is_found(lab.alice(), server.port, &avahis);
            stop(&server);
            // Without a goodbye they would be there for two minutes, which is not waited for.
            for (host, avahi) in &avahis {
                wait::until_true(&format!("avahi has forgotten it on {}", host.name), || {
                    avahi.entries().is_empty()
                });
                assert_eq!(ports(*host, lab.alice()), [0; 0]);
            }
        }
    });
}

#[test]
fn what_was_killed_is_not_believed_for_ever() {
    lab::inside(|lab| {
        let avahis = on_two_hosts(lab);
        let killed = lab.serve(lab.alice());
        is_found(lab.alice(), killed.port, &avahis);
        process::signal(killed.pid, Signal::KILL);
        wait::until_true("it has ended", || !killed.is_alive());
        // Our tools remember nothing of it.
        for (host, _) in &avahis {
            assert_eq!(ports(*host, lab.alice()), [0; 0]);
        }
        // What avahi remembers is replaced by the next server, which gets the same name.
        let next = lab.serve(lab.alice());
        is_found(lab.alice(), next.port, &avahis);
        for (host, avahi) in &avahis {
            wait::until_true(
                &format!("avahi sees the next one alone on {}", host.name),
                || {
                    let entries = avahi.entries();
                    entries
                        .iter()
                        .all(|entry| entry.port == next.port && !entry.name.contains('#'))
                },
            );
        }
    });
}

#[test]
fn two_interfaces_on_one_link_are_no_conflict() {
    lab::inside(|lab| {
        // Without a second host the link's other end is here, too.
        let first = lab.first_host();
        first.ip("addr add 10.77.0.3/24 dev lab1");
        let avahis = [(first, Avahi::start(lab))];
        let server = lab.serve(lab.alice());
        is_found(lab.alice(), server.port, &avahis);
        avahis[0].1.restart();
        is_found(lab.alice(), server.port, &avahis);
        for entry in avahis[0].1.entries() {
            let names = [entry.name.as_str(), entry.host.as_str()];
            let own = ["Systemtap Compile Server on labhost", "labhost.local"];
            assert_eq!(names, own, "{entry:?}");
        }
    });
}
