//! A store over a simulated network: seeded latency, faults, ghosts, crashes and pauses.
//!
//! Every request has three moments, each scheduled by the seed: it is *sent*, it is *applied* to the store behind, it is
//! *answered*. What lies between them is what breaks programs: an answer lost after the effect, a write that lands after its
//! sender gave up and after a reader was told "not found", a listing whose pages are minutes apart.

mod faults;
mod latency;
mod lies;
mod prices;
mod process;
mod trace;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

pub use faults::Faults;
pub use latency::Latency;
pub use lies::Lie;
pub use prices::Prices;
pub use process::{CrashMoment, Process};
pub use trace::{Event, Moment};

use crate::fault::ErrorKind;
use crate::request::{Counts, Operation};
use faults::{Plan, Trouble};
use lies::Lies;
use trace::Trace;

/// Wraps any store as one that processes reach over a bad network. Needs a tokio runtime with timers; under a current-thread
/// runtime with paused time the same seed gives the same execution.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use aft_core::{Aft, Config};
/// use aft_memory::{Faults, MemoryStorage, SimulatedStorage};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let network = SimulatedStorage::new(Arc::new(MemoryStorage::new()), 7, Faults::heavy());
/// let process = network.process("worker-1");
/// let aft = Aft::open(Arc::new(network.reached_by(&process)), Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// tx.commit().await?;
/// process.crash(); // nothing that it sends from now on reaches the store
/// assert!(process.is_crashed() && aft.begin_with(aft_core::Begin::new().latest()).await.is_err());
/// assert!(network.counts().creates >= 2); // the marker, and the commit
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct SimulatedStorage {
    network: Arc<Network>,
    process: Process,
}

struct Network {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
    start: Instant,
}

struct State {
    rng: StdRng,
    faults: Faults,
    /// Until when the store cannot be reached.
    outage: Option<Instant>,
    /// Objects that the store dates by when their request was received, not by when they became visible: by path and that moment,
    /// since a path may be used again once its object was deleted.
    dated: BTreeMap<(String, SystemTime), SystemTime>,
    trace: Trace,
    injected: BTreeMap<&'static str, u64>,
    lies: Lies,
}

impl fmt::Debug for SimulatedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedStorage").field("process", &self.process.name()).finish_non_exhaustive()
    }
}

impl SimulatedStorage {
    /// The store `inner` behind a network whose every accident comes from `seed`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, seed: u64, faults: Faults) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            faults,
            outage: None,
            dated: BTreeMap::new(),
            trace: Trace::default(),
            injected: BTreeMap::new(),
            lies: Lies::default(),
        };
        let network = Network { inner, state: Mutex::new(state), start: Instant::now() };
        Self { network: Arc::new(network), process: Process::new("process") }
    }

    /// A new process that can reach the store.
    #[must_use]
    pub fn process(&self, name: &str) -> Process {
        Process::new(name)
    }

    /// The store as this process reaches it.
    #[must_use]
    pub fn reached_by(&self, process: &Process) -> Self {
        Self { network: Arc::clone(&self.network), process: process.clone() }
    }

    /// From now on these faults; requests under way keep theirs.
    pub fn set_faults(&self, faults: Faults) {
        self.network.state.lock().faults = faults;
    }

    /// Nobody reaches the store for this long.
    pub fn outage(&self, lasts: Duration) {
        self.network.state.lock().outage = Some(Instant::now() + lasts);
    }

    /// For this long, listings do not show to a process (or to all that are [`deceivable`](Process::deceivable)) what lies below a
    /// folder, or anything where that is empty. What is asked for by its name is answered as ever.
    pub fn lie(&self, lie: Lie, folder: &str, process: Option<&str>, lasts: Duration) {
        let mut state = self.network.state.lock();
        let salt = state.rng.next_u32();
        state.lies.tell(lie, folder, process, lasts, salt);
    }

    /// From now on listings show what is there.
    pub fn tell_the_truth(&self) {
        self.network.state.lock().lies.stop();
    }

    /// How many faults of each kind were injected.
    #[must_use]
    pub fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.network.state.lock().injected.clone()
    }

    /// The last events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.network.state.lock().trace.events()
    }

    /// A hash of every event so far: equal for equal executions.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.network.state.lock().trace.hash()
    }

    /// The requests that were sent, by kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.network.state.lock().trace.counts()
    }

    /// Notes an event of the program under test in the trace.
    pub fn note(&self, what: &str) {
        self.network.note(&self.process, Moment::Noted, what);
    }
}

impl Network {
    fn note(&self, process: &Process, moment: Moment, what: &str) {
        let at = self.start.elapsed();
        self.state.lock().trace.push(at, process.name(), moment, what);
    }

    /// Decides what happens to a request.
    fn plan(&self, operation: Operation) -> Plan {
        let mut state = self.state.lock();
        let State { rng, faults, outage, injected, .. } = &mut *state;
        let out = outage.is_some_and(|until| Instant::now() < until);
        let plan = faults.plan(rng, operation, out);
        if let Some(name) = plan.trouble.name() {
            *injected.entry(name).or_default() += 1;
        }
        plan
    }

    /// What the store says is the date of an object.
    fn dated(&self, path: &str, applied: SystemTime) -> SystemTime {
        self.state.lock().dated.get(&(path.to_owned(), applied)).copied().unwrap_or(applied)
    }

    /// What a process is shown of a page, and whether the listing ends there.
    fn shown(&self, process: &Process, page: Vec<ObjectInfo>) -> (Vec<ObjectInfo>, bool) {
        if !process.is_deceivable() {
            return (page, false);
        }
        let mut state = self.state.lock();
        let State { rng, injected, lies, .. } = &mut *state;
        lies.deceive(process.name(), rng, injected, page)
    }

    /// Applies a create; the store may date it by the moment it was received.
    async fn create(&self, path: &str, bytes: Bytes, sent: Instant) -> Result<(), StorageError> {
        self.inner.create(path, bytes).await?;
        let applied = self.inner.get(path).await?.last_modified;
        let mut state = self.state.lock();
        let most = state.faults.dated_early.min(sent.elapsed());
        if !most.is_zero() && state.rng.next_u32().is_multiple_of(2) {
            let early = most.mul_f64(f64::from(state.rng.next_u32()) / f64::from(u32::MAX));
            state.dated.insert((path.to_owned(), applied), applied - early);
        }
        Ok(())
    }
}

/// How the world behind the network answers, when it does.
type Answer<T> = Result<T, StorageError>;

impl SimulatedStorage {
    /// Sends a request into the network and waits for what comes back. The request goes its own way: a caller that stops waiting does
    /// not stop it.
    async fn request<T: Send + 'static>(
        &self,
        operation: Operation,
        path: &str,
        bytes: u64,
        apply: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> Answer<T> {
        self.process.ready(path).await?;
        let (plan, number) = (self.network.plan(operation), self.process.count());
        self.network.state.lock().trace.request(operation, bytes);
        let what = format!("{operation:?} {path}");
        self.network.note(&self.process, Moment::Sent, &what);
        if self.process.crashes(number, CrashMoment::BeforeSending) {
            return Err(process::dead(path));
        }
        let (answer, answered) = oneshot::channel();
        let this = self.clone();
        let path_owned = path.to_owned();
        tokio::spawn(async move { this.travel(&plan, &path_owned, &what, apply, answer, number).await });
        // No answer ever: the caller must have a bound of its own. Ours is generous.
        let result = match tokio::time::timeout(Duration::from_secs(600), answered).await {
            Ok(Ok(result)) => result,
            _ => std::future::pending().await,
        };
        self.process.ready(path).await?;
        result
    }

    async fn travel<T: Send + 'static>(
        &self,
        plan: &Plan,
        path: &str,
        what: &str,
        apply: impl Future<Output = Answer<T>> + Send,
        answer: oneshot::Sender<Answer<T>>,
        number: u64,
    ) {
        sleep(plan.there).await;
        let lost = || plan.lost.at(path);
        if matches!(
            plan.trouble,
            Trouble::LostBefore | Trouble::Refused | Trouble::Conflict | Trouble::Outage
        ) {
            self.network.note(&self.process, Moment::Refused, what);
            sleep(plan.back).await;
            let error =
                if plan.trouble == Trouble::Conflict { ErrorKind::AlreadyExists.at(path) } else { lost() };
            let _ = answer.send(Err(error));
            return;
        }
        let mut answer = Some(answer);
        if plan.trouble == Trouble::Ghost {
            let _ = answer.take().map(|answer| answer.send(Err(lost())));
            sleep(plan.haunts).await;
        }
        let result = apply.await;
        self.network.note(&self.process, Moment::Applied, &format!("{what} {}", said(&result)));
        if self.process.crashes(number, CrashMoment::AfterTheEffect) || plan.trouble == Trouble::Silent {
            if let Some(answer) = answer {
                // Nobody will hear of it; the channel stays open, as a connection does.
                sleep(Duration::from_secs(3600)).await;
                drop(answer);
            }
            return;
        }
        sleep(plan.back).await;
        let result = match plan.trouble {
            Trouble::LostAfter => Err(lost()),
            Trouble::OwnRetry if result.is_ok() => Err(ErrorKind::AlreadyExists.at(path)),
            _ => result,
        };
        self.network.note(&self.process, Moment::Answered, &format!("{what} {}", said(&result)));
        if let Some(answer) = answer {
            let _ = answer.send(result);
        }
    }
}

fn said<T>(result: &Answer<T>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{:?}", ErrorKind::from(error)),
    }
}

/// The precision that some interfaces report dates with: whole seconds.
fn whole_seconds(at: SystemTime) -> SystemTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[async_trait]
impl Storage for SimulatedStorage {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        let (network, owned) = (Arc::clone(&self.network), path.to_owned());
        let apply = async move {
            let object = network.inner.get(&owned).await?;
            let last_modified = whole_seconds(network.dated(&owned, object.last_modified));
            Ok(Object { last_modified, ..object })
        };
        self.request(Operation::Get, path, 0, apply).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let (network, owned) = (Arc::clone(&self.network), path.to_owned());
        let apply = async move { network.inner.get_range(&owned, range).await };
        self.request(Operation::GetRange, path, 0, apply).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        let (network, owned, sent) = (Arc::clone(&self.network), path.to_owned(), Instant::now());
        let len = bytes.len() as u64;
        let apply = async move { network.create(&owned, bytes, sent).await };
        self.request(Operation::Create, path, len, apply).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let prefix = prefix.to_owned();
        let first = Some(start_after.map(str::to_owned));
        let pages = stream::unfold(first, move |from| {
            let prefix = prefix.clone();
            async move {
                let from = from?;
                let size = self.network.state.lock().page_size();
                let (network, below, after) = (Arc::clone(&self.network), prefix.clone(), from.clone());
                let process = self.process.clone();
                // One page is one request: what is created meanwhile may be on a later page, or be missed by an earlier one.
                let apply = async move {
                    let mut page = network.inner.list(&below, after.as_deref()).take(size);
                    let mut objects = Vec::new();
                    while let Some(object) = page.next().await {
                        let object = object?;
                        let last_modified = network.dated(&object.path, object.last_modified);
                        objects.push(ObjectInfo { last_modified, ..object });
                    }
                    let next = (objects.len() == size).then(|| objects.last().map(|last| last.path.clone()));
                    let (objects, ends) = network.shown(&process, objects);
                    Ok((objects, next.filter(|_| !ends)))
                };
                match self.request(Operation::List, &prefix, 0, apply).await {
                    Err(error) => Some((vec![Err(error)], None)),
                    Ok((page, next)) => Some((page.into_iter().map(Ok).collect(), next)),
                }
            }
        });
        pages.flat_map(stream::iter).boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        let (network, paths) = (Arc::clone(&self.network), paths.to_vec());
        let first = paths.first().cloned().unwrap_or_default();
        let apply = async move { network.inner.delete(&paths).await };
        self.request(Operation::Delete, &first, 0, apply).await
    }

    fn keeps_versions(&self) -> bool {
        self.network.inner.keeps_versions()
    }
}

impl State {
    fn page_size(&mut self) -> usize {
        let Range { start, end } = self.faults.page_objects.clone();
        start.max(1) + self.rng.next_u32() as usize % end.saturating_sub(start).max(1)
    }
}
