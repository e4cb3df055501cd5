//! Finding the manifest to build on: the newest that counts and can be read.
//!
//! A damaged manifest, recent file or index file is reported with its path, and the manifest before it is used in its place where that
//! is safe: whoever collects garbage deletes an old manifest before anything that only older manifests need, so one that is
//! still there *after* the feed was listed was whole when it was.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::format::manifest::Manifest;
use crate::format::name::{CHECKPOINTS, ObjectName};
use crate::format::recent::Recent;
use crate::node::store::retry_read;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::timeliness::StoreTime;
use crate::storage::{ObjectInfo, StorageError};

/// How old a listing of the checkpoints may be that was made beside opening the store, in milliseconds.
const LISTED_MOST_MS: u64 = 1_000;

/// A manifest as it was found.
#[derive(Debug, Clone)]
pub(crate) struct FoundManifest {
    pub(crate) base: Arc<Base>,
    /// The damage that made older ones count; `None` for the newest.
    pub(crate) instead_of: Option<Error>,
}

impl Node {
    /// The numbers of the manifests above one, newest first, and the newest number whatever it is.
    pub(crate) async fn list_manifests(&self, above: u64) -> Result<Vec<u64>, Error> {
        let after = (above > 0).then(|| self.path(ObjectName::Checkpoint(above)));
        let listed = match self.listed_at_open().filter(|_| above == 0) {
            Some(listed) => listed,
            None => retry_read(&self.rng, || self.store.list(CHECKPOINTS, after.as_deref()))
                .await
                .map_err(|error| Error::storage("listing the checkpoints", error))?,
        };
        let mut numbers = Vec::with_capacity(listed.len());
        self.note_dates(&listed);
        for object in listed {
            match ObjectName::parse(&object.path, self.shards) {
                Some(ObjectName::Checkpoint(number)) => numbers.push(number),
                Some(ObjectName::Seal(number)) => {
                    self.known.write(|known| known.note_sealed(number));
                }
                _ => tracing::warn!(
                    path = object.path,
                    "an object that is none of aft's lies among the checkpoints; it is left alone"
                ),
            }
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    /// What was listed while the store was opened, once, and where that is young: nothing is collected in seconds that a checkpoint of
    /// then needs, nor a checkpoint made and settled of which it does not tell.
    fn listed_at_open(&self) -> Option<Vec<ObjectInfo>> {
        let (began, listed) = self.listed.lock().take()?;
        let young = self.now().elapsed_since(began) <= LISTED_MOST_MS || planted(Planted::TrustOldListing);
        young.then_some(listed)
    }

    /// The newest of these manifests that counts and can be read, and what it says is recent where that is asked for.
    ///
    /// # Errors
    /// The first damage, where there is any and nothing older can be read.
    pub(crate) async fn newest_manifest(&self, numbers: &[u64]) -> Result<Option<FoundManifest>, Error> {
        let mut instead_of = None;
        for number in numbers {
            match self.manifest(*number).await {
                Ok(None) => {}
                Ok(Some((manifest, _))) => {
                    let base = Arc::new(Base::new(manifest));
                    return Ok(Some(FoundManifest { base, instead_of }));
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a checkpoint cannot be used");
                    instead_of.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        instead_of.map_or(Ok(None), Err)
    }

    /// Whether a manifest counts for nobody: it is dated too late, and no seal says that it landed in time.
    pub(crate) fn is_void(&self, manifest: &Manifest, dated: StoreTime) -> bool {
        let sealed =
            self.known.read(|known| known.is_sealed(manifest.number)) && !planted(Planted::IgnoreSeals);
        !sealed && self.limits.manifest_void(StoreTime(manifest.begun), dated)
    }

    /// The same, where the listing that showed seals may be long ago, or wrong: what would be void is asked for its seal by name. Whoever takes
    /// a sealed one for void lets its list of garbage go with it, and builds on what is not there any more.
    pub(crate) async fn is_surely_void(&self, manifest: &Manifest, dated: StoreTime) -> Result<bool, Error> {
        if !self.is_void(manifest, dated) {
            return Ok(false);
        }
        if planted(Planted::TrustListedSeals) || planted(Planted::IgnoreSeals) {
            return Ok(true);
        }
        Ok(!self.finds_seal(manifest.number).await?)
    }

    /// Whether a manifest is sealed, asked for by the name of its seal.
    async fn finds_seal(&self, number: u64) -> Result<bool, Error> {
        // As a whole: it is empty, and has no range.
        let path = self.path(ObjectName::Seal(number));
        match retry_read(&self.rng, || self.store.get(&path)).await {
            Ok(_) => {
                self.known.write(|known| known.note_sealed(number));
                Ok(true)
            }
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::storage(format_args!("looking for {path:?}"), error)),
        }
    }

    /// Seals the manifest that this node builds on, where nobody did: it landed in time, and counts from now on whatever becomes of
    /// its date (HAZARDS 24). Its maker does so first of all; where that died, whoever builds on it. What fails here is done by the next.
    pub(crate) async fn seal(&self, number: u64) {
        if number == 0 || self.read_only || self.known.read(|known| known.is_sealed(number)) {
            return;
        }
        let path = self.path(ObjectName::Seal(number));
        let sealed = match self.store.create(&path, bytes::Bytes::new()).await {
            Ok(()) => Ok(true),
            Err(StorageError::AlreadyExists { .. }) if planted(Planted::TrustSealConflict) => Ok(true),
            // It may be the store's word for a conflict without effect: whoever believed that would never seal it.
            Err(StorageError::AlreadyExists { .. }) => self.finds_seal(number).await,
            Err(error) => Err(Error::storage(format_args!("writing {path:?}"), error)),
        };
        match sealed {
            Ok(true) => self.known.write(|known| known.note_sealed(number)),
            Ok(false) => tracing::warn!(path, "a checkpoint is not sealed yet: there was a conflict"),
            Err(error) => tracing::warn!(%error, path, "a checkpoint is not sealed yet"),
        }
    }

    /// A manifest and its date; `None` where it is gone or void.
    pub(crate) async fn manifest(&self, number: u64) -> Result<Option<(Manifest, StoreTime)>, Error> {
        self.manifest_listed(number, false).await
    }

    /// The same, where a listing of the caller may have shown its seal. What a node knows of seals another of its tasks may forget, and the
    /// seal may be deleted since, a moment before its manifest.
    pub(crate) async fn manifest_listed(
        &self,
        number: u64,
        sealed: bool,
    ) -> Result<Option<(Manifest, StoreTime)>, Error> {
        let path = self.path(ObjectName::Checkpoint(number));
        let object = match retry_read(&self.rng, || self.store.get(&path)).await {
            Ok(object) => object,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::storage(format_args!("reading the checkpoint {path:?}"), error)),
        };
        let made = StoreTime::of(object.last_modified);
        self.note_date(made, &path);
        let manifest = Manifest::decode(&object.bytes).map_err(|cause| format_error(&path, cause))?;
        if manifest.number != number || manifest.store_id != self.marker.store_id {
            let message =
                format!("the object {path:?} is the manifest of another checkpoint; it was left as it is");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let needed = manifest.objects().map(|name| self.path(name));
        let broken = self.known.read(|known| known.distrusted(needed));
        if let Some(broken) = broken {
            let message = format!("the checkpoint {path:?} needs {broken:?}, which is damaged or missing");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let sealed = sealed && !planted(Planted::IgnoreSeals) && !planted(Planted::TrustListedSeals);
        if !sealed && self.is_surely_void(&manifest, made).await? {
            tracing::debug!(path, "a checkpoint took too long and does not count");
            return Ok(None);
        }
        Ok(Some((manifest, made)))
    }

    /// The commits that a manifest's folds left out.
    pub(crate) async fn recent(&self, manifest: &Manifest) -> Result<Recent, Error> {
        let path = self.path(ObjectName::Recent(manifest.recent.id));
        let read = retry_read(&self.rng, || self.store.get_sized(&path, manifest.recent.bytes)).await;
        let object = read.map_err(|error| match error {
            error @ StorageError::NotFound { .. } => {
                let message = format!("the object {path:?}, which a checkpoint names, is gone");
                Error::new(ErrorKind::Corrupt, message).with_source(error)
            }
            error => Error::storage(format_args!("reading {path:?}"), error),
        })?;
        let recent = Recent::decode(&object.bytes).map_err(|cause| format_error(&path, cause))?;
        if checksum(&object.bytes) != manifest.recent.checksum {
            let message =
                format!("the object {path:?} is not the file that checkpoint {} names", manifest.number);
            return Err(Error::new(ErrorKind::Corrupt, message).with_object(&path));
        }
        Ok(recent)
    }
}
