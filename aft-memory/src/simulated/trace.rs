//! What happened, in order.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::request::{Counts, Operation};

/// How many events are kept; the hash covers all of them.
const KEPT: usize = 50_000;

/// A moment of a request, or a note of the program under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// It left the process.
    Sent,
    /// It took effect in the store.
    Applied,
    /// It never took effect.
    Refused,
    /// The answer reached the process.
    Answered,
    /// The program noted something.
    Noted,
}

/// One event of an execution.
#[derive(Debug, Clone)]
pub struct Event {
    /// When, since the simulation began.
    pub at: Duration,
    /// Which process.
    pub process: String,
    /// Which moment.
    pub moment: Moment,
    /// Of what.
    pub what: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, process, moment, what } = self;
        write!(f, "{:>12.3} ms  {process:<8} {:<9} {what}", at.as_secs_f64() * 1000.0, format!("{moment:?}"))
    }
}

/// The events, hashed, the last of them kept.
#[derive(Debug, Default)]
pub(super) struct Trace {
    kept: VecDeque<Event>,
    hash: u64,
    counts: Counts,
}

impl Trace {
    pub(super) fn push(&mut self, at: Duration, process: &str, moment: Moment, what: &str) {
        // Without random keys: equal executions must hash alike in every process.
        let mut hasher = DefaultHasher::new();
        (self.hash, at, process, moment, what).hash(&mut hasher);
        self.hash = hasher.finish();
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Event { at, process: process.to_owned(), moment, what: what.to_owned() });
    }

    pub(super) fn request(&mut self, operation: Operation, bytes: u64) {
        self.counts.add(operation, bytes);
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.kept.iter().cloned().collect()
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }
}
