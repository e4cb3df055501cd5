//! The store that remembers every request and fails those that a test scripts.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;

use crate::fault::{ErrorKind, Fault, Rule};
use crate::gate::{Effect, Gate};
use crate::request::{Counts, Operation, Request};

/// Wraps any store: logs every request, and fails exactly those that [`fail`](Self::fail) names.
///
/// It has no clock, no randomness and no task of its own, so a test that uses it replays exactly. Clones share the
/// log, the script and the wrapped store.
///
/// # Examples
///
/// A create that takes effect but whose answer is lost:
///
/// ```
/// use std::sync::Arc;
/// use aft_core::{Storage, StorageError};
/// use aft_memory::{ErrorKind, Fault, MemoryStorage, Operation, RecordingStorage};
///
/// # futures::executor::block_on(async {
/// let storage = RecordingStorage::new(Arc::new(MemoryStorage::new()));
/// storage.fail(Operation::Create, "commits/", 1, Fault::After(ErrorKind::Unknown));
///
/// let lost = storage.create("commits/1", "x".into()).await;
/// assert!(matches!(lost, Err(StorageError::Unknown { .. })));
/// assert_eq!(storage.get("commits/1").await.unwrap().bytes, "x");
///
/// assert_eq!(storage.counts().creates, 1);
/// assert_eq!(storage.take()[0].result, Some(Err(ErrorKind::Unknown)));
/// # });
/// ```
#[derive(Clone)]
pub struct RecordingStorage {
    inner: Arc<dyn Storage>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    log: Vec<Request>,
    /// How many requests were taken out of the log: the number of its first one.
    taken: usize,
    rules: Vec<Rule>,
}

/// A request in the log, whether still there or taken.
#[derive(Clone, Copy)]
struct Entry(usize);

impl RecordingStorage {
    /// A store that serves every request from `inner` until told otherwise.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// Lets `fault` strike the `nth` request from now on (1 is the next) of this `operation` whose path begins with
    /// `prefix`. It strikes once. Of several rules that are due, the first one set strikes; the others count on.
    ///
    /// The [`Gate`] holds the request for `Delay`, `Late` and `Ghost`, and tells for all whether the fault has struck.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::sync::Arc;
    /// use aft_core::Storage;
    /// use aft_memory::{ErrorKind, Fault, MemoryStorage, Operation, RecordingStorage};
    ///
    /// let storage = RecordingStorage::new(Arc::new(MemoryStorage::new()));
    /// storage.fail(Operation::Create, "a", 1, Fault::Before(ErrorKind::Unavailable));
    /// assert!(storage.create("a", bytes::Bytes::new()).await.is_err());
    /// assert!(storage.create("a", bytes::Bytes::new()).await.is_ok());
    /// assert_eq!(storage.counts().creates, 2);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn fail(&self, operation: Operation, prefix: &str, nth: u64, fault: Fault) -> Gate {
        let gate = Gate::new();
        let passes = nth.saturating_sub(1);
        let rule = Rule { operation, prefix: prefix.to_owned(), passes, fault, gate: gate.clone() };
        self.state.lock().rules.push(rule);
        gate
    }

    /// Forgets every fault that has not struck yet.
    pub fn clear_faults(&self) {
        self.state.lock().rules.clear();
    }

    /// The requests since the last [`take`](Self::take), in the order in which they began.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().log.clone()
    }

    /// The same, and empties the log.
    #[must_use]
    pub fn take(&self) -> Vec<Request> {
        let mut state = self.state.lock();
        state.taken += state.log.len();
        std::mem::take(&mut state.log)
    }

    /// How many requests of each kind are in the log.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::of(&self.state.lock().log)
    }

    /// Empties the log and forgets the faults that have not struck.
    pub fn reset(&self) {
        let mut state = self.state.lock();
        state.taken += state.log.len();
        state.log.clear();
        state.rules.clear();
    }

    /// Logs the request and finds the fault that strikes it.
    fn begin(
        &self,
        operation: Operation,
        path: &str,
        bytes: u64,
        objects: u64,
    ) -> (Entry, Option<(Fault, Gate)>) {
        let mut state = self.state.lock();
        let path = path.to_owned();
        let mut struck = None;
        for (at, rule) in state.rules.iter_mut().enumerate() {
            if !rule.matches(operation, &path) {
                continue;
            }
            if rule.passes > 0 {
                rule.passes -= 1;
            } else if struck.is_none() {
                struck = Some(at);
            }
        }
        let fault = struck.map(|at| {
            let rule = state.rules.remove(at);
            rule.gate.reach();
            (rule.fault, rule.gate)
        });
        state.log.push(Request { operation, path, bytes, objects, result: None });
        (Entry(state.taken + state.log.len() - 1), fault)
    }

    fn update(&self, Entry(number): Entry, change: impl FnOnce(&mut Request)) {
        let mut state = self.state.lock();
        let taken = state.taken;
        if let Some(request) = number.checked_sub(taken).and_then(|at| state.log.get_mut(at)) {
            change(request);
        }
    }

    fn end<T>(&self, entry: Entry, result: &Result<T, StorageError>, bytes: impl FnOnce(&T) -> Option<u64>) {
        self.update(entry, |request| {
            request.result = Some(result.as_ref().map(|_| ()).map_err(ErrorKind::from));
            if let Some(bytes) = result.as_ref().ok().and_then(bytes) {
                request.bytes = bytes;
            }
        });
    }

    async fn read<T>(
        &self,
        path: &str,
        fault: Option<(Fault, Gate)>,
        serve: impl Future<Output = Result<T, StorageError>>,
        damage: impl FnOnce(T, crate::Corruption) -> T,
    ) -> Result<T, StorageError> {
        match fault {
            None => serve.await,
            Some((Fault::Before(kind), _)) => Err(kind.at(path)),
            Some((Fault::After(kind), _)) => serve.await.and(Err(kind.at(path))),
            Some((Fault::Delay, gate)) => {
                gate.wait_for_release().await;
                serve.await
            }
            Some((Fault::Late, gate)) => {
                let answer = serve.await;
                gate.wait_for_release().await;
                answer
            }
            Some((Fault::Ghost, _)) => Err(ErrorKind::Unavailable.at(path)),
            Some((Fault::Corrupt(corruption), _)) => serve.await.map(|answer| damage(answer, corruption)),
        }
    }

    async fn write(
        &self,
        path: &str,
        fault: Option<(Fault, Gate)>,
        effect: Effect,
    ) -> Result<(), StorageError> {
        match fault {
            None | Some((Fault::Corrupt(_), _)) => effect.apply(&*self.inner).await,
            Some((Fault::Before(kind), _)) => Err(kind.at(path)),
            Some((Fault::After(kind), _)) => effect.apply(&*self.inner).await.and(Err(kind.at(path))),
            Some((Fault::Delay, gate)) => {
                gate.wait_for_release().await;
                effect.apply(&*self.inner).await
            }
            Some((Fault::Late, gate)) => {
                let answer = effect.apply(&*self.inner).await;
                gate.wait_for_release().await;
                answer
            }
            Some((Fault::Ghost, gate)) => {
                gate.haunt(Arc::clone(&self.inner), effect).await;
                Err(ErrorKind::Unknown.at(path))
            }
        }
    }

    /// What a list yields before the wrapped store's objects, and after them.
    async fn list_faults(
        prefix: &str,
        fault: Option<(Fault, Gate)>,
    ) -> (Option<StorageError>, Option<StorageError>) {
        match fault {
            None | Some((Fault::Corrupt(_) | Fault::Late, _)) => (None, None),
            Some((Fault::Before(kind), _)) => (Some(kind.at(prefix)), None),
            Some((Fault::After(kind), _)) => (None, Some(kind.at(prefix))),
            Some((Fault::Ghost, _)) => (Some(ErrorKind::Unavailable.at(prefix)), None),
            Some((Fault::Delay, gate)) => {
                gate.wait_for_release().await;
                (None, None)
            }
        }
    }
}

impl fmt::Debug for RecordingStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingStorage").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for RecordingStorage {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.get_at_most(path, u64::MAX).await
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        let (entry, fault) = self.begin(Operation::Get, path, 0, 1);
        let damage =
            |object: Object, how: crate::Corruption| Object { bytes: how.apply(object.bytes), ..object };
        let result = self.read(path, fault, self.inner.get_at_most(path, most), damage).await;
        self.end(entry, &result, |object| Some(object.bytes.len() as u64));
        result
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let (entry, fault) = self.begin(Operation::GetRange, path, 0, 1);
        let damage = |bytes, how: crate::Corruption| how.apply(bytes);
        let result = self.read(path, fault, self.inner.get_range(path, range), damage).await;
        self.end(entry, &result, |bytes| Some(bytes.len() as u64));
        result
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        let (entry, fault) = self.begin(Operation::Create, path, bytes.len() as u64, 1);
        let result = self.write(path, fault, Effect::Create(path.to_owned(), bytes)).await;
        self.end(entry, &result, |()| None);
        result
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let (entry, fault) = self.begin(Operation::List, prefix, 0, 0);
        let (prefix, start_after) = (prefix.to_owned(), start_after.map(str::to_owned));
        let objects = async move {
            if let Some((Fault::Late, gate)) = &fault {
                let listed: Vec<_> = self.inner.list(&prefix, start_after.as_deref()).collect().await;
                gate.wait_for_release().await;
                return stream::iter(listed).boxed();
            }
            let (before, after) = Self::list_faults(&prefix, fault).await;
            let objects = match before {
                Some(error) => stream::once(async { Err(error) }).boxed(),
                None => self.inner.list(&prefix, start_after.as_deref()),
            };
            objects.chain(stream::iter(after.map(Err))).boxed()
        };
        stream::once(objects)
            .flatten()
            .inspect(move |item| match item {
                Ok(_) => self.update(entry, |request| request.objects += 1),
                Err(error) => {
                    self.update(entry, |request| request.result = Some(Err(ErrorKind::from(error))))
                }
            })
            .chain(stream::poll_fn(move |_| {
                self.update(entry, |request| {
                    request.result.get_or_insert(Ok(()));
                });
                std::task::Poll::Ready(None)
            }))
            .boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        let path = paths.first().map_or("", String::as_str);
        let (entry, fault) = self.begin(Operation::Delete, path, 0, paths.len() as u64);
        let result = self.write(path, fault, Effect::Delete(paths.to_vec())).await;
        self.end(entry, &result, |()| None);
        result
    }

    fn keeps_versions(&self) -> bool {
        self.inner.keeps_versions()
    }
}
