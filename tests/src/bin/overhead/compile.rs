//! Whole compiles of one script whose constant changes, bare and served by turns.

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
struct Contest {
    user: User,
    bare: Bare,
    server: Server,
    release: String,
}

/// Compiles `runs` times each way and prints the comparison.
pub(crate) fn compare(lab: &Lab, runs: usize, constants: &mut Constants) {
    let contest = Contest {
        user: lab.alice(),
        bare: Bare::prepare(lab, lab.alice()),
        server: root::serve(lab.alice()),
        release: machine::target(),
    };
    // What is made once for a kernel is not what is measured.
    contest.bare_compile(constants.next());
    contest.served_compile(constants.next());
    let (mut bare, mut served) = (Vec::new(), Vec::new());
    for run in 0..runs {
        // Whoever comes second finds warmer processors, so each is second half of the time.
        if run % 2 == 1 {
            served.push(contest.served_compile(constants.next()));
        }
        bare.push(contest.bare_compile(constants.next()));
        if run % 2 == 0 {
            served.push(contest.served_compile(constants.next()));
        }
    }
    contest.server.stop();
    print(&bare, &served);
}

impl Contest {
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

fn script(constant: u64) -> String {
    format!("probe begin {{ printf(\"Hello World! %d\\n\", {constant}) exit() }}")
}

fn print(bare: &[Cost], served: &[Cost]) {
    let runs = bare.len();
    let series =
        |costs: &[Cost], part: fn(&Cost) -> Duration| Series::of(costs.iter().map(part).collect());
    let total = |cost: &Cost| cost.cpu.total();
    table::comparison(
        &format!("stap -p4 of a hello, warm, no module cached: medians of {runs} by turns"),
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
    table::parts(
        "Who used the processor in a served compile: means",
        sum,
        runs,
    );
    println!("Load after: {}", machine::load());
}
