//! What is in memory: a read in an open transaction beside the look-ups that it is made of.

use std::collections::HashMap;
use std::rc::Rc;

use aft_core::Aft;
use bytes::Bytes;
use moka::future::Cache;

use super::{Case, Run, Shared};
use crate::data::{self, Keys, Shape};
use crate::place::Backend;
use crate::stopwatch::Stopwatch;

const KEYS: usize = 100_000;
/// How many keys a transaction reads before the next one begins.
const READS: u64 = 100;

/// The same keys and values in each.
struct Held {
    keys: Keys,
    cache: Cache<Bytes, Bytes>,
    map: HashMap<Bytes, Bytes>,
    alone: Aft,
    cowritten: Aft,
}

fn held() -> Rc<Shared<Held>> {
    Shared::new(|| async {
        let (keys, value) = (Keys::new(KEYS), data::value(100));
        let cache =
            Cache::builder().max_capacity(64 << 20).weigher(|_, value: &Bytes| value.len() as u32 + 128);
        let (cache, mut map) = (cache.build(), HashMap::new());
        for n in 0..KEYS {
            let key = Bytes::copy_from_slice(keys.name(n).as_bytes());
            cache.insert(key.clone(), value.clone()).await;
            map.insert(key, value.clone());
        }
        let node = async |per_commit| {
            let node = data::open(Backend::Memory.place().storage).await;
            data::fill(&node, &keys, &value, per_commit).await;
            node
        };
        let (alone, cowritten) = (node(1).await, node(100).await);
        Held { keys, cache, map, alone, cowritten }
    })
}

/// So many gets of one node, many of them in each transaction.
fn gets(held: &Rc<Shared<Held>>, node: impl Fn(&Held) -> &Aft + Copy + 'static) -> Run {
    let held = Rc::clone(held);
    Box::new(move |rounds| {
        let held = Rc::clone(&held);
        Box::pin(async move {
            let held = held.made().await;
            let watch = Stopwatch::start();
            let mut left = rounds;
            while left > 0 {
                let tx = node(held).begin().await.expect("begin");
                for _ in 0..left.min(READS) {
                    tx.get(held.keys.name(held.keys.far())).await.expect("get").expect("the key is there");
                }
                left -= left.min(READS);
            }
            watch.elapsed()
        })
    })
}

pub(super) fn case() -> Case {
    let held = held();
    let cache = held.side(async |it: &Held| {
        drop(it.cache.get(it.keys.name(it.keys.far()).as_bytes()).await.expect("the key is there"));
    });
    let map = held.side(async |it: &Held| {
        drop(it.map.get(it.keys.name(it.keys.far()).as_bytes()).expect("the key is there").clone());
    });
    let alone = gets(&held, |it| &it.alone);
    let cowritten = gets(&held, |it| &it.cowritten);
    Case {
        group: "get in an open transaction, one of 100,000 keys, over moka",
        what: Shape { keys: 1, bytes: 100 },
        sides: vec![
            ("moka", cache),
            ("aft, written alone", alone),
            ("aft, written with 99 others", cowritten),
            ("a hash map", map),
        ],
    }
}
