//! Listings that do not show what is there: a proxy answers with a page of its own, a gateway with an old one, an answer is cut short.
//!
//! What is asked for by its name is believed. So listings are compared with what the node knows: what must be in one and is not is
//! asked for, and where it is there, the listing is refused. And what a listing does *not* show proves nothing by itself: how far
//! the feed was read is told by dates that its listings did show, and never by dates learned otherwise.

use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind};
use crate::format::name::{CHECKPOINTS, COMMITS, FEED, ObjectName};
use crate::node::Node;
use crate::node::store::retry_read;
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::storage::StorageError;
use crate::txn_id::TxnId;

impl Node {
    /// How far the feed is known; `instead` is planted where any date will do.
    pub(crate) fn shown_time(&self, instead: Planted) -> Option<StoreTime> {
        let now = self.now();
        self.known.read(|known| known.shown_time(now, instead))
    }

    /// Whether an object is there, asked for by its name.
    pub(crate) async fn is_there(&self, path: &str) -> Result<bool, Error> {
        match retry_read(&self.rng, || self.store.get_range(path, 0..1)).await {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::storage(format_args!("looking for {path:?}"), error)),
        }
    }

    /// Whether a listing of the checkpoints, newest first, shows the one that this node builds on, or a newer one. Where it does not and that
    /// one is gone indeed, that is the damage, and older ones may do.
    pub(crate) async fn expect_base(&self, numbers: &[u64]) -> Result<Option<Error>, Error> {
        let number = self.known.base().number();
        if numbers.first().is_some_and(|newest| *newest >= number)
            || number == 0
            || planted(Planted::TrustListedCheckpoints)
        {
            return Ok(None);
        }
        let path = self.path(ObjectName::Checkpoint(number));
        if self.is_there(&path).await? {
            return Err(listing_lies(CHECKPOINTS, &path));
        }
        let message = format!("the checkpoint {path:?}, which this node builds on, is gone");
        Ok(Some(Error::new(ErrorKind::Corrupt, message).with_object(&path)))
    }

    /// The decisions from an id on that every listing must show which begins now.
    pub(crate) fn decisions_to_show(&self, from: TxnId) -> BTreeSet<TxnId> {
        self.known.read(|known| known.decisions_to_show(from))
    }

    /// Refuses a listing of decisions that lacks what it must show. The first and the last of what is missing are asked for: a listing that
    /// was cut short lacks its end. What is gone indeed is for `check` to report.
    pub(crate) async fn expect_listed(
        &self,
        expected: &BTreeSet<TxnId>,
        listed: &BTreeSet<TxnId>,
    ) -> Result<(), Error> {
        if planted(Planted::TrustListedDecisions) {
            return Ok(());
        }
        let mut missing = expected.difference(listed);
        let (first, last) = (missing.next(), missing.last());
        for id in first.into_iter().chain(last) {
            let path = self.path(ObjectName::Decision(*id));
            if self.is_there(&path).await? {
                let folder = if id.is_direct() { FEED } else { COMMITS };
                return Err(listing_lies(folder, &path));
            }
        }
        Ok(())
    }
}

/// The refusal of a listing that does not show what is there. It may pass.
fn listing_lies(folder: &str, path: &str) -> Error {
    let message = format!(
        "the listing of {folder:?} does not show {path:?}, which is there; the store, or a proxy before it, answers listings wrongly; nothing was changed; try again"
    );
    Error::new(ErrorKind::Unavailable, message).with_object(path)
}
