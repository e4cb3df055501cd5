//! What is done to an object, and how it is undone.

use std::time::Duration;

use aft_core::{Clock, Object, Storage};
use aft_tests::World;
use bytes::Bytes;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Marker,
    Seal,
    Manifest,
    Run,
    Recent,
    Garbage,
    Outcomes,
    Feed,
    Bundle,
    Decision,
    Claim,
    Guard,
    Value,
    Epoch,
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Marker,
        Self::Seal,
        Self::Manifest,
        Self::Run,
        Self::Recent,
        Self::Garbage,
        Self::Outcomes,
        Self::Feed,
        Self::Bundle,
        Self::Decision,
        Self::Claim,
        Self::Guard,
        Self::Value,
        Self::Epoch,
    ];

    fn holds(self, path: &str) -> bool {
        let folder = match self {
            Self::Marker => return path == "aft.json",
            Self::Seal => return path.starts_with("checkpoints/") && path.ends_with(".sealed"),
            Self::Manifest => return path.starts_with("checkpoints/") && path.ends_with(".json"),
            Self::Run => "index/",
            Self::Recent => "recent/",
            Self::Garbage => "garbage/",
            Self::Outcomes => "outcomes/",
            Self::Feed => "feed/",
            Self::Bundle => "bundles/",
            Self::Decision => "commits/",
            Self::Claim => "requests/",
            Self::Guard => "guards/",
            Self::Value => "values/",
            Self::Epoch => "epochs/",
        };
        path.starts_with(folder)
    }

    /// The objects of this kind, the oldest first.
    pub(crate) fn objects(self, all: &[(String, Object)]) -> Vec<&(String, Object)> {
        let mut objects: Vec<_> = all.iter().filter(|(path, _)| self.holds(path)).collect();
        objects
            .sort_by_key(|(path, object)| (object.last_modified, path.rsplit('/').next().map(str::to_owned)));
        objects
    }
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// One bit, somewhere.
    Flip(u64),
    /// Its second half is gone.
    Truncation,
    /// All of its bytes are.
    Emptied,
    /// It has the bytes of another one of its kind, and that one its own.
    Swap,
    Deletion,
    /// It is dated now.
    Redate,
    /// It is dated an hour ahead.
    Future,
    /// A foreign object lies beside it.
    Foreign,
    /// A copy of it lies beside it, under a name that could be aft's.
    Copy,
}

impl Damage {
    pub(crate) const ALL: [Self; 11] = [
        Self::Flip(0),
        Self::Flip(1),
        Self::Flip(2),
        Self::Truncation,
        Self::Emptied,
        Self::Swap,
        Self::Deletion,
        Self::Redate,
        Self::Future,
        Self::Foreign,
        Self::Copy,
    ];
}

/// One object, and what is done to it.
#[derive(Debug, Clone)]
pub(crate) struct Harm {
    pub(crate) kind: Kind,
    pub(crate) path: String,
    pub(crate) object: Object,
    pub(crate) damage: Damage,
    /// The object with which it is swapped.
    other: Option<(String, Object)>,
    /// The name of what lies beside it.
    beside: String,
}

impl Harm {
    /// `None` where this cannot be done to it.
    pub(crate) fn new(kind: Kind, damage: Damage, at: usize, all: &[(String, Object)]) -> Option<Self> {
        let of_kind = kind.objects(all);
        let (path, object) = of_kind.get(at)?;
        let differs = |other: &&&(String, Object)| other.1.bytes != object.bytes;
        let other = of_kind.iter().rev().find(differs).map(|other| (**other).clone());
        let possible = match damage {
            Damage::Swap => other.is_some(),
            Damage::Flip(_) | Damage::Truncation | Damage::Emptied => !object.bytes.is_empty(),
            Damage::Copy => kind != Kind::Marker,
            _ => true,
        };
        let taken = |path: &str| all.iter().any(|(other, _)| other == path);
        let beside = beside(kind, damage, path, taken);
        possible.then(|| Self { kind, path: path.clone(), object: object.clone(), damage, other, beside })
    }

    pub(crate) async fn apply(&self, world: &World) {
        let bytes = &self.object.bytes;
        match self.damage {
            Damage::Flip(seed) => {
                let mut flipped = bytes.to_vec();
                let bits = 8 * flipped.len() as u64;
                // Somewhere else in each object; the same in each run.
                let salt: u64 =
                    self.path.bytes().fold(seed, |salt, byte| salt.wrapping_mul(31) + u64::from(byte));
                let bit = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) % bits;
                flipped[(bit / 8) as usize] ^= 1 << (bit % 8);
                put(world, &self.path, &Object { bytes: flipped.into(), ..self.object.clone() }).await;
            }
            Damage::Truncation | Damage::Emptied => {
                let len = if self.damage == Damage::Emptied { 0 } else { bytes.len() / 2 };
                put(world, &self.path, &Object { bytes: bytes.slice(..len), ..self.object.clone() }).await;
            }
            Damage::Swap => {
                let (path, other) = self.other.as_ref().unwrap();
                put(world, &self.path, &Object { bytes: other.bytes.clone(), ..self.object.clone() }).await;
                put(world, path, &Object { bytes: bytes.clone(), ..other.clone() }).await;
            }
            Damage::Deletion => world.memory.delete(std::slice::from_ref(&self.path)).await.unwrap(),
            Damage::Redate => assert!(world.memory.redate(&self.path, world.store_clock.now())),
            Damage::Future => {
                let ahead = world.store_clock.now() + Duration::from_secs(3600);
                assert!(world.memory.redate(&self.path, ahead));
            }
            Damage::Foreign => world.memory.create(&self.beside, Bytes::from("hello")).await.unwrap(),
            Damage::Copy => world.memory.create(&self.beside, bytes.clone()).await.unwrap(),
        }
    }

    /// Puts everything back as it was, with its date. What was collected meanwhile, since nothing needed it, does not come back.
    pub(crate) async fn repair(&self, world: &World) {
        match self.damage {
            Damage::Foreign | Damage::Copy => {
                world.memory.delete(std::slice::from_ref(&self.beside)).await.unwrap();
            }
            Damage::Redate | Damage::Future => {
                world.memory.redate(&self.path, self.object.last_modified);
            }
            // What nodes made in its place meanwhile stays, but for a claim: a request that ran again holds the place of the first.
            Damage::Deletion if self.kind != Kind::Claim => {
                if world.memory.create(&self.path, self.object.bytes.clone()).await.is_ok() {
                    world.memory.redate(&self.path, self.object.last_modified);
                }
            }
            _ => put(world, &self.path, &self.object).await,
        }
        if self.damage == Damage::Swap
            && let Some((path, other)) = &self.other
        {
            put(world, path, other).await;
        }
    }
}

/// Puts an object in its place, whatever is there.
async fn put(world: &World, path: &str, object: &Object) {
    world.memory.delete(&[path.to_owned()]).await.unwrap();
    world.memory.create(path, object.bytes.clone()).await.unwrap();
    world.memory.redate(path, object.last_modified);
}

/// A name beside this one that is not taken: none of aft's, or one that could be.
fn beside(kind: Kind, damage: Damage, path: &str, taken: impl Fn(&str) -> bool) -> String {
    let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    if damage == Damage::Foreign {
        return folder + "readme.txt";
    }
    // Another digit in the place of the last one of its name, which of a decision is not the shard's.
    let stem = path.trim_end_matches(".json").trim_end_matches(".sealed").trim_end_matches(".parquet");
    let at = stem.len().saturating_sub(if kind == Kind::Decision { 3 } else { 1 });
    let with = |digit: char| format!("{}{digit}{}", &path[..at], &path[at + 1..]);
    ('0'..='9').rev().map(with).find(|name| !taken(name)).unwrap()
}
