//! What the workflow runs on: plain keys or aft.

use bytes::Bytes;

use crate::failure::Failure;
use crate::requests::Requests;

/// Who begins a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An attempt at an order. Retries of one order have the order in common; orders of one lane follow each other.
    Order { order: u32, lane: u32, attempt: u32 },
    /// Somebody who only reads.
    Page,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish<P> {
    /// Its writes stand, at this place in the order of versions (None: each write has a place of its own).
    Committed(Option<P>),
    /// An earlier attempt had committed; the writes of this one were dropped.
    Replayed,
}

/// A store under test, as one worker or reader sees it. A transaction that is dropped is a process that died.
pub(crate) trait Subject {
    /// A version's place in the order of the versions of its key.
    type Place: Copy + Ord;
    /// An open transaction.
    type Transaction;

    async fn begin(&mut self, caller: Caller) -> Result<Self::Transaction, Failure>;
    async fn get(&mut self, tx: &mut Self::Transaction, key: &str) -> Result<Option<Bytes>, Failure>;
    async fn scan(
        &mut self,
        tx: &mut Self::Transaction,
        prefix: &str,
    ) -> Result<Vec<(String, Bytes)>, Failure>;
    async fn put(
        &mut self,
        tx: &mut Self::Transaction,
        key: &str,
        value: Bytes,
    ) -> Result<Option<Self::Place>, Failure>;
    async fn commit(&mut self, tx: Self::Transaction) -> Result<Finish<Self::Place>, Failure>;
    /// What happens as time goes by, of itself.
    async fn pass_time(&mut self) -> Result<(), Failure>;
    /// Requests made so far.
    fn requests(&self) -> Requests;
}
