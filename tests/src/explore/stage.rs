//! Where every request waits for its turn.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use aft_memory::{MemoryStorage, Process};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::accident::{Accident, Kind};
use super::request::{Access, Id, Request};

/// The gate in front of the store: open, it lets every request through; closed, each waits until it is released.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    accident: Option<Accident>,
    /// Whether the accident happened.
    struck: bool,
    /// Whether it was a crash at a read.
    at_read: bool,
    waiting: Vec<(Request, oneshot::Sender<()>)>,
    /// How many requests each actor has sent, and how many waits and requests.
    sent: BTreeMap<usize, (usize, usize)>,
    /// How many requests were released.
    steps: usize,
    /// Who begins only when all others have ended.
    recovering: Option<usize>,
    log: Vec<String>,
}

/// What becomes of a request that arrives.
enum Arrival {
    /// The gate is open.
    Open,
    /// It has its effect when its turn comes.
    Waits(oneshot::Receiver<()>),
    /// The same, and its sender is told at once that nobody knows.
    Unheard(oneshot::Receiver<()>),
    /// It never arrived.
    Lost,
}

impl Stage {
    /// Closes the gate. From here on requests are numbered, and the accident can happen.
    pub(crate) fn close(&self, accident: Option<Accident>, recovering: usize) {
        let mut state = self.0.lock();
        state.closed = true;
        state.accident = accident;
        state.recovering = Some(recovering);
    }

    /// Opens the gate for good.
    pub(crate) fn open(&self) {
        self.0.lock().closed = false;
    }

    /// The requests that wait, by actor and number.
    pub(crate) fn waiting(&self) -> Vec<Request> {
        let mut waiting: Vec<_> = self.0.lock().waiting.iter().map(|(request, _)| request.clone()).collect();
        waiting.sort_by_key(|request| request.id);
        waiting
    }

    /// Whether a request of this actor waits whose answer it waits for.
    pub(crate) fn is_waiting(&self, actor: usize) -> bool {
        self.0.lock().waiting.iter().any(|(request, _)| request.id.0 == actor && !request.unheard)
    }

    /// How many requests each actor has sent, by the number that accidents know it by.
    pub(crate) fn sent(&self) -> Vec<usize> {
        let state = self.0.lock();
        let last = state.recovering.unwrap_or_default();
        (1..=last).map(|actor| state.sent.get(&actor).map_or(0, |(requests, _)| *requests)).collect()
    }

    /// Whether the accident happened.
    pub(crate) fn struck(&self) -> bool {
        self.0.lock().struck
    }

    /// Whether the accident was a crash at a read: nobody but the dead could have noticed the read.
    pub(crate) fn died_reading(&self) -> bool {
        self.0.lock().at_read
    }

    /// What happened, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.lock().log.clone()
    }

    /// Adds a line to the log.
    pub(crate) fn note(&self, what: String) {
        self.0.lock().log.push(what);
    }

    /// Lets one request have its effect; a wait passes first.
    pub(crate) async fn release(&self, id: Id) {
        let found = {
            let mut state = self.0.lock();
            state.steps += 1;
            let at = state.waiting.iter().position(|(request, _)| request.id == id);
            at.map(|at| state.waiting.remove(at))
        };
        let Some((request, turn)) = found else { return };
        if let Access::Wait(time) = request.access {
            self.note(format!("{}", request.access));
            tokio::time::sleep(time).await;
        }
        // Whoever gave up waiting needs no turn.
        let _ = turn.send(());
    }

    /// The actor is dead: what it wrote may still land, what it wanted to read interests nobody.
    pub(crate) fn bury(&self, actor: usize) {
        let mut state = self.0.lock();
        state.waiting.retain(|(request, _)| request.id.0 != actor || request.access.writes());
        for (request, _) in state.waiting.iter_mut().filter(|(request, _)| request.id.0 == actor) {
            request.unheard = true;
        }
    }

    /// Lets an actor wait, once it is its turn.
    pub(crate) async fn wait(&self, actor: usize, time: Duration) {
        let arrival = self.arrive(actor, None, Access::Wait(time));
        match arrival {
            Arrival::Open => tokio::time::sleep(time).await,
            Arrival::Waits(turn) | Arrival::Unheard(turn) => self.turn(turn).await,
            Arrival::Lost => std::future::pending().await,
        }
    }

    fn arrive(&self, actor: usize, process: Option<&Process>, access: Access) -> Arrival {
        let mut state = self.0.lock();
        if process.is_some_and(Process::is_crashed) {
            return Arrival::Lost;
        }
        if !state.closed {
            return Arrival::Open;
        }
        let (requests, all) = state.sent.entry(actor).or_default();
        *requests += usize::from(process.is_some());
        *all += 1;
        let (number, id) = (*requests, (actor, *all));
        let accident = state.accident.filter(|it| it.actor + 1 == actor && it.request == number);
        let mut unheard = false;
        if let (Some(Accident { kind, .. }), Some(process)) = (accident, process) {
            state.struck = true;
            let line = format!("{} {kind} at its request {number}, {access}", process.name());
            state.log.push(line);
            unheard = access.writes();
            match kind {
                Kind::CrashBefore | Kind::CrashDuring => {
                    state.at_read = !unheard;
                    process.crash();
                    if kind == Kind::CrashBefore {
                        return Arrival::Lost;
                    }
                }
                Kind::Unknown if unheard => {}
                Kind::Unknown => return Arrival::Unheard(oneshot::channel().1),
            }
        }
        let (turn, waits) = oneshot::channel();
        let arrived = state.steps;
        let recovers = state.recovering == Some(actor);
        state.waiting.push((Request { id, access, arrived, unheard, recovers }, turn));
        if unheard { Arrival::Unheard(waits) } else { Arrival::Waits(waits) }
    }

    /// Waits for the turn of a request; for ever, where nobody waits for its answer any more.
    async fn turn(&self, turn: oneshot::Receiver<()>) {
        if turn.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The store as one actor reaches it.
#[derive(Clone)]
pub(crate) struct Staged {
    pub(crate) stage: Stage,
    pub(crate) actor: usize,
    pub(crate) process: Process,
    pub(crate) memory: MemoryStorage,
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("process", &self.process.name()).finish_non_exhaustive()
    }
}

impl Staged {
    async fn read<T>(
        &self,
        access: Access,
        path: &str,
        effect: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let what = access.to_string();
        match self.stage.arrive(self.actor, Some(&self.process), access) {
            Arrival::Open => return effect.await,
            Arrival::Waits(turn) => self.stage.turn(turn).await,
            Arrival::Unheard(_) => return Err(StorageError::unavailable(path)),
            Arrival::Lost => std::future::pending().await,
        }
        let result = effect.await;
        self.log(&what, &result);
        result
    }

    async fn write(
        &self,
        paths: Vec<String>,
        path: &str,
        effect: impl Future<Output = Result<(), StorageError>> + Send + 'static,
    ) -> Result<(), StorageError> {
        let access = Access::Write(paths);
        let what = access.to_string();
        let (turn, heard) = match self.stage.arrive(self.actor, Some(&self.process), access) {
            Arrival::Open => return effect.await,
            Arrival::Waits(turn) => (turn, true),
            Arrival::Unheard(turn) => (turn, false),
            Arrival::Lost => std::future::pending().await,
        };
        let (this, (answer, answered)) = (self.clone(), oneshot::channel());
        // It goes its own way: a sender that stops waiting does not stop it.
        tokio::spawn(async move {
            this.stage.turn(turn).await;
            let result = effect.await;
            this.log(&what, &result);
            // Nobody may be left to hear it.
            let _ = answer.send(result);
        });
        if !heard {
            return Err(StorageError::unknown(path));
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }

    fn log<T>(&self, what: &str, result: &Result<T, StorageError>) {
        let said = match result {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{:?}", aft_memory::ErrorKind::from(error)),
        };
        self.stage.note(format!("{} {what}: {said}", self.process.name()));
    }
}

#[async_trait]
impl Storage for Staged {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        let object = self.read(Access::Read(path.to_owned()), path, self.memory.get(path)).await?;
        // As some interfaces do: listings are more precise.
        let since = object.last_modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let last_modified = UNIX_EPOCH + Duration::from_secs(since.as_secs());
        Ok(Object { last_modified, ..object })
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.read(Access::Read(path.to_owned()), path, self.memory.get_range(path, range)).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        let (memory, owned) = (self.memory.clone(), path.to_owned());
        let effect = async move { memory.create(&owned, bytes).await };
        self.write(vec![path.to_owned()], path, effect).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let (prefix, after) = (prefix.to_owned(), start_after.map(str::to_owned));
        let page = async move {
            let objects = async { Ok(self.memory.list(&prefix, after.as_deref()).collect::<Vec<_>>().await) };
            match self.read(Access::List(prefix.clone(), after.clone()), &prefix, objects).await {
                Ok(objects) => stream::iter(objects),
                Err(error) => stream::iter(vec![Err(error)]),
            }
        };
        stream::once(page).flatten().boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        let (memory, owned) = (self.memory.clone(), paths.to_vec());
        let path = paths.first().map_or("", String::as_str);
        let effect = async move { memory.delete(&owned).await };
        self.write(paths.to_vec(), path, effect).await
    }
}
