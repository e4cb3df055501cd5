//! Group commit: transactions that wait while others are decided share the next decision (the idea is that of databases which write one log
//! record for many commits: `DeWitt` et al., 1984).
//!
//! A decision is one object, so a group commits as a whole or not at all, and its members' versions are taken together. A member has no
//! decision under its own id. So only those share whose id nobody else can know: then nobody can ask for it, cancel it or commit it once more
//! (`HAZARDS` 6). Their values lie in the record; so no value object needs a decision of its id either.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use tracing::Instrument;

use crate::clock::millis;
use crate::error::{Error, ErrorKind};
use crate::format::decision::{Decision, Verdict};
use crate::format::name::{DIRECT, DIRECT_MOST, FeedName};
use crate::format::record::CommitRecord;
use crate::node::Node;
use crate::node::background::Task;
use crate::node::exchange::register::{Decided, Proposal, RegisterState};
use crate::node::stats::add;
use crate::node::transaction::Transaction;
use crate::node::transaction::commit::Commit;
use crate::node::unencodable;
use crate::planted::{Planted, planted};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::feed_queue::Publication;
use crate::protocol::knowledge::OwnCommit;
use crate::protocol::view::{self, Home};
use crate::txn_id::TxnId;
use crate::version::Timestamp;

/// So many transactions share a decision at most.
const MEMBERS_MOST: usize = 1_000;
/// So many bytes of keys and values share a decision, or one transaction's.
const BYTES_MOST: u64 = 1 << 20;
/// So many lie in a direct decision: every node reads it as a whole.
const DIRECT_BYTES_MOST: u64 = 256 << 10;
/// So many objects of a node in the feed may wait for a listing to show them before commits are decided elsewhere, and published together.
const DIRECT_OPEN_MOST: usize = 32;

/// The decisions of a node that are under way, and the transactions that wait for one of them to end.
#[derive(Debug, Default)]
pub(crate) struct Deciding {
    under_way: usize,
    waiting: VecDeque<Waiting>,
    /// When the last of the commits came that may share a decision.
    last: Option<LocalTime>,
    /// How many direct decisions are under way.
    direct: usize,
}

#[derive(Debug)]
struct Waiting {
    tx: Box<Transaction>,
    wake: oneshot::Sender<Wake>,
}

/// How the wait of a transaction ends.
#[derive(Debug)]
enum Wake {
    /// It decides, with those that wait beside it.
    Lead(Turn, Box<Transaction>),
    /// Another one decides for it, under this id.
    Joined(TxnId, oneshot::Receiver<Result<Commit, Error>>),
}

/// The right to decide. Where it is dropped, for whatever reason, it goes to whoever waits longest.
#[derive(Debug)]
struct Turn(Option<Arc<Node>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(node) = self.0.take() {
            node.pass_on();
        }
    }
}

/// A direct decision that is to be made; dropped when it is over.
struct Direct {
    id: TxnId,
    node: Arc<Node>,
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.node.deciding.lock().direct -= 1;
    }
}

/// A member of a group that is being decided, and who waits for what becomes of it.
struct Member {
    tx: Box<Transaction>,
    reply: oneshot::Sender<Result<Commit, Error>>,
}

/// A member, and what is decided of it.
struct Drafted {
    member: Member,
    record: CommitRecord,
    payload: Vec<Bytes>,
}

impl Transaction {
    /// Whether its decision may bear another id: nobody can know its own, or needs it.
    pub(crate) fn may_share(&self) -> bool {
        // What was uploaded and overwritten since is nobody's, and goes as such.
        let uploads = self.buffer.has_objects();
        (self.node.config.decisions_in_flight > 0 || self.node.config.direct_commits)
            && !self.shared
            && self.guards.is_empty()
            && self.ancestors.is_empty()
            // A result is for whoever asks by the id.
            && self.result.is_none()
            && !tracing::enabled!(tracing::Level::DEBUG)
            && (!self.id_told.load(Ordering::Relaxed) || planted(Planted::NamedInGroup))
            && (!uploads || planted(Planted::UploadsInGroup))
    }

    /// For simulations: the id, without asking for it. Where it commits in a group, another one stands for it.
    #[cfg(feature = "planted-bugs")]
    #[doc(hidden)]
    #[must_use]
    pub fn id_unasked(&self) -> TxnId {
        self.id
    }

    /// Commits at once where few decisions are under way; else with whoever else waits until one of them has ended.
    ///
    /// In a task, which ends when the call is dropped: others wait for it, and a call that nobody polls must not hold them up.
    pub(crate) async fn commit_in_turn(self) -> Result<Commit, Error> {
        if planted(Planted::TurnsOfCallers) {
            return self.take_turn().await;
        }
        let mut turn = self.take_turn().instrument(tracing::Span::current()).boxed();
        // A store in memory answers at once, and nobody waits.
        if let Poll::Ready(decided) = futures::poll!(turn.as_mut()) {
            return decided;
        }
        let task = Task::spawn(turn);
        task.ended().await.unwrap_or_else(|cause| {
            let message = "the task that decided it was stopped: nobody knows whether it was committed";
            Err(Error::new(ErrorKind::OutcomeUnknown, message).with_source(cause))
        })
    }

    async fn take_turn(self) -> Result<Commit, Error> {
        let node = Arc::clone(&self.node);
        let woken = match node.enter(Box::new(self)) {
            Ok((turn, tx)) => return tx.go_alone(turn).await,
            Err(woken) => node.wait_for_turn(woken).await?,
        };
        match woken {
            Wake::Lead(turn, tx) => tx.lead(turn).await,
            Wake::Joined(group, reply) => reply.await.unwrap_or_else(|_| Err(given_up(group))),
        }
    }

    /// Decides for itself: in the feed, where that is due, or under its own id.
    async fn go_alone(self: Box<Self>, turn: Turn) -> Result<Commit, Error> {
        let node = Arc::clone(&self.node);
        let Some(direct) = node.direct([&*self].into_iter()) else {
            let commit = self.decide_alone().await;
            drop(turn);
            return commit;
        };
        let (reply, replied) = oneshot::channel();
        node.decide_together(direct.id, vec![Member { tx: self, reply }], turn).await;
        replied.await.unwrap_or_else(|_| Err(given_up(direct.id)))
    }

    /// Decides for itself and for those that wait.
    async fn lead(self: Box<Self>, turn: Turn) -> Result<Commit, Error> {
        let node = Arc::clone(&self.node);
        let others = node.take_waiting(self.buffer.record_bytes());
        if others.is_empty() {
            return self.go_alone(turn).await;
        }
        let direct = node.direct(others.iter().map(|it| &*it.tx).chain([&*self]));
        let ids = others.iter().map(|it| it.tx.id).chain([self.id]);
        let group = direct.as_ref().map_or_else(|| node.group_id(ids), |direct| direct.id);
        let mut members = Vec::new();
        for Waiting { tx, wake } in others {
            let (reply, replied) = oneshot::channel();
            // Who has given up meanwhile commits nothing.
            if wake.send(Wake::Joined(group, replied)).is_ok() {
                members.push(Member { tx, reply });
            }
        }
        if members.is_empty() && direct.is_none() {
            let commit = self.decide_alone().await;
            drop(turn);
            return commit;
        }
        let (reply, replied) = oneshot::channel();
        members.insert(0, Member { tx: self, reply });
        // In a task of its own: whoever drops its call must not take the others along.
        let decide = async move {
            node.decide_together(group, members, turn).await;
            drop(direct);
        };
        tokio::spawn(decide.instrument(tracing::debug_span!("aft.group", %group)));
        replied.await.unwrap_or_else(|_| Err(given_up(group)))
    }
}

/// The task that decided a group was stopped, with its runtime.
fn given_up(group: TxnId) -> Error {
    let message = "the task that decided it was stopped; ask Aft::outcome with this id, the group's";
    Error::new(ErrorKind::OutcomeUnknown, message).with_txn(group)
}

impl Node {
    /// The right to decide at once, or a place in the queue.
    fn enter(
        self: &Arc<Self>,
        tx: Box<Transaction>,
    ) -> Result<(Turn, Box<Transaction>), oneshot::Receiver<Wake>> {
        if self.config.decisions_in_flight == 0 {
            return Ok((Turn(None), tx));
        }
        let mut deciding = self.deciding.lock();
        if deciding.under_way < self.config.decisions_in_flight {
            deciding.under_way += 1;
            drop(deciding);
            return Ok((Turn(Some(Arc::clone(self))), tx));
        }
        let (wake, woken) = oneshot::channel();
        deciding.waiting.push_back(Waiting { tx, wake });
        Err(woken)
    }

    /// Waits behind the decisions that are under way, for as long as a decision may take.
    async fn wait_for_turn(&self, mut woken: oneshot::Receiver<Wake>) -> Result<Wake, Error> {
        let deadline = self.config.commit_deadline;
        if let Ok(Ok(wake)) = tokio::time::timeout(deadline, &mut woken).await {
            return Ok(wake);
        }
        // From here on nobody can wake it; who did just now counts.
        woken.close();
        if let Ok(Some(wake)) = woken.try_recv() {
            return Ok(wake);
        }
        let message = format!(
            "nothing was committed: it waited {} ms behind other commits, which the store decides too slowly; run it again",
            deadline.as_millis()
        );
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// A decision has ended: whoever waits longest goes on.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let mut deciding = self.deciding.lock();
            let Some(Waiting { tx, wake }) = deciding.waiting.pop_front() else {
                deciding.under_way -= 1;
                return;
            };
            drop(deciding);
            match wake.send(Wake::Lead(Turn(Some(Arc::clone(self))), tx)) {
                // It has given up; not by way of `drop`, which would come back here.
                Err(Wake::Lead(mut turn, _)) => drop(turn.0.take()),
                _ => return,
            }
        }
    }

    /// Those that wait, as many as may share a decision with one that has `bytes`.
    fn take_waiting(&self, bytes: u64) -> Vec<Waiting> {
        let mut deciding = self.deciding.lock();
        let mut bytes = bytes;
        let fits = deciding.waiting.iter().take(MEMBERS_MOST - 1).take_while(|it| {
            bytes += it.tx.buffer.record_bytes();
            bytes <= BYTES_MOST
        });
        let fits = fits.count();
        deciding.waiting.drain(..fits).collect()
    }

    /// The id of a group of these transactions. It does not start before any of them began, whatever the clock was set to since: sweeps look by when an id starts.
    fn group_id(&self, members: impl Iterator<Item = TxnId>) -> TxnId {
        let start_ms = members.map(TxnId::start_ms).fold(self.now().wall_ms, u64::max);
        self.rng.with(|rng| TxnId::from_parts(start_ms, rng))
    }

    /// A direct decision of these transactions, made now; `None` where it must be another one.
    fn direct<'a>(self: &Arc<Self>, members: impl Iterator<Item = &'a Transaction>) -> Option<Direct> {
        let (mut bytes, mut waits) = (0, false);
        for tx in members {
            bytes += tx.buffer.record_bytes();
            // It would make an object in the feed in any case.
            waits |= tx.begin.publish_before_ack;
        }
        if !self.config.direct_commits || bytes > DIRECT_BYTES_MOST {
            return None;
        }
        let now = self.now();
        let (open, time_ms) = self.known.read(|known| (known.own_open(), known.store_now_ms(now)));
        let last = self.deciding.lock().last.replace(now);
        // What a clock that was measured widely names lies too far ahead for a version.
        if !self.known.read(|known| known.may_name(time_ms, now)) && !planted(Planted::DirectByAnyClock) {
            return None;
        }
        // Each is an object that every node reads: of many in a short time those are fewer that carry what waits together.
        let few = |last| 2 * now.elapsed_since(last) >= millis(self.config.feed_interval);
        let alone = last.is_none_or(few) && self.feed.lock().len() == 0;
        if !(alone || waits) {
            return None;
        }
        let number = self.feed.lock().take_object_number() & DIRECT_MOST;
        let id = FeedName { time_ms, node: self.number, seq: DIRECT | number }.decision()?;
        let mut deciding = self.deciding.lock();
        if open + deciding.direct >= DIRECT_OPEN_MOST {
            return None;
        }
        deciding.direct += 1;
        Some(Direct { id, node: Arc::clone(self) })
    }

    /// Makes one decision for all members, and tells each what became of it. A direct one that is void by its date was too slow for the feed, or its clock was
    /// wrong: then one among the others may be in time. What is void stays so, and nobody knows the members' ids.
    async fn decide_together(self: &Arc<Self>, group: TxnId, members: Vec<Member>, turn: Turn) {
        let Some((members, turn)) = self.decide_once(group, members, turn).await else { return };
        let group = self.group_id(members.iter().map(|it| it.tx.id));
        self.decide_once(group, members, turn).await;
    }

    /// Makes one decision, once; its members, where it was a direct one that does not count.
    async fn decide_once(
        self: &Arc<Self>,
        group: TxnId,
        members: Vec<Member>,
        turn: Turn,
    ) -> Option<(Vec<Member>, Turn)> {
        let since = self.now();
        let drafted = self.draft_together(group, members);
        let first = drafted.first()?;
        let (store, clock_ms, attempt) =
            (first.member.tx.store.clone(), first.record.clock.ms(), self.rng.next());
        let records: Vec<_> = drafted.iter().map(|it| it.record.clone()).collect();
        let payload: Vec<_> = drafted.iter().flat_map(|it| it.payload.iter().cloned()).collect();
        let decision = Decision { id: group, attempt, verdict: Verdict::Commit(records) };
        let bytes = match decision.encode(&payload) {
            Ok(bytes) => bytes,
            Err(cause) => {
                refuse(drafted, &unencodable("the transactions", cause).with_txn(group));
                return None;
            }
        };
        let inline: u64 = drafted.iter().map(|it| it.record.inline_len()).sum();
        let homes = homes((bytes.len() as u64).saturating_sub(inline), &drafted);
        let proposal = Proposal { id: group, attempt, clock_ms, bytes, since };
        let looked = match self.decide(&store, &proposal).await {
            Ok(Decided::Ours) => {
                self.acknowledge_together(&proposal, drafted, homes, turn).await;
                return None;
            }
            Ok(Decided::Read(looked)) => self.check_told(&store, group, looked).await,
            Err(error) => Err(error),
        };
        match looked {
            // Nobody else knows the id: it is this node's, or the store is damaged.
            Ok(RegisterState::Committed { attempt: read, .. }) if read == attempt => {
                self.acknowledge_together(&proposal, drafted, homes, turn).await;
            }
            Ok(RegisterState::Dead { attempt: read, void: Some(_) })
                if group.is_direct() && read == attempt && !planted(Planted::DirectIsFinal) =>
            {
                return Some((drafted.into_iter().map(|it| it.member).collect(), turn));
            }
            Ok(RegisterState::Dead { void, .. }) => {
                for Drafted { member: Member { tx, reply }, .. } in drafted {
                    drop(reply.send(Err(tx.dead(tx.attempt, void))));
                }
            }
            Ok(_) => {
                let message =
                    "what was decided is not recorded any more; ask Aft::outcome with this id, the group's";
                refuse(drafted, &Error::new(ErrorKind::OutcomeUnknown, message).with_txn(group));
            }
            Err(error) => refuse(drafted, &error),
        }
        None
    }

    /// One clock for all, taken last, after every wait (HAZARDS 4): the least that is beyond what each of them read. Who can commit no more
    /// is told so.
    fn draft_together(&self, group: TxnId, members: Vec<Member>) -> Vec<Drafted> {
        let lifetime_ms = self.limits.lifetime_ms;
        let now = self.now();
        // A direct decision is named a little ahead of this clock; a version need not be.
        let start_ms = if group.is_direct() { 0 } else { group.start_ms() };
        let mut clock = self.known.read(|known| known.reading(now, start_ms, Timestamp::default()));
        let mut rest = Vec::with_capacity(members.len());
        for member in members {
            let able = member.tx.check_alive();
            match able.and_then(|()| self.check_writable()).and_then(|()| self.check_clock()) {
                Ok(()) => {
                    clock = clock.max(member.tx.reading(now));
                    rest.push(member);
                }
                Err(error) => drop(member.reply.send(Err(member.tx.named(error)))),
            }
        }
        let mut drafted = Vec::with_capacity(rest.len());
        for member in rest {
            if clock.ms().saturating_sub(member.tx.id.start_ms()) > lifetime_ms {
                drop(member.reply.send(Err(member.tx.named(self.expired(member.tx.id)))));
                continue;
            }
            let (record, payload) = member.tx.record(member.tx.id.in_group(), clock);
            drafted.push(Drafted { member, record, payload });
        }
        drafted
    }

    /// The decision counts: every member is in the view and queued for the feed before any is acknowledged.
    async fn acknowledge_together(
        self: &Arc<Self>,
        proposal: &Proposal,
        drafted: Vec<Drafted>,
        homes: Vec<Home>,
        turn: Turn,
    ) {
        let group = proposal.id;
        let commits: Vec<_> = drafted
            .iter()
            .zip(homes)
            .map(|(it, home)| Arc::new(view::Commit::new(&it.record, group, home)))
            .collect();
        self.learn(commits.iter().cloned());
        if let Some(name) = group.direct_name() {
            // Its decision is what publishes it.
            let own = |commit: &Arc<view::Commit>| OwnCommit {
                decided_by: group,
                version: commit.version,
                pruned: None,
            };
            let (own, now) = (commits.iter().map(own).collect(), self.now());
            self.known.write(|known| {
                known.note_own(name, (proposal.since, now), own);
                known.note_published([group]);
            });
            add(&self.counters.direct, 1);
        } else {
            let publications = drafted
                .iter()
                .zip(&commits)
                .map(|(it, commit)| Publication::new(Arc::clone(commit), None, &it.payload));
            self.enqueue_all(publications.collect::<Vec<_>>());
        }
        add(&self.counters.commits, commits.len() as u64);
        add(&self.counters.groups, u64::from(commits.len() > 1));
        // What is left may take long where the feed cannot be written; no decision waits for that.
        drop(turn);
        let acknowledged = drafted.into_iter().zip(commits).map(|(drafted, commit)| async move {
            let Drafted { member: Member { tx, reply }, record, .. } = drafted;
            drop(reply.send(tx.acknowledged(&commit, record.result).await));
        });
        futures::future::join_all(acknowledged).await;
    }
}

/// Where the inline values of records lie that come one after the other from here on in their decision.
fn homes(mut from: u64, drafted: &[Drafted]) -> Vec<Home> {
    let home = |it: &Drafted| {
        let home = Home::Decision { inline_offset: from };
        from += it.record.inline_len();
        home
    };
    drafted.iter().map(home).collect()
}

/// Tells every member that it failed.
fn refuse(drafted: Vec<Drafted>, error: &Error) {
    for Drafted { member, .. } in drafted {
        drop(member.reply.send(Err(error.clone())));
    }
}
