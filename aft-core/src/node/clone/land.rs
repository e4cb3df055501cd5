//! The last step: the manifest that makes one moment of what was copied, and the marker that makes it a store.
//!
//! Until here a clone that was there before is as it was; the files and values that were added do it no harm. From where its marker is
//! deleted to where the new one is made there is no store at the place: what changes then could not be told by dates, which say when something was copied.
//! It is short, in proportion to what is new of outcomes. The clone gets another id than the one before, so that whoever
//! has that one open, against all warnings, is refused by the new manifest instead of reading across both.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use super::data::Index;
use super::moment::Moment;
use super::outcomes::Outcomes;
use super::place::{Place, maker_of};
use super::{Cloning, refused};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::format::garbage::Garbage;
use crate::format::manifest::{FileRef, Manifest};
use crate::format::marker::Marker;
use crate::format::name::{CHECKPOINTS, FEED, GARBAGE, INDEX, MARKER, OUTCOMES, ObjectName, RECENT};
use crate::format::recent::Recent;
use crate::node::handle::Aft;
use crate::node::open::make_marker;
use crate::node::unencodable;
use crate::node::upkeep::checkpoint::file_ref;
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::storage::Object;

impl Cloning<'_> {
    pub(super) async fn land(&self, place: Place, moment: &Moment, index: Index) -> Result<(), Error> {
        self.check_files(&index).await?;
        let marker = self.get_there(MARKER).await?;
        if marker != place.marker {
            return Err(refused("another clone was made there meanwhile"));
        }
        let before = match &marker {
            Some(marker) => Some(self.check_untouched(marker).boxed().await?),
            None => None,
        };
        if marker.is_some() {
            self.delete_there(&[MARKER.to_owned()]).await?;
        }
        // The id says when outcomes were looked at: the next clone asks about younger claims only.
        let store_id = self.node.new_txn_id().to_string();
        let there = self.outcomes_there().await?;
        let outcomes = self.copy_outcomes(moment, &there, before.as_ref()).boxed().await?;
        let (manifest, made) = self.make_manifest(moment, index, outcomes, &store_id).await?;
        self.delete_others(CHECKPOINTS, &[ObjectName::Checkpoint(manifest.number)]).await?;
        self.delete_others(FEED, &[]).await?;
        let adopted_until = self.outcomes_there().await?.newest().map(|newest| newest.0);
        let settings = &self.node.marker.settings;
        make_marker(self.node.limits, made, |made_ms| {
            let marker = Marker::new(store_id.clone(), made_ms, adopted_until, settings.clone());
            async move {
                if made_ms != made.ms() {
                    self.delete_there(&[MARKER.to_owned()]).await?;
                }
                self.create_surely(MARKER, marker.encode()).await
            }
        })
        .await?;
        let needed: Vec<_> = manifest.objects().collect();
        for folder in [INDEX, RECENT, GARBAGE, OUTCOMES] {
            self.delete_others(folder, &needed).await?;
        }
        self.count(|report| {
            report.store_id.clone_from(&manifest.store_id);
            report.checkpoint = manifest.number;
            report.source_checkpoint = moment.base.number();
            report.commits = moment.commits.len() as u64;
            report.rows = manifest.files().map(|file| file.rows).sum();
        });
        self.open_once().boxed().await
    }

    /// Whether everything that is to be named is there still: nobody may collect garbage at the place meanwhile, but who knows.
    async fn check_files(&self, index: &Index) -> Result<(), Error> {
        let listed: HashMap<_, _> =
            self.list_there(INDEX).await?.into_iter().map(|object| (object.path, object.size)).collect();
        for file in index.runs.iter().flat_map(|run| &run.files) {
            let path = self.node.path(ObjectName::Run(file.id));
            if listed.get(&path) != Some(&file.bytes) {
                let message = format!(
                    "the file {path:?} of the clone was deleted while the clone was made; clone again"
                );
                return Err(Error::new(ErrorKind::Unavailable, message).with_object(&path));
            }
        }
        Ok(())
    }

    /// The clone's one checkpoint: everything of the moment is in its index, and nothing is recent.
    async fn make_manifest(
        &self,
        moment: &Moment,
        index: Index,
        outcomes: Outcomes,
        store_id: &str,
    ) -> Result<(Manifest, StoreTime), Error> {
        let node = self.node;
        let numbers = self.list_there(CHECKPOINTS).await?.into_iter();
        let numbers = numbers.filter_map(|object| match ObjectName::parse(&object.path, node.shards) {
            Some(ObjectName::Checkpoint(number) | ObjectName::Seal(number)) => Some(number),
            _ => None,
        });
        let number = numbers.max().unwrap_or(0) + 1;
        let told = self.told_from(moment);
        let committed = Garbage { decisions: outcomes.committed, values: Vec::new() };
        let outcome_file = match committed.entries() {
            0 => None,
            entries => {
                let bytes = committed.encode().map_err(|cause| unencodable("a list of outcomes", cause))?;
                Some(self.create_file(|id| ObjectName::Outcomes(number, id), bytes, entries).await?.0)
            }
        };
        let mut recent = Recent::default();
        if !planted(Planted::CloneUntold) {
            // Folded, so that no sweep publishes them again: in the first second there is, long before the horizon.
            let told_commits = committed.decisions.iter().filter(|id| id.start_ms() >= told);
            recent.published = told_commits.map(|id| (*id, 0)).collect();
            recent.dead = outcomes.dead.into_iter().filter(|id| id.start_ms() >= told).collect();
        }
        let (recent, begun) = self
            .create_file(
                ObjectName::Recent,
                recent.encode().map_err(|cause| unencodable("the recent file", cause))?,
                0,
            )
            .await?;
        if begun.ms().saturating_add(node.limits.skew_ms) < moment.now.ms() {
            let by = moment.now.0 - begun.0;
            let message = format!(
                "the place dates what is written there {by} s before the source does, and nothing could be committed there; the clone is not finished; mend the clocks"
            );
            return Err(Error::new(ErrorKind::ClockSkew, message));
        }
        let manifest = Manifest {
            number,
            store_id: store_id.to_owned(),
            attempt: maker_of(store_id),
            begun: begun.0,
            full_begun: begun.0,
            horizon: node.limits.horizon(begun).0,
            folded_until: 0,
            basis: begun.0,
            swept_through: begun.0,
            last_sweep: begun.0,
            sweeps: BTreeMap::new(),
            // No commit of the source can come any more, and one of the clone is dated after this.
            settled_ms: moment.base.settled_ms().max(node.limits.sweep_window_from_ms(begun)),
            unfolded: BTreeSet::new(),
            greatest: index.greatest,
            purged: index.purged,
            runs: index.runs,
            recent,
            garbage: None,
            outcomes: outcome_file,
        };
        let bytes = manifest.encode().map_err(|cause| unencodable("the manifest", cause))?;
        let made = self.create_surely(&node.path(ObjectName::Checkpoint(number)), bytes).await?;
        Ok((manifest, made))
    }

    async fn create_file(
        &self,
        named: impl Fn(crate::format::name::FileId) -> ObjectName + Send,
        bytes: Bytes,
        entries: u64,
    ) -> Result<(FileRef, StoreTime), Error> {
        let id = self.node.new_file_id();
        let file = file_ref(id, &bytes, entries);
        let dated = self.create_surely(&self.node.path(named(id)), bytes).await?;
        Ok((file, dated))
    }

    /// Makes an object whose name others might take, and reads it back; its date.
    async fn create_surely(&self, path: &str, bytes: Bytes) -> Result<StoreTime, Error> {
        self.create_there(path, bytes.clone()).await?;
        match self.get_there(path).await? {
            Some(Object { bytes: found, last_modified }) if found == bytes => {
                Ok(StoreTime::of(last_modified))
            }
            _ => {
                let message = format!(
                    "somebody else writes at the place of the clone: {path:?} is not what this clone wrote; the clone is not finished"
                );
                Err(Error::new(ErrorKind::Conflict, message).with_object(path))
            }
        }
    }

    /// Deletes everything of aft's in a folder at the place but these.
    async fn delete_others(&self, folder: &str, needed: &[ObjectName]) -> Result<(), Error> {
        let needed: HashSet<_> = needed.iter().collect();
        let others = self.list_there_where(folder, |object| {
            ObjectName::parse(&object.path, self.node.shards).is_some_and(|name| !needed.contains(&name))
        });
        let others: Vec<_> = others.await?.into_iter().map(|object| object.path).collect();
        self.delete_there(&others).await?;
        self.count(|report| report.deleted += others.len() as u64);
        Ok(())
    }

    /// Opens the clone, to see that it is what it should be.
    async fn open_once(&self) -> Result<(), Error> {
        let node = self.node;
        let config = Config { background: false, maintenance: None, ..node.config.clone() };
        let builder = Aft::builder(Arc::clone(&self.storage)).config(config).clock(Arc::clone(&node.clock));
        let clone = builder.rng_seed(node.rng.next()).read_only().open().await?;
        let (info, report) = (clone.store_info(), self.report.lock().clone());
        if (&info.store_id, info.checkpoint, info.rows) != (&report.store_id, report.checkpoint, report.rows)
        {
            let message = "the clone was made, and opens as another store: somebody else writes at its place; clone again";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(())
    }
}
