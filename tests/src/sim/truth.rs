//! What really happened, from the archive: which transactions committed, and when each was published.
//!
//! Nodes forget outcomes, and the index forgets deletions. The auditor does not, so that it can tell a deletion that has left the index
//! from a key that was never written, and forgotten from denied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aft_core::{Aft, Config, Outcome, Storage, TxnId};
use aft_memory::SimulatedStorage;
use futures::TryStreamExt;

use crate::history::Version;
use crate::sim::archive::Archive;
use crate::sim::recorder::Recorder;
use crate::sim::workload::alone;

/// What really happened.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// The outcome of each id under which anything was to be written, as its first decision says.
    pub(crate) outcomes: BTreeMap<u128, Outcome>,
    /// When each commit was published: the date of the first feed object in time that carries it, in seconds since 1970; that of the
    /// store's adoption where those that were there by then were late.
    published: BTreeMap<u128, u64>,
    /// Of each checkpoint by its number, the greatest version of a deletion that had left the index by then.
    purged: BTreeMap<u64, Version>,
    /// Milliseconds since 1970 when the run's own time began.
    epoch_ms: u64,
    windows: Windows,
}

/// What a store's settings say about forgetting, in milliseconds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Windows {
    /// What is folded at a moment was published longer ago.
    horizon_ms: u64,
    /// An id without a decision is undecided for so long.
    forgotten_ms: u64,
    /// How long requests are remembered.
    retention_ms: u64,
    publish_ms: u64,
    lifetime_ms: u64,
    skew_ms: u64,
}

impl Windows {
    /// As docs/design.md has them.
    pub(crate) fn of(config: &Config) -> Self {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let skew_ms = ms(config.max_clock_skew);
        let decided_ms =
            ms(config.transaction_lifetime) + ms(config.commit_deadline) + ms(config.visibility_delay);
        Self {
            horizon_ms: decided_ms + ms(config.max_staleness) + 3 * skew_ms + 1000,
            forgotten_ms: decided_ms + skew_ms + 1000,
            retention_ms: ms(config.outcome_retention),
            publish_ms: ms(config.publish_deadline),
            lifetime_ms: ms(config.transaction_lifetime),
            skew_ms,
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Truth {
    /// Of a store from which nothing was deleted, and in which nobody commits in a group.
    pub(crate) fn of_outcomes(outcomes: BTreeMap<u128, Outcome>) -> Self {
        Self { outcomes, ..Self::default() }
    }

    /// Of a store from which nothing was deleted: what nodes said in the end.
    pub(crate) async fn told(archive: &Archive, network: &SimulatedStorage, recorder: &Recorder) -> Self {
        let mut truth = Self::of_outcomes(recorder.outcomes());
        truth.read_unasked(archive, network, recorder).await;
        truth
    }

    /// Opens the archive, and reads what became of these ids and when they were published.
    pub(crate) async fn read(
        archive: &Archive,
        network: &SimulatedStorage,
        recorder: &Recorder,
        epoch_ms: u64,
        windows: Windows,
    ) -> Self {
        archive.open();
        let mut truth = Self { purged: archive.purged(), epoch_ms, windows, ..Self::default() };
        let storage = network.reached_by(&network.process("archivist"));
        let (ids, unasked) = (recorder.ids(), recorder.unasked());
        match Aft::builder(Arc::new(storage.clone())).read_only().rng_seed(0).open().await {
            Ok(aft) => {
                for id in &ids {
                    match aft.outcome(*id).await {
                        Ok(outcome) => drop(truth.outcomes.insert(id.as_u128(), outcome)),
                        Err(error) => recorder.problem(format!("the archive says of {id}: {error}")),
                    }
                }
            }
            Err(error) => recorder.problem(format!("the archive cannot be opened: {error}")),
        }
        let ids: BTreeSet<u128> = ids.iter().chain(unasked.keys()).map(|id| id.as_u128()).collect();
        let adopted = archive.all_redated().map(|at| unix_ms(at) / 1000);
        let feed: Vec<_> = storage.list("feed/", None).try_collect().await.unwrap_or_default();
        for object in feed {
            let (Ok(read), Some(name_ms)) = (archive.get(&object.path).await, feed_time_ms(&object.path))
            else {
                recorder.problem(format!("the archive has lost {}", object.path));
                continue;
            };
            let mut dated = unix_ms(object.last_modified) / 1000;
            if dated * 1000 > name_ms + windows.publish_ms {
                // One that came late publishes nothing, unless the store was adopted with it.
                match adopted {
                    Some(adopted) if dated <= adopted => dated = adopted,
                    _ => continue,
                }
            }
            for id in read.bytes.windows(16).filter_map(id_in) {
                let id = alone(id.as_u128());
                if !ids.contains(&id) {
                    continue;
                }
                let first = truth.published.entry(id).or_insert(dated);
                *first = dated.min(*first);
            }
        }
        truth.read_unasked(archive, network, recorder).await;
        truth
    }

    /// What became of those whose ids nobody asked for: decided alone, or in the group whose decision names them.
    async fn read_unasked(&mut self, archive: &Archive, network: &SimulatedStorage, recorder: &Recorder) {
        archive.open();
        let storage = network.reached_by(&network.process("archivist of groups"));
        let aft = match Aft::builder(Arc::new(storage.clone())).read_only().rng_seed(0).open().await {
            Ok(aft) => aft,
            Err(error) => return recorder.problem(format!("the archive cannot be opened: {error}")),
        };
        let mut open: BTreeMap<u128, u64> = BTreeMap::new();
        for (id, attempt) in recorder.unasked() {
            match aft.outcome(id).await {
                Ok(Outcome::Committed { receipt, .. }) => {
                    // As others store which attempt it was: these have one.
                    let result = Some(attempt.to_string().into_bytes().into());
                    self.outcomes.insert(id.as_u128(), Outcome::Committed { receipt, result });
                }
                Ok(Outcome::Aborted) => {
                    self.outcomes.insert(id.as_u128(), Outcome::Aborted);
                }
                _ => {
                    open.insert(id.as_u128(), attempt);
                }
            }
        }
        let mut decisions: Vec<_> = storage.list("commits/", None).try_collect().await.unwrap_or_default();
        decisions.extend(storage.list("feed/", None).try_collect::<Vec<_>>().await.unwrap_or_default());
        for object in decisions {
            let (Some(group), Ok(read)) = (decision_of(&object.path), archive.get(&object.path).await) else {
                continue;
            };
            let members = read.bytes.windows(16).filter_map(id_in).filter(|id| id.is_in_group());
            for member in members.collect::<BTreeSet<_>>() {
                let Some(attempt) = open.get(&alone(member.as_u128())) else { continue };
                let Ok(Outcome::Committed { receipt, .. }) = aft.outcome(group).await else { continue };
                // The decision of a transaction that guards what another one wrote says that one's id, too.
                if !receipt.txn_id().is_in_group() {
                    continue;
                }
                // One clock for all.
                let text = receipt.to_string().replace(&receipt.txn_id().to_string(), &member.to_string());
                let Ok(receipt) = text.parse() else { continue };
                let result = Some(attempt.to_string().into_bytes().into());
                self.outcomes.insert(alone(member.as_u128()), Outcome::Committed { receipt, result });
            }
        }
    }

    /// When a transaction that began at `began_ms` of the run can have read at the latest, with a second for its begin: its id may come
    /// from a clock that is ahead, and it may be read on where the clock is behind.
    pub(crate) fn latest_ms(&self, id: u128, began_ms: u64) -> u64 {
        let start_ms = u64::try_from(id >> 80).unwrap_or_default().saturating_sub(self.epoch_ms);
        start_ms.max(began_ms) + self.windows.lifetime_ms + self.windows.skew_ms + 1000
    }

    /// Whether a checkpoint that was there at `at_ms` of the run can have folded this commit.
    pub(crate) fn may_be_folded(&self, id: u128, at_ms: u64) -> bool {
        let horizon = (self.epoch_ms + at_ms).saturating_sub(self.windows.horizon_ms) / 1000;
        self.published.get(&alone(id)).is_some_and(|published| *published < horizon)
    }

    /// Whether a deletion that this version made can have left the index of this checkpoint.
    pub(crate) fn may_have_left(&self, deleted: Version, checkpoint: u64) -> bool {
        self.purged.get(&checkpoint).is_some_and(|purged| deleted <= *purged)
    }

    /// Whether the bytes of an object hold the id of a commit.
    pub(crate) fn names_a_commit(&self, bytes: &[u8]) -> bool {
        bytes.windows(16).any(|window| {
            let id = u128::from_be_bytes(window.try_into().unwrap_or_default());
            matches!(self.outcomes.get(&id), Some(Outcome::Committed { .. }))
        })
    }

    /// Whether what a node said of an id at `at_ms` of the run is true, or was forgotten by then as it may be. `requested`: a request key
    /// led to it.
    pub(crate) fn allows(&self, id: TxnId, requested: bool, said: &Outcome, at_ms: u64) -> bool {
        match (self.outcomes.get(&id.as_u128()), said) {
            (Some(truth), said) if truth == said => true,
            (truth, Outcome::Forgotten) => {
                let kept_ms = match truth {
                    Some(Outcome::Committed { .. }) if requested => self.windows.retention_ms,
                    _ => self.windows.forgotten_ms,
                };
                self.epoch_ms + at_ms > id.start_ms() + kept_ms
            }
            (None | Some(Outcome::Undecided | Outcome::Forgotten), Outcome::Undecided) => true,
            _ => false,
        }
    }

    /// Whether a request that committed under two ids was a new one the second time: the first was remembered for as long as promised.
    pub(crate) fn may_repeat(&self, first: &Outcome, second: &Outcome) -> bool {
        let (Outcome::Committed { receipt: first, .. }, Outcome::Committed { receipt: second, .. }) =
            (first, second)
        else {
            return true;
        };
        let (earlier, later) =
            if first.version() < second.version() { (first, second) } else { (second, first) };
        self.windows.retention_ms > 0
            && later.txn_id().start_ms() > earlier.version().clock_ms() + self.windows.retention_ms
    }
}

/// When a feed object says that it was made.
fn feed_time_ms(path: &str) -> Option<u64> {
    u64::from_str_radix(path.strip_prefix("feed/")?.split('-').next()?, 16).ok()
}

/// The id of the decision at this path.
pub(crate) fn decision_of(path: &str) -> Option<TxnId> {
    let Some(name) = path.strip_prefix("feed/") else { return path.rsplit('/').next()?.parse().ok() };
    let mut parts = name.split('-').map(|part| u64::from_str_radix(part, 16).ok());
    let (time, node, seq) = (parts.next()??, parts.next()??, parts.next()??);
    // One in the feed says in its running number that it is one; its id says all of its name.
    let number = seq.checked_sub(1 << 31)?;
    let id = u128::from(time) << 80 | u128::from(0x8800 | number) << 64 | 1 << 63 | u128::from(node);
    TxnId::try_from(id.to_be_bytes()).ok()
}

/// A transaction's id where these sixteen bytes may be one.
fn id_in(window: &[u8]) -> Option<TxnId> {
    let bytes = <[u8; 16]>::try_from(window).ok()?;
    [7, 8].contains(&(bytes[6] >> 4)).then(|| TxnId::try_from(bytes).ok()).flatten()
}
