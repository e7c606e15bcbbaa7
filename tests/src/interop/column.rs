//! Who asks whom: one column of the matrix, and how it gets its answers.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::answer::Answer;
use super::rows::{FILES, FOLDER, MANY, ROWS, Row};
use super::site::Site;
use crate::command::Invocation;
use crate::lab::{self, Lab, User};
use crate::root;
use crate::server::Server;

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Stock SystemTap's.
    Stock,
    /// Ours.
    Ours,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// An ordinary user.
    User,
    /// The administrator.
    Root,
}

/// A client and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The client's side.
    pub client: Side,
    /// The server's side.
    pub server: Side,
    /// The client's user.
    pub who: Who,
}

/// Bare stap, or a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// stap alone.
    Bare(Who),
    /// Through a server.
    Pair(Pair),
}

/// A lab with everything that a column may need.
#[derive(Debug)]
pub struct Scene<'a> {
    lab: &'a Lab,
    site: Site,
}

/// The commands of one column.
struct Asker<'a> {
    scene: &'a Scene<'a>,
    user: User,
    client: Side,
    /// None for bare stap.
    server: Option<Server>,
}

impl<'a> Scene<'a> {
    /// Lays out stock SystemTap and the files of the command lines.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn set(lab: &'a Lab) -> Self {
        let many = (0..MANY).map(|number| {
            let text = format!("function many{number}() {{ return {number} }}\n");
            (format!("many/many{number}.stp"), text)
        });
        let given = FILES
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        for (name, text) in given.chain(many) {
            let path = Path::new(FOLDER).join(name);
            fs::create_dir_all(path.parent().expect("a file is in a directory"))
                .expect("root may write everywhere");
            fs::write(path, text).expect("root may write everywhere");
        }
        Self {
            lab,
            site: Site::lay_out(lab),
        }
    }

    /// What the root's stap calls itself.
    ///
    /// # Panics
    /// When it is not stap.
    #[must_use]
    pub fn version(&self) -> String {
        let told = self.site.command(self.lab.bob(), "stap").arg("-V").run();
        let told = told.exits(0).out() + &told.err();
        let version = told
            .split_once("(version ")
            .and_then(|(_, rest)| rest.split(['/', ' ', ',']).next());
        version
            .unwrap_or_else(|| panic!("stap -V says {told:?}"))
            .to_owned()
    }

    /// Asks all that the column has rows for, in the order of the rows.
    #[must_use]
    pub fn ask(&self, column: Column) -> Vec<(&'static str, Answer)> {
        let asker = self.asker(column);
        let rows: Vec<_> = ROWS.iter().filter(|row| column.has(row)).collect();
        let answers = Mutex::new(Vec::new());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = asker.ask(row);
                answers
                    .lock()
                    .expect("nobody panics with it")
                    .push((row.name, answer));
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..column.at_once() {
                scope.spawn(work);
            }
        });
        if let Some(server) = &asker.server {
            self.retire(server);
        }
        let mut answers = answers.into_inner().expect("nobody panics with it");
        answers.sort_by_key(|(name, _)| ROWS.iter().position(|row| row.name == *name));
        answers
    }

    fn asker(&'a self, column: Column) -> Asker<'a> {
        let (who, client, server) = match column {
            Column::Bare(who) => (who, Side::Stock, None),
            Column::Pair(pair) => (pair.who, pair.client, Some(self.serve(pair))),
        };
        Asker {
            scene: self,
            user: self.user(who),
            client,
            server,
        }
    }

    fn user(&self, who: Who) -> User {
        match who {
            Who::User => self.lab.bob(),
            Who::Root => self.lab.root(),
        }
    }

    /// Starts alice's server, and has the client's user trust it.
    fn serve(&self, pair: Pair) -> Server {
        let owner = self.lab.alice();
        let server = match pair.server {
            Side::Stock => self.site.serve(owner),
            Side::Ours => root::serve_making(owner),
        };
        let certificate = owner.server_database().join("stap.cert");
        let client = self.user(pair.who);
        let trusts = client.run("stap-authorize-server-cert", [&certificate]);
        trusts.exits(0).says_nothing();
        server
    }

    /// Stops a server for good. What a stock server keeps may be written by everybody, so ours would not start with it.
    fn retire(&self, server: &Server) {
        server.stop();
        let databases = self.lab.alice().home().join(".systemtap/ssl");
        fs::remove_dir_all(databases).expect("the server has made it");
    }
}

impl Asker<'_> {
    /// Asks in a directory that nobody else uses.
    fn ask(&self, row: &Row) -> Answer {
        let directory = self
            .user
            .home()
            .join("asked")
            .join(row.name.replace(' ', "-"));
        // The same for every column, because stap names it, and empty.
        if directory.exists() {
            fs::remove_dir_all(&directory).expect("root may write everywhere");
        }
        fs::create_dir_all(&directory).expect("root may write everywhere");
        chown(&directory, Some(self.user.id), Some(self.user.id)).expect("we are root");
        let mut command = self.command(&directory);
        for (name, value) in row.environment {
            command = command.env(name, value);
        }
        let release = ["-r", self.scene.site.release()];
        let command = command.args(release).args(row.arguments).input(row.input);
        let finished = command.deadline(lab::SLOW).run();
        if self.client == Side::Ours {
            remove_kept(&finished.err());
        }
        Answer::of(&finished, &directory)
    }

    fn command(&self, directory: &Path) -> Invocation {
        let address = self.server.as_ref().map(Server::address);
        match (self.client, address) {
            (Side::Ours, server) => {
                let command = self.user.command("stap-client").directory(directory);
                command.args(server.iter().map(|server| format!("--server={server}")))
            }
            (Side::Stock, server) => {
                let command = self.scene.site.command_in(self.user, directory, "stap");
                command.args(server.iter().map(|server| format!("--use-server={server}")))
            }
        }
    }
}

/// What our client keeps lies in the lab's own directory, where nothing may stay.
fn remove_kept(said: &str) {
    let line = |line: &str| Some(line.strip_prefix(KEPT)?.strip_suffix('"')?.to_owned());
    for directory in said.lines().filter_map(line) {
        fs::remove_dir_all(directory).expect("what is announced is there");
    }
}

impl Column {
    /// Whether a row is tried: all where programs differ, some where only the user does.
    #[must_use]
    pub fn has(&self, row: &Row) -> bool {
        let is_usual = match self {
            Self::Bare(who) => *who == Who::User,
            Self::Pair(pair) => pair.who == Who::User,
        };
        is_usual || row.everywhere
    }

    /// How many questions may be asked at the same time. A stock server has one working directory, which it changes for
    /// each program that it starts: of two requests at once, one now and then gets the answer of the other, or none.
    fn at_once(self) -> usize {
        match self {
            Self::Pair(pair) if pair.server == Side::Stock => 1,
            Self::Pair(_) | Self::Bare(_) => AT_ONCE,
        }
    }

    /// A name for files.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{self:?}")
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect()
    }
}

/// What stap says of it; the name follows.
const KEPT: &str = "Keeping temporary directory \"";
/// As many as there are processors on the smallest machine that the tests are made for.
const AT_ONCE: usize = 2;
