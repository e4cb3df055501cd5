//! What goes wrong in an execution.

use std::fmt;

/// One accident: at its request with this number, counted from 1, this befalls the actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accident {
    /// Which actor, in the order in which the scenario names them, from 0; the one that recovers comes last.
    pub actor: usize,
    /// Which of its requests.
    pub request: usize,
    /// What happens.
    pub kind: Kind,
}

/// What befalls an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It dies, and the request never reaches the store.
    CrashBefore,
    /// It dies while the request is under way: a write lands at once, or at any later moment.
    CrashDuring,
    /// It lives on and is told that nobody knows: a write lands at once, or at any later moment.
    Unknown,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::CrashBefore, Self::CrashDuring, Self::Unknown];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrashBefore => "dies before sending",
            Self::CrashDuring => "dies while waiting",
            Self::Unknown => "hears nothing",
        })
    }
}
