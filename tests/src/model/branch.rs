//! An open transaction, and what it must read.

use std::collections::BTreeMap;

use aft_core::{KeyRange, Token, Transaction};
use bytes::Bytes;

use crate::model::{Ended, KEYS, Model, Violation, ended};

/// What a transaction wrote: `None` for a deletion.
pub(super) type Own = BTreeMap<String, Option<String>>;

/// A transaction, or a branch of one, at a node.
pub(super) struct Branch {
    pub(super) at: usize,
    pub(super) tx: Transaction,
    pub(super) own: Own,
    /// How many of its steps are writes.
    pub(super) writes_in_ten: u64,
}

fn key(n: u64) -> String {
    // Two folders, so that a prefix is a part.
    format!("{}{n}", if n < KEYS / 2 { "a" } else { "b" })
}

impl Branch {
    pub(super) fn new(at: usize, tx: Transaction) -> Self {
        Self { at, tx, own: Own::new(), writes_in_ten: 0 }
    }

    /// Reads or writes something. A branch of two writes its own half of the keys.
    pub(super) async fn step(&mut self, model: &mut Model, half: Option<u64>) -> Result<(), Ended> {
        let write = model.draw(10) < self.writes_in_ten;
        match model.draw(4) {
            0..3 if !write => {
                let more = model.draw(2);
                let keys: Vec<_> = (0..=more).map(|_| key(model.draw(KEYS))).collect();
                self.get(model, &keys).await
            }
            _ if !write => self.scan(model).await,
            _ => {
                let n = model.draw(KEYS);
                let n = half.map_or(n, |half| n / 2 * 2 + half);
                let value = if model.draw(5) < 3 { Some(model.value()) } else { None };
                self.write(model, key(n), value)
            }
        }
    }

    fn write(&mut self, model: &mut Model, key: String, value: Option<String>) -> Result<(), Ended> {
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
        let prefix = model.one_of(&["", "a", "b", "a1", "b4"]);
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

    pub(super) async fn suspend(self, model: &mut Model) -> Result<(Token, Own), Ended> {
        let Self { at, tx, own, .. } = self;
        let token = tx.suspend().await.map_err(|error| ended(at, "suspend", &error))?;
        model.note("suspensions", format!("node {at}: suspends"));
        Ok((token, own))
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
