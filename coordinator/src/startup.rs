//! From a command line to a server that could serve: the order of the start.
//!
//! The process has one thread here and all the rights that it was started with. What needs them comes
//! first; they are given up at the end.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stap_certs::module_keys::ModuleKeys;
use stap_certs::server::PasswordRule;
use stap_certs::{Environment, Paths, Programs};
use stap_protocol::job::{Configuration, LayerState};
use stap_protocol::signing::messages;
use stap_store::Shelf;

use crate::confine::{Account, confine};
use crate::console::Console;
use crate::database::{Credentials, CredentialsError, Database};
use crate::doctor::uids_of_people;
use crate::headroom::Headroom;
use crate::listener::Bound;
use crate::log;
use crate::options::Options;
use crate::peer::Owners;
use crate::results::{self, Keeping};
use crate::seats::LEAVING;
use crate::server::{Prepared, fingerprints};
use crate::settings::{PolicyText, Surroundings, absolute, configuration, slots};
use crate::signing::{self, Surety};
use crate::worker::{self, Spawned};
use crate::{Clock, Failure};

/// Gathers everything that serving needs.
///
/// # Errors
/// The first thing that is missing, in words for the person who started the server.
pub fn prepare(options: &Options, clock: Clock, console: &Console) -> Result<Prepared, Failure> {
    log::start(destination(options), clock)?;
    mention(&ignored(options), options, console);
    let environment = Environment::current();
    let surroundings = Surroundings::of_process(
        environment
            .home
            .clone()
            .map(Into::into)
            .or_else(|| environment.passwd_home.clone()),
    );
    warn_about_root(&surroundings, options, console);
    let policy = PolicyText::read(&options.policy)?;
    if surroundings.root {
        let shared = uids_of_people(&policy.policy, options);
        mention(shared.as_slice(), options, console);
    }
    let nodename = nodename();
    let named_database = options.database.as_deref().map(absolute).transpose()?;
    let database = Database::new(
        &Paths::discover(&environment)?,
        named_database.as_deref(),
        &nodename,
        password_rule(options),
    );
    let credentials = open_database(&database, options, clock, console)?;
    let bound = Bound::to_port(options.port)?;
    let signer = signing::start(messages::Configuration {
        database: database.server().to_owned(),
        policy: policy.text.clone(),
    })?;
    mention(&signer.keys.warnings, options, console);
    let account = account(&surroundings)?;
    // It must be there before the worker covers it.
    let results = surroundings.results()?;
    let keeping = results::open(&policy.policy, &results, account.as_ref());
    let worker = worker::start(Configuration {
        hidden: hidden(&database, &results),
        ..configuration(options, &surroundings, &policy)?
    })?;
    describe(&worker);
    let surety = Surety::of(&policy.policy, &worker.readiness.layers);
    tracing::info!("{}", keeping.describe());
    tracing::info!("signing: {}", surety.describe(&policy.policy, &signer.keys));
    if worker.readiness.targets.is_empty() {
        return Err(Failure::NoTargets(worker.readiness.unusable));
    }
    // All names of the command line are resolved, and a server that goes on must not keep the file
    // system busy in which it happened to be started.
    std::env::set_current_dir("/").map_err(Failure::WorkingDirectory)?;
    let (owners, headroom) = (owners(), headroom());
    let most_connections = most_connections(&policy);
    give_up_rights(account.as_ref(), &database, &keeping)?;
    Ok(Prepared {
        nodename,
        clock,
        limits: policy.request_limits(options),
        policy,
        slots: slots(options),
        options: options.stap_options.join(" "),
        advertise: !options.no_advertise,
        database,
        credentials,
        bound,
        owners,
        headroom,
        most_connections,
        worker,
        machine_owner_keys: fingerprints(&signer.keys),
        signer,
        surety,
        keeping,
    })
}

/// A confined process could not ask the kernel anew.
fn owners() -> Option<Owners> {
    let opened = Owners::open();
    match &opened {
        Ok(_) => tracing::info!("users of this host are told apart by the kernel's word"),
        Err(error) => tracing::warn!(
            "users of this host share one address, and cannot be told apart: {error}; load the module tcp_diag, and \
             allow address family netlink"
        ),
    }
    opened.ok()
}

/// Nor could it open this.
fn headroom() -> Headroom {
    Headroom::open().unwrap_or_else(|error| {
        tracing::warn!(
            "jobs start whether there is memory for them or not: {error}; mount /proc as a whole"
        );
        Headroom::unknown()
    })
}

/// As many connections as the policy wants and this process has descriptors for. It may take all that
/// its hard limit allows; the worker, which runs already, keeps its own.
fn most_connections(policy: &PolicyText) -> usize {
    let wanted = policy.policy.admission().connections.get();
    let needed = wanted.saturating_add(OTHER_DESCRIPTORS);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: Some(limit.maximum.map_or(needed, |most| most.min(needed))),
            ..limit
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::debug!(%error, "the limit of open files stays"),
        }
    }
    let has = limit.current.unwrap_or(u64::MAX);
    if has < needed {
        tracing::warn!(
            "the policy allows {wanted} connections, but this process may have only {has} files open; raise its limit \
             (LimitNOFILE=, ulimit -n) to {needed}"
        );
    }
    usize::try_from(has.saturating_sub(OTHER_DESCRIPTORS).max(1)).unwrap_or(usize::MAX)
}

/// Lines for people who wait for the start go to their terminal and nowhere else.
fn destination(options: &Options) -> log::Destination<'_> {
    match (&options.log, options.ready_fd) {
        (Some(file), _) => log::Destination::File(file),
        (None, Some(_)) => log::Destination::Nowhere,
        (None, None) => log::Destination::Stderr,
    }
}

/// A server starts whatever else it was told.
fn ignored(options: &Options) -> Vec<String> {
    let words = options.unknown.iter();
    let warning = |word| format!("ignoring '{word}', which is not an option of stap-serverd");
    words.map(warning).collect()
}

fn mention(warnings: &[String], options: &Options, console: &Console) {
    for warning in warnings {
        console.warning(warning);
        if options.log.is_some() {
            tracing::warn!("{warning}");
        }
    }
}

fn warn_about_root(surroundings: &Surroundings, options: &Options, console: &Console) {
    if surroundings.root && !surroundings.root_is_meant {
        let warning = "running as root; the server gives up what it does not need, but an ordinary user is safer \
                       (set STAP_PR11197_OVERRIDE to silence this)";
        mention(&[warning.to_owned()], options, console);
    }
}

/// Our own key needs no password, but an NSS store in the same directory may want one.
fn password_rule(options: &Options) -> PasswordRule {
    if options.password {
        PasswordRule::Required
    } else {
        PasswordRule::AsFound
    }
}

fn open_database(
    database: &Database,
    options: &Options,
    clock: Clock,
    console: &Console,
) -> Result<Credentials, Failure> {
    database
        .open(clock(), &Programs::installed())
        .inspect(|credentials| {
            mention(&credentials.opened.warnings, options, console);
            mention(&credentials.warnings, options, console);
        })
        .map_err(|error| tell_findings(&error, options, console))
}

/// The findings precede the sentence that ends the start.
fn tell_findings(error: &CredentialsError, options: &Options, console: &Console) -> Failure {
    let mut lines = error.lines();
    let last = lines.pop().unwrap_or_else(|| error.to_string());
    mention(&lines, options, console);
    Failure::Database(last)
}

fn describe(worker: &Spawned) {
    for target in &worker.readiness.targets {
        let (name, root, version) = (&target.name, target.root.display(), &target.stap_version);
        tracing::info!(
            "serving {name} from {root} with stap {version}, build {}, pass 4 {}",
            target.build_id,
            target.pass_4_in_words()
        );
    }
    for unusable in &worker.readiness.unusable {
        tracing::info!(
            "not serving {}: {}",
            unusable.build_tree.display(),
            unusable.reason
        );
    }
    for layer in &worker.readiness.layers {
        let state = match layer.state {
            LayerState::Enforced => "enforced",
            LayerState::Absent => "absent",
        };
        tracing::info!("isolation: {} is {state}: {}", layer.name, layer.detail);
    }
}

/// Who faces the network after a start by root.
fn account(surroundings: &Surroundings) -> Result<Option<Account>, Failure> {
    if surroundings.root {
        return Ok(Account::of_service()?);
    }
    Ok(None)
}

/// What neither the worker nor a job has any business in.
fn hidden(database: &Database, results: &Path) -> Vec<PathBuf> {
    let databases = database.directories().map(Path::to_path_buf);
    let keys = ModuleKeys::place(database.server());
    let results = results.to_owned();
    databases.into_iter().chain(keys).chain([results]).collect()
}

fn give_up_rights(
    account: Option<&Account>,
    database: &Database,
    keeping: &Keeping,
) -> Result<(), Failure> {
    let results = keeping.shelf.as_ref().map(Shelf::directory);
    let in_force = confine(account, &database.directories(), results)?;
    tracing::info!("this process is confined: {}", in_force.join(", "));
    Ok(())
}

/// What `uname -n` prints.
fn nodename() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// What is open besides connections of clients, with room for those that are leaving.
const OTHER_DESCRIPTORS: u64 = 64 + LEAVING as u64;
