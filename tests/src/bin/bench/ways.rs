//! The ways to compile a script, and what one compile costs in each.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stap_policy::builtin::PERSONAL;
use stap_tests::command::Invocation;
use stap_tests::finished::Finished;
use stap_tests::interop::site::Site;
use stap_tests::lab::{self, Lab, User};
use stap_tests::root;
use stap_tests::server::Server;

use crate::account::Account;
use crate::kinds::{self, HELLO, Script};
use crate::passes::Passes;
use crate::table::Series;

/// Who compiles for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `stap -p4`.
    Bare,
    /// A stock client and a stock server.
    Stock,
    /// `stap-client` and `stap-serverd`.
    Ours,
    /// A stock client and `stap-serverd`.
    Mixed,
    /// `stap-client` and `stap-serverd`, which lets make do pass 4.
    Made,
}

/// One compile.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Account,
}

/// Bare stap, the servers and their client, who is one user. Stock SystemTap leaves its databases writable for
/// everybody, and ours would not use them, so its server is another user's.
pub(crate) struct Yard<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) site: Site,
    pub(crate) stock: Server,
    pub(crate) ours: Server,
    made: Server,
    directories: AtomicUsize,
}

impl<'a> Yard<'a> {
    /// Starts the servers.
    pub(crate) fn prepare(lab: &'a Lab) -> Self {
        let site = Site::lay_out(lab);
        let yard = Self {
            lab,
            stock: site.serve(lab.bob()),
            ours: root::serve_under(lab.alice(), &roomy(lab.alice())),
            made: root::serve_making(lab.alice()),
            site,
            directories: AtomicUsize::new(0),
        };
        yard.trust(lab.bob());
        kinds::write_tapset(yard.client());
        // What is made once for a kernel.
        for way in [Way::Ours, Way::Made] {
            yard.compile(way, &kinds::script(HELLO, 0));
        }
        yard
    }

    /// Has the client trust the servers of somebody.
    fn trust(&self, owner: User) {
        let certificate = owner.server_database().join("stap.cert");
        let client = self.client();
        client
            .run("stap-authorize-server-cert", [certificate])
            .exits(0);
    }

    /// Who asks, and who compiles without a server.
    pub(crate) fn client(&self) -> User {
        self.lab.alice()
    }

    /// The server of a way.
    pub(crate) fn server(&self, way: Way) -> Option<&Server> {
        match way {
            Way::Bare => None,
            Way::Stock => Some(&self.stock),
            Way::Ours | Way::Mixed => Some(&self.ours),
            Way::Made => Some(&self.made),
        }
    }

    /// Compiles, which must succeed.
    pub(crate) fn compile(&self, way: Way, script: &Script) -> Cost {
        self.compile_at(way, self.server(way), script)
    }

    /// The same with another server of that kind.
    pub(crate) fn compile_at(&self, way: Way, server: Option<&Server>, script: &Script) -> Cost {
        let before = Account::of(way, server);
        let wall = self.ask(way, server, script);
        Cost {
            wall,
            cpu: Account::of(way, server) - before,
        }
    }

    /// Compiles, and hears from stap what its passes took.
    pub(crate) fn compile_told(&self, way: Way, script: &Script) -> (Cost, Passes) {
        let server = self.server(way);
        let release = [self.site.release().to_owned()];
        let before = Account::of(way, server);
        let (wall, said) = self.run(way, server, &release, script, &["-v"]);
        let cpu = Account::of(way, server) - before;
        (Cost { wall, cpu }, Passes::read(&said))
    }

    /// Compiles while others do; only the time on the wall is one's own.
    pub(crate) fn ask(&self, way: Way, server: Option<&Server>, script: &Script) -> Duration {
        self.ask_for(way, server, &[self.site.release().to_owned()], script)
    }

    /// The same with more options, asking a stock server again when it fails. Returns how often that was, and what was said
    /// on stderr in the end: among clients at once, one may get an empty reply.
    pub(crate) fn insist(
        &self,
        way: Way,
        server: Option<&Server>,
        script: &Script,
        options: &[&str],
    ) -> (usize, String) {
        let release = [self.site.release().to_owned()];
        for failures in 0..PATIENCE {
            let (_, finished) = self.attempt(way, server, &release, script, options);
            if finished.code() == Some(0) {
                return (failures, finished.err());
            }
            assert_eq!(way, Way::Stock, "{finished}");
        }
        panic!("the stock server fails {PATIENCE} times");
    }

    /// The same for other kernels, of which stock clients take one.
    pub(crate) fn ask_for(
        &self,
        way: Way,
        server: Option<&Server>,
        releases: &[String],
        script: &Script,
    ) -> Duration {
        self.run(way, server, releases, script, &[]).0
    }

    /// Returns what was said on stderr, too.
    fn run(
        &self,
        way: Way,
        server: Option<&Server>,
        releases: &[String],
        script: &Script,
        options: &[&str],
    ) -> (Duration, String) {
        let (wall, finished) = self.attempt(way, server, releases, script, options);
        finished.exits(0);
        (wall, finished.err())
    }

    fn attempt(
        &self,
        way: Way,
        server: Option<&Server>,
        releases: &[String],
        script: &Script,
        options: &[&str],
    ) -> (Duration, Finished) {
        let directory = self.directory();
        let client = self.client();
        let (command, option) = match way {
            Way::Ours | Way::Made => (
                client.command("stap-client").directory(&directory),
                "--server",
            ),
            Way::Bare | Way::Stock | Way::Mixed => (self.stap(client, &directory), "--use-server"),
        };
        let address = server.map(|server| format!("{option}={}", server.address()));
        let command = command
            .args(address)
            .args(releases.iter().flat_map(|release| ["-r", release]))
            .arg("-p4")
            .args(options)
            .args(script.arguments(&client.home()));
        let start = Instant::now();
        let finished = command.deadline(lab::SLOW).run();
        let wall = start.elapsed();
        fs::remove_dir_all(directory).expect("root may write everywhere");
        (wall, finished)
    }

    fn stap(&self, user: User, directory: &Path) -> Invocation {
        self.site.command_in(user, directory, "stap")
    }

    /// An empty directory of the client, where his module will be.
    fn directory(&self) -> PathBuf {
        let number = self.directories.fetch_add(1, Ordering::Relaxed);
        let file = self.client().write(format!("bench/{number}/empty"), "");
        file.parent()
            .expect("it is in the directory just made")
            .to_owned()
    }

    /// Stops the servers.
    pub(crate) fn close(&self) {
        for server in [&self.ours, &self.made, &self.stock] {
            server.stop();
        }
    }
}

/// A policy file for more connections at once than one person has.
fn roomy(user: User) -> String {
    let few = "connections-per-peer = 64";
    assert!(PERSONAL.contains(few), "it gives another number now");
    let text = PERSONAL
        .replace(few, "connections-per-peer = 128")
        .replace("connections          = 64", "connections = 256");
    let file = user.write("roomy.toml", text);
    file.display().to_string()
}

/// The order of two or four ways in a run. No way follows itself, and of four, neither of the last two follows the other: a
/// server of ours gives its memory otherwise to a job that follows another.
pub(crate) fn apart(ways: usize, run: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..ways).step_by(2).chain((1..ways).step_by(2)).collect();
    order.rotate_left(run * 2 % ways);
    order
}

/// One series for each way, of what is asked of each cost.
pub(crate) fn series(costs: &[Vec<Cost>], of: fn(&Cost) -> Duration) -> Vec<Series> {
    let ways = costs.iter();
    ways.map(|costs| Series::of(costs.iter().map(of).collect()))
        .collect()
}

impl Way {
    /// As tables call it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare stap",
            Self::Stock => "stock pair",
            Self::Ours => "ours",
            Self::Mixed => "ours, stock client",
            Self::Made => "ours, with make",
        }
    }
}

/// How often a stock server is asked for one module.
const PATIENCE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_follows_one_that_has_its_server() {
        for ways in [2, 4] {
            let order: Vec<_> = (0..8).flat_map(|run| apart(ways, run)).collect();
            for (before, after) in order.iter().zip(&order[1..]) {
                assert_ne!(before, after, "of {ways}");
                assert!(*before < 2 || *after < 2, "{before} and {after}");
            }
            for way in 0..ways {
                let times = order.iter().filter(|other| **other == way).count();
                assert_eq!(times, 8, "as often as the others");
            }
        }
    }
}
