//! Reading keys: which version of each, by the protocol, from one moment of the view and the index together.
//!
//! What a base folded is missing from the views that build on it, and everything younger is missing from the base. So both are
//! taken at one moment; the index is asked after that, for as long as it takes, and then the choice is made from what was taken. Asking
//! takes time, and so the transaction's age is checked once more: while it is within its lifetime, everything that any base folded was
//! known when it began, and the row of a key is what it must read (the argument is in docs/design.md, "Reading").

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, ErrorKind};
use crate::format::row::{Row, RowValue};
use crate::key_range::KeyRange;
use crate::node::fetch::{Answer, INDEX_TRIES};
use crate::node::transaction::Transaction;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::choose::{self, ScanPage, needs_index, with_row};
use crate::protocol::view::Found;

/// What is known of some keys at one moment.
struct Glimpse {
    base: Arc<Base>,
    /// Of each key, in the order asked: the versions in the view, and whether the index must be asked.
    keys: Vec<(Vec<Found>, bool)>,
}

/// A page of a scan, and the values that came with the rows of the index.
pub(crate) struct Page {
    pub(crate) page: ScanPage,
    values: BTreeMap<Bytes, Row>,
}

impl Page {
    /// Where the value of a row of the page is.
    pub(crate) fn answer(&self, key: &Bytes, found: Found) -> Answer {
        held(&found, self.values.get(key)).unwrap_or(Answer::Found(found))
    }
}

/// The value of a version, where it came with its row. A copy: a slice would hold on to the whole block.
fn held(found: &Found, row: Option<&Row>) -> Option<Answer> {
    match row.filter(|row| row.version == found.version()).map(|row| &row.value) {
        Some(RowValue::Inline(value)) => Some(Answer::Held(Bytes::copy_from_slice(value))),
        _ => None,
    }
}

impl Transaction {
    /// Where the answers to these reads are: own writes answer first and are no reads.
    pub(crate) async fn read(&mut self, keys: &[Bytes]) -> Result<Vec<Answer>, Error> {
        let own = |key: &Bytes| self.buffer.get(key).map(|own| self.own_answer(own));
        let own: Vec<_> =
            keys.iter().map(|key| own(key).filter(|_| !planted(Planted::ForgetOwnWrites))).collect();
        let foreign: Vec<_> =
            keys.iter().zip(&own).filter(|(_, own)| own.is_none()).map(|(key, _)| key.clone()).collect();
        let mut answers = self.read_foreign(&foreign).await?.into_iter();
        Ok(own.into_iter().map(|own| own.or_else(|| answers.next()).unwrap_or(Answer::Absent)).collect())
    }

    async fn read_foreign(&mut self, keys: &[Bytes]) -> Result<Vec<Answer>, Error> {
        let mut failure = None;
        for _ in 0..INDEX_TRIES {
            let glimpse = self.glimpse(keys);
            let wanted = keys.iter().zip(&glimpse.keys).filter(|(_, (_, wanted))| *wanted);
            let wanted: Vec<_> = wanted.map(|(key, _)| key.clone()).collect();
            match self.look_up(&glimpse.base, wanted).await {
                Ok(rows) => return self.choose(keys, glimpse, rows).await,
                Err(error) => self.node.recover_index(&glimpse.base, error.clone()).await?,
            }
            failure = Some(());
        }
        debug_assert!(failure.is_some());
        Err(index_moves())
    }

    fn glimpse(&self, keys: &[Bytes]) -> Glimpse {
        let view = self.node.view.read();
        let keys = keys.iter().map(|key| (view.versions(key).to_vec(), needs_index(key, &self.reads, &view)));
        Glimpse { keys: keys.collect(), base: Arc::clone(view.base()) }
    }

    async fn look_up(&self, base: &Base, keys: Vec<Bytes>) -> Result<BTreeMap<Bytes, Row>, Error> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rows = self.node.rows(&self.store, base, keys).await?;
        self.check_still_alive(base)?;
        Ok(rows)
    }

    /// Requests took time: whoever is older than the lifetime now may be looking at an index that folded what it needs (HAZARDS 12).
    pub(crate) fn check_still_alive(&self, base: &Base) -> Result<(), Error> {
        if planted(Planted::NoAgeCheckAfterIndex) {
            return Ok(());
        }
        self.check_alive()?;
        self.check_seen(base)
    }

    async fn choose(
        &mut self,
        keys: &[Bytes],
        glimpse: Glimpse,
        mut rows: BTreeMap<Bytes, Row>,
    ) -> Result<Vec<Answer>, Error> {
        let Glimpse { base, keys: known } = glimpse;
        if !keys.is_empty() {
            self.reads_through(&base)?;
        }
        let mut answers = Vec::with_capacity(keys.len());
        for (key, (versions, asked)) in keys.iter().zip(known) {
            // What was chosen for the keys before may have ruled out the version that made the index unnecessary.
            let chosen = choose::choose(key, &self.reads, &versions, &base);
            let settled = self.reads.read(key).is_some()
                || matches!(&chosen, Ok(Some(found)) if found.version() > base.greatest());
            if !asked && !settled {
                rows.extend(self.look_up(&base, vec![key.clone()]).await?);
            }
            let row = rows.get(key);
            let versions = with_row(&versions, row.map(Found::of_row));
            let found = choose::read(key, &mut self.reads, &versions, &base);
            let found = found.map_err(|cause| self.unsatisfiable(cause))?;
            answers.push(match found {
                None => Answer::Absent,
                Some(found) => held(&found, row).unwrap_or(Answer::Found(found)),
            });
        }
        Ok(answers)
    }

    /// Reads a page of a range: at most `limit` keys.
    pub(crate) async fn read_page(&mut self, range: KeyRange, limit: usize) -> Result<Page, Error> {
        let most = limit.max(1).saturating_add(1);
        for _ in 0..INDEX_TRIES {
            let (base, recent) = {
                let view = self.node.view.read();
                let keys = view.keys_in(&range).take(most);
                let recent: Vec<_> = keys.map(|(key, found)| (key.clone(), found.to_vec())).collect();
                (Arc::clone(view.base()), recent)
            };
            let rows = match self.node.rows_in(&self.store, &base, &range, most).await {
                Ok(rows) => rows,
                Err(error) => {
                    self.node.recover_index(&base, error).await?;
                    continue;
                }
            };
            if base.manifest().is_some() {
                self.check_still_alive(&base)?;
            }
            self.reads_through(&base)?;
            let keys = merged(recent, &rows);
            let page = choose::scan(range, limit, &mut self.reads, keys, &base);
            let page = page.map_err(|cause| self.unsatisfiable(cause))?;
            let values = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
            return Ok(Page { page, values });
        }
        Err(index_moves())
    }
}

/// The keys of the view and of the index in one order, each with all its versions.
fn merged(recent: Vec<(Bytes, Vec<Found>)>, rows: &[Row]) -> Vec<(Bytes, Vec<Found>)> {
    let mut recent = recent.into_iter().peekable();
    let mut keys = Vec::with_capacity(recent.len() + rows.len());
    for row in rows {
        while let Some(before) = recent.next_if(|(key, _)| *key < row.key) {
            keys.push(before);
        }
        let found = Found::of_row(row);
        match recent.next_if(|(key, _)| *key == row.key) {
            Some((key, versions)) => keys.push((key, with_row(&versions, Some(found)))),
            None => keys.push((found.key().clone(), vec![found])),
        }
    }
    keys.extend(recent);
    keys
}

fn index_moves() -> Error {
    let message = "the index was replaced again and again while it was read; try again";
    Error::new(ErrorKind::Unavailable, message)
}
