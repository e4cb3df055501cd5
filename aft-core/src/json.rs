//! Values and results as JSON, for whoever has no codec of their own: [`Transaction::put_json`](crate::Transaction::put_json),
//! [`Transaction::get_json`](crate::Transaction::get_json), and these two for results.
//!
//! # Examples
//!
//! ```
//! use aft_core::{Aft, Config, json};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Account { owner: String, cents: i64 }
//! # use std::sync::Arc;
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! # let aft = Aft::open(Arc::new(aft_memory::MemoryStorage::new()), Config::default()).await?;
//!
//! let run = aft
//!     .run("opening-17", async |tx| {
//!         let account = Account { owner: "Ada".into(), cents: 100 };
//!         tx.put_json("account/17", &account)?;
//!         json::to_value(&account.cents)
//!     })
//!     .await?;
//! assert_eq!(json::from_value::<i64>(&run.result)?, 100);
//! let account: Option<Account> = aft.begin().await?.get_json("account/17").await?;
//! assert_eq!(account.unwrap().owner, "Ada");
//! # Ok::<(), aft_core::Error>(())
//! # }).unwrap();
//! ```

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::node::Transaction;

/// `value` as the bytes of its JSON, without white space: a value to [`put`](Transaction::put), or the result of a
/// [`run`](crate::Aft::run).
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) where it has no JSON, such as a map whose keys are no text.
///
/// # Examples
///
/// ```
/// assert_eq!(aft_core::json::to_value(&["a", "b"])?, r#"["a","b"]"#);
/// # Ok::<(), aft_core::Error>(())
/// ```
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error> {
    let json = serde_json::to_vec(value);
    json.map(Bytes::from).map_err(|cause| Error::invalid("the value has no JSON").with_source(cause))
}

/// The value whose JSON these bytes are.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) where they are no JSON, or of something else.
///
/// # Examples
///
/// ```
/// assert_eq!(aft_core::json::from_value::<Vec<u8>>(b"[1, 2]")?, [1, 2]);
/// assert!(aft_core::json::from_value::<Vec<u8>>(b"[1,").is_err());
/// # Ok::<(), aft_core::Error>(())
/// ```
pub fn from_value<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|cause| {
        Error::invalid(format!("no JSON of a {}", std::any::type_name::<T>())).with_source(cause)
    })
}

impl Transaction {
    /// Writes `value` as JSON under `key`: a [`put`](Self::put) of [`json::to_value`](to_value).
    ///
    /// # Errors
    /// As [`put`](Self::put); [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), which names the key, where the value has no JSON:
    /// nothing was written then.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// tx.put_json("basket/17", &["apples", "pears"])?;
    /// let basket: Option<Vec<String>> = tx.get_json("basket/17").await?;
    /// assert_eq!(basket.unwrap().len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_json<T: Serialize + ?Sized>(&mut self, key: impl AsRef<[u8]>, value: &T) -> Result<(), Error> {
        let key = key.as_ref();
        let json = to_value(value).map_err(|error| {
            error.wrapped(format!("nothing was written under \"{}\"", key.escape_ascii())).with_txn(self.id())
        })?;
        self.put(key, json)
    }

    /// The value of `key` from its JSON; `None` where the key is absent or deleted. Costs what [`get`](Self::get) does.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), which names the key, where what is there is no JSON
    /// of such a value. The transaction can go on.
    ///
    /// # Examples
    ///
    /// See [`put_json`](Self::put_json).
    pub fn get_json<T: DeserializeOwned>(
        &self,
        key: impl AsRef<[u8]>,
    ) -> BoxFuture<'_, Result<Option<T>, Error>> {
        let key = key.as_ref().to_vec();
        async move {
            let value = self.get(&key).await?;
            let read = value.map(|json| from_value(&json)).transpose();
            read.map_err(|error| {
                error.wrapped(format!("cannot read \"{}\" as JSON", key.escape_ascii())).with_txn(self.id())
            })
        }
        .boxed()
    }
}
