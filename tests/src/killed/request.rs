//! What a request does, and the ways in which it is run.
//!
//! **Transfers.** Each process slot has a till and a vault of its own, of which only the one process in that slot writes: a request moves one coin
//! from the till to the vault of the process that runs it and inserts a row under a name that no other run would use. So a request
//! that took effect twice has two rows, a lost one none, and a torn one coins that do not add up. The stored result says which
//! run won, where, and which coin it moved.
//!
//! **A counter.** All increment one guarded key: a lost update leaves it too small, and two requests with one value; what took effect twice makes it too
//! large. The row is beside it, and the stored result says which value the increment made.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use aft_core::{Begin, Error, Transaction, TxnId};

/// The key that all increment.
pub const COUNTER: &str = "counter";
/// A row between the two halves.
const INSERTED: &str = "inserted";

/// What the requests of a run do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Each moves a coin of the process that runs it, in four ways by turns.
    Transfers,
    /// Each increments one guarded counter, by `Aft::run`.
    Counter,
}

impl Work {
    /// A word for it, by which a worker is told.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Transfers => "transfers",
            Self::Counter => "increments",
        }
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = [Self::Transfers, Self::Counter].into_iter().find(|work| work.word() == word);
        known.ok_or_else(|| format!("no work: {word:?}"))
    }
}

/// How a request is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `Aft::run`.
    Run,
    /// A request key and `Transaction::replay`; sometimes given up half-way.
    Key,
    /// Suspended into a token file by one process, resumed by another; begun under a request key or a caller's id.
    Token,
    /// `TxnId::for_request` of an event with a date.
    CallersId,
    /// `Aft::run`, of an increment.
    Increment,
}

/// A request: its number, and when its event was issued (milliseconds since 1970).
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub n: usize,
    pub work: Work,
    pub issued_ms: u64,
}

impl Request {
    pub fn way(self) -> Way {
        match self.work {
            Work::Transfers => [Way::Run, Way::Key, Way::Token, Way::CallersId][self.n % 4],
            Work::Counter => Way::Increment,
        }
    }

    pub fn key(self) -> String {
        format!("request-{}", self.n)
    }

    /// The id that every process makes of the event.
    pub fn txn_id(self) -> TxnId {
        TxnId::for_request(UNIX_EPOCH + Duration::from_millis(self.issued_ms), self.key().as_bytes())
    }

    /// Whether the request runs under its own id, in place of a request key.
    pub fn has_id(self) -> bool {
        self.way() == Way::CallersId || (self.way() == Way::Token && self.n % 8 >= 4)
    }

    pub fn begin(self) -> Begin {
        if self.has_id() { Begin::new().id(self.txn_id()) } else { Begin::new().request(self.key()) }
    }

    /// The first half: inserts the row.
    pub async fn insert(self, tx: &mut Transaction, run: &str) -> Result<(), Error> {
        // Read, so that it travels with a token.
        tx.scan_prefix(self.rows()).await?;
        tx.put(format!("{}{run}", self.rows()), INSERTED)
    }

    /// The second half: moves a coin of the slot. The result to be stored.
    pub async fn transfer(self, tx: &mut Transaction, run: &str, slot: usize) -> Result<String, Error> {
        let (till, vault) = (format!("till/{slot}"), format!("vault/{slot}"));
        let (owed, coins) =
            (number(tx.get(&till).await?.as_deref()), number(tx.get(&vault).await?.as_deref()));
        assert_eq!(owed, -coins, "slot {slot}: the till and the vault are written together");
        tx.put(till, (owed - 1).to_string())?;
        tx.put(vault, (coins + 1).to_string())?;
        let done = Done { run: run.to_owned(), slot, number: coins + 1 }.to_string();
        // The row of the first half, wherever that ran, says what the second half did. A faster run's row may be seen beside it.
        let rows = tx.scan_prefix(self.rows()).await?;
        let own: Vec<_> = rows.iter().filter(|(_, value)| value == INSERTED).collect();
        assert_eq!(own.len(), 1, "request {}: a transaction sees its own row: {rows:?}", self.n);
        tx.put(&own[0].0, done.clone())?;
        Ok(done)
    }

    /// One more on the counter. The result to be stored.
    pub async fn increment(self, tx: &mut Transaction, run: &str, slot: usize) -> Result<String, Error> {
        let made = number(tx.get_guarded(COUNTER).await?.as_deref()) + 1;
        tx.put(COUNTER, made.to_string())?;
        let done = Done { run: run.to_owned(), slot, number: made }.to_string();
        tx.put(format!("{}{run}", self.rows()), done.clone())?;
        Ok(done)
    }

    /// What the keys of its rows begin with.
    fn rows(self) -> String {
        format!("row/{:06}/", self.n)
    }
}

pub fn number(value: Option<&[u8]>) -> i64 {
    value.map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap())
}

/// A result: the run that won, the slot where it ran, and which of the slot's coins it moved, or which value it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub run: String,
    pub slot: usize,
    pub number: i64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.slot, self.number)
    }
}

impl FromStr for Done {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let [run, slot, number] = parts[..] else { return Err(format!("no result: {text:?}")) };
        let failed = |error: std::num::ParseIntError| format!("{text:?}: {error}");
        Ok(Self {
            run: run.into(),
            slot: slot.parse().map_err(failed)?,
            number: number.parse().map_err(failed)?,
        })
    }
}
