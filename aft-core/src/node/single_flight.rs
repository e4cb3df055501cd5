//! Work that concurrent callers share.
//!
//! Nobody owns a flight: every waiter polls it, and it goes on while one of them is left. So it needs no background task, and
//! a caller that is dropped holds nobody up. What a flight changes must be safe to leave half done.

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

use crate::error::Error;

type Flying = BoxFuture<'static, Result<(), Error>>;

/// At most one piece of work at a time.
#[derive(Default)]
pub(crate) struct SingleFlight {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many flights have started.
    started: u64,
    current: Option<WeakShared<Flying>>,
}

impl std::fmt::Debug for SingleFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SingleFlight").finish_non_exhaustive()
    }
}

impl SingleFlight {
    /// Waits for a flight that began at or after this call: its own, or one that others share.
    pub(crate) async fn fresh(&self, work: impl FnOnce() -> Flying) -> Result<(), Error> {
        let wanted = self.state.lock().started + 1;
        self.board(wanted, work).await
    }

    /// Waits for the flight that is under way, or for a new one.
    pub(crate) async fn any(&self, work: impl FnOnce() -> Flying) -> Result<(), Error> {
        self.board(0, work).await
    }

    async fn board(&self, wanted: u64, work: impl FnOnce() -> Flying) -> Result<(), Error> {
        let mut work = Some(work);
        loop {
            let (number, flight) = {
                let mut state = self.state.lock();
                match state.current.as_ref().and_then(WeakShared::upgrade).filter(|it| it.peek().is_none()) {
                    Some(flight) => (state.started, flight),
                    None => {
                        let Some(work) = work.take() else { return Ok(()) };
                        let flight = work().shared();
                        state.started += 1;
                        state.current = flight.downgrade();
                        (state.started, flight)
                    }
                }
            };
            let result = Shared::clone(&flight).await;
            if number >= wanted {
                return result;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn callers_share_a_flight_unless_they_want_one_that_began_later() {
        let (flights, gate, began) =
            (SingleFlight::default(), Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
        let work = || {
            let (gate, began) = (Arc::clone(&gate), Arc::clone(&began));
            move || {
                async move {
                    began.fetch_add(1, Ordering::SeqCst);
                    gate.notified().await;
                    Ok(())
                }
                .boxed()
            }
        };
        let mut first = Box::pin(async { tokio::join!(flights.any(work()), flights.any(work())) });
        assert!(futures::poll!(&mut first).is_pending());
        // Both want a flight that begins after this one; one suffices for both.
        let mut late = Box::pin(async { tokio::join!(flights.fresh(work()), flights.fresh(work())) });
        assert!(futures::poll!(&mut late).is_pending());
        gate.notify_one();
        let (a, b) = first.await;
        assert!(futures::poll!(&mut late).is_pending());
        gate.notify_one();
        let (c, d) = late.await;
        assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
        assert_eq!(began.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_flight_that_everybody_left_starts_anew() {
        let flights = SingleFlight::default();
        let stuck = flights.any(|| std::future::pending().boxed());
        assert!(stuck.now_or_never().is_none());
        flights.any(|| async { Ok(()) }.boxed()).await.unwrap();
    }
}
