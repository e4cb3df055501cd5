//! Proving a checkpoint before what went before it is deleted: everything that it needs is there, and is what was written.
//!
//! A manifest that settled lets older ones go, the objects in its list, and feed objects before its horizon. Until then each of
//! its commits is there twice; after that, once: in its files. So its recent file and every file that is new in it are read first,
//! every block of them, a few MiB at a time. What a file holds is compared with the lists as well, and exactly: a value that a row
//! names is not garbage, whatever a list says. (A filter of every tail would do it without reading rows; but with hundreds of files one
//! of them errs for nearly every value.)

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};

use super::{Collection, Manifests};
use crate::error::{Error, ErrorKind};
use crate::format::garbage::Garbage;
use crate::format::manifest::{Manifest, RunFile};
use crate::format::name::{FileId, ObjectName, ValueName};
use crate::format::row::RowValue;
use crate::format::run::{Block, Tail};
use crate::node::upkeep::collect::needed::is_damage;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::txn_id::TxnId;

/// About how much of a file is in memory at once.
const READ_BYTES: u64 = 4 << 20;
/// So many files are read side by side.
const FILES: usize = 4;

/// Value objects, each with its transaction.
type Values = HashSet<(TxnId, ValueName)>;

/// What a node's collections remember of those before: by the random number of a manifest that was proven, the values that its rows
/// name although a list calls them garbage. There are hardly ever any.
#[derive(Debug, Default)]
pub(crate) struct Proofs(BTreeMap<u64, Arc<Values>>);

impl Collection<'_> {
    /// Whether the settled checkpoint was read as a whole, so that what went before it may go. It is read at most once. `lists` are what
    /// it and those before it call garbage; `whole` is whether each of them could be read.
    pub(super) async fn prove(
        &mut self,
        manifests: &Manifests,
        lists: &[Garbage],
        whole: bool,
    ) -> Result<bool, Error> {
        if let Some(proven) = self.proven {
            return Ok(proven);
        }
        self.need_recent(manifests).await?;
        let proven = match manifests.settled.and_then(|number| manifests.all.get(&number)) {
            None => true,
            Some(manifest) => self.prove_manifest(manifests, manifest, lists, whole).await?,
        };
        self.proven = Some(proven);
        Ok(proven)
    }

    async fn prove_manifest(
        &mut self,
        manifests: &Manifests,
        manifest: &Manifest,
        lists: &[Garbage],
        whole: bool,
    ) -> Result<bool, Error> {
        if planted(Planted::DeleteBeforeProof) {
            return Ok(true);
        }
        let proven = {
            let proofs = &mut self.node.proofs.lock().0;
            proofs.retain(|attempt, _| manifests.all.values().any(|it| it.attempt == *attempt));
            proofs.get(&manifest.attempt).cloned()
        };
        let read = match proven {
            // What its recent file names must be known all the same.
            Some(named) => self.need_recent_of(manifest).await.map(|()| named),
            None => self.read_all(manifests, manifest, lists).await,
        };
        match read {
            Ok(named) => {
                if whole {
                    self.node.proofs.lock().0.insert(manifest.attempt, Arc::clone(&named));
                }
                self.named = named;
                Ok(true)
            }
            Err(error) if is_damage(&error) => {
                self.not_proven(manifest, error).await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn not_proven(&mut self, manifest: &Manifest, error: Error) -> Result<(), Error> {
        let number = manifest.number;
        let path = self.node.path(ObjectName::Checkpoint(number));
        if error.kind() == ErrorKind::VersionUnavailable && !self.is_there(&path).await? {
            self.leave_for_later("what older checkpoints need: another collection is at work".into());
            return Ok(());
        }
        tracing::error!(
            error = &error as &dyn std::error::Error,
            number,
            "a checkpoint is damaged; what could stand in for it was not deleted"
        );
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(" ({cause})"));
        self.leave_out(format!(
            "what older checkpoints need, since checkpoint {number} is damaged: {error}{cause}; restore that object, or make a checkpoint that does without it"
        ));
        Ok(())
    }

    /// Reads everything that is new in a manifest; the values that its rows name and the lists too.
    async fn read_all(
        &mut self,
        manifests: &Manifests,
        manifest: &Manifest,
        lists: &[Garbage],
    ) -> Result<Arc<Values>, Error> {
        self.need_recent_of(manifest).await?;
        let listed: Values = lists.iter().flat_map(|list| list.values.iter().copied()).collect();
        let (node, listed) = (self.node, &listed);
        let files = self.new_files(manifests, manifest);
        tracing::debug!(number = manifest.number, files = files.len(), "reading what a checkpoint needs");
        let named = futures::stream::iter(files)
            .map(|file| async move { node.prove_file(&file, listed).await }.boxed())
            .buffer_unordered(FILES)
            .try_fold(Values::new(), |mut named, more| async {
                named.extend(more);
                Ok(named)
            });
        Ok(Arc::new(named.await?))
    }

    /// The files of a manifest that no earlier collection is sure to have read: those that not all before it need as well, and those that were made
    /// for the oldest of these, or for it where none is left before it. (The oldest may have settled before any collection ran, and its maker named its files after the full checkpoint was
    /// begun that it is or builds on. What that one took over, the collection had read which let those before it go.)
    fn new_files(&self, manifests: &Manifests, manifest: &Manifest) -> Vec<RunFile> {
        let number = manifest.number;
        let mut older: Vec<_> = manifests.all.range(..number).map(|(_, older)| older).collect();
        older.extend(manifests.aside.values().filter(|aside| aside.number < number));
        older.sort_unstable_by_key(|older| older.number);
        let files = |of: &Manifest| of.files().map(|file| file.id).collect::<BTreeSet<FileId>>();
        let common = older.iter().fold(files(manifest), |all, one| &all & &files(one));
        let oldest = older.first().copied().unwrap_or(manifest);
        let trusted = !older.is_empty() && planted(Planted::OldestIsProven);
        let limits = &self.node.limits;
        let slack = 2 * limits.skew_ms + limits.visibility_ms;
        let since_ms = oldest.full_begun.saturating_mul(1000);
        let made_for_it = |file: &RunFile| file.id.0.start_ms().saturating_add(slack) >= since_ms && !trusted;
        let is_new = |file: &&RunFile| !common.contains(&file.id) || made_for_it(file);
        manifest.files().filter(is_new).cloned().collect()
    }
}

impl Node {
    /// Reads a file of a run as it is in the store, whatever the cache holds; the values that its rows name among those listed.
    async fn prove_file(&self, file: &RunFile, listed: &Values) -> Result<Values, Error> {
        let path = self.path(ObjectName::Run(file.id));
        let damaged = |cause| format_error(&path, cause);
        let start = file.bytes.saturating_sub(file.tail_bytes);
        let bytes = self.run_range(&self.store, &path, start..file.bytes).await?;
        let tail = Tail::decode(file.bytes, &bytes).map_err(damaged)?;
        if !file.is_tail(&bytes) {
            let message = format!("the object {path:?} is not the file that the checkpoint names");
            return Err(Error::new(ErrorKind::Corrupt, message).with_object(&path));
        }
        let mut named = Values::new();
        let mut from = 0;
        while from < tail.blocks() {
            let start = tail.block_range(from).start;
            let mut to = from + 1;
            while to < tail.blocks() && tail.block_range(to).end - start <= READ_BYTES {
                to += 1;
            }
            let bytes = self.run_range(&self.store, &path, start..tail.block_range(to - 1).end).await?;
            for n in from..to {
                let range = tail.block_range(n);
                let part = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX).min(bytes.len());
                let block = bytes.slice(part(range.start)..part(range.end));
                let block = Block::decode(&tail, n, &block).map_err(damaged)?;
                if listed.is_empty() {
                    continue;
                }
                for row in (0..block.rows()).map(|n| block.row(n)) {
                    if let RowValue::Stored(stored) = &row.value {
                        let values = stored.parts.iter().map(|part| (row.version.txn, part.object()));
                        named.extend(values.filter(|value| listed.contains(value)));
                    }
                }
            }
            from = to;
            // Decoding is work without a pause; others may have something to do.
            tokio::task::yield_now().await;
        }
        Ok(named)
    }
}
