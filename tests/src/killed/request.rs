//! What a request does, and the four ways in which it is run.
//!
//! Each process slot has a till and a vault of its own, of which only the one process in that slot writes: a request moves one coin
//! from the till to the vault of the process that runs it and inserts a row under a name that no other run would use. So a request
//! that took effect twice has two rows, a lost one none, and a torn one coins that do not add up. The stored result says which
//! run won, where, and which coin it moved.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use aft_core::{Begin, Error, Transaction, TxnId};

/// A row between the two halves.
const INSERTED: &str = "inserted";

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
}

/// A request: its number, and when its event was issued (milliseconds since 1970).
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub n: usize,
    pub issued_ms: u64,
}

impl Request {
    pub fn way(self) -> Way {
        [Way::Run, Way::Key, Way::Token, Way::CallersId][self.n % 4]
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
        let done = Done { run: run.to_owned(), slot, coin: coins + 1 }.to_string();
        // The row of the first half, wherever that ran, says what the second half did. A faster run's row may be seen beside it.
        let rows = tx.scan_prefix(self.rows()).await?;
        let own: Vec<_> = rows.iter().filter(|(_, value)| value == INSERTED).collect();
        assert_eq!(own.len(), 1, "request {}: a transaction sees its own row: {rows:?}", self.n);
        tx.put(&own[0].0, done.clone())?;
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

/// A result: the run that won, the slot where it ran, and which of the slot's coins it moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub run: String,
    pub slot: usize,
    pub coin: i64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.slot, self.coin)
    }
}

impl FromStr for Done {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let [run, slot, coin] = parts[..] else { return Err(format!("no result: {text:?}")) };
        let failed = |error: std::num::ParseIntError| format!("{text:?}: {error}");
        Ok(Self { run: run.into(), slot: slot.parse().map_err(failed)?, coin: coin.parse().map_err(failed)? })
    }
}
