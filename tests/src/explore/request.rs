//! A request that waits for its turn, and which of two requests must be tried in both orders.

use std::fmt;
use std::time::Duration;

/// Which request: the actor that sent it, and how many it had sent before.
pub(crate) type Id = (usize, usize);

/// A request that has arrived at the store and waits for its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: Id,
    pub(crate) access: Access,
    /// How many requests had had their effect when it arrived.
    pub(crate) arrived: usize,
    /// Nobody waits for the answer: its sender died, or gave up. So nothing follows from it but what is in the store.
    pub(crate) unheard: bool,
    /// Its sender began only when every other actor had ended.
    pub(crate) recovers: bool,
}

/// What a request touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads one object.
    Read(String),
    /// Lists what begins with a prefix and sorts after a path.
    List(String, Option<String>),
    /// Creates or deletes objects.
    Write(Vec<String>),
    /// No request: time passes.
    Wait(Duration),
}

impl Access {
    /// Whether the order of the two can make a difference to anybody.
    pub(crate) fn conflicts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Wait(_), _) | (_, Self::Wait(_)) => true,
            (Self::Write(paths), other) | (other, Self::Write(paths)) => {
                paths.iter().any(|path| other.touches(path))
            }
            _ => false,
        }
    }

    fn touches(&self, path: &str) -> bool {
        match self {
            Self::Read(read) => read == path,
            Self::List(prefix, after) => {
                path.starts_with(prefix) && after.as_deref().is_none_or(|after| path > after)
            }
            Self::Write(paths) => paths.iter().any(|written| written == path),
            Self::Wait(_) => true,
        }
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Write(_))
    }
}

impl Request {
    pub(crate) fn conflicts_with(&self, other: &Self) -> bool {
        self.access.conflicts_with(&other.access)
    }

    /// Whether `self`, the request of step `step`, may be why `later` was sent at all.
    pub(crate) fn causes(&self, step: usize, later: &Self) -> bool {
        let learns = self.id.0 == later.id.0 || (later.recovers && !self.recovers);
        learns && !self.unheard && step < later.arrived
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read {path}"),
            Self::List(prefix, None) => write!(f, "list {prefix}"),
            Self::List(prefix, Some(after)) => write!(f, "list {prefix} after {after}"),
            Self::Write(paths) => write!(f, "write {}", paths.join(", ")),
            Self::Wait(time) => write!(f, "wait {} s", time.as_secs()),
        }
    }
}
