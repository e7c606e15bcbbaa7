//! Whole compiles of one script whose constant changes, and repeats of one that was compiled, bare and
//! served by turns.

use std::time::{Duration, Instant};

use stap_tests::lab::{self, Lab, User};
use stap_tests::root::{self, Bare};
use stap_tests::server::Server;

use crate::Constants;
use crate::account::Account;
use crate::machine;
use crate::table::{self, Series};

/// One compile.
struct Cost {
    wall: Duration,
    cpu: Account,
}

/// Both ways to compile.
pub(crate) struct Contest {
    pub(crate) user: User,
    bare: Bare,
    pub(crate) server: Server,
    pub(crate) release: String,
}

impl Contest {
    /// Starts a server, and has made on both sides what is made once for a kernel.
    pub(crate) fn prepare(lab: &Lab, constants: &mut Constants) -> Self {
        let contest = Self {
            user: lab.alice(),
            bare: Bare::prepare(lab, lab.alice()),
            server: root::serve(lab.alice()),
            release: machine::target(),
        };
        contest.bare_compile(constants.next());
        contest.served_compile(constants.next());
        contest
    }

    /// Compiles `runs` times each way and prints the comparison.
    pub(crate) fn compare(&self, runs: usize, constants: &mut Constants) {
        self.take_turns(
            &format!("stap -p4 of a hello, warm, no module cached: medians of {runs} by turns"),
            "Who used the processor in a served compile: means",
            runs,
            || constants.next(),
        );
        println!("Load after: {}", machine::load());
    }

    /// The same for a script that both sides have compiled before.
    pub(crate) fn repeat(&self, runs: usize, constants: &mut Constants) {
        let constant = constants.next();
        self.bare_compile(constant);
        self.served_compile(constant);
        self.take_turns(
            &format!("A repeat, in stap's own cache and in the store: medians of {runs} by turns"),
            "Who used the processor in a served repeat: means",
            runs,
            || constant,
        );
    }

    fn take_turns(&self, title: &str, parts: &str, runs: usize, mut constant: impl FnMut() -> u64) {
        let (mut bare, mut served) = (Vec::new(), Vec::new());
        for run in 0..runs {
            // Whoever comes second finds warmer processors, so each is second half of the time.
            if run % 2 == 1 {
                served.push(self.served_compile(constant()));
            }
            bare.push(self.bare_compile(constant()));
            if run % 2 == 0 {
                served.push(self.served_compile(constant()));
            }
        }
        print(title, parts, &bare, &served);
    }

    fn bare_compile(&self, constant: u64) -> Cost {
        let script = script(constant);
        let before = Account::of_children();
        let start = Instant::now();
        let arguments = ["-r", &self.release, "-p4", "-e", &script];
        self.bare.stap(&arguments).exits(0);
        Cost {
            wall: start.elapsed(),
            cpu: Account::of_children() - before,
        }
    }

    fn served_compile(&self, constant: u64) -> Cost {
        let (script, at) = (
            script(constant),
            format!("--server={}", self.server.address()),
        );
        let before = Account::with(&self.server);
        let start = Instant::now();
        let arguments = [&at, "-r", &self.release, "-p4", "-e", &script];
        let client = self.user.command("stap-client").args(arguments);
        client.deadline(lab::SLOW).run().exits(0);
        Cost {
            wall: start.elapsed(),
            cpu: Account::with(&self.server) - before,
        }
    }
}

pub(crate) fn script(constant: u64) -> String {
    format!("probe begin {{ printf(\"Hello World! %d\\n\", {constant}) exit() }}")
}

fn print(title: &str, parts: &str, bare: &[Cost], served: &[Cost]) {
    let runs = bare.len();
    let series =
        |costs: &[Cost], part: fn(&Cost) -> Duration| Series::of(costs.iter().map(part).collect());
    let total = |cost: &Cost| cost.cpu.total();
    table::comparison(
        title,
        &[
            (
                "wall",
                series(bare, |cost| cost.wall),
                series(served, |cost| cost.wall),
            ),
            ("processor", series(bare, total), series(served, total)),
        ],
    );
    let sum = served
        .iter()
        .fold(Account::default(), |sum, cost| sum + cost.cpu);
    table::parts(parts, sum, runs);
}
