//! Where a clone is made: nowhere but at an empty place, or over a clone of the same store into which nothing was committed.

use std::collections::HashSet;

use futures::FutureExt;

use super::outcomes::Before;
use super::{Cloning, refused};
use crate::error::{Error, ErrorKind};
use crate::format::clone::CloneNote;
use crate::format::envelope::checksum;
use crate::format::feed::Feed;
use crate::format::garbage::Garbage;
use crate::format::manifest::Manifest;
use crate::format::marker::Marker;
use crate::format::name::{CHECKPOINTS, CLONE, FEED, MARKER, ObjectName};
use crate::node::format_error;
use crate::node::store::retry_read;
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::storage::{Object, StorageError};
use crate::txn_id::TxnId;

/// A clone that was opened makes a feed object now and then; of more than so many it is not asked whether all are empty.
const FEED_AT_MOST: usize = 1000;

/// What is at the place.
pub(super) struct Place {
    /// The marker of the clone that is there; `None` where there is none, or one that is not finished.
    pub(super) marker: Option<Object>,
}

/// The number by which the maker of a clone's manifest is known: a checkpoint that anyone makes later has a random one.
pub(super) fn maker_of(store_id: &str) -> u64 {
    checksum(store_id.as_bytes())
}

impl Cloning<'_> {
    /// Looks whether the place may be used, and puts the note there where it is empty.
    pub(super) async fn look_at_place(&self) -> Result<Place, Error> {
        let node = self.node;
        let note = CloneNote::new(node.marker.store_id.clone(), node.marker.settings.clone());
        let Some(found) = self.get_there(CLONE).await? else {
            let first = self.there.find("", 1, |_| true).await;
            if first.map_err(|error| Error::storage("looking at the place of the clone", error))?.is_some() {
                return Err(refused("it is not empty, and what is there is no clone"));
            }
            self.create_there(CLONE, note.encode()).await?;
            return Ok(Place { marker: None });
        };
        let found = CloneNote::decode(&found.bytes).map_err(|cause| format_error(CLONE, cause))?;
        if found != note {
            let source = found.source;
            return Err(refused(format_args!("there is a clone of another store, {source}")));
        }
        let marker = self.get_there(MARKER).await?;
        if let Some(marker) = &marker {
            self.check_untouched(marker).await?;
        }
        Ok(Place { marker })
    }

    /// Refuses a clone into which something was committed: that would be lost. Returns what it says of its outcomes.
    pub(super) async fn check_untouched(&self, marker: &Object) -> Result<Before, Error> {
        let marker = Marker::decode(&marker.bytes).map_err(|cause| format_error(MARKER, cause))?;
        let used = || {
            refused(
                "the clone there was used as a store of its own since, and what was committed into it would be lost",
            )
        };
        let Some(manifest) = self.manifest_there(&marker).await? else { return Err(used()) };
        let committed = self.outcomes_of(&manifest).await?;
        let compared_ms = marker.store_id.parse::<TxnId>().map_or(0, TxnId::start_ms);
        let before = Before { committed, compared_ms };
        if planted(Planted::CloneOverCommits) {
            return Ok(before);
        }
        let feed = self.list_there(FEED).await?;
        if feed.len() > FEED_AT_MOST {
            return Err(used());
        }
        for object in feed {
            if matches!(ObjectName::parse(&object.path, self.node.shards), Some(ObjectName::Decision(_))) {
                return Err(used());
            }
            // Whoever had it open left notes that say nothing but that there was nothing.
            if let Some(read) = self.get_there(&object.path).await? {
                let feed = Feed::decode(&read.bytes).map_err(|cause| format_error(&object.path, cause))?;
                if !feed.entries.is_empty() {
                    return Err(used());
                }
            }
        }
        let adopted_until = marker.adopted_until.map(StoreTime);
        if self.outcomes_there().boxed().await?.newest() > adopted_until {
            return Err(used());
        }
        Ok(before)
    }

    /// The manifest that the clone was made with; `None` where there is any other.
    async fn manifest_there(&self, marker: &Marker) -> Result<Option<Manifest>, Error> {
        let mut found = None;
        for object in self.list_there(CHECKPOINTS).await? {
            let Some(ObjectName::Checkpoint(_)) = ObjectName::parse(&object.path, self.node.shards) else {
                continue;
            };
            let Some(read) = self.get_there(&object.path).await? else { return Ok(None) };
            let manifest =
                Manifest::decode(&read.bytes).map_err(|cause| format_error(&object.path, cause))?;
            let ours = manifest.store_id == marker.store_id && manifest.attempt == maker_of(&marker.store_id);
            if !ours || found.replace(manifest).is_some() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    async fn outcomes_of(&self, manifest: &Manifest) -> Result<HashSet<TxnId>, Error> {
        let Some(file) = manifest.outcomes else { return Ok(HashSet::new()) };
        let path = self.node.path(ObjectName::Outcomes(manifest.number, file.id));
        let Some(read) = self.get_there(&path).await? else {
            let message =
                format!("the object {path:?} of the clone is gone; delete what is there, and clone anew");
            return Err(Error::new(ErrorKind::Corrupt, message).with_object(&path));
        };
        let outcomes = Garbage::decode(&read.bytes).map_err(|cause| format_error(&path, cause))?;
        Ok(outcomes.decisions.into_iter().collect())
    }

    /// An object at the place; `None` where there is none.
    pub(super) async fn get_there(&self, path: &str) -> Result<Option<Object>, Error> {
        match retry_read(&self.node.rng, || self.there.get(path)).await {
            Ok(object) => Ok(Some(object)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::storage(format_args!("reading {path:?} of the clone"), error)),
        }
    }
}
