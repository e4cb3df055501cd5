//! What clients do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aft_core::{Begin, TxnId};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use crate::history::Status;
use crate::sim::recorded::{Parcel, Recorded};
use crate::sim::recorder::{Client, How, Recorder};
use crate::sim::upkeep::Done;

/// Files of the directory that is imported and exported.
const FILES: usize = 8;
/// Accounts of the bank.
const ACCOUNTS: usize = 5;

/// Keys that only serializable transactions use.
const SERIAL: usize = 3;

/// Every key that a run uses; those of serializable transactions come last.
pub(crate) fn universe() -> Vec<String> {
    let hot = (0..4).map(|n| format!("hot/{n}"));
    let cold = (0..24).map(|n| format!("cold/{n:02}"));
    let files = (0..FILES).map(|n| format!("dir/{n}"));
    let accounts = (0..ACCOUNTS).flat_map(|n| [format!("bank/{n}/balance"), format!("bank/{n}/log")]);
    let orders = (0..6).map(|n| format!("order/{n}"));
    hot.chain(cold).chain(files).chain(accounts).chain(orders).chain(serial()).collect()
}

pub(crate) fn serial() -> impl Iterator<Item = String> {
    (0..SERIAL).map(|n| format!("serial/{n}"))
}

/// What the clients of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) universe: Vec<String>,
    /// Ids that several clients try at once or after each other.
    ids: Mutex<Vec<(TxnId, u32)>>,
    /// Whether clients use request keys and tokens too.
    pub(crate) requests: bool,
    /// Suspended transactions that wait for somebody to go on with them.
    pub(crate) parcels: Mutex<Vec<Parcel>>,
    /// The running number of the next request.
    pub(crate) next_request: AtomicU64,
    /// How long a transaction may live.
    lifetime_ms: u64,
    /// Whether nodes make checkpoints and collect garbage.
    pub(crate) upkeep: bool,
    /// Whether transactions travel between nodes that build on different checkpoints.
    pub(crate) relays: bool,
    /// Whether listings lie or dates change.
    pub(crate) mischief: bool,
    /// What they did.
    pub(crate) upkept: Mutex<Done>,
}

impl Shared {
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        requests: bool,
        (upkeep, relays, mischief): (bool, bool, bool),
        lifetime_ms: u64,
    ) -> Arc<Self> {
        let (ids, parcels) = (Mutex::default(), Mutex::default());
        Arc::new(Self {
            recorder,
            universe: universe(),
            ids,
            requests,
            parcels,
            next_request: AtomicU64::new(0),
            lifetime_ms,
            upkeep,
            relays,
            mischief,
            upkept: Mutex::default(),
        })
    }

    /// What was done beside the clients, and how commits were decided.
    pub(crate) fn done(&self) -> BTreeMap<String, u64> {
        let mut done = self.upkept.lock().clone();
        done.extend(self.recorder.decided().map(|(what, times)| (what.to_owned(), times)));
        done
    }
}

/// A client that works until it is stopped.
pub(crate) async fn work(client: Client, shared: Arc<Shared>, seed: u64) {
    let shared_requests = shared.requests;
    let mut actor = Actor { rng: StdRng::seed_from_u64(seed), client, shared };
    loop {
        let pause = actor.draw(1500);
        sleep(Duration::from_millis(pause)).await;
        if actor.client.is_crashed() {
            return;
        }
        if actor.shared.relays {
            actor.relay_work().await;
            continue;
        }
        if shared_requests && actor.draw(3) == 0 {
            actor.request_work().await;
            continue;
        }
        match actor.draw(100) {
            0..30 => actor.mixed().await,
            30..37 => actor.guarded().await,
            37..41 => actor.serial().await,
            41..45 => actor.burst().await,
            45..60 => actor.order().await,
            60..72 => actor.transfer().await,
            72..80 => actor.import().await,
            80..92 => actor.export().await,
            _ if actor.shared.upkeep && actor.draw(2) == 0 => actor.vigil().await,
            _ => actor.long_runner().await,
        }
    }
}

pub(crate) struct Actor {
    rng: StdRng,
    pub(crate) client: Client,
    pub(crate) shared: Arc<Shared>,
}

/// The id of a transaction as it is noted, whether or not it committed in a group: a UUID of version 7.
pub(crate) const fn alone(id: u128) -> u128 {
    id & !(0xf << 76) | 7 << 76
}

impl Actor {
    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below
    }

    pub(crate) fn key(&mut self) -> String {
        let n = usize::try_from(self.draw(1 << 30)).unwrap_or_default();
        // Half of all accesses go to the four hot keys, which come first.
        let among = if n.is_multiple_of(2) { 4 } else { self.shared.universe.len() - SERIAL };
        self.shared.universe[n / 2 % among].clone()
    }

    pub(crate) fn value_len(&mut self) -> usize {
        // Over the inline limit of the simulated nodes, now and then.
        if self.draw(6) == 0 { 400 } else { 10 }
    }

    pub(crate) async fn think(&mut self, most_ms: u64) {
        if self.draw(3) == 0 {
            let pause = self.draw(most_ms);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    pub(crate) async fn begin(&mut self) -> Option<Recorded> {
        let (mut begin, mut how) = (Begin::new(), How::default());
        if self.draw(5) == 0 {
            begin = begin.latest();
        }
        if self.draw(6) == 0 {
            begin = begin.publish_before_ack();
        }
        let draw = usize::try_from(self.draw(1000)).unwrap_or_default();
        if self.draw(5) == 0
            && let Some(receipt) = self.shared.recorder.receipt(draw)
        {
            begin = begin.after(&receipt);
            how.after.push(alone(receipt.txn_id().as_u128()));
        }
        self.shared.recorder.begin(&self.client, begin, &how).await
    }

    async fn begin_shared(&mut self, id: TxnId) -> Option<Recorded> {
        let how = How { shared: true, ..How::default() };
        self.shared.recorder.begin(&self.client, Begin::new().id(id), &how).await
    }

    /// Reads, writes, deletes and scans, in any order.
    pub(crate) async fn mixed(&mut self) {
        let Some(mut tx) = self.begin().await else { return };
        for _ in 0..1 + self.draw(6) {
            self.think(1200).await;
            let key = self.key();
            let go_on = match self.draw(10) {
                0..4 => tx.read(&[key]).await,
                4 => {
                    let keys = [key, self.key(), self.key()];
                    tx.read(&keys).await
                }
                5..8 => {
                    let len = self.value_len();
                    tx.put_or_stream(&key, len).await;
                    true
                }
                8 => {
                    tx.delete(&key);
                    true
                }
                _ => {
                    let prefix =
                        ["hot/", "dir/", "bank/", "cold/1", ""][usize::try_from(self.draw(5)).unwrap_or(0)];
                    let page = (self.draw(2) == 0).then(|| 1 + usize::try_from(self.draw(4)).unwrap_or(0));
                    tx.scan(prefix, &self.shared.universe, page).await.is_some()
                }
            };
            if !go_on {
                return tx.abort().await;
            }
        }
        if self.draw(12) == 0 {
            tx.abort().await;
        } else {
            tx.commit().await;
        }
    }

    /// One step of a workflow that is retried under the same id, by this client or another, also side by side.
    async fn order(&mut self) {
        let id = {
            let fresh = self.draw(2) == 0;
            let draw = usize::try_from(self.draw(1 << 20)).unwrap_or_default();
            let mut ids = self.shared.ids.lock();
            if fresh || ids.is_empty() {
                ids.push((self.client.aft.new_txn_id(), 0));
                ids.last().map(|(id, _)| *id)
            } else {
                let at = draw % ids.len();
                ids[at].1 += 1;
                let (id, tries) = ids[at];
                if tries > 4 {
                    ids.swap_remove(at);
                }
                Some(id)
            }
        };
        let Some(id) = id else { return };
        let Some(mut tx) = self.begin_shared(id).await else { return };
        let order = format!("order/{}", self.draw(6));
        if !tx.read(std::slice::from_ref(&order)).await {
            return tx.abort().await;
        }
        let len = self.value_len();
        tx.put_or_stream(&order, len).await;
        if self.draw(3) == 0 {
            let key = self.key();
            tx.delete(&key);
        }
        self.think(3000).await;
        if self.draw(15) == 0 {
            return tx.abort().await;
        }
        debug_assert_eq!(tx.id(), Some(id));
        if tx.commit().await == Status::Unknown && !self.client.is_crashed() {
            // The client asks again, as any would.
            if let Some(mut again) = self.begin_shared(id).await {
                again.put_or_stream(&order, 10).await;
                again.commit().await;
            }
        }
    }

    /// Several small transactions that commit at once. Where the node decides one at a time, some of them share a decision.
    async fn burst(&mut self) {
        let mut all = Vec::new();
        for _ in 0..2 + self.draw(5) {
            let begun = self.shared.recorder.begin(&self.client, Begin::new(), &How::default()).await;
            let Some(mut tx) = begun.map(Recorded::unasked) else { continue };
            let keys = [self.key(), self.key()];
            if self.draw(2) == 0 && !tx.read(&keys[..1]).await {
                continue;
            }
            // Now and then one whose value gets an object of its own.
            let len = if self.draw(8) == 0 { 400 } else { 10 };
            tx.put(&keys[0], len);
            if self.draw(4) == 0 {
                tx.delete(&keys[1]);
            } else {
                tx.put(&keys[1], 10);
            }
            all.push(tx);
        }
        futures::future::join_all(all.into_iter().map(Recorded::commit)).await;
    }

    /// Writes what it has read guarded; now and then it guards a key that it does not write, or whatever it reads and writes.
    async fn guarded(&mut self) {
        let how = How { serializable: self.draw(3) == 0, ..How::default() };
        let begun = self.shared.recorder.begin(&self.client, Begin::new(), &how).await;
        let Some(mut tx) = begun else { return };
        let keys: Vec<_> =
            (0..1 + self.draw(3)).map(|_| self.key()).collect::<BTreeSet<_>>().into_iter().collect();
        if !tx.read_guarded(&keys).await {
            return tx.abort().await;
        }
        self.think(800).await;
        let written = if self.draw(3) == 0 { keys.len() - 1 } else { keys.len() };
        for key in &keys[..written] {
            let len = self.value_len();
            if self.draw(5) == 0 {
                tx.delete(key);
            } else {
                tx.put_or_stream(key, len).await;
            }
        }
        tx.commit().await;
    }

    /// Reads some keys that only such transactions use, and writes one of them or none: write skew and lost updates would show.
    async fn serial(&mut self) {
        let how = How { serializable: true, ..How::default() };
        let Some(mut tx) = self.shared.recorder.begin(&self.client, Begin::new(), &how).await else { return };
        let keys: Vec<_> = serial().filter(|_| self.draw(3) > 0).collect();
        if !keys.is_empty() && !tx.read(&keys).await {
            return tx.abort().await;
        }
        self.think(800).await;
        let key = format!("serial/{}", self.draw(SERIAL as u64));
        match self.draw(6) {
            0 => {}
            1 => tx.delete(&key),
            _ => tx.put(&key, 10),
        }
        tx.commit().await;
    }

    /// Moves money: both sides of an account are always written together.
    async fn transfer(&mut self) {
        let Some(mut tx) = self.begin().await else { return };
        let (from, to) = (self.draw(ACCOUNTS as u64), self.draw(ACCOUNTS as u64));
        let keys: Vec<String> =
            [from, to].iter().flat_map(|n| [format!("bank/{n}/balance"), format!("bank/{n}/log")]).collect();
        if !tx.read(&keys[..1]).await {
            return tx.abort().await;
        }
        self.think(800).await;
        if !tx.read(&keys[1..]).await {
            return tx.abort().await;
        }
        for key in &keys {
            let len = self.value_len();
            tx.put_or_stream(key, len).await;
        }
        tx.commit().await;
    }

    /// Replaces a directory: some files are written, the others deleted, all in one transaction.
    async fn import(&mut self) {
        let Some(mut tx) = self.begin().await else { return };
        let kept = self.draw(1 << FILES);
        for n in 0..FILES {
            let key = format!("dir/{n}");
            if kept & (1 << n) != 0 {
                let len = self.value_len();
                tx.put_or_stream(&key, len).await;
            } else {
                tx.delete(&key);
            }
        }
        tx.commit().await;
    }

    /// Reads the directory in one scan, or twice with time between: it must be one import's, or what single writers made of it.
    async fn export(&mut self) {
        let Some(mut tx) = self.begin().await else { return };
        let page = (self.draw(2) == 0).then_some(3);
        let Some(first) = tx.scan("dir/", &self.shared.universe, page).await else { return tx.abort().await };
        self.think(3000).await;
        let Some(second) = tx.scan("dir/", &self.shared.universe, None).await else {
            return tx.abort().await;
        };
        if first != second {
            self.shared
                .recorder
                .problem(format!("{} scanned twice: {first:?} then {second:?}", self.client.session));
        }
        tx.commit().await;
    }

    /// Reads over nearly as long as a transaction may live, or longer, and then writes, or not.
    async fn long_runner(&mut self) {
        let Some(mut tx) = self.begin().await else { return };
        for _ in 0..6 {
            let key = self.key();
            if !tx.read(&[key]).await {
                return tx.abort().await;
            }
            let pause = self.draw(self.shared.lifetime_ms * 13 / 45);
            sleep(Duration::from_millis(pause)).await;
        }
        if self.draw(2) == 0 {
            let (key, other, len) = (self.key(), self.key(), self.value_len());
            tx.put_or_stream(&key, len).await;
            tx.delete(&other);
        }
        tx.commit().await;
    }

    /// Reads one side of an account, the directory or a few keys, and the other side when its lifetime is almost over: everything
    /// that it may read must still be there.
    async fn vigil(&mut self) {
        let Some(mut tx) = self.begin().await else { return };
        let account = self.draw(ACCOUNTS as u64);
        let (first, rest) = match self.draw(3) {
            0 => (vec![format!("bank/{account}/balance")], vec![format!("bank/{account}/log")]),
            1 => (vec!["dir/0".to_owned()], (1..FILES).map(|n| format!("dir/{n}")).collect()),
            _ => (vec![self.key()], vec![self.key(), self.key(), self.key()]),
        };
        if !tx.read(&first).await {
            return tx.abort().await;
        }
        let spare = self.draw(3_000);
        sleep(Duration::from_millis(self.shared.lifetime_ms.saturating_sub(500 + spare))).await;
        let go_on = match self.draw(2) {
            0 => tx.read(&rest).await,
            _ => tx.scan("", &self.shared.universe, None).await.is_some(),
        };
        if go_on {
            tx.commit().await;
        } else {
            tx.abort().await;
        }
    }
}
