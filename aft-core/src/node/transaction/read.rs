//! Reading keys: which version of each, by the protocol, from one moment of the view and the index together.
//!
//! What a base folded is missing from the views that build on it, and everything younger is missing from the base. So both are
//! taken at one moment; the index is asked after that, for as long as it takes, and then the choice is made from what was taken. Asking
//! takes time, and so the transaction's age is checked once more: while it is within its lifetime, everything that any base folded was
//! known when it began, and the row of a key is what it must read (the argument is in docs/design.md, "Reading").
//!
//! Reads of one transaction may run side by side. A version is chosen and noted under one lock, before anything of its value is fetched, so
//! that reads follow each other whatever waits for what (I4). What a read took before it waited for the index may be too old by
//! then: another read may demand a version that came later. Only then it looks again; each time because another read got ahead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tracing::field::Empty;

use crate::error::{Error, ErrorKind};
use crate::format::row::{Row, RowValue};
use crate::key_range::KeyRange;
use crate::node::index::fetch::{Answer, INDEX_TRIES};
use crate::node::index::scan::Reach;
use crate::node::spans::{OK, noted};
use crate::node::transaction::Transaction;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::choose::{self, ScanPage, Unsatisfiable, needs_index, with_row};
use crate::protocol::read_set::ReadSet;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{Found, View};

/// What a transaction has read, and through what.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    pub(crate) set: ReadSet,
    /// The number of the newest manifest that it has read through, here or where it came from; 0 for none.
    pub(crate) base: u64,
    /// Every commit that was published before this was known when it began, here or where it came from: by what listings showed, where its age
    /// answers for what was not visible then; and by clocks.
    pub(crate) shown_until: StoreTime,
    pub(crate) seen_until: StoreTime,
    /// The keys that are guarded.
    pub(crate) guarded: BTreeSet<Bytes>,
    /// How often something was noted: tells whether another read was, since.
    notes: u64,
}

impl Default for Reads {
    fn default() -> Self {
        let (shown_until, seen_until) = (StoreTime(0), StoreTime(0));
        Self { set: ReadSet::default(), base: 0, shown_until, seen_until, guarded: BTreeSet::new(), notes: 0 }
    }
}

/// Why nothing could be chosen.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The transaction has read through a newer manifest, of this number.
    OlderBase(u64),
    /// The manifest holds commits that were not known when the transaction began.
    FoldedUnknown,
    /// A version that it must read is not there.
    Lost(Unsatisfiable),
}

/// How a choice went.
enum Chosen {
    /// All keys have answers.
    All,
    /// The index must be asked for this key, first.
    Ask(Bytes),
    /// What was taken is too old: look again.
    Again,
}

/// What is known of some keys at one moment.
struct Snapshot {
    base: Arc<Base>,
    /// How many commits had left the view by then.
    left: u64,
    /// How often something had been noted by then.
    notes: u64,
    /// Of each key, in the order asked: the versions in the view, and whether the index must be asked.
    keys: Vec<(Vec<Found>, bool)>,
}

impl Reads {
    /// Notes that keys are read through this manifest; not through an older one than before. A key whose deletion had left that index was read
    /// at no version; a view that builds on an older one may still hold the commit that deleted it, whole, and it would be ruled out with all
    /// that it wrote (HAZARDS 23). And not through one that folded what was not known when the transaction began: its rows are newer than what
    /// was read without them (decision 0056).
    ///
    /// `resumed`: how old the transaction is is known by clocks alone, and does not answer for what is folded by now.
    pub(crate) fn through(&mut self, base: &Base, resumed: bool) -> Result<(), Refused> {
        if base.number() < self.base && !planted(Planted::TrustOlderBase) {
            return Err(Refused::OlderBase(self.base));
        }
        if resumed {
            if folded_unknown(base, self.seen_until) {
                return Err(Refused::FoldedUnknown);
            }
        } else {
            let trusted = planted(Planted::ReadsUnshown) || planted(Planted::NoAgeCheckAfterIndex);
            if base.folded_beyond(self.shown_until) && !trusted {
                return Err(Refused::FoldedUnknown);
            }
            if planted(Planted::HorizonIsShown) {
                self.shown_until = self.shown_until.max(base.horizon());
                self.seen_until = self.seen_until.max(base.horizon());
            }
        }
        self.base = self.base.max(base.number());
        Ok(())
    }

    /// Until when a token says that all was known.
    pub(crate) fn known_until(&self) -> StoreTime {
        if planted(Planted::ReadsUnshown) { self.seen_until } else { self.seen_until.min(self.shown_until) }
    }

    /// Chooses and notes a version of a key.
    fn read(&mut self, key: &Bytes, versions: &[Found], base: &Base) -> Result<Option<Found>, Refused> {
        let found = choose::read(key, &mut self.set, versions, base).map_err(Refused::Lost)?;
        self.notes += 1;
        Ok(found)
    }
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
    /// The answers to the first of these reads, in order, up to one that cannot be told without the index: own writes answer first and are no reads.
    fn read_now(&self, keys: &[Bytes]) -> Vec<Answer> {
        self.node.known.read(|known| {
            let mut reads = self.reads.lock();
            keys.iter().map_while(|key| self.answer_now(key, known.view(), &mut reads)).collect()
        })
    }

    /// The answer to one read, where it can be told without the index.
    pub(crate) fn read_one_now(&self, key: &Bytes) -> Option<Answer> {
        self.node.known.read(|known| self.answer_now(key, known.view(), &mut self.reads.lock()))
    }

    fn answer_now(&self, key: &Bytes, view: &View, reads: &mut Reads) -> Option<Answer> {
        if let Some(own) = self.buffer.get(key).filter(|_| !planted(Planted::ForgetOwnWrites)) {
            return Some(self.own_answer(own));
        }
        let (versions, base) = (view.versions(key), view.base());
        reads.set.is_of(view.left(), true);
        let asks = needs_index(key, &reads.set, versions, base);
        if asks || reads.through(base, !self.ancestors.is_empty()).is_err() {
            return None;
        }
        let found = reads.read(key, versions, base).ok()?;
        Some(found.map_or(Answer::Absent, Answer::Found))
    }

    /// The values of keys, in their order.
    pub(crate) async fn get_checked(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        let span = tracing::debug_span!(
            "aft.get",
            txn = %self.id,
            keys = keys.len(),
            bytes = Empty,
            outcome = Empty,
        );
        let got = noted(span, self.get_now(keys), |span, values: &Vec<Option<Bytes>>| {
            span.record("bytes", values.iter().flatten().map(Bytes::len).sum::<usize>());
            OK
        });
        got.await
    }

    async fn get_now(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.check_alive()?;
        if self.begin.serializable {
            self.guard(keys).await?;
        }
        let before = planted(Planted::NoteAfterFetch).then(|| self.reads.lock().clone());
        let answers = self.read(keys).await.map_err(|error| self.named(error))?;
        let late = before.map(|before| std::mem::replace(&mut *self.reads.lock(), before));
        let values = self.node.answers(&self.store, answers).await.map_err(|error| self.named(error));
        if let Some(late) = late {
            *self.reads.lock() = late;
        }
        values
    }

    /// Where the answers to these reads are: own writes answer first and are no reads.
    pub(crate) async fn read(&self, keys: &[Bytes]) -> Result<Vec<Answer>, Error> {
        let mut answers = self.read_now(keys);
        let rest = keys.get(answers.len()..).unwrap_or_default();
        let own = |key: &Bytes| self.buffer.get(key).map(|own| self.own_answer(own));
        let own: Vec<_> =
            rest.iter().map(|key| own(key).filter(|_| !planted(Planted::ForgetOwnWrites))).collect();
        let foreign: Vec<_> =
            rest.iter().zip(&own).filter(|(_, own)| own.is_none()).map(|(key, _)| key.clone()).collect();
        let mut read = self.read_foreign(&foreign).await?.into_iter();
        answers.extend(own.into_iter().map(|own| own.or_else(|| read.next()).unwrap_or(Answer::Absent)));
        Ok(answers)
    }

    pub(crate) async fn read_foreign(&self, keys: &[Bytes]) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::with_capacity(keys.len());
        let mut failures = 0;
        while answers.len() < keys.len() {
            let rest = &keys[answers.len()..];
            match self.read_rest(rest, &mut answers).await {
                Ok(()) => {}
                Err((base, error)) => {
                    self.node.recover_index(&base, error).await?;
                    failures += 1;
                    if failures == INDEX_TRIES {
                        return Err(index_moves());
                    }
                }
            }
        }
        Ok(answers)
    }

    /// Reads these keys, or as many of them as what is known at one moment is new enough for. An error comes with the base whose index was
    /// asked.
    async fn read_rest(&self, keys: &[Bytes], answers: &mut Vec<Answer>) -> Result<(), (Arc<Base>, Error)> {
        let mut snapshot = self.snapshot(keys);
        let base = Arc::clone(&snapshot.base);
        let wanted = keys.iter().zip(&snapshot.keys).filter(|(_, (_, wanted))| *wanted);
        let mut wanted: Vec<_> = wanted.map(|(key, _)| key.clone()).collect();
        let (mut rows, mut next) = (BTreeMap::new(), 0);
        loop {
            let found = self.look_up(&base, wanted).await;
            rows.extend(found.map_err(|error| (Arc::clone(&base), error))?);
            match self.choose(keys, &mut next, &mut snapshot, &rows, answers) {
                Ok(Chosen::All | Chosen::Again) => return Ok(()),
                Ok(Chosen::Ask(key)) => wanted = vec![key],
                Err(refused) => {
                    let error = self.refused(refused, &base);
                    return Err((base, error));
                }
            }
        }
    }

    fn snapshot(&self, keys: &[Bytes]) -> Snapshot {
        self.node.known.read(|known| {
            let (view, mut reads) = (known.view(), self.reads.lock());
            reads.set.is_of(view.left(), true);
            let look = |key: &Bytes| {
                let versions = view.versions(key);
                (versions.to_vec(), needs_index(key, &reads.set, versions, view.base()))
            };
            let keys = keys.iter().map(look).collect();
            Snapshot { keys, base: Arc::clone(view.base()), left: view.left(), notes: reads.notes }
        })
    }

    async fn look_up(&self, base: &Base, keys: Vec<Bytes>) -> Result<BTreeMap<Bytes, Row>, Error> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rows = self.node.rows(&self.store, base, keys).await?;
        self.check_still_alive()?;
        Ok(rows)
    }

    /// Requests took time: whoever is older than the lifetime now may be looking at an index that folded what it needs (HAZARDS 12).
    fn check_still_alive(&self) -> Result<(), Error> {
        if planted(Planted::NoAgeCheckAfterIndex) { Ok(()) } else { self.check_alive() }
    }

    /// Chooses and notes, from `next` on, under one lock (I4). What is answered stays, also where not all are.
    fn choose(
        &self,
        keys: &[Bytes],
        next: &mut usize,
        snapshot: &mut Snapshot,
        rows: &BTreeMap<Bytes, Row>,
        answers: &mut Vec<Answer>,
    ) -> Result<Chosen, Refused> {
        let mut reads = self.reads.lock();
        let moved = reads.notes != snapshot.notes && !planted(Planted::SnapshotOnce);
        let again = |refused| if moved { Ok(Chosen::Again) } else { Err(refused) };
        let base = &snapshot.base;
        let newest = reads.notes == snapshot.notes;
        reads.set.is_of(snapshot.left, newest);
        if let Err(refused) = reads.through(base, !self.ancestors.is_empty()) {
            return again(refused);
        }
        while let (Some(key), Some((versions, asked))) = (keys.get(*next), snapshot.keys.get_mut(*next)) {
            // What was chosen for other keys may have ruled out the version that made the index unnecessary.
            let settled = || {
                let chosen = choose::choose(key, &reads.set, versions, base);
                reads.set.read(key).is_some()
                    || matches!(chosen, Ok(Some(found)) if found.version() > base.greatest())
            };
            if !std::mem::replace(asked, true) && !settled() {
                if !moved {
                    snapshot.notes = reads.notes;
                }
                return Ok(Chosen::Ask(key.clone()));
            }
            let row = rows.get(key);
            let found = match reads.read(key, &with_row(versions, row.map(Found::from_row)), base) {
                Ok(found) => found,
                Err(refused) => return again(refused),
            };
            answers.push(match found {
                None => Answer::Absent,
                Some(found) => held(&found, row).unwrap_or(Answer::Found(found)),
            });
            *next += 1;
        }
        Ok(Chosen::All)
    }

    /// Reads a page of a range: at most `limit` keys; of the index so many rows ahead.
    pub(crate) async fn read_page(&self, range: KeyRange, limit: usize, ahead: usize) -> Result<Page, Error> {
        if self.begin.serializable {
            let message = "a serializable transaction cannot scan: no guard keeps others from adding keys to a range; guard a key that everybody writes                            who writes to the range, and scan in a transaction that is not serializable";
            return Err(Error::invalid(message));
        }
        let most = limit.max(1).saturating_add(1);
        let ahead = if self.node.reads_ahead() { ahead.max(most) } else { most };
        // All that there is is read as it is wanted.
        let reach = Reach { limit: most, ahead: if most == usize::MAX { 0 } else { ahead } };
        let mut failures = 0;
        while failures < INDEX_TRIES {
            let (base, recent, moment) = self.node.known.read(|known| {
                let keys = known.view().keys_in(&range).take(most);
                let recent: Vec<_> = keys.map(|found| (found[0].key_bytes(), found.to_vec())).collect();
                (Arc::clone(known.base()), recent, (known.view().left(), self.reads.lock().notes))
            });
            let rows = match self.node.rows_in(&self.store, &base, &range, reach).await {
                Ok(rows) => rows,
                Err(error) => {
                    self.node.recover_index(&base, error).await?;
                    failures += 1;
                    continue;
                }
            };
            if base.manifest().is_some() {
                self.check_still_alive()?;
            }
            let keys = merged(recent, &rows);
            let (page, moved) = self.choose_page(range.clone(), limit, keys, &base, moment);
            match page {
                Ok(page) => {
                    let values = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
                    return Ok(Page { page, values });
                }
                // As in `choose`: no failure, since another read got ahead.
                Err(_) if moved => {}
                Err(refused) => return Err(self.refused(refused, &base)),
            }
        }
        Err(index_moves())
    }

    /// Chooses and notes a page under one lock (I4), of a moment when so many commits had left the view and so much was noted; and whether another
    /// read was noted since.
    fn choose_page(
        &self,
        range: KeyRange,
        limit: usize,
        keys: Vec<(Bytes, Vec<Found>)>,
        base: &Base,
        (left, notes): (u64, u64),
    ) -> (Result<ScanPage, Refused>, bool) {
        let mut reads = self.reads.lock();
        let moved = reads.notes != notes && !planted(Planted::SnapshotOnce);
        let newest = reads.notes == notes;
        reads.set.is_of(left, newest);
        if let Err(refused) = reads.through(base, !self.ancestors.is_empty()) {
            return (Err(refused), moved);
        }
        let before = reads.set.len();
        let page = choose::scan(range, limit, &mut reads.set, keys, base).map_err(Refused::Lost);
        // What was noted before it failed counts for reads beside it, and lets none of them look again for ever.
        reads.notes += u64::from(page.is_ok() || reads.set.len() > before);
        (page, moved)
    }
}

/// Whether a manifest may have folded commits that a token's transaction did not know when it began: what was published later than this.
pub(crate) fn folded_unknown(base: &Base, known_until: StoreTime) -> bool {
    let trusted = planted(Planted::TrustTokenClocks) || planted(Planted::AgeByOwnClock);
    base.folded_beyond(known_until) && !trusted
}

/// The keys of the view and of the index in one order, each with all its versions.
fn merged(recent: Vec<(Bytes, Vec<Found>)>, rows: &[Row]) -> Vec<(Bytes, Vec<Found>)> {
    let mut recent = recent.into_iter().peekable();
    let mut keys = Vec::with_capacity(recent.len() + rows.len());
    for row in rows {
        while let Some(before) = recent.next_if(|(key, _)| *key < row.key) {
            keys.push(before);
        }
        let found = Found::from_row(row);
        match recent.next_if(|(key, _)| *key == row.key) {
            Some((key, versions)) => keys.push((key, with_row(&versions, Some(found)))),
            None => keys.push((found.key_bytes(), vec![found])),
        }
    }
    keys.extend(recent);
    keys
}

pub(crate) fn index_moves() -> Error {
    let message = "the index was replaced again and again while it was read; try again";
    Error::new(ErrorKind::Unavailable, message)
}
