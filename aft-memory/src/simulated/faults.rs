//! What goes wrong between a process and the store, and how often.

use std::ops::Range;
use std::time::Duration;

use rand::Rng;

use crate::fault::ErrorKind;
use crate::request::Operation;
use crate::simulated::latency::Latency;

/// What goes wrong, and how often: each chance is per request, from 0 to 1.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use aft_core::Storage;
/// use aft_memory::{Faults, MemoryStorage, SimulatedStorage};
///
/// // Every answer is lost, after its effect.
/// let faults = Faults { lost_after: 1.0, ..Faults::none() };
/// let memory = MemoryStorage::new();
/// let storage = SimulatedStorage::new(Arc::new(memory.clone()), 7, faults);
/// assert!(storage.create("a", "x".into()).await.is_err());
/// assert!(memory.get("a").await.is_ok());
/// storage.set_faults(Faults::none());
/// assert!(storage.get("a").await.is_ok());
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// How long reads take, there and back.
    pub read: Latency,
    /// How long writes take, there and back.
    pub write: Latency,
    /// The request never reaches the store, and its sender cannot know.
    pub lost_before: f64,
    /// The request takes effect and the answer is lost.
    pub lost_after: f64,
    /// The sender is told "unknown", and the write lands later.
    pub ghost: f64,
    /// How much later at most.
    pub ghost_delay: Duration,
    /// No answer comes at all, although the request took effect.
    pub silent: f64,
    /// The store refuses for now (a 5xx without effect).
    pub refused: f64,
    /// A create is told "already exists" without having had an effect (a 409 of a store under load).
    pub conflict: f64,
    /// A create took effect, and the client's own retry inside reports "already exists".
    pub own_retry: f64,
    /// The request takes up to [`slow_delay`](Self::slow_delay) longer.
    pub slow: f64,
    /// How much longer at most.
    pub slow_delay: Duration,
    /// By how much the store may date an object before it became visible: never before its request was sent.
    pub dated_early: Duration,
    /// How many objects a page of a listing holds.
    pub page_objects: Range<usize>,
}

impl Faults {
    /// A good day: latency, and nothing else.
    #[must_use]
    pub fn none() -> Self {
        Self {
            read: Latency::S3_READ,
            write: Latency::S3_WRITE,
            lost_before: 0.0,
            lost_after: 0.0,
            ghost: 0.0,
            ghost_delay: Duration::ZERO,
            silent: 0.0,
            refused: 0.0,
            conflict: 0.0,
            own_retry: 0.0,
            slow: 0.0,
            slow_delay: Duration::ZERO,
            dated_early: Duration::ZERO,
            page_objects: 1000..1001,
        }
    }

    /// A bad day: one request in about twenty meets trouble.
    #[must_use]
    pub fn mild() -> Self {
        Self {
            lost_before: 0.01,
            lost_after: 0.01,
            ghost: 0.005,
            ghost_delay: Duration::from_secs(10),
            silent: 0.002,
            refused: 0.01,
            conflict: 0.005,
            own_retry: 0.01,
            slow: 0.01,
            slow_delay: Duration::from_secs(5),
            dated_early: Duration::from_secs(5),
            page_objects: 3..50,
            ..Self::none()
        }
    }

    /// A day on which nobody should be awake: one request in about three meets trouble.
    #[must_use]
    pub fn heavy() -> Self {
        Self {
            lost_before: 0.05,
            lost_after: 0.05,
            ghost: 0.05,
            ghost_delay: Duration::from_secs(120),
            silent: 0.01,
            refused: 0.05,
            conflict: 0.03,
            own_retry: 0.04,
            slow: 0.05,
            slow_delay: Duration::from_secs(28),
            dated_early: Duration::from_secs(28),
            page_objects: 1..8,
            ..Self::none()
        }
    }

    /// What happens to the next request.
    pub(super) fn plan(&self, rng: &mut impl Rng, operation: Operation, outage: bool) -> Plan {
        let writes = matches!(operation, Operation::Create | Operation::Delete);
        let latency = if writes { self.write } else { self.read };
        let half = |time: Duration| time / 2;
        let (mut there, mut back) = (half(latency.draw(rng)), half(latency.draw(rng)));
        let chance = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        let share = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        let slow = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        if slow < self.slow {
            let longer = self.slow_delay.mul_f64(share);
            // Before the effect, or after it: both are found in practice.
            if slow < self.slow / 2.0 { there += longer } else { back += longer }
        }
        let trouble = if outage { Trouble::Outage } else { self.trouble(chance, operation) };
        let lost =
            if writes && trouble != Trouble::Refused { ErrorKind::Unknown } else { ErrorKind::Unavailable };
        Plan { there, back, trouble, lost, haunts: self.ghost_delay.mul_f64(share) }
    }

    fn trouble(&self, chance: f64, operation: Operation) -> Trouble {
        let create = operation == Operation::Create;
        let writes = create || operation == Operation::Delete;
        let kinds = [
            (self.lost_before, Trouble::LostBefore, true),
            (self.lost_after, Trouble::LostAfter, true),
            (self.ghost, Trouble::Ghost, writes),
            (self.silent, Trouble::Silent, true),
            (self.refused, Trouble::Refused, true),
            (self.conflict, Trouble::Conflict, create),
            (self.own_retry, Trouble::OwnRetry, create),
        ];
        let mut from = 0.0;
        for (share, trouble, possible) in kinds {
            if possible && (from..from + share).contains(&chance) {
                return trouble;
            }
            from += share;
        }
        Trouble::None
    }
}

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    LostBefore,
    LostAfter,
    Ghost,
    Silent,
    Refused,
    Conflict,
    OwnRetry,
    Outage,
}

impl Trouble {
    pub(super) fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::LostBefore => "lost before the effect",
            Self::LostAfter => "lost after the effect",
            Self::Ghost => "ghost",
            Self::Silent => "no answer",
            Self::Refused => "refused",
            Self::Conflict => "conflict without effect",
            Self::OwnRetry => "own retry reported as conflict",
            Self::Outage => "outage",
        })
    }
}

/// What happens to one request, and when.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// From sent to applied.
    pub(super) there: Duration,
    /// From applied to answered.
    pub(super) back: Duration,
    pub(super) trouble: Trouble,
    /// What the sender hears where the answer is lost.
    pub(super) lost: ErrorKind,
    /// How long a ghost waits.
    pub(super) haunts: Duration,
}
