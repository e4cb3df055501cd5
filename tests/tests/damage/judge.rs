//! The rules: what may be seen of a damaged store.

use std::cell::Cell;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, CheckReport, Clock, CloneOptions, CommitOutcome, Error, ErrorKind, Outcome};
use aft_memory::MemoryStorage;
use aft_tests::World;

use crate::harm::{Damage, Harm, Kind};
use crate::store::{GUARDED, State, Told, marked};

/// No call takes longer, of virtual time.
const LONGEST: Duration = Duration::from_secs(600);
/// No call makes more requests.
const REQUESTS_MOST: u64 = 3_000;

/// What an error may say where it names no object.
const ADVICE: [&str; 6] =
    ["aft adopt", "try again", "run it again", "aft sweep", "mend the clock", "make it anew"];

/// A damaged store under the eyes of its clients.
pub(crate) struct Judge<'a> {
    pub(crate) world: &'a World,
    pub(crate) told: Told,
    pub(crate) harm: &'a Harm,
    /// The node in use.
    pub(crate) node: Option<Aft>,
    pub(crate) read_only: bool,
    /// Whether everything is as it was again, and whether a sweep of everything ended since.
    pub(crate) repaired: bool,
    pub(crate) swept: bool,
    pub(crate) broken: Vec<String>,
    /// Whether a check was clean, so that no request may run again, whatever is gone.
    strict: bool,
    /// What the program is doing.
    pub(crate) doing: String,
    seeds: u64,
}

/// The whole chain of causes.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = format!("{:?}: {error}", error.kind());
    let mut cause = error.source();
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }
    text
}

impl<'a> Judge<'a> {
    pub(crate) fn new(world: &'a World, told: Told, harm: &'a Harm) -> Self {
        Self {
            world,
            told,
            harm,
            node: None,
            read_only: false,
            repaired: false,
            swept: false,
            strict: false,
            broken: Vec::new(),
            doing: String::new(),
            seeds: 1_000_000,
        }
    }

    pub(crate) fn breaks(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.broken.push(format!("{}: {what}", self.doing));
    }

    /// A builder of a node that shares its seed with none.
    pub(crate) fn builder(&mut self) -> aft_core::Builder {
        self.seeds += 1;
        self.world.builder().rng_seed(self.seeds)
    }

    /// What a call came to, within its bounds. An error must name an object or say what to do; and once all is repaired there is none.
    pub(crate) async fn call<T>(
        &mut self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        self.world.storage.reset();
        let ended = tokio::time::timeout(LONGEST, call).await;
        let requests = self.world.storage.counts().requests();
        if requests > REQUESTS_MOST {
            self.breaks(format!("{what}: {requests} requests"));
        }
        match ended {
            Err(_) => {
                self.breaks(format!("{what}: does not end"));
                None
            }
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                self.judge_error(what, &error);
                None
            }
        }
    }

    fn judge_error(&mut self, what: &str, error: &Error) {
        let said = chain(error);
        let folders =
            ["aft.json", "checkpoints/", "index/", "recent/", "garbage/", "outcomes/", "feed/", "commits/"];
        let mut known =
            folders.iter().chain(&["requests/", "guards/", "values/", "epochs/", "bundles/"]).chain(&ADVICE);
        if self.repaired {
            self.breaks(format!("{what} fails on a repaired store: {said}"));
        } else if !known.any(|word| said.contains(word)) {
            self.breaks(format!("{what} neither names an object nor says what to do: {said}"));
        }
    }

    /// What may be read: everything as it was acknowledged; or, where a feed object does not count that alone told of commits, and until a
    /// sweep has found them, as if these had not been published yet.
    fn allowed(&self) -> Vec<State> {
        let mut allowed = vec![self.told.state(None)];
        let unpublished = self.harm.kind == Kind::Feed
            && matches!(self.harm.damage, Damage::Deletion | Damage::Redate | Damage::Future)
            && self.told.commits.iter().any(|commit| commit.feed.as_ref() == Some(&self.harm.path));
        if unpublished && !self.swept {
            allowed.push(self.told.state(Some(&self.harm.path)));
        }
        allowed
    }

    /// Reads every key in one transaction. Whether all is as it was acknowledged.
    pub(crate) async fn read_keys(&mut self, node: &Aft) -> bool {
        let Some(tx) = self.call("begin", node.begin()).await else { return false };
        let (mut read, mut failed) = (State::new(), Vec::new());
        for key in self.told.keys() {
            match self.call(&format!("get {key}"), tx.get(&key)).await {
                Some(Some(value)) => drop(read.insert(key, String::from_utf8_lossy(&value).into_owned())),
                Some(None) => {}
                None => failed.push(key),
            }
        }
        self.judge_state("get", &read, &failed) && failed.is_empty()
    }

    /// Reads every key by a scan.
    pub(crate) async fn scan(&mut self, node: &Aft) {
        let Some(tx) = self.call("begin", node.begin()).await else { return };
        if let Some(rows) = self.call("scan", tx.scan(..)).await {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let read = rows.iter().map(|(key, value)| (text(key), text(value))).collect();
            self.judge_state("scan", &read, &[]);
        }
    }

    /// Whether it is the state that was acknowledged.
    fn judge_state(&mut self, what: &str, read: &State, failed: &[String]) -> bool {
        let cut = |mut state: State| {
            failed.iter().for_each(|key| drop(state.remove(key)));
            state
        };
        let allowed: Vec<_> = self.allowed().into_iter().map(cut).collect();
        if !allowed.contains(read) {
            let shown = |value: Option<&String>| match value {
                Some(value) => value.chars().take(4).collect(),
                None => "nothing".to_owned(),
            };
            let keys: std::collections::BTreeSet<_> = read.keys().chain(allowed[0].keys()).collect();
            let wrong: Vec<_> = keys
                .into_iter()
                .filter(|key| read.get(*key) != allowed[0].get(*key))
                .map(|key| format!("{key} is {}, not {}", shown(read.get(key)), shown(allowed[0].get(key))))
                .collect();
            self.breaks(format!("{what}: {}", wrong.join(", ")));
        }
        *read == allowed[0]
    }

    /// Clones the store. A clone that is made is a store as good as this one.
    pub(crate) async fn clone_store(&mut self, node: &Aft) {
        let place = MemoryStorage::with_clock(Arc::clone(&self.world.store_clock) as Arc<dyn Clock>);
        let cloned = node.clone_to(Arc::new(place.clone()), CloneOptions::default());
        if self.call("clone", cloned).await.is_none() {
            return;
        }
        self.seeds += 1;
        let builder = Aft::builder(Arc::new(place)).config(World::config()).clock(self.world.clock());
        if let Some(clone) = self.call("open the clone", builder.rng_seed(self.seeds).open()).await
            && !self.read_keys(&clone).await
            && self.allowed().len() == 1
        {
            self.breaks("the clone was made, and not everything is in it");
        }
    }

    /// What became of every commit that was acknowledged. Whether all is known.
    pub(crate) async fn outcomes(&mut self, node: &Aft) -> bool {
        let mut known = true;
        for id in self.told.commits.iter().map(|commit| commit.id).collect::<Vec<_>>() {
            match self.call("outcome", node.outcome(id)).await {
                Some(Outcome::Committed { .. } | Outcome::Forgotten) => {}
                Some(outcome) => {
                    known = false;
                    self.breaks(format!("outcome: a commit that was acknowledged is {outcome:?}"));
                }
                None => known = false,
            }
        }
        known
    }

    /// Delivers every finished request again: it is answered by its result, or by an error, and nothing runs.
    pub(crate) async fn requests(&mut self, node: &Aft) {
        for key in self.told.requests.clone() {
            let ran = Cell::new(false);
            let work = async |_: &mut aft_core::Transaction| {
                ran.set(true);
                Err(Error::application("it would run a second time"))
            };
            let run = node.run_with(Begin::new().request(key), work);
            self.world.storage.reset();
            match tokio::time::timeout(LONGEST, run).await {
                Err(_) => self.breaks("run: does not end"),
                Ok(Ok(run)) if run.outcome != CommitOutcome::Replayed || run.result != key => {
                    self.breaks(format!("run {key}: {run:?}"));
                }
                Ok(Ok(_)) => {}
                // Nothing but its claims leads from a key to its transaction.
                Ok(Err(error)) if error.kind() == ErrorKind::Application && self.may_run_again(key) => {}
                Ok(Err(error)) if error.kind() == ErrorKind::Application && ran.get() => {
                    self.breaks(format!("run {key}: a finished request runs a second time"));
                }
                Ok(Err(error)) => self.judge_error(&format!("run {key}"), &error),
            }
        }
    }

    /// Whether a request may run a second time: only where the one object that says that it ran is gone. What it is then run under is
    /// another claim in its place.
    fn may_run_again(&self, key: &str) -> bool {
        let is_its = || self.harm.object.bytes.windows(key.len()).any(|bytes| bytes == key.as_bytes());
        self.harm.kind == Kind::Claim
            && self.harm.damage == Damage::Deletion
            && !self.repaired
            && !self.strict
            && is_its()
    }

    /// Checks the store: it is not clean where anything cannot be read rightly, and it is once all is repaired.
    pub(crate) async fn check(&mut self) {
        let builder = self.builder();
        let report = self.call("check", builder.check()).await;
        let clean = report.as_ref().is_some_and(|report| report.is_clean() || self.is_left_over(report));
        if self.repaired && !clean {
            self.breaks(format!("check is not clean once all is repaired: {report:#?}"));
        }
        if clean && !self.reads_all().await {
            let what = "check is clean, and not everything can be read rightly";
            self.breaks(what);
        }
    }

    /// Whether all that a check found once all is repaired is left over, and is named rightly.
    fn is_left_over(&self, report: &CheckReport) -> bool {
        if self.repaired && self.harm.kind == Kind::Manifest && self.harm.damage == Damage::Deletion {
            // It came back when a newer one was made without it, and its own files had been collected.
            let number = self.harm.path.trim_start_matches("checkpoints/").trim_end_matches(".json");
            let number = u64::from_str_radix(number, 16).unwrap_or(u64::MAX);
            let its = format!("a file that checkpoint {number} needs");
            return report.checkpoint > number && report.problems.iter().all(|problem| problem.what == its);
        }
        false
    }

    /// Whether a new node can read everything rightly.
    async fn reads_all(&mut self) -> bool {
        // Two nodes that date their clocks in one millisecond are in each other's way, until the next refresh.
        tokio::time::sleep(Duration::from_millis(7)).await;
        let was = self.broken.len();
        let builder = self.builder();
        let Some(node) = self.call("open to compare", builder.open()).await else { return false };
        let read = self.read_keys(&node).await;
        let known = self.outcomes(&node).await;
        self.strict = true;
        self.requests(&node).await;
        self.strict = false;
        read && known && self.broken.len() == was
    }

    /// Commits a key of its own and a mark under the key that is written guarded: both must be there from then on if it is acknowledged.
    pub(crate) async fn put(&mut self, node: &Aft) {
        self.seeds += 1;
        let key = format!("own/{}", self.seeds);
        let (id, value) = (node.new_txn_id(), format!("v{}", self.seeds));
        let put = async {
            let mut tx = node.begin_with(Begin::new().id(id)).await?;
            let marks = marked(tx.get_guarded(GUARDED).await?);
            tx.put(&key, value.clone())?;
            tx.put(GUARDED, marks.clone())?;
            tx.commit().await?;
            node.publish().await?;
            Ok(marks)
        };
        if let Some(marks) = self.call("put", put).await {
            self.told.add(id, &[(&key, Some(&value)), (GUARDED, Some(&marks))]);
        }
    }
}
