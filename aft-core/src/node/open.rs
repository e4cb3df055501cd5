//! Opening a store: the marker, the proof that the store keeps its contract, the first refresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::clock::millis;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::format::marker::{Marker, SharedSettings};
use crate::format::name::{CHECKPOINTS, CLONE, Job, MARKER, NODE_MOST, ObjectName, Shards};
use crate::node::check::CheckReport;
use crate::node::exchange::sweep_all::SweepAllReport;
use crate::node::known::Known;
use crate::node::store::{Store, backoff, retry_read};
use crate::node::write_once::{OWN_TRIES, Tried};
use crate::node::{Aft, Node, background, format_error, stats};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::feed_queue::FeedQueue;
use crate::protocol::knowledge::Knowledge;
use crate::protocol::timeliness::{Limits, StoreTime};
use crate::rng::NodeRng;
use crate::storage::{Object, ObjectInfo, Storage, StorageError};
use crate::txn_id::{TxnId, unix_ms};

/// So many foreign objects are looked at for one of a store's.
const FOREIGN_MOST: usize = 10_000;

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
    forgiving: bool,
}

impl Builder {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        let clock = Arc::new(SystemClock::new());
        let (read_only, must_exist, forgiving) = (false, false, false);
        Self { storage, config: Config::default(), clock, seed: None, read_only, must_exist, forgiving }
    }

    /// Settings; the default is [`Config::default`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::{sync::Arc, time::Duration};
    /// use aft_core::{Aft, Config};
    ///
    /// let config = Config { max_staleness: Duration::from_secs(1), ..Config::default() };
    /// let aft = Aft::builder(Arc::new(aft_memory::MemoryStorage::new())).config(config).open().await?;
    /// assert_eq!(aft.config().max_staleness, Duration::from_secs(1));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// The clock; the default is [`SystemClock`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::{sync::Arc, time::{Duration, SystemTime, UNIX_EPOCH}};
    ///
    /// /// A clock that stands still.
    /// #[derive(Debug)]
    /// struct Stopped;
    /// impl aft_core::Clock for Stopped {
    ///     fn now(&self) -> SystemTime { UNIX_EPOCH + Duration::from_secs(1_800_000_000) }
    ///     fn monotonic(&self) -> Duration { Duration::ZERO }
    /// }
    ///
    /// let storage = aft_memory::MemoryStorage::with_clock(Arc::new(Stopped));
    /// let aft = aft_core::Aft::builder(Arc::new(storage)).clock(Arc::new(Stopped)).open().await?;
    /// assert_eq!(aft.new_txn_id().start_ms(), 1_800_000_000_000);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Seeds the node's generator, so that a simulation replays. Two nodes of one store must never share a seed: their
    /// ids would collide. The default is the operating system's randomness.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// let storage = Arc::new(aft_memory::MemoryStorage::new());
    /// let aft = aft_core::Aft::builder(storage).rng_seed(7).open().await?;
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn rng_seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Opens the store to be inspected only: not a byte is written to it, and it must exist.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// use aft_core::{Aft, Config, ErrorKind};
    ///
    /// let storage = Arc::new(aft_memory::MemoryStorage::new());
    /// Aft::open(storage.clone(), Config::default()).await?.close().await?;
    /// let aft = Aft::builder(storage).read_only().open().await?;
    /// let refused = aft.begin().await?.put("k", "v").unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::Unsupported);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// Refuses to make a store where there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// let empty = Arc::new(aft_memory::MemoryStorage::new());
    /// let refused = aft_core::Aft::builder(empty).must_exist().open().await.unwrap_err();
    /// assert_eq!(refused.kind(), aft_core::ErrorKind::NoStore);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn must_exist(self) -> Self {
        Self { must_exist: true, ..self }
    }

    /// Opens the store: reads its marker (or makes it), proves that the store honours create-if-absent, and refreshes. Needs
    /// a tokio runtime with timers.
    ///
    /// # Errors
    /// [`ErrorKind::NoStore`], [`Unsupported`](ErrorKind::Unsupported) (another format version; a store that ignores
    /// create-if-absent), [`Corrupt`](ErrorKind::Corrupt) (a damaged marker), [`Denied`](ErrorKind::Denied),
    /// [`Unavailable`](ErrorKind::Unavailable), [`InvalidInput`](ErrorKind::InvalidInput) (a setting out of its limits).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// let aft = aft_core::Aft::builder(Arc::new(aft_memory::MemoryStorage::new())).open().await?;
    /// aft.close().await?;
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn open(self) -> Result<Aft, Error> {
        let (store, rng) = self.prepare()?;
        // The first refresh begins from the checkpoints: they are listed meanwhile. Where that fails it lists them itself.
        let began = self.now();
        let listed = async { Ok(store.list(CHECKPOINTS, None).await.ok().map(|objects| (began, objects))) };
        let (opened, listed) = futures::try_join!(self.marker(&store, &rng), listed)?;
        opened.check_date()?;
        let config = self.effective(&opened.marker.settings);
        let store = store.with_timeout(config.request_timeout);
        let marker = opened.object.clone();
        let node = Arc::new(self.node(store, rng, config, opened)?);
        *node.listed.lock() = listed;
        node.begin_work(&marker).await?;
        if node.config.background && !node.read_only {
            node.start_publisher();
        }
        node.start_maintenance();
        Ok(Aft::new(node))
    }

    /// The store below, before its settings are known.
    pub(crate) fn prepare(&self) -> Result<(Store, NodeRng), Error> {
        self.config.validate()?;
        let timeout = self.config.request_timeout.min(self.config.visibility_delay);
        let store = Store::new(Arc::clone(&self.storage), timeout, self.config.max_requests);
        Ok((store, NodeRng::new(self.seed)))
    }

    /// The configuration under the settings that all nodes of the store share.
    pub(crate) fn effective(&self, settings: &SharedSettings) -> Config {
        let config = self.config.under(settings);
        if config.shared() != self.config.shared() {
            tracing::warn!(configured = ?self.config.shared(), store = ?config.shared(), "the store's own settings win");
        }
        config
    }

    pub(crate) fn now(&self) -> LocalTime {
        LocalTime { wall_ms: unix_ms(self.clock.now()), monotonic_ms: millis(self.clock.monotonic()) }
    }

    /// Checks the store as [`Aft::check`] does, also one that is so damaged that it cannot be opened. Not a byte is written to it.
    ///
    /// # Errors
    /// As [`Aft::check`], and [`ErrorKind::NoStore`], [`Unsupported`](ErrorKind::Unsupported), [`Corrupt`](ErrorKind::Corrupt) where the
    /// marker is missing, of another format version, or damaged: without it nothing else can be understood.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// use aft_core::{Aft, Config};
    ///
    /// let storage = Arc::new(aft_memory::MemoryStorage::new());
    /// Aft::open(storage.clone(), Config::default()).await?.close().await?;
    /// assert!(Aft::builder(storage).check().await?.is_clean());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn check(self) -> Result<CheckReport, Error> {
        let builder = self.read_only();
        builder.config.validate()?;
        let rng = NodeRng::new(builder.seed);
        let store = Store::new(
            Arc::clone(&builder.storage),
            builder.config.request_timeout,
            builder.config.max_requests,
        );
        let opened = builder.marker(&store, &rng).await?;
        let config = builder.config.under(&opened.marker.settings);
        let store = store.with_timeout(config.request_timeout);
        Arc::new(builder.node(store, rng, config, opened)?).check().await
    }

    /// Looks over every decision of the store as [`Aft::sweep_all`] does, also where the store cannot be opened since a feed object and a
    /// decision that it may have told of are both damaged: it goes on without that one, for all nodes, and reports it.
    ///
    /// # Errors
    /// As [`Builder::open`] of a store that must exist, and [`Aft::sweep_all`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// use aft_core::{Aft, Config};
    ///
    /// let storage = Arc::new(aft_memory::MemoryStorage::new());
    /// Aft::open(storage.clone(), Config::default()).await?.close().await?;
    /// assert!(Aft::builder(storage).sweep_all().await?.is_clean());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn sweep_all(self) -> Result<SweepAllReport, Error> {
        let aft = Self { forgiving: true, must_exist: true, ..self }.open().await?;
        let report = aft.sweep_all().await?;
        aft.close().await?;
        Ok(report)
    }

    /// The store's marker; made where there is none and one may be made.
    async fn marker(&self, store: &Store, rng: &NodeRng) -> Result<Opened, Error> {
        if let Some(object) = get_marker(store, rng, MARKER).await? {
            return Opened::new(object, None);
        }
        if self.read_only || self.must_exist {
            let message =
                "there is no aft store at this place: no aft.json in it; opening it for writing makes one";
            return Err(Error::new(ErrorKind::NoStore, message));
        }
        let (probe, probed) = self.probe(store, rng).await?;
        let (left, dated) = left_behind(store, &probe).await?;
        if let Some(left) = left {
            // Unless another process made both since we looked.
            if let Some(object) = get_marker(store, rng, MARKER).await? {
                return Opened::new(object, None);
            }
            if left == CLONE || get_marker(store, rng, CLONE).await?.is_some() {
                let message = "a clone into this place is not finished; run it again (aft clone), or name another place";
                return Err(Error::new(ErrorKind::NoStore, message));
            }
            let message = format!(
                "there is no aft.json at this place, but {left:?} and maybe more of a store: its marker was deleted; nothing was made. \
                 Put aft.json back from a copy of the store and run `aft adopt`"
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let store_id = rng.with(|rng| TxnId::from_parts(self.now().wall_ms, rng)).to_string();
        for wait in backoff(rng, 8) {
            // Each try says its own time, by the store's clock: this node's may be wrong, and nobody would open the store.
            let sent = self.now();
            let made_ms = dated.ms() + sent.elapsed_since(probed);
            let marker = Marker::new(store_id.clone(), made_ms, None, self.config.shared()).encode();
            let tried = store.try_create(MARKER, marker.clone()).await;
            let tried = tried.map_err(|error| Error::storage("making the store's marker", error))?;
            let answered = self.now();
            if tried.may_be_there()
                && let Some(object) = get_marker(store, rng, MARKER).await?
            {
                // Dates this node's clock, if the marker is this node's.
                let ours = matches!(tried, Tried::Made) && object.bytes == marker;
                return Opened::new(object, ours.then_some((sent, answered)));
            }
            tokio::time::sleep(wait).await;
        }
        Err(Error::storage("making the store's marker", StorageError::unavailable(MARKER)))
    }

    /// Makes an empty object that says what time it is in the store; its path, and the moment before it was sent. Each try makes another: the date
    /// of one that was under way for long says too little.
    async fn probe(&self, store: &Store, rng: &NodeRng) -> Result<(String, LocalTime), Error> {
        let shards = Shards::new(self.config.shards)
            .ok_or_else(|| Error::invalid("shards must be 16, 256 or 4096"))?;
        let asking = |error| Error::storage("asking the store for its time", error);
        let long = self.config.shared().max_clock_skew_ms;
        let mut last = StorageError::unavailable(MARKER);
        for wait in backoff(rng, OWN_TRIES) {
            let path = ObjectName::Epoch(Job::Clock, rng.next() >> 16).path(shards);
            let sent = self.now();
            let tried = store.try_create(&path, bytes::Bytes::new()).await.map_err(asking)?;
            let took = self.now().elapsed_since(sent);
            match tried {
                Tried::Made if took <= long => return Ok((path, sent)),
                Tried::InDoubt(error) if took > long || store.get(&path).await.is_err() => last = error,
                Tried::InDoubt(_) => return Ok((path, sent)),
                Tried::NotNow(error) => last = error,
                Tried::Made => {
                    let cause = format!("it took {took} ms to say its time, and max_clock_skew is {long} ms");
                    last = StorageError::unavailable(path).with_source(cause);
                }
            }
            tokio::time::sleep(wait).await;
        }
        Err(asking(last))
    }

    pub(crate) fn node(
        self,
        store: Store,
        rng: NodeRng,
        config: Config,
        opened: Opened,
    ) -> Result<Node, Error> {
        let shards =
            Shards::new(config.shards).ok_or_else(|| Error::invalid("shards must be 16, 256 or 4096"))?;
        let adopted_until = opened.marker.adopted_until.map(StoreTime);
        let limits = Limits::new(&config.shared()).adopting(adopted_until);
        let now = self.now();
        // What an adopted store decided, it decided before its marker.
        let since = if adopted_until.is_some() { StoreTime(0) } else { opened.last_modified };
        let mut knowledge = Knowledge::new(limits, since, self.read_only, self.forgiving);
        knowledge.note_date(opened.last_modified, MARKER, now);
        if let Some((sent, answered)) = opened.made {
            knowledge.measure(sent, answered, opened.last_modified);
        }
        Ok(Node {
            store,
            limits,
            shards,
            clock: self.clock,
            number: rng.next() & NODE_MOST,
            rng,
            read_only: self.read_only,
            known: Known::new(knowledge),
            feed: Mutex::new(FeedQueue::default()),
            proofs: Mutex::default(),
            worked_off: Mutex::default(),
            cache: crate::node::index::cache::Cache::new(config.cache_bytes),
            refreshing: super::single_flight::SingleFlight::default(),
            publishing: super::single_flight::SingleFlight::default(),
            uploads: Arc::new(Semaphore::new(config.parallel_requests)),
            wake: Arc::new(Notify::new()),
            tasks: Mutex::new(background::Tasks::default()),
            bundles: Mutex::default(),
            deciding: Mutex::default(),
            contention: crate::node::transaction::contention::Contention::default(),
            counters: stats::Counters::default(),
            #[cfg(feature = "metrics")]
            recorded: crate::node::metrics::Recorded::default(),
            closed: false.into(),
            marker: opened.marker,
            marker_dated: opened.last_modified,
            honours_create: true.into(),
            proven: false.into(),
            listed: Mutex::default(),
            read_at_start: 0.into(),
            kept_at_start: 0.into(),
            config,
        })
    }
}

impl Node {
    /// Proves that the store honours create-if-absent, and refreshes, side by side: the proof costs no round trip.
    ///
    /// What a first refresh may write before the proof is done harms no store that overwrites. Feed objects (of healing) and bundles have
    /// names of this node's own, with its random number. Epochs and seals are empty, so that an empty object comes in the place of an
    /// empty one: at worst two nodes do one job; and a sweep makes its own proof, by its epoch, before it publishes anything. Names that
    /// another node may hold something under, those of decisions, claims and checkpoints, only transactions and maintenance write, and
    /// there are none before this returns.
    async fn begin_work(self: &Arc<Self>, marker: &Object) -> Result<(), Error> {
        let proof = async {
            if self.read_only {
                return Ok(());
            }
            let proven = prove_create(&self.store, &self.rng, marker).await;
            if proven.is_err() {
                // At once: the refresh that is under way begins nothing more beside itself.
                self.give_up();
            }
            proven
        };
        let (proven, refreshed) = futures::join!(proof, self.refresh());
        let worked = proven.and(refreshed);
        if worked.is_err() {
            self.give_up();
        } else {
            self.proven.store(true, Ordering::Release);
            Self::checkpoint_beside(self);
        }
        worked
    }

    /// Nothing goes on in a node that nobody gets.
    fn give_up(&self) {
        self.shut();
        for task in self.tasks.lock().stop().into_iter().flatten() {
            task.abort();
        }
    }
}

/// The refusal of a store that overwrites.
pub(crate) fn ignores_create(what_became: &str) -> Error {
    let message = format!(
        "the store ignores create-if-absent: it overwrote an object that was there, with its own bytes; {what_became}. Transactions would \
         be lost on it. Was versioning or object lock switched on for the bucket (some gateways ignore If-None-Match then), or is there a \
         proxy or gateway that drops the header? `aft probe` tells more"
    );
    Error::new(ErrorKind::Unsupported, message)
}

/// A marker as it was read.
pub(crate) struct Opened {
    pub(crate) object: Object,
    pub(crate) marker: Marker,
    pub(crate) last_modified: StoreTime,
    /// When this node sent it and was answered, where this node made it.
    pub(crate) made: Option<(LocalTime, LocalTime)>,
}

impl Opened {
    fn new(object: Object, made: Option<(LocalTime, LocalTime)>) -> Result<Self, Error> {
        let marker = Marker::decode(&object.bytes).map_err(|cause| format_error(MARKER, cause))?;
        let last_modified = StoreTime::of(object.last_modified);
        Ok(Self { object, marker, last_modified, made })
    }

    fn in_place(&self) -> bool {
        Limits::new(&self.marker.settings).marker_in_place(self.marker.made_ms, self.last_modified)
    }

    /// Refuses a store that was copied, or whose dates were changed: read by its dates, it would look empty (HAZARDS 24).
    fn check_date(&self) -> Result<(), Error> {
        if self.in_place() { Ok(()) } else { Err(dates_changed()) }
    }
}

/// How often a marker is made anew that was long in coming.
const MARKER_TRIES: u32 = 8;

/// Makes a marker that says when it is made: at first by the date of something older, and anew by its own date where it was long in coming. `make` makes it
/// with what it says, in place of one that was made before, and tells its date.
pub(crate) async fn make_marker<F>(
    limits: Limits,
    older: StoreTime,
    mut make: impl FnMut(u64) -> F + Send,
) -> Result<(), Error>
where
    F: Future<Output = Result<StoreTime, Error>> + Send,
{
    let mut dated = older;
    for _ in 0..MARKER_TRIES {
        let made_ms = dated.ms();
        dated = make(made_ms).await?;
        if limits.marker_in_place(made_ms, dated) {
            return Ok(());
        }
    }
    Err(dates_changed())
}

/// The error of a store whose dates do not tell what counts.
pub(crate) fn dates_changed() -> Error {
    let message = "the store dates its marker, aft.json, otherwise than it was made: the store was copied, or the dates of its objects \
                   were changed (chown, cp, an object copied onto itself, a restore), and by dates it is judged what counts. Nothing was \
                   read or written. Use the original; or make this one whole with `aft adopt`, once no process uses it";
    Error::new(ErrorKind::DatesChanged, message).with_object(MARKER)
}

/// An object that belongs to a store, where there is one at this place: a marker must not be made over what is left of it. Of a place
/// with very many foreign objects only the first are looked at. And the date of `probe`.
async fn left_behind(store: &Store, probe: &str) -> Result<(Option<String>, StoreTime), Error> {
    let shards: Vec<_> = [16, 256, 4096].into_iter().filter_map(Shards::new).collect();
    let dated = AtomicU64::new(0);
    let ours = |object: &ObjectInfo| {
        if object.path == probe {
            dated.store(StoreTime::of(object.last_modified).0, Ordering::Relaxed);
        }
        let name = shards.iter().find_map(|shards| ObjectName::parse(&object.path, *shards));
        // Whoever makes the same store beside this node leaves its probe.
        object.path == CLONE || name.is_some_and(|name| !matches!(name, ObjectName::Epoch(..)))
    };
    let looking = |error| Error::storage("looking for a store", error);
    let found = store.find("", FOREIGN_MOST, ours).await.map_err(looking)?;
    let mut date = StoreTime(dated.into_inner());
    if found.is_none() && date.0 == 0 {
        date = StoreTime::of(store.get(probe).await.map_err(looking)?.last_modified);
    }
    Ok((found, date))
}

/// The marker, or the copy of it that lies beside it while a store is adopted.
pub(crate) async fn get_marker(store: &Store, rng: &NodeRng, path: &str) -> Result<Option<Object>, Error> {
    match retry_read(rng, || store.get(path)).await {
        Ok(object) => Ok(Some(object)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(Error::storage("reading the store's marker", error)),
    }
}

/// Creating the marker again, with its own bytes, must be refused: proof, without leaving anything behind, that the store
/// does not overwrite. One that did would lose commits.
pub(crate) async fn prove_create(store: &Store, rng: &NodeRng, marker: &Object) -> Result<(), Error> {
    let mut last = StorageError::unavailable(MARKER);
    for wait in backoff(rng, 8) {
        match store.create(MARKER, marker.bytes.clone()).await {
            Err(StorageError::AlreadyExists { .. }) => return Ok(()),
            Ok(()) => {
                return Err(ignores_create("nothing is lost yet, and the store was not opened"));
            }
            Err(error) if error.is_transient() => last = error,
            Err(error) => {
                return Err(Error::storage("proving that the store honours create-if-absent", error));
            }
        }
        tokio::time::sleep(wait).await;
    }
    Err(Error::storage("proving that the store honours create-if-absent", last))
}
