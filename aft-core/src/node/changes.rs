//! Which keys differ between two versions, as far as the view reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::key_range::KeyRange;
use crate::node::Node;
use crate::node::handle::Aft;
use crate::node::index::fetch::INDEX_TRIES;
use crate::node::transaction::read::index_moves;
use crate::node::versions::VersionInfo;
use crate::protocol::base::Base;
use crate::version::Version;

/// So many keys are looked up in the index at a time.
const LOOKED_UP_AT_ONCE: usize = 256;

/// A key that differs between two versions; from [`Aft::changes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyChange {
    /// The key.
    pub key: Bytes,
    /// Its version at the earlier moment; `None` where the key was absent or deleted.
    pub before: Option<VersionInfo>,
    /// Its version at the later moment, which is a deletion where the key was removed.
    pub after: VersionInfo,
}

impl Aft {
    /// The keys of `range` that differ between two versions, sorted: what a reader sees who sees every commit up to `after`, and who sees every
    /// commit up to `through`. That is the order of versions; a reader of that time may have seen less, since what other nodes commit is learned
    /// later, and a commit that others of one node overwrote within the same second not at all. A key that was written again with the same bytes
    /// differs; one that came and went between the two does not.
    ///
    /// It can be told as far back as commits are known one by one: no commit above `after` may be folded. A refresh where one is due; of the index
    /// two ranged gets per run and key at most, for keys of which no older version is recent. Memory: the keys that were written in between.
    ///
    /// # Errors
    /// [`VersionUnavailable`](ErrorKind::VersionUnavailable) where `after` is older than that; else as
    /// [`Transaction::get`](crate::Transaction::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut versions = Vec::new();
    /// for value in ["one", "three"] {
    ///     let mut tx = aft.begin().await?;
    ///     tx.put("k", value)?;
    ///     versions.push(tx.commit().await?.receipt.version());
    /// }
    /// let changes = aft.changes(versions[0], versions[1], aft_core::KeyRange::prefix("")).await?;
    /// assert_eq!((changes[0].before.as_ref().map(|it| it.bytes), changes[0].after.bytes), (Some(3), 5));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn changes(
        &self,
        after: Version,
        through: Version,
        range: KeyRange,
    ) -> BoxFuture<'_, Result<Vec<KeyChange>, Error>> {
        async move { self.node().changes(after, through, &range).await }.boxed()
    }
}

/// What the view says of one key that was written in between.
struct Touched {
    before: Option<VersionInfo>,
    after: VersionInfo,
}

impl Node {
    async fn changes(
        self: &Arc<Self>,
        after: Version,
        through: Version,
        range: &KeyRange,
    ) -> Result<Vec<KeyChange>, Error> {
        self.check_open()?;
        self.refresh_if_stale().await?;
        for _ in 0..INDEX_TRIES {
            let (base, mut touched) = self.touched(after, through, range);
            if after < base.greatest() {
                return Err(folded(after, &base));
            }
            match self.fill_in(&base, &mut touched).await {
                Ok(()) => return Ok(touched.into_iter().filter_map(differs).collect()),
                Err(failure) => self.recover_index(&base, failure).await?,
            }
        }
        Err(index_moves())
    }

    /// Of one moment: the base, and each key that a commit of the view wrote in between.
    fn touched(
        &self,
        after: Version,
        through: Version,
        range: &KeyRange,
    ) -> (Arc<Base>, BTreeMap<Bytes, Touched>) {
        self.known.read(|known| {
            let view = known.view();
            let commits = view.newest_first().skip_while(|commit| commit.version > through);
            let keys: BTreeSet<&[u8]> = commits
                .take_while(|commit| commit.version > after)
                .flat_map(|commit| commit.writes.keys())
                .filter(|key| range.contains(key))
                .collect();
            let touched = keys.into_iter().filter_map(|key| {
                let versions = view.versions(key);
                let at = |most| versions.iter().rev().find(|found| found.version() <= most);
                let found = at(through)?;
                let before = at(after).and_then(|found| self.recent_version(view, found));
                let touched = Touched { before, after: self.recent_version(view, found)? };
                Some((found.key_bytes(), touched))
            });
            (Arc::clone(view.base()), touched.collect())
        })
    }

    /// Looks up in the index what each key was before that has no older version in the view.
    async fn fill_in(&self, base: &Base, touched: &mut BTreeMap<Bytes, Touched>) -> Result<(), Error> {
        let unknown = touched.iter().filter(|(_, touched)| touched.before.is_none());
        let unknown: Vec<Bytes> = unknown.map(|(key, _)| key.clone()).collect();
        for keys in unknown.chunks(LOOKED_UP_AT_ONCE) {
            for (file, row) in self.rows_by_run(&self.store, base, keys).await? {
                let Some(touched) = touched.get_mut(&row.key) else { continue };
                if touched.before.as_ref().is_none_or(|known| known.version < row.version) {
                    touched.before = Some(self.folded(file, &row));
                }
            }
        }
        Ok(())
    }
}

fn differs((key, Touched { before, after }): (Bytes, Touched)) -> Option<KeyChange> {
    let before = before.filter(|before| !before.deleted);
    (before.is_some() || !after.deleted).then_some(KeyChange { key, before, after })
}

fn folded(after: Version, base: &Base) -> Error {
    let message = format!(
        "what changed since the version {after} is not known any more: commits up to the version {} are folded into the index, which keeps the newest \
         version of each key; ask for that version or a newer one",
        base.greatest()
    );
    Error::new(ErrorKind::VersionUnavailable, message)
}
