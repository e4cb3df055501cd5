//! What happens in a store lately, for whoever watches it: which nodes were heard of, when commits happened, which keys are written most, what nobody
//! has published, and the checkpoints that are still there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::format::manifest::Manifest;
use crate::format::name::{FEED, FeedName};
use crate::key_range::KeyRange;
use crate::node::Node;
use crate::node::exchange::sweep::Unpublished;
use crate::node::handle::Aft;
use crate::node::store::retry_read;
use crate::protocol::knowledge::Knowledge;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{Commit, Home};
use crate::storage::ObjectInfo;
use crate::txn_id::{TxnId, unix_ms};

/// A node that published something lately; from [`Aft::nodes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its random number, as it stands in the names of what it publishes: 16 hexadecimal digits. A process has another one each time it opens the store.
    pub node: String,
    /// The feed objects that it made, decisions in the feed included.
    pub objects: u64,
    /// How many commits they tell, as far as that is known: of those that this node's view holds, and whose values travelled in the feed.
    pub commits: u64,
    /// When its newest feed object landed, by the store's clock.
    pub last: SystemTime,
    /// What the name of that object says: when it was sent, by the node's estimate of the store's clock.
    pub last_named: SystemTime,
    /// By how many milliseconds the node's clock is ahead of the store's, about; negative where it is behind. Commits take the clock of their node, and
    /// the store dates the feed object that tells of them: the greatest difference of any is taken. It is good to a second and to how long a create takes. A
    /// commit may have waited for its publication, so that a clock is called behind only where a decision in the feed says so. A node that reads what one with
    /// a clock that is ahead wrote seems to be ahead itself. `None` where nothing tells.
    pub clock_ahead_ms: Option<i64>,
}

/// How often a key was written lately; from [`Aft::busiest_keys`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyActivity {
    /// The key.
    pub key: Bytes,
    /// Its versions that are not folded, deletions included.
    pub versions: u64,
}

/// A checkpoint that is still there; from [`Aft::checkpoints`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// Its number.
    pub number: u64,
    /// When it landed, by the store's clock.
    pub made: SystemTime,
    /// Commits published before this moment (by the store's clock) are in its index.
    pub horizon: SystemTime,
    /// Whether it is a light one, which folds nothing.
    pub light: bool,
    /// The sorted runs of its index.
    pub runs: u64,
    /// Rows in them, deletions included.
    pub rows: u64,
}

impl Aft {
    /// The nodes that published something in this time before the newest thing that the store is known to hold, the last first. One list (a
    /// request per thousand feed objects); no object is read.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied), [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("k", "v")?;
    /// tx.commit().await?;
    /// aft.publish().await?;
    /// let nodes = aft.nodes(std::time::Duration::from_secs(900)).await?;
    /// assert_eq!((nodes.len(), nodes[0].objects), (1, 1));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn nodes(&self, within: Duration) -> BoxFuture<'_, Result<Vec<NodeInfo>, Error>> {
        async move {
            self.node().check_open()?;
            self.node().nodes(within).await
        }
        .boxed()
    }

    /// When each commit happened that is not folded and is not older than `since`, by the clock of its node; oldest first. Of a commit that others of its batch
    /// superseded, and that is known by its id alone, when its transaction began. No request.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft, a_minute_ago: std::time::SystemTime) -> Result<(), aft_core::Error> {
    /// println!("{} commits in the last minute", aft.commit_times(a_minute_ago).len());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn commit_times(&self, since: SystemTime) -> Vec<SystemTime> {
        let moments = self.node().known.read(|known| known.commits_since(unix_ms(since)));
        moments.into_iter().map(|ms| UNIX_EPOCH + Duration::from_millis(ms)).collect()
    }

    /// The `limit` keys with the most versions that are not folded, the most first. No request.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// for key in ["a", "b", "b"] {
    ///     let mut tx = aft.begin().await?;
    ///     tx.put(key, "v")?;
    ///     tx.commit().await?;
    /// }
    /// let busiest = aft.busiest_keys(1);
    /// assert_eq!((&busiest[0].key[..], busiest[0].versions), (&b"b"[..], 2));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn busiest_keys(&self, limit: usize) -> Vec<KeyActivity> {
        self.node().known.read(|known| busiest(known, limit))
    }

    /// The decisions that a sweep would publish now: those of commits that no feed object carries, the last seconds' commits of running nodes among them, oldest
    /// first. Writes nothing. A list per shard, and a get per decision that is not known to be published.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// for decision in aft.unpublished().await? {
    ///     println!("{decision}, which began at {:?}, waits for a sweep", decision.started_at());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn unpublished(&self) -> BoxFuture<'_, Result<Vec<TxnId>, Error>> {
        async move {
            self.node().check_open()?;
            self.node().unpublished().await
        }
        .boxed()
    }

    /// The newest `limit` checkpoints that are still there and count, newest first. Those that cannot be read are left out: [`check`](Self::check) names them. A list, and a get for
    /// each.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied), [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// for checkpoint in aft.checkpoints(10).await? {
    ///     println!("{}: {} rows in {} runs", checkpoint.number, checkpoint.rows, checkpoint.runs);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn checkpoints(&self, limit: usize) -> BoxFuture<'_, Result<Vec<CheckpointInfo>, Error>> {
        async move {
            self.node().check_open()?;
            self.node().checkpoints(limit).await
        }
        .boxed()
    }
}

impl Node {
    async fn nodes(&self, within: Duration) -> Result<Vec<NodeInfo>, Error> {
        let (newest, told) = self.known.read(|known| (known.store_time(self.now()), told(known)));
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let from_ms = newest.map_or(0, |newest| newest.ms().saturating_sub(within_ms));
        let start_after = FeedName::cursor(from_ms);
        let heard = retry_read(&self.rng, || async {
            // What is listed twice is counted once: each try counts anew.
            let heard = Mutex::new(BTreeMap::new());
            let note = |object: &ObjectInfo| {
                hear(&mut heard.lock(), object, &told);
                false
            };
            self.store.list_where(FEED, Some(&start_after), note).await.map(|_| heard.into_inner())
        });
        let heard = heard.await.map_err(|error| Error::storage("listing the feed", error))?;
        let mut nodes: Vec<_> = heard.into_iter().map(|(node, heard)| heard.info(node)).collect();
        nodes.sort_by(|a, b| (b.last, &b.node).cmp(&(a.last, &a.node)));
        Ok(nodes)
    }

    async fn unpublished(&self) -> Result<Vec<TxnId>, Error> {
        let late = self.known.read(Knowledge::told_late);
        let Unpublished { found, mut damaged, .. } = self.find_unpublished().await?;
        if let Some((_, error)) = damaged.pop() {
            return Err(error);
        }
        let found = found.iter().map(|it| it.commit.decided_by());
        let mut ids: Vec<_> = found.chain(late.into_values().flatten()).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    async fn checkpoints(&self, limit: usize) -> Result<Vec<CheckpointInfo>, Error> {
        let numbers = self.list_manifests(0).await?;
        let read = numbers.into_iter().take(limit).map(|number| {
            async move {
                match self.manifest(number).await {
                    Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
                    read => read,
                }
            }
            .boxed()
        });
        let read = futures::stream::iter(read.collect::<Vec<_>>()).buffered(self.config.parallel_requests);
        let manifests: Vec<_> =
            read.try_filter_map(|found| async { Ok::<_, Error>(found) }).try_collect().await?;
        let moment = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let info = |(manifest, StoreTime(made)): &(Manifest, StoreTime)| CheckpointInfo {
            number: manifest.number,
            made: moment(*made),
            horizon: moment(manifest.horizon),
            light: manifest.full_begun != manifest.begun,
            runs: manifest.runs.len() as u64,
            rows: manifest.files().map(|file| file.rows).sum(),
        };
        Ok(manifests.iter().map(info).collect())
    }
}

/// What the view's commits say of a feed object that told them: how many there are, and the greatest clock of any, in milliseconds.
type Told = BTreeMap<FeedName, (u64, u64)>;

/// What each feed object told, as far as the view knows.
fn told(known: &Knowledge) -> Told {
    let mut told = Told::new();
    for commit in known.view().newest_first() {
        if let Some(name) = teller(commit) {
            let (count, clock_ms) = told.entry(name).or_default();
            *count += 1;
            *clock_ms = (*clock_ms).max(commit.version.clock_ms());
        }
    }
    told
}

/// The feed object that surely told of a commit: the decision where that lies in the feed, or what holds its values.
fn teller(commit: &Arc<Commit>) -> Option<FeedName> {
    commit.decided_by().direct_name().or(match commit.home() {
        Home::Feed { name, .. } => Some(name),
        Home::Decision { .. } => None,
    })
}

/// What is heard of one node.
#[derive(Debug, Default)]
struct Heard {
    objects: u64,
    commits: u64,
    /// The newest date, and the time in that object's name, in milliseconds.
    last: Option<(SystemTime, u64)>,
    /// The greatest difference between the clock of a commit and the date of what told it, in milliseconds.
    ahead_ms: Option<i64>,
    /// Whether a decision in the feed is among what says so: of that, nothing waited to be published.
    direct: bool,
}

/// Takes in an object of the feed.
fn hear(heard: &mut BTreeMap<u64, Heard>, object: &ObjectInfo, told: &Told) {
    let Some(name) = FeedName::parse(&object.path) else { return };
    let node = heard.entry(name.node).or_default();
    node.objects += 1;
    node.last = node.last.max(Some((object.last_modified, name.time_ms)));
    if let Some((commits, clock_ms)) = told.get(&name) {
        node.commits += commits;
        let ahead_ms = clock_ms.cast_signed().saturating_sub(unix_ms(object.last_modified).cast_signed());
        node.ahead_ms = node.ahead_ms.max(Some(ahead_ms));
        node.direct |= name.is_direct();
    }
}

impl Heard {
    fn info(self, node: u64) -> NodeInfo {
        let (last, named_ms) = self.last.unwrap_or((UNIX_EPOCH, 0));
        NodeInfo {
            node: format!("{node:016x}"),
            objects: self.objects,
            commits: self.commits,
            last,
            last_named: UNIX_EPOCH + Duration::from_millis(named_ms),
            clock_ahead_ms: self.ahead_ms.filter(|ahead_ms| self.direct || *ahead_ms > 0),
        }
    }
}

/// The keys with the most versions in the view.
fn busiest(known: &Knowledge, limit: usize) -> Vec<KeyActivity> {
    // The least of those that are kept is on top; of as many versions the first keys stay.
    let (all, mut most) = (KeyRange::all(), BinaryHeap::new());
    for versions in known.view().keys_in(&all) {
        let Some(first) = versions.first() else { continue };
        most.push((Reverse(versions.len()), first.key()));
        if most.len() > limit {
            most.pop();
        }
    }
    let sorted = most.into_sorted_vec().into_iter();
    sorted
        .map(|(Reverse(versions), key)| KeyActivity {
            key: Bytes::copy_from_slice(key),
            versions: versions as u64,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::name::DIRECT;

    const BASE: u64 = 1_800_000_000_000;

    fn object(name: FeedName, dated_ms: u64) -> ObjectInfo {
        let last_modified = UNIX_EPOCH + Duration::from_millis(dated_ms);
        ObjectInfo { path: name.to_string(), size: 1, last_modified }
    }

    #[test]
    fn what_the_feed_tells_of_nodes() {
        let name = |node, seq, ms| FeedName { time_ms: BASE + ms, node, seq };
        let (prompt, waited, direct, silent) =
            (name(1, 0, 5_000), name(1, 1, 60_000), name(2, DIRECT, 3_000), name(3, 0, 9_000));
        let told = Told::from([
            (prompt, (2, BASE + 12_000)),
            (waited, (1, BASE + 20_000)),
            (direct, (1, BASE + 1_000)),
        ]);
        let mut heard = BTreeMap::new();
        for (name, dated) in [(prompt, 6_000), (waited, 61_000), (direct, 4_000), (silent, 9_000)] {
            hear(&mut heard, &object(name, BASE + dated), &told);
        }
        let foreign = ObjectInfo { path: "feed/what".into(), ..object(silent, BASE) };
        hear(&mut heard, &foreign, &told);
        let nodes: Vec<_> = heard.into_iter().map(|(node, heard)| heard.info(node)).collect();
        assert_eq!(
            nodes.iter().map(|it| it.node.as_str()).collect::<Vec<_>>(),
            ["0000000000000001", "0000000000000002", "0000000000000003"]
        );
        assert_eq!(
            nodes.iter().map(|it| (it.objects, it.commits)).collect::<Vec<_>>(),
            [(2, 3), (1, 1), (1, 0)]
        );
        // By the commit that waited least; behind only by a decision in the feed.
        assert_eq!(
            nodes.iter().map(|it| it.clock_ahead_ms).collect::<Vec<_>>(),
            [Some(6_000), Some(-3_000), None]
        );
        assert_eq!(nodes[0].last, UNIX_EPOCH + Duration::from_millis(BASE + 61_000));
        assert_eq!(nodes[0].last_named, UNIX_EPOCH + Duration::from_millis(BASE + 60_000));
    }

    #[test]
    fn a_clock_that_seems_behind_by_what_waited_is_not_called_so() {
        let waited = FeedName { time_ms: BASE, node: 1, seq: 0 };
        let mut heard = BTreeMap::new();
        hear(&mut heard, &object(waited, BASE + 50_000), &Told::from([(waited, (1, BASE))]));
        assert_eq!(heard.remove(&1).map(|heard| heard.info(1).clock_ahead_ms), Some(None));
    }
}
