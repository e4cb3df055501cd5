//! Opening a store: the marker, the proof that the store keeps its contract, the first refresh.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::format::marker::Marker;
use crate::format::name::{CLONE, COMMITS, MARKER, Shards};
use crate::node::check::CheckReport;
use crate::node::store::{Store, backoff, patiently};
use crate::node::{Aft, Node, NodeTime, background, cache, feed_queue, format_error, known, stats};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::timeliness::{Limits, StoreTime};
use crate::protocol::view::View;
use crate::rng::NodeRng;
use crate::storage::{Object, Storage, StorageError};
use crate::txn_id::{TxnId, unix_ms};

/// How a store is opened; from [`Aft::builder`].
#[derive(Debug)]
#[must_use = "nothing happens before open()"]
pub struct Builder {
    storage: Arc<dyn Storage>,
    config: Config,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
    read_only: bool,
    must_exist: bool,
}

impl Builder {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        let clock = Arc::new(SystemClock::new());
        Self { storage, config: Config::default(), clock, seed: None, read_only: false, must_exist: false }
    }

    /// Settings; the default is [`Config::default`].
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// The clock; the default is [`SystemClock`].
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Seeds the node's generator, so that a simulation replays. Two nodes of one store must never share a seed: their
    /// ids would collide. The default is the operating system's randomness.
    pub fn rng_seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Opens the store to be inspected only: not a byte is written to it, and it must exist.
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// Refuses to make a store where there is none.
    pub fn must_exist(self) -> Self {
        Self { must_exist: true, ..self }
    }

    /// Opens the store: reads its marker (or makes it), proves that the store keeps create-if-absent, and refreshes. Needs
    /// a tokio runtime with timers.
    ///
    /// # Errors
    /// [`ErrorKind::NoStore`], [`Unsupported`](ErrorKind::Unsupported) (another format version; a store that ignores
    /// create-if-absent), [`Corrupt`](ErrorKind::Corrupt) (a damaged marker), [`Denied`](ErrorKind::Denied),
    /// [`Unavailable`](ErrorKind::Unavailable), [`InvalidInput`](ErrorKind::InvalidInput) (a setting out of its limits).
    pub async fn open(self) -> Result<Aft, Error> {
        self.config.validate()?;
        let rng = NodeRng::new(self.seed);
        let timeout = self.config.request_timeout.min(self.config.visibility_delay);
        let store = Store::new(Arc::clone(&self.storage), timeout);
        let opened = self.marker(&store, &rng).await?;
        let config = self.config.under(&opened.marker.settings);
        if config.shared() != self.config.shared() {
            tracing::warn!(configured = ?self.config.shared(), store = ?config.shared(), "the store's own settings win");
        }
        if !self.read_only {
            prove_create(&store, &rng, &opened.object).await?;
        }
        let store = store.with_timeout(config.request_timeout);
        let node = Arc::new(self.node(store, rng, config, opened)?);
        node.refresh().await?;
        if node.config.background && !node.read_only {
            node.start_publisher();
        }
        node.start_maintenance();
        Ok(Aft::new(node))
    }

    /// Checks the store as [`Aft::check`] does, also one that is so damaged that it cannot be opened. Not a byte is written to it.
    ///
    /// # Errors
    /// As [`Aft::check`], and [`ErrorKind::NoStore`], [`Unsupported`](ErrorKind::Unsupported), [`Corrupt`](ErrorKind::Corrupt) where the
    /// marker is missing, of another format version, or damaged: without it nothing else can be understood.
    pub async fn check(self) -> Result<CheckReport, Error> {
        let builder = self.read_only();
        builder.config.validate()?;
        let rng = NodeRng::new(builder.seed);
        let store = Store::new(Arc::clone(&builder.storage), builder.config.request_timeout);
        let opened = builder.marker(&store, &rng).await?;
        let config = builder.config.under(&opened.marker.settings);
        let store = store.with_timeout(config.request_timeout);
        Arc::new(builder.node(store, rng, config, opened)?).check().await
    }

    /// The store's marker; made where there is none and one may be made.
    async fn marker(&self, store: &Store, rng: &NodeRng) -> Result<Opened, Error> {
        if let Some(object) = get_marker(store, rng).await? {
            return Opened::new(object, None);
        }
        if self.read_only || self.must_exist {
            let message =
                "there is no aft store at this place: no aft.json in it; opening it for writing makes one";
            return Err(Error::new(ErrorKind::NoStore, message));
        }
        let orphaned =
            store.any(COMMITS).await.map_err(|error| Error::storage("looking for a store", error))?;
        if orphaned {
            // Unless another process made both since we looked.
            if let Some(object) = get_marker(store, rng).await? {
                return Opened::new(object, None);
            }
            let message = "there are commits at this place but no aft.json: the marker was deleted; put it back from a copy";
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let unfinished =
            store.any(CLONE).await.map_err(|error| Error::storage("looking for a store", error))?;
        if unfinished {
            let message =
                "a clone into this place is not finished; run it again (aft clone), or name another place";
            return Err(Error::new(ErrorKind::NoStore, message));
        }
        let clock = || LocalTime {
            wall_ms: unix_ms(self.clock.now()),
            monotonic_ms: u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX),
        };
        let store_id = rng.with(|rng| TxnId::from_parts(clock().wall_ms, rng)).to_string();
        let marker = Marker::new(store_id, clock().wall_ms, None, self.config.shared()).encode();
        let sent = clock();
        for wait in backoff(rng, 8) {
            let created = store.create(MARKER, marker.clone()).await;
            let answered = clock();
            match created {
                Ok(()) | Err(StorageError::AlreadyExists { .. } | StorageError::Unknown { .. }) => {
                    if let Some(object) = get_marker(store, rng).await? {
                        // Dates this node's clock, if the marker is this node's.
                        let ours = created.is_ok() && object.bytes == marker;
                        return Opened::new(object, ours.then_some((sent, answered)));
                    }
                }
                Err(StorageError::Unavailable { .. }) => {}
                Err(error) => return Err(Error::storage("making the store's marker", error)),
            }
            tokio::time::sleep(wait).await;
        }
        Err(Error::storage("making the store's marker", StorageError::unavailable(MARKER)))
    }

    fn node(self, store: Store, rng: NodeRng, config: Config, opened: Opened) -> Result<Node, Error> {
        let shards =
            Shards::new(config.shards).ok_or_else(|| Error::invalid("shards must be 16, 256 or 4096"))?;
        let adopted = opened.marker.adopted_until.map(StoreTime);
        let limits = Limits::new(&config.shared()).adopting(adopted);
        let mut time = NodeTime::default();
        time.note(opened.last_modified);
        if let Some((sent, answered)) = opened.made {
            time.check.measure(sent, answered, opened.last_modified);
        }
        let known = known::Known::since(opened.last_modified);
        Ok(Node {
            store,
            limits,
            shards,
            clock: self.clock,
            number: rng.next(),
            rng,
            read_only: self.read_only,
            view: RwLock::new(View::default()),
            time: Mutex::new(time),
            feed: Mutex::new(feed_queue::FeedQueue::default()),
            known: Mutex::new(known),
            cache: cache::Cache::new(config.cache_bytes),
            refreshing: super::single_flight::SingleFlight::default(),
            publishing: super::single_flight::SingleFlight::default(),
            uploads: Arc::new(Semaphore::new(config.parallel_requests)),
            wake: Arc::new(Notify::new()),
            tasks: Mutex::new(background::Tasks::default()),
            counters: stats::Counters::default(),
            closed: false.into(),
            marker: opened.marker,
            config,
        })
    }
}

/// A marker as it was read.
struct Opened {
    object: Object,
    marker: Marker,
    last_modified: StoreTime,
    /// When this node sent it and was answered, where this node made it.
    made: Option<(LocalTime, LocalTime)>,
}

impl Opened {
    fn new(object: Object, made: Option<(LocalTime, LocalTime)>) -> Result<Self, Error> {
        let marker = Marker::decode(&object.bytes).map_err(|cause| format_error(MARKER, cause))?;
        let last_modified = StoreTime::of(object.last_modified);
        Ok(Self { object, marker, last_modified, made })
    }
}

async fn get_marker(store: &Store, rng: &NodeRng) -> Result<Option<Object>, Error> {
    match patiently(rng, || store.get(MARKER)).await {
        Ok(object) => Ok(Some(object)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(Error::storage("reading the store's marker", error)),
    }
}

/// Creating the marker again, with its own bytes, must be refused: proof, without leaving anything behind, that the store
/// does not overwrite. One that did would lose commits.
async fn prove_create(store: &Store, rng: &NodeRng, marker: &Object) -> Result<(), Error> {
    let mut last = StorageError::unavailable(MARKER);
    for wait in backoff(rng, 8) {
        match store.create(MARKER, marker.bytes.clone()).await {
            Err(StorageError::AlreadyExists { .. }) => return Ok(()),
            Ok(()) => {
                let message = "the store ignores create-if-absent: it overwrote an object that was there (with its own bytes; nothing \
                               is lost); transactions would be lost on it, so it is refused";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            Err(error) if error.is_transient() => last = error,
            Err(error) => return Err(Error::storage("proving that the store keeps create-if-absent", error)),
        }
        tokio::time::sleep(wait).await;
    }
    Err(Error::storage("proving that the store keeps create-if-absent", last))
}
