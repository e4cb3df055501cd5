//! An open transaction, and what it must read.

use std::collections::BTreeMap;

use aft_core::{KeyRange, Token, Transaction};
use bytes::Bytes;

use crate::model::{Ended, KEYS, Model, Violation, ended};

/// What a transaction wrote: `None` for a deletion.
pub(super) type Own = BTreeMap<String, Option<String>>;

/// A suspended one.
#[derive(Clone)]
pub(super) struct OnItsWay {
    pub(super) token: Token,
    pub(super) own: Own,
    writes_in_ten: u64,
    last: u64,
}

/// A transaction, or a branch of one, at a node.
pub(super) struct Branch {
    pub(super) at: usize,
    pub(super) tx: Transaction,
    pub(super) own: Own,
    /// How many of its steps are writes.
    pub(super) writes_in_ten: u64,
    /// The key that it read last.
    last: u64,
}

/// Keys of two folders, so that a prefix is a part.
fn key(n: u64) -> String {
    format!("{}{}", if n < KEYS / 2 { "a" } else { "b" }, n % (KEYS / 2))
}

/// The key of the other folder: the two are often written together, and read one after the other.
fn partner(n: u64) -> u64 {
    (n + KEYS / 2) % KEYS
}

impl Branch {
    pub(super) fn new(at: usize, tx: Transaction) -> Self {
        Self { at, tx, own: Own::new(), writes_in_ten: 0, last: 0 }
    }

    /// The same transaction, as a node goes on with it.
    pub(super) fn at(at: usize, tx: Transaction, on_its_way: OnItsWay) -> Self {
        let OnItsWay { own, writes_in_ten, last, .. } = on_its_way;
        Self { at, tx, own, writes_in_ten, last }
    }

    /// Reads or writes something. A branch of two writes its own half of the keys.
    pub(super) async fn step(&mut self, model: &mut Model, half: Option<u64>) -> Result<(), Ended> {
        let write = model.draw(10) < self.writes_in_ten;
        match model.draw(4) {
            0..3 if !write => {
                let more = model.draw(2);
                let mut keys: Vec<_> = (0..more).map(|_| key(model.draw(KEYS))).collect();
                self.last = if model.draw(2) == 0 { partner(self.last) } else { model.draw(KEYS) };
                keys.push(key(self.last));
                self.get(model, &keys).await
            }
            _ if !write => self.scan(model).await,
            _ => {
                let n = model.draw(KEYS);
                let n = half.map_or(n, |half| n / 2 * 2 + half);
                let value = if model.draw(5) < 3 { Some(model.value()) } else { None };
                if half.is_none() && model.draw(2) == 0 {
                    let other = if value.is_some() { None } else { Some(model.value()) };
                    self.write(model, key(partner(n)), other)?;
                }
                self.write(model, key(n), value)
            }
        }
    }

    pub(super) fn write(
        &mut self,
        model: &mut Model,
        key: String,
        value: Option<String>,
    ) -> Result<(), Ended> {
        let written = match &value {
            Some(value) => self.tx.put(&key, value.clone()),
            None => self.tx.delete(&key),
        };
        written.map_err(|error| ended(self.at, "write", &error))?;
        model.note("writes", format!("node {}: {key} = {value:?}", self.at));
        self.own.insert(key, value);
        Ok(())
    }

    async fn get(&mut self, model: &mut Model, keys: &[String]) -> Result<(), Ended> {
        let found = self.tx.get_many(keys).await.map_err(|error| ended(self.at, "get", &error))?;
        model.note("gets", format!("node {}: gets {keys:?}: {found:?}", self.at));
        for (key, found) in keys.iter().zip(found) {
            let right = self.own.get(key).map_or_else(|| model.map.get(key), Option::as_ref);
            if found.as_deref() != right.map(|value| value.as_bytes()) {
                let what = format!("node {} reads {key} as {found:?}, and it is {right:?}", self.at);
                return Err(Violation(what).into());
            }
        }
        Ok(())
    }

    async fn scan(&mut self, model: &mut Model) -> Result<(), Ended> {
        let prefix = model.one_of(&["", "a", "b", "a1", "b1", "b2"]);
        let rows = if model.draw(3) == 0 {
            let mut pages = self.tx.scan_pages(KeyRange::prefix(prefix), 2);
            let mut rows = Vec::new();
            loop {
                match pages.next_page().await {
                    Ok(Some(page)) => rows.extend(page),
                    Ok(None) => break Ok(rows),
                    Err(error) => break Err(error),
                }
            }
        } else {
            self.tx.scan_prefix(prefix).await
        };
        let rows = rows.map_err(|error| ended(self.at, "scan", &error))?;
        model.note("scans", format!("node {}: scans {prefix:?}: {rows:?}", self.at));
        Ok(compare(self.at, &rows, &model.map, &self.own, prefix)?)
    }

    pub(super) async fn suspend(self, model: &mut Model) -> Result<OnItsWay, Ended> {
        let Self { at, tx, own, writes_in_ten, last } = self;
        let token = tx.suspend().await.map_err(|error| ended(at, "suspend", &error))?;
        model.note("suspensions", format!("node {at}: suspends"));
        Ok(OnItsWay { token, own, writes_in_ten, last })
    }
}

/// Whether a scan of a prefix found what is there.
pub(super) fn compare(
    at: usize,
    rows: &[(Bytes, Bytes)],
    map: &BTreeMap<String, String>,
    own: &Own,
    prefix: &str,
) -> Result<(), Violation> {
    let mut right = map.clone();
    for (key, value) in own {
        match value {
            Some(value) => drop(right.insert(key.clone(), value.clone())),
            None => drop(right.remove(key)),
        }
    }
    right.retain(|key, _| key.starts_with(prefix));
    let same = rows.iter().map(|(key, value)| (&key[..], &value[..]));
    if same.eq(right.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()))) {
        return Ok(());
    }
    Err(Violation(format!("node {at} scans {prefix:?} and finds {rows:?}, and it is {right:?}")))
}
