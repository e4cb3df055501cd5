//! Whether dates can be trusted: the store's, and this node's clock.

use crate::error::{Error, ErrorKind};
use crate::format::name::{Job, MARKER, ObjectName};
use crate::node::Node;
use crate::node::open::dates_changed;
use crate::node::store::retry_read;
use crate::protocol::timeliness::StoreTime;
use crate::storage::StorageError;

impl Node {
    /// Fails where the store dates its marker otherwise than when this node opened it: somebody copied the store onto itself, changed its
    /// dates, or adopted it. By dates it would be judged what counts, and what may be deleted (HAZARDS 24).
    pub(crate) async fn check_dates(&self) -> Result<(), Error> {
        match retry_read(&self.rng, || self.store.get(MARKER)).await {
            Ok(marker) if StoreTime::of(marker.last_modified) == self.marker_dated => self.check_marker(),
            Ok(_) => Err(dates_changed()),
            Err(error @ StorageError::NotFound { .. }) => {
                let message = "the store's marker, aft.json, is gone since this node opened the store; nothing was done. Put it back from a \
                               copy of the store, and run `aft adopt`";
                Err(Error::new(ErrorKind::Corrupt, message).with_source(error).with_object(MARKER))
            }
            Err(error) => Err(Error::storage("reading the store's marker", error)),
        }
    }

    /// Fails where the marker was dated otherwise than it was made when this node opened the store.
    fn check_marker(&self) -> Result<(), Error> {
        let in_place = self.limits.marker_in_place(self.marker.made_ms, self.marker_dated);
        if in_place { Ok(()) } else { Err(dates_changed()) }
    }

    /// Fails where there are checkpoints and none of them counts, though some were settled: the feed before them is gone, and the store
    /// would look empty.
    pub(crate) fn check_any_counts(&self, numbers: &[u64]) -> Result<(), Error> {
        match (numbers.first(), numbers.last()) {
            (Some(newest), Some(oldest)) if *oldest > 1 => {
                let path = self.path(ObjectName::Checkpoint(*newest));
                let message = format!(
                    "there are {} checkpoints, the newest at {path:?}, and none of them counts by its date; nothing was read or written. \
                     Were their dates changed, or are they a copy? Then `aft adopt` makes the store whole",
                    numbers.len()
                );
                Err(Error::new(ErrorKind::DatesChanged, message).with_object(&path))
            }
            _ => Ok(()),
        }
    }

    /// Dates this node's clock by an object of its own, where another object's date contradicts it: so that one dated in the future is
    /// not taken for the store's time (HAZARDS 27). What fails here is tried with the next refresh.
    pub(crate) async fn date_clock(&self) {
        let doubted = |now| self.known.read(|known| known.ahead(now).map(|(_, path)| path.to_owned()));
        let sent = self.now();
        let Some(ahead) = doubted(sent).filter(|_| !self.read_only) else { return };
        let path = self.path(ObjectName::Epoch(Job::Clock, sent.wall_ms));
        let created = self.store.create(&path, bytes::Bytes::new()).await;
        let answered = self.now();
        let Ok(listed) = self.store.list(&path, None).await else { return };
        let Some(object) = listed.into_iter().find(|object| object.path == path && created.is_ok()) else {
            return;
        };
        let dated = StoreTime::of(object.last_modified);
        self.known.write(|known| known.measure(sent, answered, dated));
        if doubted(self.now()).is_none() {
            tracing::error!(
                path = ahead,
                "an object is dated in the future; its date is not taken for the store's time"
            );
        }
    }
}
