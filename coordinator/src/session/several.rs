//! One request for several targets: a job for each, side by side, and one package with all replies.
//!
//! The jobs are their user's like any other, so one request has no more of the server than as many
//! requests would have, and less: of those that it has not yet begun, none is in the queue. What goes
//! wrong with one target is told in its reply and concerns no other. When the client goes, all of them
//! are dropped, and with them their jobs.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use stap_protocol::notice::Notice;
use stap_protocol::reply::{MAX_SEVERAL_BYTES, OfTarget, Replies, Reply};
use stap_protocol::request::{Request, SysInfo};
use stap_protocol::signing::messages::Keys;
use stap_protocol::target::TargetName;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, info_span};

use super::account::size;
use super::lanes::Lanes;
use super::{Built, Connected, Sessions};
use crate::catalogue::{Chosen, NothingFits};
use crate::intake::{at_most, unknown};
use crate::memory::{Holding, weight};
use crate::progress::narrow;
use crate::refusal::Refusal;
use crate::request_id::RequestId;

impl Sessions {
    /// Does what the request asks for each of its targets.
    pub(super) async fn several(
        &self,
        request: &Request,
        keys: &Keys,
        client: &Connected,
        room: &mut Holding,
    ) -> Replies {
        let done = match self.chosen(request) {
            Ok(chosen) => self.all(request, &chosen, keys, client, room).await,
            Err(refusal) => Err(refusal),
        };
        done.unwrap_or_else(|refusal| Replies::refused(self.refuse(&refusal, client, client.id)))
    }

    fn chosen(&self, request: &Request) -> Result<Vec<Chosen<'_>>, Refusal> {
        let chosen = self.catalogue.choose(&request.targets);
        let chosen = chosen.map_err(|NothingFits(patterns)| Refusal::NothingFits {
            patterns,
            served: self
                .catalogue
                .names()
                .take(MOST_NAMED)
                .map(ToString::to_string)
                .collect(),
        })?;
        let limit = self.policy.request().targets.get();
        at_most("targets", chosen.len(), limit, &self.policy)?;
        Ok(chosen)
    }

    async fn all(
        &self,
        request: &Request,
        chosen: &[Chosen<'_>],
        keys: &Keys,
        client: &Connected,
        room: &mut Holding,
    ) -> Result<Replies, Refusal> {
        let width = self.lanes(request, chosen.len(), room)?;
        let mut ledger = Ledger::new(size(request) * (width as u64 + 1), chosen.len(), room);
        let mut lanes = Lanes::new(chosen.len(), width);
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(turn) = lanes.begin() {
                running.push(async move {
                    let one = self.one(request, &chosen[turn.at], turn.at + 1, keys, client);
                    (turn, one.await)
                });
            }
            let Some((turn, (outcome, began))) = running.next().await else {
                break;
            };
            let at = turn.at;
            let id = client.id.part(at + 1);
            let refused =
                |refusal: Refusal| span(id).in_scope(|| self.refuse(&refusal, client, id));
            let reply = match outcome {
                // There is room for fewer jobs than there are slots: the user has other requests.
                Err(Refusal::Busy { .. }) if lanes.has_another(turn) => {
                    client.progress.ended(id, None);
                    continue;
                }
                Ok(built) => ledger.enter(built, self).unwrap_or_else(refused),
                Err(refusal) => refused(refusal),
            };
            lanes.end(turn);
            let is_good = reply.rc == 0;
            ledger.replies[at] = Some(OfTarget {
                target: chosen[at].name().clone(),
                took: Some(began.elapsed()),
                reply,
            });
            let end = ledger.end_of(chosen[at].name(), is_good);
            client.progress.ended(id, Some(end));
        }
        let each = ledger.replies.into_iter().flatten().collect();
        Replies::new(each).map_err(|invalid| Refusal::Package(invalid.to_string()))
    }

    /// How many jobs run side by side: no more than there are slots, and each has a copy of the request, for which there must be room.
    fn lanes(
        &self,
        request: &Request,
        targets: usize,
        room: &mut Holding,
    ) -> Result<usize, Refusal> {
        let size = size(request);
        let most = self.scheduler.slots().get().min(targets).max(1);
        for lanes in (2..=most).rev() {
            if room.set(size * (lanes as u64 + 1)).is_ok() {
                return Ok(lanes);
            }
        }
        room.set(size * 2)
            .map_err(|full| self.busy(full.to_string()))?;
        Ok(1)
    }

    /// One target, from its turn to its end.
    async fn one<'a>(
        &self,
        request: &Request,
        chosen: &'a Chosen<'_>,
        part: usize,
        keys: &Keys,
        client: &Connected,
    ) -> (Result<Built<'a>, Refusal>, Instant) {
        let began = Instant::now();
        let id = client.id.part(part);
        let outcome = match chosen {
            Chosen::Served(target) => {
                let build = self.build(request.clone(), target, id, keys, client);
                build.instrument(span(id)).await
            }
            Chosen::Missing(name) => Err(unknown(&SysInfo::from(name.clone()), &self.catalogue)),
        };
        (outcome, began)
    }
}

/// The lines of a part have its id instead of the request's.
fn span(id: RequestId) -> Span {
    info_span!(parent: None, "request", %id)
}

/// What there is for the reply so far.
struct Ledger<'a> {
    replies: Vec<Option<OfTarget>>,
    /// Bytes of the replies.
    bytes: u64,
    /// What is held for the request, and then for results, too.
    held: u64,
    room: &'a mut Holding,
}

impl<'a> Ledger<'a> {
    fn new(held: u64, targets: usize, room: &'a mut Holding) -> Self {
        Self {
            replies: std::iter::repeat_with(|| None).take(targets).collect(),
            bytes: 0,
            held,
            room,
        }
    }

    /// What is told of a target whose reply has just been entered.
    fn end_of(&self, target: &TargetName, is_good: bool) -> Notice {
        Notice::Ended {
            done: narrow(self.replies.iter().flatten().count()),
            targets: narrow(self.replies.len()),
            target: target.clone(),
            is_good,
        }
    }

    /// Makes a reply, if there is room for it beside the others.
    fn enter(&mut self, built: Built<'_>, sessions: &Sessions) -> Result<Reply, Refusal> {
        let held = self.held.saturating_add(weight(&built.report));
        self.room
            .set(held)
            .map_err(|full| sessions.busy(full.to_string()))?;
        self.held = held;
        let reply = built.reply();
        let bytes = self.bytes.saturating_add(reply.bytes());
        // A little is left for the refusals of those that find no room.
        if bytes > MAX_SEVERAL_BYTES - FOR_REFUSALS {
            let limit = MAX_SEVERAL_BYTES >> 20;
            return Err(Refusal::TooMuchTogether { limit });
        }
        self.bytes = bytes;
        Ok(reply)
    }
}

/// Targets that a refusal names; it is one line.
const MOST_NAMED: usize = 16;
/// Bytes of all the refusals that a reply can hold, and more.
const FOR_REFUSALS: u64 = 1 << 20;
