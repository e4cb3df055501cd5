//! The store that is damaged: everything that aft stores is in it, old and young, and what its clients were told is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aft_core::{Aft, Begin, Config, Object, ObjectInfo, Storage, TxnId};
use aft_tests::World;
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::time::sleep;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A key that is only ever written guarded: each write adds a mark.
pub(crate) const GUARDED: &str = "guarded";

/// What all keys hold.
pub(crate) type State = BTreeMap<String, String>;

/// A commit that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acked {
    pub(crate) id: TxnId,
    writes: Vec<(String, Option<String>)>,
    /// The feed object that carries it, where no checkpoint has it.
    pub(crate) feed: Option<String>,
}

/// What clients were told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) commits: Vec<Acked>,
    /// Request keys that are finished; each has its key as its result.
    pub(crate) requests: Vec<&'static str>,
}

impl Told {
    /// What every key holds; `without`: as if the commits that this feed object alone carries had not been published.
    pub(crate) fn state(&self, without: Option<&str>) -> State {
        let mut state = State::new();
        let counts = |commit: &&Acked| without.is_none() || commit.feed.as_deref() != without;
        for (key, value) in self.commits.iter().filter(counts).flat_map(|commit| &commit.writes) {
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
        state
    }

    /// Every key that was ever written.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        self.commits.iter().flat_map(|commit| &commit.writes).map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn add(&mut self, id: TxnId, writes: &[(&str, Option<&str>)]) {
        let owned = |(key, value): &(&str, Option<&str>)| ((*key).to_owned(), value.map(str::to_owned));
        self.commits.push(Acked { id, writes: writes.iter().map(owned).collect(), feed: None });
    }
}

/// What the key that is written guarded holds next.
pub(crate) fn marked(value: Option<Bytes>) -> String {
    String::from_utf8_lossy(&value.unwrap_or_default()).into_owned() + "+"
}

/// A store at one moment.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) objects: Vec<(String, Object)>,
    /// How long after the beginning of the world it is.
    pub(crate) at: Duration,
    pub(crate) told: Told,
}

impl Fixture {
    /// A store with checkpoints of which the newest is this old.
    pub(crate) async fn build(age: Duration) -> Self {
        let began = tokio::time::Instant::now();
        let world = World::new();
        let config = Config { sweep_interval: Duration::from_secs(1200), ..World::config() };
        let node = world.builder().config(config).open().await.unwrap();
        let mut author = Author { world: &world, node: node.clone(), told: Told::default() };
        author.write().await;
        sleep(age).await;
        node.close().await.unwrap();
        let told = author.told;
        let mut objects = Vec::new();
        for ObjectInfo { path, .. } in world.memory.list("", None).try_collect::<Vec<_>>().await.unwrap() {
            let object = world.memory.get(&path).await.unwrap();
            objects.push((path, object));
        }
        Self { objects, at: began.elapsed(), told }
    }

    /// A world with this store in it, at its moment.
    pub(crate) async fn world(&self) -> World {
        let world = World::new();
        sleep(self.at).await;
        for (path, object) in &self.objects {
            world.memory.create(path, object.bytes.clone()).await.unwrap();
            world.memory.redate(path, object.last_modified);
        }
        world
    }
}

/// Writes the store's history.
struct Author<'a> {
    world: &'a World,
    node: Aft,
    told: Told,
}

impl Author<'_> {
    async fn write(&mut self) {
        let [x, y, z] = ["x", "y", "z"].map(|letter| letter.repeat(10_000));
        self.commit(&[("a", Some("1")), ("b", Some("1")), ("large/1", Some(&x))]).await;
        self.commit(&[("c", Some("1")), ("gone/1", Some("1")), ("large/2", Some(&x))]).await;
        self.request("order/1").await;
        self.guarded().await;
        self.age(HOUR).await;
        self.commit(&[("a", Some("2")), ("large/1", Some(&y))]).await;
        self.commit(&[("gone/1", None), ("d", Some("2"))]).await;
        self.request("order/2").await;
        self.age(HOUR).await;
        self.node.collect_garbage(false).await.unwrap();
        self.commit(&[("b", Some("3")), ("large/2", Some(&y)), ("gone/2", Some("3"))]).await;
        self.request("order/3").await;
        self.age(HOUR).await;
        // From here on nothing is folded.
        self.commit(&[("c", Some("4")), ("large/1", Some(&z))]).await;
        self.publish().await;
        self.commit(&[("gone/2", None), ("e", Some("4"))]).await;
        self.request("order/4").await;
        self.guarded().await;
        self.age(Duration::from_secs(300)).await;
        // And this only the feed tells.
        for commit in &mut self.told.commits {
            commit.feed = None;
        }
        self.commit(&[("a", Some("5")), ("f", Some("5")), ("large/3", Some(&x))]).await;
        self.publish().await;
        self.commit(&[("e", None), ("large/2", Some(&z))]).await;
        self.request("order/5").await;
        self.publish().await;
        self.guarded().await;
        self.publish().await;
        self.guard().await;
        self.publish().await;
        self.others().await;
        // A sweep says what was decided before it: not within the same second.
        sleep(Duration::from_secs(2)).await;
        self.node.sweep().await.unwrap();
    }

    /// Three others publish nine times, and who opens the store next bundles what it read.
    async fn others(&mut self) {
        let own = self.node.clone();
        for key in ["o/1", "o/2", "o/3"] {
            self.node = self.world.node().await;
            for value in ["1", "2", "3"] {
                self.commit(&[(key, Some(value))]).await;
                self.publish().await;
            }
            self.node.close().await.unwrap();
        }
        self.node = own;
        self.world.node().await.close().await.unwrap();
    }

    async fn commit(&mut self, writes: &[(&str, Option<&str>)]) {
        let id = self.node.new_txn_id();
        let mut tx = self.node.begin_with(Begin::new().id(id)).await.unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => tx.put(key, (*value).to_owned()).unwrap(),
                None => tx.delete(key).unwrap(),
            }
        }
        tx.commit().await.unwrap();
        self.told.add(id, writes);
    }

    /// Adds a mark to the key that is written guarded.
    async fn guarded(&mut self) {
        let mut tx = self.node.begin().await.unwrap();
        let id = tx.id();
        let value = marked(tx.get_guarded(GUARDED).await.unwrap());
        tx.put(GUARDED, value.clone()).unwrap();
        tx.commit().await.unwrap();
        self.told.add(id, &[(GUARDED, Some(&value))]);
    }

    /// Guards that key, and writes nothing: whoever writes it next finds this guard first.
    async fn guard(&mut self) {
        let tx = self.node.begin().await.unwrap();
        let id = tx.id();
        tx.get_guarded(GUARDED).await.unwrap();
        tx.commit().await.unwrap();
        self.told.add(id, &[]);
    }

    async fn request(&mut self, key: &'static str) {
        let work = async |tx: &mut aft_core::Transaction| {
            tx.put(key, "done")?;
            Ok(Bytes::from(key))
        };
        let run = self.node.run(key, work).await.unwrap();
        self.told.add(run.receipt.txn_id(), &[(key, Some("done"))]);
        self.told.requests.push(key);
    }

    /// Publishes, and notes what carries what.
    async fn publish(&mut self) {
        let feed = || {
            let paths = self.world.memory.paths().into_iter();
            paths.filter(|path| path.starts_with("feed/")).collect::<BTreeSet<_>>()
        };
        let before = feed();
        self.node.publish().await.unwrap();
        let made = feed().difference(&before).next().cloned();
        for commit in self.told.commits.iter_mut().rev().take_while(|commit| commit.feed.is_none()) {
            commit.feed.clone_from(&made);
        }
    }

    /// Lets time pass, and makes a checkpoint.
    async fn age(&mut self, time: Duration) {
        self.publish().await;
        sleep(time).await;
        self.node.sweep().await.unwrap();
        self.node.checkpoint().await.unwrap();
        sleep(Duration::from_secs(20)).await;
    }
}
