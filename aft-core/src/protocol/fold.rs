//! What a fold does: sorted runs and the rows of newly folded commits become one sorted run.
//!
//! Per key the greatest *version* stays, not the row of the newest run: a commit whose node died may be found, and folded, long
//! after commits that are newer than it. For the same reason whoever looks a key up takes the greatest version over all runs.
//!
//! [`Merge`] knows no files. Whoever drives it feeds it rows as it asks for them and writes what it hands out, so that no more
//! of any run needs to be in memory than what was fed last.

#[cfg(test)]
mod brute_force;
#[cfg(test)]
mod history;
#[cfg(test)]
mod tiers;

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;

use crate::format::name::ValueName;
use crate::format::row::{Row, RowValue};
use crate::planted::{Planted, planted};
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// The order in which an input must hand in its rows: by key, and of one key the greatest version first.
#[must_use]
pub fn order(a: &Row, b: &Row) -> Ordering {
    a.key.cmp(&b.key).then_with(|| b.version.cmp(&a.version))
}

/// Rows of an input that are not in [`order`]: merging them would lose some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rows of input {input} are out of order")]
pub struct OutOfOrder {
    /// The input.
    pub input: usize,
}

/// Merges sorted inputs of rows into one sorted run.
///
/// Call [`next`](Self::next) until it says [`Step::Done`], and do what each step says.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<Input>,
    /// The next row of every input that has one.
    heads: BinaryHeap<Head>,
    /// Inputs that have no next row and are not closed.
    starved: Vec<usize>,
    purge_bound: Option<Version>,
    /// The row handed out last, or dropped.
    last: Option<(Bytes, Version)>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This input must be [fed](Merge::feed) or [closed](Merge::close) first.
    Need(usize),
    /// The next row of the merged run, in order of keys.
    Keep(Row),
    /// A row whose key was kept or purged just before, at a greater version: its [value objects](garbage_of) are garbage.
    Superseded(Row),
    /// A tombstone that leaves the index: nothing older than it can turn up any more. The manifest notes the greatest
    /// version that ever left so.
    Purged(Row),
    /// All inputs are closed and empty.
    Done,
}

#[derive(Debug, Default)]
struct Input {
    rows: VecDeque<Row>,
    closed: bool,
    /// The last row that was fed: what the next must come after.
    fed: Option<(Bytes, Version)>,
}

/// The next row of an input. The greatest one is handed out first.
#[derive(Debug)]
struct Head {
    row: Row,
    input: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let ordering = if planted(Planted::KeepOlderVersion) {
            self.row.key.cmp(&other.row.key).then_with(|| self.row.version.cmp(&other.row.version))
        } else {
            order(&self.row, &other.row)
        };
        ordering.then_with(|| self.input.cmp(&other.input)).reverse()
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl Merge {
    /// A merge of this many inputs.
    ///
    /// Tombstones below `purge_bound` leave, where they are the newest of their key. Only a merge of *all* runs may be given
    /// one: in any other the tombstone hides a row of a run that is not in the merge. [`purge_bound`] says what value to
    /// pass.
    #[must_use]
    pub fn new(inputs: usize, purge_bound: Option<Version>) -> Self {
        Self {
            inputs: (0..inputs).map(|_| Input::default()).collect(),
            heads: BinaryHeap::with_capacity(inputs),
            // The last is asked for first.
            starved: (0..inputs).rev().collect(),
            purge_bound,
            last: None,
        }
    }

    /// Hands in the next rows of an input, in [`order`].
    ///
    /// # Errors
    /// [`OutOfOrder`], where they are not, or do not come after those fed before. The merge is of no use then: what was read is
    /// no sorted run.
    pub fn feed(&mut self, input: usize, rows: Vec<Row>) -> Result<(), OutOfOrder> {
        let of = &mut self.inputs[input];
        debug_assert!(!of.closed, "input {input} was closed");
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let goes_on = of.fed.as_ref().is_none_or(|(key, version)| {
            key.cmp(&first.key).then_with(|| first.version.cmp(version)).is_le()
        });
        if !goes_on || !rows.is_sorted_by(|a, b| order(a, b).is_le()) {
            return Err(OutOfOrder { input });
        }
        of.fed = Some((last.key.clone(), last.version));
        if of.rows.is_empty() {
            of.rows = rows.into();
        } else {
            of.rows.extend(rows);
        }
        if let Some(at) = self.starved.iter().position(|starved| *starved == input) {
            self.starved.swap_remove(at);
            self.heads.extend(of.rows.pop_front().map(|row| Head { row, input }));
        }
        Ok(())
    }

    /// Says that an input has no more rows than it was fed.
    pub fn close(&mut self, input: usize) {
        self.inputs[input].closed = true;
        self.starved.retain(|starved| *starved != input);
    }

    /// The next step.
    #[allow(clippy::should_implement_trait, reason = "a step may be a demand, so this is no iterator")]
    pub fn next(&mut self) -> Step {
        loop {
            if let Some(input) = self.starved.last() {
                return Step::Need(*input);
            }
            let Some(row) = self.pop() else { return Step::Done };
            let seen = self.last.as_ref().filter(|(key, _)| *key == row.key).map(|(_, version)| *version);
            self.last = Some((row.key.clone(), row.version));
            match seen {
                // A commit carried twice, by its node and by a sweep, is one: its value is alive (`HAZARDS` 20).
                Some(version) if version == row.version && !planted(Planted::DuplicateIsGarbage) => {}
                Some(_) => return Step::Superseded(row),
                None if self.leaves(&row) => return Step::Purged(row),
                None => return Step::Keep(row),
            }
        }
    }

    /// Takes the first row of all, and puts the next row of its input in its place.
    fn pop(&mut self) -> Option<Row> {
        let mut head = self.heads.peek_mut()?;
        let of = &mut self.inputs[head.input];
        if let Some(next) = of.rows.pop_front() {
            return Some(std::mem::replace(&mut head.row, next));
        }
        let Head { row, input } = PeekMut::pop(head);
        if !of.closed {
            self.starved.push(input);
        }
        Some(row)
    }

    fn leaves(&self, row: &Row) -> bool {
        matches!(row.value, RowValue::Tombstone)
            && (self.purge_bound.is_some_and(|bound| row.version < bound) || planted(Planted::PurgeTooEarly))
    }
}

/// The value objects of a lost row, each with the transaction that it belongs to, without those that the row which stayed in its
/// place names too.
///
/// In this format version a value object holds one value of one key. Before objects are ever shared by several keys of a commit,
/// this must ask about the others too.
#[must_use]
pub fn garbage_of(lost: &Row, kept: Option<&Row>) -> Vec<(TxnId, ValueName)> {
    let objects = |row: &Row| {
        let RowValue::Stored(stored) = &row.value else { return Vec::new() };
        let mut objects: Vec<_> = stored.parts.iter().map(|part| (row.version.txn, part.object())).collect();
        objects.sort_unstable();
        objects.dedup();
        objects
    };
    let alive = kept.map(objects).unwrap_or_default();
    let mut garbage = objects(lost);
    garbage.retain(|object| alive.binary_search(object).is_err());
    garbage
}

/// How many of the newest runs become one: 1 where none is merged, 0 where there is none. `weights` are those of all runs,
/// newest first, the new one included.
///
/// Afterwards every run weighs at least twice as much as all that are newer together, so that they are few (their number grows
/// with the logarithm of the whole), at most a third of the whole is not in the oldest run, and a row is written anew only when
/// what it lies in has grown by half, superseded rows included.
#[must_use]
pub fn merge_plan(weights: &[u64]) -> usize {
    let mut newer = 0u128;
    let mut count = weights.len().min(1);
    for (n, weight) in weights.iter().enumerate() {
        if u128::from(*weight) < 2 * newer {
            count = n + 1;
        }
        newer += u128::from(*weight);
    }
    count
}

/// Every commit that counts and whose transaction started before this is in the runs after a fold; in milliseconds.
///
/// `before` is what the manifest before said. `window_from_ms` is what
/// [`Limits::sweep_window_from_ms`](super::timeliness::Limits::sweep_window_from_ms) says of the newest sweep that the fold knows of: a commit that nobody
/// has found yet started at or after it. `unfolded_ms` are the starts of all commits that are known and not in the runs after this
/// fold, those that a feed object tells by their ids alone among them. Either bound alone lets an older commit come after it
/// (`HAZARDS` 2).
#[must_use]
pub fn settled_ms(before: u64, window_from_ms: u64, unfolded_ms: impl IntoIterator<Item = u64>) -> u64 {
    before.max(unfolded_ms.into_iter().fold(window_from_ms, u64::min))
}

/// Below which version a tombstone may leave, in a merge of all runs (I9): nothing that it hides can come again, for a commit's
/// clock is not below its start.
#[must_use]
pub fn purge_bound(settled_ms: u64) -> Version {
    Version::new(Timestamp::from_ms(settled_ms), TxnId::from_bytes([0; 16]))
}
