//! What can happen to a request.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What happens to a request in place of a plain answer.
///
/// `applied` says whether the server had its way with the request first: the answer is then a lie about the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed without an answer.
    Cut {
        /// Whether the server had the request first.
        applied: bool,
    },
    /// The connection is reset without an answer.
    Reset {
        /// Whether the server had the request first.
        applied: bool,
    },
    /// The connection is closed without an answer, and the server gets the request only later.
    Late(Duration),
    /// The request waits before it goes on.
    Delay(Duration),
    /// The answer is a 500 InternalError.
    Error {
        /// Whether the server had the request first.
        applied: bool,
    },
    /// The answer is a 503 SlowDown.
    SlowDown {
        /// Whether the server had the request first.
        applied: bool,
    },
    /// The answer is a 409 ConditionalRequestConflict. Only for creates.
    Conflict {
        /// Whether the server had the request first.
        applied: bool,
    },
    /// The server gets the request twice, and the second answer counts: a create's own success is told as "exists already", as a
    /// client that retries makes it. Only for creates.
    Twice,
    /// Of the answer's body only a part arrives. Only for reads whose answer has a body of two bytes or more.
    Truncate,
    /// The answer is a 200 with this body, and the server never hears of the request. Only for lists.
    Instead(&'static str),
}

/// What a captive portal answers to everything. It is also well-formed XML, which makes it worse.
pub const PORTAL: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Welcome</title></head>\
                          <body><p>Please log in</p></body></html>";

impl Fault {
    /// One of each kind.
    pub const KINDS: [Self; 15] = [
        Self::Cut { applied: false },
        Self::Cut { applied: true },
        Self::Reset { applied: false },
        Self::Reset { applied: true },
        Self::Late(Duration::ZERO),
        Self::Delay(Duration::ZERO),
        Self::Error { applied: false },
        Self::Error { applied: true },
        Self::SlowDown { applied: false },
        Self::SlowDown { applied: true },
        Self::Conflict { applied: false },
        Self::Conflict { applied: true },
        Self::Twice,
        Self::Truncate,
        Self::Instead(PORTAL),
    ];

    /// Its name in the counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut { applied: false } => "cut before",
            Self::Cut { applied: true } => "cut after",
            Self::Reset { applied: false } => "reset before",
            Self::Reset { applied: true } => "reset after",
            Self::Late(_) => "cut, lands late",
            Self::Delay(_) => "delayed",
            Self::Error { applied: false } => "500 before",
            Self::Error { applied: true } => "500 after",
            Self::SlowDown { applied: false } => "503 before",
            Self::SlowDown { applied: true } => "503 after",
            Self::Conflict { applied: false } => "409 before",
            Self::Conflict { applied: true } => "409 after",
            Self::Twice => "sent twice",
            Self::Truncate => "truncated",
            Self::Instead(_) => "no listing",
        }
    }

    /// Whether it can happen to such a request.
    #[must_use]
    pub fn fits(self, request: &Seen) -> bool {
        match self {
            Self::Conflict { .. } | Self::Twice => request.creates,
            Self::Truncate => request.method == "GET",
            Self::Instead(_) => request.method == "GET" && request.target.contains("list-type=2"),
            _ => true,
        }
    }
}

/// A request as a plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its running number, from 0.
    pub number: u64,
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// Whether it is a create: a put on the condition that nothing is there.
    pub creates: bool,
}

/// What happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of clients.
    pub requests: u64,
    /// Requests that the server was not there to answer: killed, or too slow.
    pub unanswered: u64,
    /// Faults, by [`Fault::name`].
    pub faults: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// How often it happened.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.faults.get(fault.name()).copied().unwrap_or_default()
    }

    /// All faults together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.faults.values().sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, unanswered, faults } = self;
        write!(f, "{requests} requests, {unanswered} without a server, {} faults:", self.total())?;
        faults.iter().try_for_each(|(name, count)| write!(f, " {name} {count},"))
    }
}
