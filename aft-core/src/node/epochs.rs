//! Sharing out work between nodes without a leader: time is cut into epochs, and whoever creates the epoch's object does its job.
//!
//! A node that dies in the middle costs the epoch: the next one sees to it. Two nodes whose clocks disagree about the epoch do the work twice, which
//! is harmless.

use bytes::Bytes;

use crate::error::Error;
use crate::format::name::{Job, ObjectName};
use crate::node::Node;
use crate::storage::StorageError;

impl Node {
    /// Whether this node has the epoch of a job to itself. In doubt it has not: the next epoch will do.
    ///
    /// # Errors
    /// Where the store refuses such objects.
    pub(crate) async fn takes_epoch(&self, job: Job, epoch: u64) -> Result<bool, Error> {
        let path = self.path(ObjectName::Epoch(job, epoch));
        match self.store.create(&path, Bytes::new()).await {
            Ok(()) => Ok(true),
            Err(StorageError::AlreadyExists { .. }) => Ok(false),
            Err(error @ (StorageError::Denied { .. } | StorageError::Invalid { .. })) => {
                Err(Error::storage(format_args!("sharing out work by {path:?}"), error))
            }
            Err(error) => {
                tracing::warn!(%error, path, "whose epoch this is is not known; the next one will do");
                Ok(false)
            }
        }
    }
}
