//! Which transaction a request key leads to, for whoever looks into it. Nothing is claimed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format::name::ObjectName;
use crate::format::request::request_hash;
use crate::node::Node;
use crate::node::exchange::outcome::Outcome;
use crate::node::handle::Aft;
use crate::node::transaction::request::{Request, check_request_key};
use crate::node::transaction_info::TransactionInfo;

/// What is known of a request; from [`Aft::request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequestInfo {
    /// The request key.
    pub key: Bytes,
    /// The number of its newest claim, from 0: so many transactions of the key were given up before.
    pub number: u32,
    /// The path of that claim.
    pub object: String,
    /// The date of that claim, by the store's clock.
    pub claimed: SystemTime,
    /// Whether a hash of the request's input is kept with it: then whoever comes with another input is refused.
    pub has_input: bool,
    /// The transaction that the key leads to.
    pub transaction: TransactionInfo,
    /// Of a request that was finished: until when the key is remembered at least, by the store's clock
    /// ([`Config::outcome_retention`](crate::Config::outcome_retention) after the decision). A collection forgets it some time later.
    pub kept_until: Option<SystemTime>,
}

impl Aft {
    /// Which transaction a request key (1 to 4096 bytes) leads to, and what became of it; `None` where the key was never used or is forgotten.
    /// Nothing is claimed, and nothing written.
    ///
    /// Where the transaction can never commit (aborted, forgotten), the next [attempt](crate::Begin::request) under the key is a new transaction;
    /// where it is undecided, the next attempt goes on under its id, or takes over where it is too old for that.
    ///
    /// A list, two gets, and the requests of [`transaction`](Self::transaction).
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction), and [`InvalidInput`](crate::ErrorKind::InvalidInput) for a key of an impossible length.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// assert_eq!(aft.request("order-4711").await?, None);
    /// let done = aft.run("order-4711", async |tx| { tx.put("order/4711", "paid")?; Ok("no. 1".into()) }).await?;
    /// let told = aft.request("order-4711").await?.unwrap();
    /// assert_eq!(told.transaction.txn_id, done.receipt.txn_id());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn request(&self, key: impl AsRef<[u8]>) -> BoxFuture<'_, Result<Option<RequestInfo>, Error>> {
        let key = Bytes::copy_from_slice(key.as_ref());
        async move {
            self.node().check_open()?;
            self.node().request_info(key).await
        }
        .boxed()
    }
}

impl Node {
    async fn request_info(self: &Arc<Self>, key: Bytes) -> Result<Option<RequestInfo>, Error> {
        check_request_key(&key)?;
        let request = Request::new(key.clone(), None);
        let Some((number, claim, claimed)) = self.find_claim(&self.store, &request).await? else {
            return Ok(None);
        };
        let transaction = self.transaction_info(claim.txn).await?;
        let committed = matches!(transaction.outcome, Outcome::Committed { .. });
        let decided = transaction.decision.as_ref().filter(|_| committed).map(|decision| decision.dated);
        let retention = Duration::from_millis(self.marker.settings.outcome_retention_ms);
        let kept_until = decided.and_then(|decided| decided.checked_add(retention));
        let object = self.path(ObjectName::Request(request_hash(&key), number));
        let has_input = claim.input.is_some();
        Ok(Some(RequestInfo { key, number, object, claimed, has_input, transaction, kept_until }))
    }
}
