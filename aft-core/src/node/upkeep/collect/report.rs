//! What a collection of garbage did.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// A class of garbage, named by what was collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GarbageKind {
    /// Decisions whose commits are in the index.
    FoldedDecisions,
    /// Values that newer versions superseded.
    SupersededValues,
    /// Lists of the two above, once everything in them is deleted, and those of checkpoints that never came to be.
    GarbageLists,
    /// Manifests that a newer one replaced.
    Manifests,
    /// Feed objects whose commits are in the index, and those that landed late.
    FeedObjects,
    /// Copies of feed objects that were left for others to read at once.
    Bundles,
    /// Files of recent commits that no manifest names.
    RecentFiles,
    /// Files of sorted runs that no manifest names.
    RunFiles,
    /// Guards over versions that nobody can read any more.
    Guards,
    /// Claims of request keys whose outcome need not be remembered any longer.
    Claims,
    /// Decisions that need not be remembered any longer: aborts, void ones, those of requests.
    Outcomes,
    /// Lists of the decisions of requests, once everything in them is deleted, and those of checkpoints that never came to be.
    OutcomeLists,
    /// Values of transactions that never committed.
    OrphanValues,
    /// Objects by which nodes shared out background work.
    Epochs,
}

impl GarbageKind {
    /// What the class is called in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FoldedDecisions => "folded decisions",
            Self::SupersededValues => "superseded values",
            Self::GarbageLists => "lists of garbage",
            Self::Manifests => "manifests",
            Self::FeedObjects => "feed objects",
            Self::Bundles => "bundles",
            Self::RecentFiles => "recent files",
            Self::RunFiles => "run files",
            Self::Guards => "guards",
            Self::Claims => "claims",
            Self::Outcomes => "outcomes",
            Self::OutcomeLists => "lists of outcomes",
            Self::OrphanValues => "orphan values",
            Self::Epochs => "epochs",
        }
    }

    /// Why objects of this class may go.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::FoldedDecisions => "the commit is in the index, and its id is too old to commit again",
            Self::SupersededValues => "every running transaction knows the newer version",
            Self::GarbageLists => "everything in it is deleted, or its checkpoint never came to be",
            Self::Manifests => "a newer checkpoint is older than any running transaction",
            Self::FeedObjects => {
                "a checkpoint older than any running transaction has its commits in the index"
            }
            Self::Bundles => "nobody reads the feed that far back any more",
            Self::RecentFiles | Self::RunFiles => {
                "no checkpoint that anyone can still read through names it, and none under way can"
            }
            Self::Guards => "every running transaction reads the key at a newer version",
            Self::Claims => "the request committed longer ago than outcome_retention",
            Self::Outcomes => {
                "decided longer ago than outcome_retention, and in the index where it is a commit"
            }
            Self::OutcomeLists => "everything in it is deleted, or its checkpoint never came to be",
            Self::OrphanValues => "no decision and no row names it, and its transaction can never commit",
            Self::Epochs => "the epoch is over",
        }
    }
}

/// One class of a [`GarbageReport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GarbageClass {
    /// Objects deleted; in a dry run, to be deleted.
    pub objects: u64,
    /// Their bytes, as far as listings told them.
    pub bytes: u64,
    /// Objects of this kind that stay.
    pub kept: u64,
}

/// What a collection of garbage did, or would do.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let report = aft.collect_garbage(true).await?;
/// for (kind, class) in &report.classes {
///     println!("{kind:?}: {} objects of {} bytes may go: {}", class.objects, class.bytes, kind.why());
/// }
/// // In a new store nothing may.
/// assert!(report.dry_run && report.objects() == 0 && report.left_out.is_empty());
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GarbageReport {
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// The store's time that everything was judged by.
    pub now: Option<SystemTime>,
    /// The checkpoint that is older than any running transaction, by which most is judged; `None` where there is none yet, and
    /// then most things stay.
    pub settled_checkpoint: Option<u64>,
    /// Each class that there is anything of.
    pub classes: BTreeMap<GarbageKind, GarbageClass>,
    /// Why something was left out this time: what is damaged, what is still needed although it should be garbage, what another
    /// collection sees to.
    pub left_out: Vec<String>,
    /// Whether any of that is because something in the store is missing, damaged, or not as it should be. `Aft::check` says what.
    #[serde(default)]
    pub is_damaged: bool,
    /// Whether the store's answers showed that it keeps what is deleted ([`Storage::keeps_versions`](crate::Storage::keeps_versions)): on
    /// a bucket with versioning the bytes of all classes stay as noncurrent versions until a lifecycle rule of the bucket expires them.
    #[serde(default)]
    pub keeps_versions: bool,
}

impl GarbageReport {
    /// Objects of all classes that were deleted, or would be.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.classes.values().map(|class| class.objects).sum()
    }

    pub(in crate::node) fn class(&mut self, kind: GarbageKind) -> &mut GarbageClass {
        self.classes.entry(kind).or_default()
    }
}
