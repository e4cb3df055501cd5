//! How long a command waits for a store that does not answer.
//!
//! A request has a bound of its own, but a node asks again, and a disk that hangs (a network file system, a dead device) has
//! no bound at all. So a command looks at its requests from outside: it says what it waits for, and ends.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aft_core::{Clock, Object, ObjectInfo, Storage, StorageError, SystemClock};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::Progress;

/// How long a command waits without an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until it says what it waits for, and how often it says so again.
    say: Duration,
    /// Until it ends.
    end: Duration,
}

impl Default for Patience {
    /// A request of a store in the network takes up to 25 s, and is sent up to three times.
    fn default() -> Self {
        Self { say: Duration::from_secs(5), end: Duration::from_secs(90) }
    }
}

impl Patience {
    /// That of a command which goes on until somebody stops it.
    pub(crate) const fn endless() -> Self {
        Self { say: Duration::from_secs(5), end: Duration::MAX }
    }
}

/// How often it is shown how many requests there were.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// The requests of one command.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    clock: SystemClock,
    patience: Patience,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// What is asked and not answered, by number.
    waiting: BTreeMap<u64, Asked>,
    /// Since when nothing was answered, though something is asked. An error of the network is no answer.
    silent_since: Option<Duration>,
    /// A create or delete was sent, and whether it had an effect is not known.
    open: bool,
}

#[derive(Debug)]
struct Asked {
    what: String,
    writes: bool,
}

/// A request, from when it is sent until it is answered or given up.
struct Request<'a> {
    watch: &'a Watch,
    number: u64,
}

impl Watch {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { clock: SystemClock::new(), patience, state: Arc::default() }
    }

    /// The same store, whose requests are watched.
    pub(crate) fn over(&self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        Arc::new(Watched { storage, watch: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, what: String, writes: bool) -> Request<'_> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        state.silent_since.get_or_insert(now);
        state.next += 1;
        let number = state.next;
        state.waiting.insert(number, Asked { what, writes });
        Request { watch: self, number }
    }

    /// Shows how many requests were sent, until `work` has ended.
    pub(crate) async fn shown_by<T>(&self, progress: Progress, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(SHOWN_EVERY) => {}
            }
            progress.reach(self.state().next);
        }
    }

    /// Since when the store is silent, and what it is asked.
    fn silence(&self) -> Option<(Duration, String)> {
        let (now, state) = (self.clock.monotonic(), self.state());
        let oldest = state.waiting.values().next()?;
        Some((now.saturating_sub(state.silent_since?), oldest.what.clone()))
    }

    /// Ends, with the failure of the command, when the store has been silent for too long.
    pub(crate) async fn given_up(&self, store: impl Display, say: impl Fn(String)) -> Failure {
        let Patience { say: every, end } = self.patience;
        let mut say_at = every;
        loop {
            tokio::time::sleep(every / 10).await;
            let Some((silence, asked)) = self.silence() else { continue };
            if silence >= end {
                return self.failure(&store, &asked);
            }
            if silence < every {
                say_at = every;
            } else if silence >= say_at {
                say(format!("waiting for {store}, silent since {} s: {asked}", silence.as_secs()));
                say_at = silence + every;
            }
        }
    }

    fn failure(&self, store: impl Display, asked: &str) -> Failure {
        let state = self.state();
        let open = state.open || state.waiting.values().any(|asked| asked.writes);
        let seconds = self.patience.end.as_secs();
        let message = format!("{store} did not answer for {seconds} s: {asked}");
        match open {
            false => {
                Failure::new(Exit::Unavailable, message).advice("check the endpoint, the network or the disk")
            }
            true => Failure::new(Exit::OutcomeUnknown, message)
                .advice("running the same command again is safe: it writes the same"),
        }
    }
}

impl Request<'_> {
    /// Notes the answer, and passes it on.
    fn answered<T>(self, answer: Result<T, StorageError>) -> Result<T, StorageError> {
        let now = self.watch.clock.monotonic();
        let mut state = self.watch.state();
        let asked = state.waiting.remove(&self.number);
        match &answer {
            Err(StorageError::Unknown { .. }) => state.open |= asked.is_some_and(|asked| asked.writes),
            Err(StorageError::Unavailable { .. }) => {}
            _ => state.silent_since = (!state.waiting.is_empty()).then_some(now),
        }
        drop(state);
        answer
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        // Given up before its answer.
        if let Some(asked) = state.waiting.remove(&self.number) {
            state.open |= asked.writes;
        }
    }
}

/// A store whose requests are watched.
#[derive(Debug)]
struct Watched {
    storage: Arc<dyn Storage>,
    watch: Watch,
}

#[async_trait]
impl Storage for Watched {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        let request = self.watch.ask(format!("get {path}"), false);
        request.answered(self.storage.get(path).await)
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        let request = self.watch.ask(format!("get {path}"), false);
        request.answered(self.storage.get_at_most(path, most).await)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let request = self.watch.ask(format!("get a part of {path}"), false);
        request.answered(self.storage.get_range(path, range).await)
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        let request = self.watch.ask(format!("create {path}"), true);
        request.answered(self.storage.create(path, bytes).await)
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let what = format!("list {prefix}");
        let listed = self.storage.list(prefix, start_after);
        let watch = &self.watch;
        let watched = stream::unfold((listed, what), move |(mut listed, what)| async move {
            let request = watch.ask(what.clone(), false);
            let item = listed.next().await;
            match item {
                Some(item) => Some((request.answered(item), (listed, what))),
                None => {
                    let _ = request.answered(Ok(()));
                    None
                }
            }
        });
        watched.boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        let request = self.watch.ask(format!("delete {} objects", paths.len()), true);
        request.answered(self.storage.delete(paths).await)
    }

    fn keeps_versions(&self) -> bool {
        self.storage.keeps_versions()
    }
}

#[cfg(test)]
mod tests {
    use aft_memory::MemoryStorage;

    use super::*;

    /// Never answers a get, and fails every create without saying whether it had an effect.
    #[derive(Debug)]
    struct Hung(MemoryStorage);

    #[async_trait]
    impl Storage for Hung {
        async fn get(&self, _: &str) -> Result<Object, StorageError> {
            std::future::pending().await
        }

        async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
            self.0.get_range(path, range).await
        }

        async fn create(&self, path: &str, _: Bytes) -> Result<(), StorageError> {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Err(StorageError::unknown(path))
        }

        fn list(&self, prefix: &str, after: Option<&str>) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
            self.0.list(prefix, after)
        }

        async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
            self.0.delete(paths).await
        }
    }

    fn watched() -> (Watch, Arc<dyn Storage>) {
        let patience = Patience { say: Duration::from_millis(50), end: Duration::from_millis(400) };
        let watch = Watch::new(patience);
        let storage = watch.over(Arc::new(Hung(MemoryStorage::new())));
        (watch, storage)
    }

    #[tokio::test]
    async fn a_silent_store_is_named_and_given_up() {
        let (watch, storage) = watched();
        let said = Mutex::new(Vec::new());
        let failure = tokio::select! {
            _ = storage.get("a/b") => unreachable!("it never answers"),
            failure = watch.given_up("the store", |line| said.lock().unwrap().push(line)) => failure,
        };
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(failure.line().contains("get a/b"), "{}", failure.line());
        let said = said.into_inner().unwrap();
        assert!(said.len() >= 2 && said[0].contains("waiting for the store"), "{said:?}");
    }

    #[tokio::test]
    async fn errors_are_no_answers_and_an_open_create_is_told() {
        let (watch, storage) = watched();
        let asking = async {
            loop {
                let _ = storage.create("a", Bytes::new()).await;
            }
        };
        let failure = tokio::select! {
            () = asking => unreachable!("it asks for ever"),
            failure = watch.given_up("the store", |_| {}) => failure,
        };
        assert_eq!(failure.exit(), Exit::OutcomeUnknown);
    }

    #[tokio::test]
    async fn a_store_that_answers_is_waited_for_as_long_as_it_takes() {
        let (watch, storage) = watched();
        let asking = async {
            for _ in 0..60 {
                assert!(storage.list("a", None).next().await.is_none());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = asking => {}
            // One that hangs beside the others: its own bound ends it.
            _ = storage.get("a/b") => unreachable!("it never answers"),
            failure = watch.given_up("the store", |line| panic!("{line}")) => panic!("{}", failure.line()),
        }
    }
}
