//! What a handle tells of its node without a request: settings, counters, the store's identity.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::format::manifest::RunFile;
use crate::node::handle::Aft;
use crate::node::stats::{Stats, get};
use crate::version::Version;

/// What a node knows of its store; from [`Aft::store_info`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoreInfo {
    /// The store's random id.
    pub store_id: String,
    /// The format version of everything in it.
    pub format_version: u16,
    /// The newest version known.
    pub newest: Option<Version>,
    /// Every commit decided before this moment (by the store's clock) is published.
    pub swept_through: Option<SystemTime>,
    /// The number of the checkpoint that the node builds on; 0 for none.
    pub checkpoint: u64,
    /// Its horizon: commits published before this moment (by the store's clock) are in the index.
    pub horizon: Option<SystemTime>,
    /// The sorted runs of the index.
    pub runs: u64,
    /// Rows in them, deletions included; of a key that several runs hold, all of them.
    pub rows: u64,
    /// How many of these rows are deletions.
    #[serde(default)]
    pub tombstones: u64,
    /// Bytes of the files of the sorted runs, which hold the keys and the small values.
    #[serde(default)]
    pub index_bytes: u64,
    /// Bytes of the values that lie in objects of their own and that these rows name.
    #[serde(default)]
    pub stored_bytes: u64,
    /// When the checkpoint was begun, by the store's clock.
    #[serde(default)]
    pub checkpoint_made: Option<SystemTime>,
    /// When the newest checkpoint was begun that folded what it could: this one, or one before it where this is a light one, which folds nothing.
    #[serde(default)]
    pub full_checkpoint_made: Option<SystemTime>,
    /// How many decisions and values the checkpoint's fold found to be garbage: what its list of garbage names.
    #[serde(default)]
    pub listed_garbage: u64,
    /// The newest date of an object that the node has seen, by the store's clock, whether or not the node's own clock believes it.
    #[serde(default)]
    pub newest_date: Option<SystemTime>,
    /// Feed objects that cannot be understood, by their paths, as far as nobody replaced them yet. What they told is learned from the decisions.
    #[serde(default)]
    pub damaged: Vec<String>,
    /// Whether the store's answers showed that it keeps what is deleted ([`Storage::keeps_versions`](crate::Storage::keeps_versions)).
    #[serde(default)]
    pub keeps_versions: bool,
    /// When the node last listed the feed to learn all that others published, by this machine's clock; `None` where it never did.
    pub listed: Option<SystemTime>,
    /// The greatest version of a deletion that left the index, so that nothing tells of it any more; `None` where none did.
    pub purged: Option<Version>,
}

impl Aft {
    /// The settings in effect: the shared ones come from the store's marker.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// assert_eq!(aft.config().max_value_bytes, 256 << 20);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.node().config
    }

    /// What the node did so far. No request.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let stats = aft.stats();
    /// println!("{} commits, {} values from the cache", stats.commits, stats.cache_hits);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (node, counters) = (self.node(), &self.node().counters);
        let (recent_commits, recent_keys, checkpoint) = node.known.read(|known| {
            let view = known.view();
            (view.commit_count() as u64, view.key_count() as u64, view.base().number())
        });
        Stats {
            requests: node.store.counts().read(),
            begun: get(&counters.begun),
            commits: get(&counters.commits),
            groups: get(&counters.groups),
            direct: get(&counters.direct),
            replays: get(&counters.replays),
            cache_hits: get(&counters.cache_hits),
            cache_misses: get(&counters.cache_misses),
            index_hits: get(&counters.index_hits),
            index_misses: get(&counters.index_misses),
            refreshes: get(&counters.refreshes),
            feed_objects: get(&counters.feed_objects),
            bundles_read: get(&counters.bundles_read),
            bundles_made: get(&counters.bundles_made),
            published: get(&counters.published),
            sweeps: get(&counters.sweeps),
            checkpoints: get(&counters.checkpoints),
            checkpoint,
            recent_commits,
            recent_keys,
            unpublished: node.feed.lock().len() as u64,
            cache_bytes: node.cache.bytes(),
        }
    }

    /// The store's identity and what the node knows of it. No request.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("k", "v")?;
    /// let receipt = tx.commit().await?.receipt;
    /// assert_eq!(aft.store_info().newest, Some(receipt.version()));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn store_info(&self) -> StoreInfo {
        let moment = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let (newest, base, swept, date, damaged, listed) = self.node().known.read(|known| {
            let recent = known.view().newest_first().next().map(|commit| commit.version);
            let newest = recent.into_iter().chain([known.base().greatest()]).max();
            let newest = newest.filter(|version| !version.is_absent());
            let damaged = known.damaged().map(|name| name.to_string()).collect();
            (
                newest,
                Arc::clone(known.base()),
                known.newest_sweep(),
                known.newest_date(),
                damaged,
                known.refreshed(),
            )
        });
        let manifest = base.manifest();
        let of_files = |count: fn(&RunFile) -> u64| manifest.map_or(0, |it| it.files().map(count).sum());
        StoreInfo {
            store_id: self.node().marker.store_id.clone(),
            format_version: self.node().marker.format,
            newest,
            swept_through: swept.map(|swept| moment(swept.0)),
            checkpoint: base.number(),
            horizon: manifest.map(|manifest| moment(manifest.horizon)),
            runs: manifest.map_or(0, |manifest| manifest.runs.len() as u64),
            rows: of_files(|file| file.rows),
            tombstones: of_files(|file| file.tombstones),
            index_bytes: of_files(|file| file.bytes),
            stored_bytes: of_files(|file| file.stored_bytes),
            checkpoint_made: manifest.map(|manifest| moment(manifest.begun)),
            full_checkpoint_made: manifest.map(|manifest| moment(manifest.full_begun)),
            listed_garbage: manifest.and_then(|manifest| manifest.garbage).map_or(0, |file| file.entries),
            newest_date: date.map(|date| moment(date.0)),
            damaged,
            keeps_versions: self.node().store.keeps_versions(),
            listed: listed.map(|began| UNIX_EPOCH + Duration::from_millis(began.wall_ms)),
            purged: manifest.map(|manifest| manifest.purged).filter(|purged| !purged.is_absent()),
        }
    }
}
