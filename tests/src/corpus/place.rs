//! Where scripts go: servers of ours besides the one with everything on, and the stock server.

use std::cell::{Cell, OnceCell};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, ensure};

use super::service::{self, HOSTILE, Service, Start};
use super::stock::{self, Lacking, Stock};
use super::warm::Warm;
use super::{Situation, Who};
use crate::root;
use crate::world::TARGET_ROOT;

/// The servers, each started at its first use.
#[derive(Debug, Default)]
pub struct Place {
    ours: OnceCell<(Rc<Service>, Warm)>,
    rival: OnceCell<Rc<Service>>,
    hostile_rival: OnceCell<Rc<Service>>,
    is_silent: Cell<bool>,
    /// Behind the servers that run in it.
    stock: OnceCell<Stock>,
}

impl Place {
    /// Our server with the real stap of the target root.
    ///
    /// # Errors
    /// When it does not start, or there is no such root.
    pub fn ours(&self, situation: &Situation) -> anyhow::Result<Rc<Service>> {
        if let Some((service, _)) = self.ours.get() {
            return Ok(Rc::clone(service));
        }
        if !Path::new(TARGET_ROOT).exists() {
            let why = "there is no target root (deploy/target-root, STAP_TEST_ROOT)";
            return Err(Lacking::of_machine("target-root", why).into());
        }
        let warm = Warm::bring(situation)?;
        let root = format!("--root={TARGET_ROOT}");
        let start = Start {
            policy: policy(situation.who),
            options: vec!["--max-threads=2", &root],
            stap: None,
        };
        let service = Rc::new(Service::start(situation, "real", &start)?);
        record(&service)?;
        let (service, _) = self.ours.get_or_init(|| (service, warm));
        Ok(Rc::clone(service))
    }

    /// The stock server with the same stap.
    ///
    /// # Errors
    /// When it does not start, or there is none.
    pub fn rival(&self, situation: &Situation) -> anyhow::Result<Rc<Service>> {
        if let Some(service) = self.rival.get() {
            return Ok(Rc::clone(service));
        }
        let service = Rc::new(self.stock(situation)?.start("stock", None)?);
        Ok(Rc::clone(self.rival.get_or_init(|| service)))
    }

    /// The stock server with our stand-in for stap.
    ///
    /// # Errors
    /// When it does not start, or there is none.
    pub fn rival_with_hostile_stap(&self, situation: &Situation) -> anyhow::Result<Rc<Service>> {
        if let Some(service) = self.hostile_rival.get() {
            return Ok(Rc::clone(service));
        }
        let hostile = situation.programs.join(HOSTILE);
        let service = self
            .stock(situation)?
            .start("stock-hostile", Some(&hostile))?;
        let service = Rc::new(service);
        Ok(Rc::clone(self.hostile_rival.get_or_init(|| service)))
    }

    /// The root that the stock server runs in.
    ///
    /// # Errors
    /// When there is none.
    pub fn stock(&self, situation: &Situation) -> anyhow::Result<&Stock> {
        if let Some(stock) = self.stock.get() {
            return Ok(stock);
        }
        let stock = Stock::lay_out(situation)?;
        Ok(self.stock.get_or_init(|| stock))
    }

    /// A process of the server's user, where there is a stock server.
    #[must_use]
    pub fn resident(&self) -> Option<u32> {
        self.stock.get().map(Stock::resident)
    }

    /// Remembers that a stock server kept silent.
    pub fn give_up(&self) {
        self.is_silent.set(true);
    }

    /// Forgets stock servers that serve no more, so that the next case finds a new one, and says what
    /// became of one. A server that was silent once is not to be used again.
    pub fn revive(&mut self) -> Option<&'static str> {
        let is_silent = self.is_silent.take();
        let mut became = None;
        for service in [&mut self.rival, &mut self.hostile_rival] {
            let fate = match service.get() {
                Some(service) if !service.is_alive() => "the server has died",
                // One of its two threads is lost.
                Some(_) if is_silent => "nothing ends the job",
                Some(service) if !service.answers() => "the server answers nobody any more",
                _ => continue,
            };
            service.take();
            became = Some(fate);
        }
        if became.is_some()
            && let Some(stock) = self.stock.get()
        {
            stock.sweep();
        }
        became
    }

    /// Stops the servers as an operator does.
    ///
    /// # Errors
    /// When one cannot be waited for.
    pub fn clear(&mut self) -> anyhow::Result<()> {
        let ours = self.ours.take();
        let (ours, warm) = ours.map_or((None, None), |(ours, warm)| (Some(ours), Some(warm)));
        for service in [ours, self.rival.take(), self.hostile_rival.take()] {
            let Some(service) = service else { continue };
            let service = Rc::into_inner(service).context("a case holds a server")?;
            service.stop()?;
        }
        warm.map_or(Ok(()), Warm::take_back)?;
        self.stock.take();
        Ok(())
    }
}

/// Has a server of ours make what it makes once, unless that was brought, so that nothing goes on while it is attacked.
fn record(service: &Service) -> anyhow::Result<()> {
    let release = stock::release();
    for flags in root::unrecorded(&service.said(), &release) {
        let guru = (flags == "guru").then_some("-g").into_iter();
        let words: Vec<_> = guru.chain(["-p4", "-e", RECORDED]).collect();
        let reply = service.ask_for(&release, &words)?;
        let stderr = String::from_utf8_lossy(&reply.stderr);
        ensure!(reply.rc == 0, "stap does not work: {stderr}");
        let is_recorded = root::is_recorded_in_time(|| service.said(), &release, flags);
        ensure!(is_recorded, "nothing is recorded: {}", service.said());
    }
    Ok(())
}

/// No case's script.
const RECORDED: &str = "probe begin { println(\"recorded\") exit() }";

/// Every layer and limit of the class, but what amounts to guru mode is allowed: it is the jail that is
/// to hold. Less memory, so that bombs burn little of the host's.
fn policy(who: Who) -> String {
    let text = service::policy(
        who,
        &[
            ("memory", "\"512 MiB\""),
            ("wall", "\"300 s\""),
            ("cpu", "\"300 s\""),
        ],
    );
    if text.contains("\"-g\"") {
        return text;
    }
    let last = "\"--version\", \"--help\",\n";
    let more = format!("{last}    \"-d\", \"-D\", \"-I\", \"-m\", \"-g\",\n");
    text.replace(last, &more)
}
