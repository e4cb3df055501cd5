//! Guards: who may supersede a version of a key, so that no update is lost and transactions can be serializable (beyond AFT and RAMP; the first
//! committer wins, as in snapshot isolation: Berenson et al., 1995, section 4.2).
//!
//! A transaction that read a key guarded, at version v, creates the next free guard over (key, v) before its decision. The guards over a version
//! have places, from 0, without gaps, and each names its transaction. It goes on once it knows of each earlier one what became of it:
//!
//! | the earlier one's transaction | then |
//! |---|---|
//! | committed, lists this guard, and wrote the key | `Conflict`: it superseded v |
//! | committed otherwise, aborted, is void or forgotten | it decides nothing any more |
//! | is undecided, and neither writes the key | it orders nothing between the two |
//! | is undecided otherwise | waits for it, an older transaction a moment, a younger one for seconds; then it is aborted: its register decides |
//!
//! So of two that guard one version, of which one writes the key, the later one decides after the earlier one is decided. At most one of those that write
//! commits. Where all reads of all transactions are guarded, and all that they write, the order of their decisions is a serial one (docs/design.md, Guards).
//!
//! Keys that are absent or deleted have one folder for both, whatever version the deletion had: it may have left the index for one of two
//! transactions and not for the other (`HAZARDS` 9). A writer there that is older than the deletion, or folded for whoever reads the key as absent, is of a life
//! of the key that is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::guard::{GuardClaim, guarded_hash};
use crate::format::name::{GuardName, ObjectName};
use crate::format::record::Guard;
use crate::node::exchange::register::{Committed, RegisterState};
use crate::node::store::{Store, backoff, retry_read};
use crate::node::transaction::Transaction;
use crate::node::transaction::contention::YOUNG_MS;
use crate::node::write_once::write_once;
use crate::node::{Node, format_error, unencodable};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::read_set::ReadSet;
use crate::storage::StorageError;
use crate::txn_id::TxnId;
use crate::version::Version;

/// Tries before a guard is given up: about 15 s of waiting.
const GUARD_TRIES: u32 = 14;
/// So often a transaction looks for a free place among the guards over one version, and at an undecided holder of one.
const LOOKS_MOST: u32 = 64;
/// A generous bound for what a guard adds to a record beside its key.
const GUARD_OVERHEAD: u64 = 48;
/// How long a younger transaction waits for an older one that is undecided: its node may have died. And who is older by as much waits no more.
const PATIENCE_MS: u64 = YOUNG_MS;
/// How long an older one waits for a younger one: so long most are decided, and two that wait for each other are few.
const OLDER_PATIENCE_MS: u64 = 250;
/// So often more than once whoever came second looks at a later transaction that is undecided: it has learned something newer anyway.
const NEWEST_LOOKS: u32 = 3;
/// The longest wait between two looks at an undecided one.
const LOOK: Duration = Duration::from_millis(250);

/// A key that is guarded, as it was read.
#[derive(Debug, Clone)]
struct Guarded {
    key: Bytes,
    /// The version that was read: of a deletion, its own; [`Version::ABSENT`] where there was none.
    read: Version,
    /// The version that its guards are over.
    over: Version,
    /// Whether the transaction writes it.
    writes: bool,
    /// What is folded, for whoever reads as this transaction does.
    base: Arc<Base>,
}

impl Guarded {
    /// The name of its guard of this place.
    fn guard(&self, slot: u32) -> GuardName {
        GuardName { key: guarded_hash(&self.key), over: self.over, slot }
    }
}

/// Who makes guards.
#[derive(Debug, Clone, Copy)]
struct Claimant {
    txn: TxnId,
    since_ms: u64,
}

/// How a guard ended.
enum Placed {
    /// It has this place.
    At(u32),
    /// This one had superseded what was read.
    Lost(Committed),
}

/// What an earlier guard means for a later one.
enum Earlier {
    /// Nothing any more, or nothing between the two.
    Settled,
    /// Its transaction superseded what was read.
    Won(Committed),
}

impl Transaction {
    /// The value of `key`, as [`get`](Self::get), and guards it: the commit fails with [`Conflict`](ErrorKind::Conflict) where another transaction that
    /// had guarded it commits a write of it first, absent and deleted keys included. So no update is lost among those who guard a key: *read it
    /// guarded and write it*. Who guards a key and does not write it keeps others from superseding what it read until it has committed (that prevents write skew). Write a key either
    /// always guarded or never: a write of a transaction that did not guard the key is seen by no guard.
    ///
    /// The guards are made by the commit, side by side: one create for each, and one round, where nobody contends. Then the decision, also where
    /// nothing was written. [`Aft::transact`](crate::Aft::transact) and [`Aft::run`](crate::Aft::run) run the transaction again after a conflict.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let (mut one, mut other) = (aft.begin().await?, aft.begin().await?);
    /// for tx in [&mut one, &mut other] {
    ///     let sold = tx.get_guarded("sold").await?.map_or(0, |sold| sold[0]);
    ///     tx.put("sold", [sold + 1])?;
    /// }
    /// one.commit().await?;
    /// let error = other.commit().await.unwrap_err();
    /// assert_eq!(error.kind(), aft_core::ErrorKind::Conflict);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn get_guarded(
        &self,
        key: impl AsRef<[u8]>,
    ) -> futures::future::BoxFuture<'_, Result<Option<Bytes>, Error>> {
        let values = self.get_many_guarded([key]);
        async move { Ok(values.await?.pop().flatten()) }.boxed()
    }

    /// The values of many keys, as [`get_many`](Self::get_many), each [guarded](Self::get_guarded).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let seats = tx.get_many_guarded(["seat/12", "seat/13"]).await?;
    /// if seats.iter().all(Option::is_none) {
    ///     tx.put("seat/12", "Ada")?;
    ///     tx.put("seat/13", "Bob")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many_guarded<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> futures::future::BoxFuture<'_, Result<Vec<Option<Bytes>>, Error>> {
        let keys =
            keys.into_iter().map(|key| super::checked_key(key.as_ref())).collect::<Result<Vec<_>, _>>();
        async move {
            let keys = keys?;
            self.guard(&keys).await?;
            self.get_checked(&keys).await
        }
        .boxed()
    }

    /// Guards keys: what lies beneath own writes is read as well.
    pub(crate) async fn guard(&self, keys: &[Bytes]) -> Result<(), Error> {
        self.check_alive()?;
        self.read_foreign(keys).await.map_err(|error| self.named(error))?;
        self.reads.lock().guarded.extend(keys.iter().cloned());
        Ok(())
    }

    /// Whether its commit needs guards.
    pub(crate) fn is_guarded(&mut self) -> bool {
        !self.reads.get_mut().guarded.is_empty() || self.begin.serializable && !self.buffer.is_empty()
    }

    /// Makes the guards of all that it guards, and notes them for its record.
    pub(crate) async fn make_guards(&mut self) -> Result<(), Error> {
        if self.begin.serializable && !planted(Planted::BlindWritesUnguarded) {
            // What it writes it supersedes, whether it has read it or not.
            let written: Vec<_> = self.buffer.keys().cloned().collect();
            self.guard(&written).await?;
        }
        let base = self.node.known.base();
        // As for a read: not by a checkpoint that folded what was not known when it began.
        let through = self.reads.lock().through(&base, !self.ancestors.is_empty());
        through.map_err(|refused| self.refused(refused, &base))?;
        let guarded: Vec<_> = {
            let reads = self.reads.lock();
            reads.guarded.iter().map(|key| self.guarded(key, &reads.set, &base)).collect()
        };
        self.check_guards(&guarded)?;
        let since_ms = self.begin.since_ms.unwrap_or(u64::MAX).min(self.id.start_ms());
        let me = Claimant { txn: self.id, since_ms };
        if let Some(rest) = self.rest(me, &guarded) {
            tokio::time::sleep(rest).await;
        }
        let (node, store) = (Arc::clone(&self.node), self.store.clone());
        let claims = guarded.iter().map(|guarded| {
            let (node, store) = (&node, &store);
            async move { Ok((guarded, node.make_guard(store, me, guarded).await?)) }.boxed()
        });
        let claims: Vec<_> = claims.collect();
        let mut claims = futures::stream::iter(claims).buffer_unordered(self.node.config.parallel_requests);
        let mut guards = Vec::with_capacity(guarded.len());
        while let Some(made) = claims.next().await {
            let made: Result<(&Guarded, Placed), Error> = made;
            match made {
                Ok((guarded, Placed::At(slot))) => {
                    guards.push(Guard { key: guarded.key.clone(), over: guarded.over, slot });
                }
                Ok((guarded, Placed::Lost(winner))) => {
                    drop(claims);
                    let came_second = node.came_second(&store, guarded, winner).boxed();
                    let (error, ()) = futures::join!(came_second, self.let_go(guards.len()).boxed());
                    return Err(self.named(error));
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    drop(claims);
                    self.let_go(guards.len()).await;
                    return Err(self.named(error));
                }
                Err(error) => return Err(self.named(error)),
            }
        }
        drop(claims);
        guards.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        self.guards = guards;
        Ok(())
    }

    /// How long it lets others go first, who may wait for the same keys.
    fn rest(&self, me: Claimant, guarded: &[Guarded]) -> Option<Duration> {
        let node = &self.node;
        let now = node.now();
        let is_young = |since_ms: u64| now.wall_ms.saturating_sub(since_ms) < YOUNG_MS;
        if !is_young(me.since_ms) || planted(Planted::NobodyRests) {
            return None;
        }
        let contended = guarded.iter().filter(|it| it.writes && is_young(it.over.clock_ms()));
        let mut keys = contended.map(|it| guarded_hash(&it.key)).peekable();
        keys.peek()?;
        node.contention.rest(&node.rng, keys, now)
    }

    /// Refuses more guards than fit a record.
    fn check_guards(&self, guarded: &[Guarded]) -> Result<(), Error> {
        let bytes: u64 = guarded.iter().map(|it| it.key.len() as u64 + GUARD_OVERHEAD).sum();
        let most = self.node.config.max_record_bytes;
        if bytes <= most {
            return Ok(());
        }
        let keys = guarded.len();
        let message = format!(
            "it guards {keys} keys, {bytes} bytes, more than fit a record; max_record_bytes is {most}"
        );
        Err(self.named(Error::invalid(message)))
    }

    fn guarded(&self, key: &Bytes, reads: &ReadSet, base: &Arc<Base>) -> Guarded {
        let found = reads.read(key).flatten();
        let read = found.map_or(Version::ABSENT, |found| found.version());
        let gone = found.is_none_or(|found| found.is_tombstone()) && !planted(Planted::DeletionsHaveGuards);
        let over = if gone { Version::ABSENT } else { read };
        let writes = self.buffer.get(key).is_some();
        Guarded { key: key.clone(), read, over, writes, base: Arc::clone(base) }
    }

    /// It has lost, and holds guards of other keys: so that nobody waits for it, it is decided now. Where another run of its request may go on
    /// under its id, it is not.
    async fn let_go(&self, guards: usize) {
        let again = self.begin.request.is_some() || self.shared;
        if guards == 0 || again {
            return;
        }
        if let Err(error) = self.node.fence(&self.store, self.id, self.node.store_time()).await {
            tracing::debug!(%error, txn = %self.id, "its guards hold others up for a while");
        }
    }
}

impl Node {
    /// Makes a guard over what was read, or learns who was first; its place.
    async fn make_guard(
        self: &Arc<Self>,
        store: &Store,
        me: Claimant,
        guarded: &Guarded,
    ) -> Result<Placed, Error> {
        let mut others: BTreeMap<u32, (GuardClaim, bool)> = BTreeMap::new();
        let mut next = 0;
        for _ in 0..LOOKS_MOST {
            let made = self.create_guard(store, me, guarded, next).await?;
            if is_mine(&made, me, guarded) {
                return Ok(Placed::At(next));
            }
            if planted(Planted::FirstGuardIsFree) {
                next += 1;
                continue;
            }
            // Most often this one has won, and nothing else need be known.
            if let Earlier::Won(winner) = self.judge_guard(store, me, guarded, &made).await? {
                return Ok(Placed::Lost(winner));
            }
            others.insert(next, (made, true));
            let newest = self.newest_guard(store, guarded).await?.max(next);
            let unknown: Vec<_> = (0..=newest).filter(|slot| !others.contains_key(slot)).collect();
            let reads = unknown.iter().map(|slot| {
                async move { Ok::<_, Error>((*slot, self.read_guard(store, guarded, *slot).await?)) }.boxed()
            });
            let reads: Vec<_> = reads.collect();
            let mut reads = futures::stream::iter(reads).buffer_unordered(self.config.parallel_requests);
            while let Some(read) = reads.next().await {
                let (slot, claim) = read?;
                others.insert(slot, (claim.ok_or_else(gone)?, false));
            }
            drop(reads);
            for (slot, (claim, settled)) in &mut others {
                // An earlier attempt of this transaction made it, and looked at those before it as this one does.
                if is_mine(claim, me, guarded) {
                    return Ok(Placed::At(*slot));
                }
                if *settled {
                    continue;
                }
                match self.judge_guard(store, me, guarded, claim).await? {
                    Earlier::Settled => *settled = true,
                    Earlier::Won(winner) => return Ok(Placed::Lost(winner)),
                }
            }
            next = newest.saturating_add(1);
        }
        let message = "others keep guarding the same key; nothing was committed; run it again";
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// What an earlier guard means. Undecided ones are waited for, or aborted.
    async fn judge_guard(
        self: &Arc<Self>,
        store: &Store,
        me: Claimant,
        guarded: &Guarded,
        earlier: &GuardClaim,
    ) -> Result<Earlier, Error> {
        // Two that only read it need no order, and one that says so never writes it.
        let orders = if planted(Planted::ReadersPassWriters) {
            earlier.writes && guarded.writes
        } else {
            earlier.writes || guarded.writes || planted(Planted::ReadersOrderReaders)
        };
        if earlier.txn == me.txn || !orders {
            return Ok(Earlier::Settled);
        }
        let began = self.now();
        let mut waits = backoff(&self.rng, LOOKS_MOST);
        loop {
            let known = self.store_time();
            let looked = self.read_register(store, earlier.txn).await?;
            let looked = self.check_told(store, earlier.txn, looked).await?;
            let looked = match looked {
                RegisterState::Empty if !self.is_forgotten(earlier.txn, known) => {
                    if planted(Planted::GuardsIgnoreOpen) {
                        return Ok(Earlier::Settled);
                    }
                    let patient = self.now().elapsed_since(began) < patience_ms(me, earlier);
                    if let Some(wait) = waits.next().filter(|_| patient) {
                        tokio::time::sleep(wait.min(LOOK)).await;
                        continue;
                    }
                    tracing::debug!(txn = %earlier.txn, by = %me.txn, "aborting an undecided transaction that holds a guard");
                    self.fence(store, earlier.txn, known).await.map_err(not_settled)?
                }
                looked => looked,
            };
            let RegisterState::Committed { commits, .. } = looked else { return Ok(Earlier::Settled) };
            let Some(holder) = commits.into_iter().find(|it| it.commit.version.txn == earlier.txn) else {
                return Ok(Earlier::Settled);
            };
            return Ok(self.meaning_of(guarded, earlier, holder));
        }
    }

    /// What it means that the transaction of an earlier guard committed.
    fn meaning_of(&self, guarded: &Guarded, earlier: &GuardClaim, holder: Committed) -> Earlier {
        let holds = |it: &Guard| it.key == guarded.key && it.over == guarded.over && it.slot == earlier.slot;
        // Another attempt of it may have committed without this guard (`HAZARDS` 18).
        let held = holder.guards.iter().any(holds) || planted(Planted::AnyAttemptHolds);
        let wrote = holder.commit.writes.position(&guarded.key).is_some();
        if !held || !wrote && !planted(Planted::ReadersSupersede) {
            return Earlier::Settled;
        }
        let version = holder.commit.version;
        if guarded.over == Version::ABSENT && !planted(Planted::OneLifeOfAKey) {
            let restored = holder.commit.restored;
            // What is folded was known when this transaction began, so that it has read what became of it; and what it has read itself supersedes nothing.
            let folded = guarded.base.has_folded(version, None, restored);
            let older =
                version < guarded.read || version == guarded.read && !planted(Planted::ConflictWithRead);
            if older || folded {
                return Earlier::Settled;
            }
        }
        Earlier::Won(holder)
    }

    /// The error of who came second. Its node knows the winner from now on.
    async fn came_second(self: &Arc<Self>, store: &Store, guarded: &Guarded, winner: Committed) -> Error {
        let (version, decided_by) = (winner.commit.version, winner.commit.decided_by());
        let known = self.known.read(|known| known.view().decided_by(decided_by).next().is_some());
        if !known {
            self.contention.note_lost(guarded_hash(&guarded.key), self.now());
            // A node that learned one version at each try would never catch up with one that writes all the time.
            if !planted(Planted::OneVersionAtATime)
                && let Err(error) = self.learn_newest(store, guarded, version).await
            {
                tracing::debug!(%error, "what came after the winner is not known");
            }
        }
        let receipt = self.receipt(&winner.commit);
        self.learn_read(vec![winner]).await;
        let message = format!(
            "the key {} was guarded, and {} committed a write of it first; nothing was committed; run it again, and it reads what is there now",
            guarded.key.escape_ascii(),
            version.txn,
        );
        Error::new(ErrorKind::Conflict, message).with_receipt(receipt)
    }

    /// Learns the newest version of this key, where one is newer than this: that of the transaction which holds the newest guard, once it is decided;
    /// or what it guards. Only who begins with a version that nobody guards yet can be first.
    async fn learn_newest(&self, store: &Store, guarded: &Guarded, than: Version) -> Result<(), Error> {
        let name = GuardName { over: than, ..guarded.guard(0) };
        let (key, version) = (name.key_folder(self.shards), name.folder(self.shards));
        let guards = self.list_guards(store, &key, Some(&version)).await?;
        let newest = guards.into_iter().max_by_key(|found| (found.over, found.slot));
        let Some(newest) = newest.filter(|newest| newest.over > than) else { return Ok(()) };
        let current = Guarded { over: newest.over, ..guarded.clone() };
        let holder = self.read_guard(store, &current, newest.slot).await?.filter(|holder| holder.writes);
        if let Some(holder) = holder {
            let mut waits = backoff(&self.rng, NEWEST_LOOKS);
            loop {
                match self.read_register(store, holder.txn).await? {
                    RegisterState::Committed { commits, .. } => {
                        self.learn_read(commits).await;
                        return Ok(());
                    }
                    RegisterState::Empty => {}
                    RegisterState::Dead { .. } | RegisterState::Forgotten => break,
                }
                let Some(wait) = waits.next() else { break };
                tokio::time::sleep(wait.min(LOOK)).await;
            }
        }
        if let RegisterState::Committed { commits, .. } = self.read_register(store, newest.over.txn).await? {
            self.learn_read(commits).await;
        }
        Ok(())
    }

    /// Learns what is read next.
    async fn learn_read(&self, commits: Vec<Committed>) {
        for it in &commits {
            self.cache_inline(&it.commit, &it.payload).await;
        }
        self.learn(commits.into_iter().map(|it| it.commit));
    }

    /// Makes the guard of this place, or learns whose it is.
    async fn create_guard(
        &self,
        store: &Store,
        me: Claimant,
        guarded: &Guarded,
        slot: u32,
    ) -> Result<GuardClaim, Error> {
        let claim = GuardClaim {
            txn: me.txn,
            since_ms: me.since_ms,
            writes: guarded.writes,
            over: guarded.over,
            slot,
            key: guarded.key.clone(),
        };
        let path = self.path(ObjectName::Guard(claim.name()));
        let bytes = claim.encode().map_err(|cause| unencodable("the guard", cause))?;
        let failed = |error| Error::storage("guarding a key", error);
        let create = async || {
            let sent = self.now();
            let tried = store.try_create(&path, bytes.clone()).await.map_err(failed);
            self.contention.note_request(self.now().elapsed_since(sent));
            tried
        };
        let settle = async |made: bool| {
            if made || planted(Planted::TrustGuardConflict) {
                return Ok(Some(claim.clone()));
            }
            self.read_guard(store, guarded, slot).await
        };
        write_once(&self.rng, &path, GUARD_TRIES, create, settle).await?.map_err(failed)
    }

    async fn read_guard(
        &self,
        store: &Store,
        guarded: &Guarded,
        slot: u32,
    ) -> Result<Option<GuardClaim>, Error> {
        let name = guarded.guard(slot);
        let path = self.path(ObjectName::Guard(name));
        let object = match retry_read(&self.rng, || store.get(&path)).await {
            Ok(object) => object,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::storage(format_args!("reading the guard {path:?}"), error)),
        };
        let claim = GuardClaim::decode_as(name, &object.bytes).map_err(|cause| format_error(&path, cause))?;
        Ok(Some(claim))
    }

    /// The greatest place that a listing shows; 0 where it shows none.
    async fn newest_guard(&self, store: &Store, guarded: &Guarded) -> Result<u32, Error> {
        let folder = guarded.guard(0).folder(self.shards);
        let guards = self.list_guards(store, &folder, None).await?;
        Ok(guards.iter().map(|found| found.slot).max().unwrap_or(0))
    }

    /// The guards that a folder shows after a path.
    async fn list_guards(
        &self,
        store: &Store,
        folder: &str,
        after: Option<&str>,
    ) -> Result<Vec<GuardName>, Error> {
        let listed = retry_read(&self.rng, || store.list(folder, after)).await;
        let listed = listed.map_err(|error| Error::storage("listing the guards of a key", error))?;
        let names = listed.iter().filter_map(|object| match ObjectName::parse(&object.path, self.shards) {
            Some(ObjectName::Guard(found)) => Some(found),
            _ => None,
        });
        Ok(names.collect())
    }
}

/// How long one transaction waits for another that is undecided and guards what it guards, before it aborts it.
fn patience_ms(me: Claimant, other: &GuardClaim) -> u64 {
    if (me.since_ms, me.txn) > (other.since_ms, other.txn) {
        PATIENCE_MS
    } else if other.since_ms.saturating_sub(me.since_ms) < PATIENCE_MS {
        OLDER_PATIENCE_MS
    } else {
        0
    }
}

/// Whether a guard is this transaction's, and says of it what is so: others pass by who does not write the key.
fn is_mine(claim: &GuardClaim, me: Claimant, guarded: &Guarded) -> bool {
    claim.txn == me.txn && (claim.writes || !guarded.writes)
}

/// An earlier guard is gone: then what it is over was superseded long ago, or the listing lies.
fn gone() -> Error {
    let message = "guards of a key are gone that later ones follow; nothing was committed; try again";
    Error::new(ErrorKind::Unavailable, message)
}

/// What is unknown is whether another transaction was aborted: of this one, nothing was decided.
fn not_settled(error: Error) -> Error {
    if error.kind() != ErrorKind::OutcomeUnknown {
        return error;
    }
    let message =
        "an undecided transaction holds a guard and could not be aborted; nothing was committed; try again";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
