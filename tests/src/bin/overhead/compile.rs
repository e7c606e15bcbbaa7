//! Whole compiles of scripts whose constants change, and repeats of one that was compiled, bare and
//! served by turns.

use std::time::{Duration, Instant};

use stap_tests::lab::{self, Lab, User};
use stap_tests::root::{self, Bare};
use stap_tests::server::Server;

use crate::Constants;
use crate::account::Account;
use crate::kinds::{self, HELLO, OTHERS};
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
        contest.bare_compile(&kinds::script(HELLO, constants.next()));
        contest.served_compile(&kinds::script(HELLO, constants.next()));
        contest
    }

    /// Compiles scripts of each kind `runs` times each way and prints the comparison.
    pub(crate) fn compare(&self, runs: usize, constants: &mut Constants) {
        let mut new = |kind| self.by_turns(runs, || kinds::script(kind, constants.next()));
        let (bare, served) = new(HELLO);
        print(
            &format!("stap -p4 of a hello, warm, no module cached: medians of {runs} by turns"),
            "Who used the processor in a served compile: means",
            &bare,
            &served,
        );
        let mut rows = vec![row(HELLO.0, &bare, &served)];
        for kind in OTHERS {
            let (bare, served) = new(*kind);
            rows.push(row(kind.0, &bare, &served));
        }
        let title = format!("Processor time by kinds of scripts: medians of {runs} by turns");
        table::kinds(&title, rows);
        println!("Load after: {}", machine::load());
    }

    /// The same for a script that both sides have compiled before.
    pub(crate) fn repeat(&self, runs: usize, constants: &mut Constants) {
        let script = kinds::script(HELLO, constants.next());
        self.bare_compile(&script);
        self.served_compile(&script);
        let (bare, served) = self.by_turns(runs, || script.clone());
        print(
            &format!("A repeat, in stap's own cache and in the store: medians of {runs} by turns"),
            "Who used the processor in a served repeat: means",
            &bare,
            &served,
        );
    }

    fn by_turns(&self, runs: usize, mut script: impl FnMut() -> String) -> (Vec<Cost>, Vec<Cost>) {
        let (mut bare, mut served) = (Vec::new(), Vec::new());
        for run in 0..runs {
            // Whoever comes second finds warmer processors, so each is second half of the time.
            if run % 2 == 1 {
                served.push(self.served_compile(&script()));
            }
            bare.push(self.bare_compile(&script()));
            if run % 2 == 0 {
                served.push(self.served_compile(&script()));
            }
        }
        (bare, served)
    }

    fn bare_compile(&self, script: &str) -> Cost {
        let before = Account::of_children();
        let start = Instant::now();
        let arguments = ["-r", &self.release, "-p4", "-e", script];
        self.bare.stap(&arguments).exits(0);
        Cost {
            wall: start.elapsed(),
            cpu: Account::of_children() - before,
        }
    }

    fn served_compile(&self, script: &str) -> Cost {
        let at = format!("--server={}", self.server.address());
        let before = Account::with(&self.server);
        let start = Instant::now();
        let arguments = [&at, "-r", &self.release, "-p4", "-e", script];
        let client = self.user.command("stap-client").args(arguments);
        client.deadline(lab::SLOW).run().exits(0);
        Cost {
            wall: start.elapsed(),
            cpu: Account::with(&self.server) - before,
        }
    }
}

fn row(name: &'static str, bare: &[Cost], served: &[Cost]) -> table::Row {
    let total = |costs: &[Cost]| Series::of(costs.iter().map(|cost| cost.cpu.total()).collect());
    (name, total(bare), total(served))
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
