//! Who has its turn at a key that many guard.
//!
//! The node that committed the newest version knows it first, by half a round trip at least, and so is the first to guard it. Where its clients go on
//! writing that key, the others come second for ever, though all follow one protocol. Nothing tells such a node of the others: they lose against guards
//! that it has made, and it never reads theirs. So it lets go now and then without being asked:
//!
//! - a young transaction that writes over a young version rests before it guards it, one time in [`ALONE`]; one time in [`AMONG`] on a node that lost this
//!   key lately, and so knows of others. It rests as long as three requests take: in that time another one learns the version and guards it;
//! - who has lost waits before the next try, the longer the more often it lost, and the less the older it is: so the older ones are there when somebody rests.
//!
//! (That is randomized exponential back-off, as in Ethernet, Metcalfe and Boggs, 1976, whose "capture effect" this is; the rest is what corrects it.)

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::format::name::RequestHash;
use crate::protocol::clock_check::LocalTime;
use crate::rng::NodeRng;

/// How long a version, and a transaction, is young.
pub(crate) const YOUNG_MS: u64 = 2_000;
/// One in so many transactions rests where nobody else is known.
const ALONE: u64 = 32;
/// And where others are.
const AMONG: u64 = 4;
/// How long a node remembers that there are others.
const REMEMBERED_MS: u64 = 60_000;
/// No rest is longer.
const REST_MOST_MS: u64 = 1_000;
/// Of so many keys a node remembers it. What is forgotten costs others their turn for a while.
const KEYS_MOST: usize = 1_024;

/// What a node knows of those who contend with it.
#[derive(Debug, Default)]
pub(crate) struct Contention {
    /// How long the last create of a guard took.
    took_ms: AtomicU64,
    /// The keys that it has lost to others, and when.
    lost: Mutex<HashMap<RequestHash, LocalTime>>,
}

impl Contention {
    /// The create of a guard took so many milliseconds: one at least.
    pub(crate) fn note_request(&self, took_ms: u64) {
        self.took_ms.store(took_ms.max(1), Ordering::Relaxed);
    }

    /// Another transaction was first.
    pub(crate) fn note_lost(&self, key: RequestHash, now: LocalTime) {
        let mut lost = self.lost.lock();
        if lost.len() >= KEYS_MOST {
            lost.retain(|_, at| now.elapsed_since(*at) < REMEMBERED_MS);
            if lost.len() >= KEYS_MOST {
                lost.clear();
            }
        }
        lost.insert(key, now);
    }

    /// How long a young transaction rests before it guards young versions of these keys.
    pub(crate) fn rest(
        &self,
        rng: &NodeRng,
        mut keys: impl Iterator<Item = RequestHash>,
        now: LocalTime,
    ) -> Option<Duration> {
        let lost = self.lost.lock();
        let others = keys.any(|key| lost.get(&key).is_some_and(|at| now.elapsed_since(*at) < REMEMBERED_MS));
        drop(lost);
        let one_in = if others { AMONG } else { ALONE };
        let rest_ms = self.took_ms.load(Ordering::Relaxed).saturating_mul(3).min(REST_MOST_MS);
        (rng.next().is_multiple_of(one_in) && rest_ms > 0).then(|| Duration::from_millis(rest_ms))
    }
}

/// How long a transaction waits that has lost `n` times and has tried for so long.
pub(crate) fn conflict_wait(rng: &NodeRng, n: u32, tried_ms: u64) -> Duration {
    let older = (tried_ms / YOUNG_MS).min(4);
    Duration::from_millis(1 + rng.next() % (20_u64 << n.min(4) >> older))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LocalTime {
        LocalTime { wall_ms: ms, monotonic_ms: ms }
    }

    fn key(n: u64) -> RequestHash {
        crate::format::guard::guarded_hash(&n.to_be_bytes())
    }

    /// How many of a thousand rest.
    fn resting(contention: &Contention, key: RequestHash, now: LocalTime) -> usize {
        let rng = NodeRng::new(Some(1));
        (0..1_000).filter(|_| contention.rest(&rng, [key].into_iter(), now).is_some()).count()
    }

    #[test]
    fn who_has_lost_a_key_lately_rests_more_often() {
        let contention = Contention::default();
        assert_eq!(resting(&contention, key(1), at(0)), 0, "no request took any time");
        contention.note_request(30);
        let alone = resting(&contention, key(1), at(0));
        assert!((15..60).contains(&alone), "{alone}");
        contention.note_lost(key(1), at(0));
        let among = resting(&contention, key(1), at(REMEMBERED_MS - 1));
        assert!((200..300).contains(&among), "{among}");
        assert_eq!(resting(&contention, key(2), at(0)), alone);
        assert_eq!(resting(&contention, key(1), at(REMEMBERED_MS)), alone);
    }

    #[test]
    fn many_keys_rest_as_often_as_one() {
        let (contention, rng) = (Contention::default(), NodeRng::new(Some(1)));
        contention.note_request(0);
        let rests = || contention.rest(&rng, (0..100).map(key), at(0));
        let resting: Vec<_> = (0..1_000).filter_map(|_| rests()).collect();
        assert!((15..60).contains(&resting.len()), "{}", resting.len());
        assert!(resting.iter().all(|rest| rest.as_millis() == 3), "a request takes a millisecond at least");
    }

    #[test]
    fn a_rest_is_bounded() {
        let (contention, rng) = (Contention::default(), NodeRng::new(Some(1)));
        contention.note_request(u64::MAX / 4);
        let rests: Vec<_> =
            (0..100).filter_map(|_| contention.rest(&rng, [key(1)].into_iter(), at(0))).collect();
        assert!(!rests.is_empty() && rests.iter().all(|rest| rest.as_secs() == 1), "{rests:?}");
    }

    #[test]
    fn it_remembers_a_bounded_number_of_keys() {
        let contention = Contention::default();
        for n in 0..10_000 {
            contention.note_lost(key(n), at(n));
            assert!(contention.lost.lock().len() <= KEYS_MOST);
        }
        assert!(contention.lost.lock().contains_key(&key(9_999)));
    }

    #[test]
    fn who_has_tried_for_long_waits_less() {
        let rng = NodeRng::new(Some(1));
        let most = |n: u32, tried_ms: u64| {
            (0..1_000).map(|_| conflict_wait(&rng, n, tried_ms).as_millis()).max().unwrap_or_default()
        };
        assert!(most(0, 0) <= 20 && most(9, 0) > 300 && most(9, 0) <= 320);
        assert!(most(9, 4_000) <= 80 && most(9, u64::MAX) <= 20 && most(0, u64::MAX) == 1);
    }
}
