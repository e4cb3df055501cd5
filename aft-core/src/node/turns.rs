//! How many requests a node has under way at once: back-pressure, so that a store that is slow or refuses is not stormed.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989), as congestion control has it: eight answers let one request more be under way, up to the
//! most that is configured; a failure that may pass (a refusal, a broken connection, no answer in time) lets half as many be under way as there were. Requests
//! beyond wait in the order in which they came. What is tried again waits like all others.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::planted::{Planted, planted};

/// However often the store fails, so many may be under way.
const LEAST: usize = 4;
/// So many answers let one more be under way.
const ANSWERS: usize = 8;

/// Who may send a request. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    free: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// So many turns are taken that the limit does not allow any more.
    over: usize,
    /// Answers since the limit was changed.
    answers: usize,
    /// Failures up to now that lowered the limit. A request that was sent before the last one says nothing new.
    lowered: u64,
}

/// One request under way.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    shared: &'a Shared,
    permit: Option<SemaphorePermit<'a>>,
    lowered: u64,
}

/// The wait for a turn took too long: so many requests may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoTurn {
    pub(crate) limit: usize,
}

impl Turns {
    /// At most so many under way, at least one.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        let state = State { limit: most, over: 0, answers: 0, lowered: 0 };
        Self(Arc::new(Shared { most, free: Semaphore::new(most), state: Mutex::new(state) }))
    }

    /// Waits for a turn, in the order of asking, for at most this long.
    pub(crate) async fn take(&self, patience: Duration) -> Result<Turn<'_>, NoTurn> {
        let shared = &*self.0;
        let no_turn = || NoTurn { limit: shared.state.lock().limit };
        let permit = match shared.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout(patience, shared.free.acquire()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err(no_turn()),
            },
        };
        Ok(Turn { shared, permit: Some(permit), lowered: shared.state.lock().lowered })
    }

    /// How many may be under way now.
    #[cfg(test)]
    fn limit(&self) -> usize {
        self.0.state.lock().limit
    }
}

impl Turn<'_> {
    /// The store answered.
    pub(crate) fn answered(self) {
        let mut state = self.shared.state.lock();
        state.answers += 1;
        if state.limit < self.shared.most && state.answers >= ANSWERS {
            state.answers = 0;
            state.limit += 1;
            if state.over > 0 {
                state.over -= 1;
            } else {
                self.shared.free.add_permits(1);
            }
        }
    }

    /// It failed, in a way that may pass.
    pub(crate) fn failed(self) {
        let mut state = self.shared.state.lock();
        let under_way = (state.limit + state.over).saturating_sub(self.shared.free.available_permits());
        let limit = (under_way / 2).max(LEAST.min(self.shared.most));
        if self.lowered != state.lowered || state.limit <= limit || planted(Planted::NeverSlowDown) {
            return;
        }
        let fewer = state.limit - limit;
        state.over += fewer - self.shared.free.forget_permits(fewer);
        (state.limit, state.answers) = (limit, 0);
        state.lowered += 1;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut state = self.shared.state.lock();
        if state.over > 0 {
            state.over -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Take,
        /// Of those under way the one with this number, modulo how many there are.
        Answer(usize),
        Fail(usize),
        /// Its future is dropped.
        Drop(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Take),
            3 => any::<usize>().prop_map(Step::Answer),
            1 => any::<usize>().prop_map(Step::Fail),
            1 => any::<usize>().prop_map(Step::Drop),
        ]
    }

    proptest! {
        /// No turn is given beyond the limit, none is lost, and the limit stays between its bounds.
        #[test]
        fn as_many_are_under_way_as_the_limit_says(most in 1usize..40, steps in prop::collection::vec(step(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _within = runtime.enter();
            let turns = Turns::new(most);
            let mut under_way = Vec::new();
            for step in steps {
                match step {
                    Step::Take => match turns.take(Duration::ZERO).now_or_never() {
                        Some(Ok(turn)) => {
                            under_way.push(turn);
                            prop_assert!(under_way.len() <= turns.limit());
                        }
                        // It waits, or gave up at once.
                        _ => prop_assert!(under_way.len() >= turns.limit()),
                    },
                    Step::Answer(n) if !under_way.is_empty() => under_way.swap_remove(n % under_way.len()).answered(),
                    Step::Fail(n) if !under_way.is_empty() => under_way.swap_remove(n % under_way.len()).failed(),
                    Step::Drop(n) if !under_way.is_empty() => drop(under_way.swap_remove(n % under_way.len())),
                    Step::Answer(_) | Step::Fail(_) | Step::Drop(_) => {}
                }
                prop_assert!((LEAST.min(most)..=most).contains(&turns.limit()));
            }
            drop(under_way);
            let state = turns.0.state.lock();
            prop_assert_eq!((state.over, turns.0.free.available_permits()), (0, state.limit));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_in_order_or_told_that_it_took_too_long() {
        let turns = Turns::new(1);
        let first = turns.take(LONG).await.unwrap();
        let mut second = Box::pin(turns.take(LONG));
        let mut third = Box::pin(turns.take(Duration::from_secs(1)));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        assert_eq!(third.await.unwrap_err(), NoTurn { limit: 1 });
        let mut fourth = Box::pin(turns.take(LONG));
        assert!((&mut fourth).now_or_never().is_none());
        first.answered();
        let second = second.await.unwrap();
        assert!((&mut fourth).now_or_never().is_none());
        second.answered();
        fourth.await.unwrap().answered();
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_what_was_sent_together_halve_once() {
        let turns = Turns::new(64);
        let mut sent = Vec::new();
        for _ in 0..20 {
            sent.push(turns.take(LONG).await.unwrap());
        }
        sent.into_iter().for_each(Turn::failed);
        assert_eq!(turns.limit(), 10);
        for _ in 0..10 {
            turns.take(LONG).await.unwrap().failed();
        }
        assert_eq!(turns.limit(), LEAST);
        for _ in 0..1_000 {
            turns.take(LONG).await.unwrap().answered();
        }
        assert_eq!(turns.limit(), 64);
    }
}
