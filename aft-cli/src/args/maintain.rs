//! What keeps a store clean and whole takes.

use aft_core::TxnId;
use clap::{Args, ValueEnum};

/// Give a transaction up: decide that it aborts, unless it is decided already
///
/// Says what became of it. Of an undecided transaction no attempt can commit any more, wherever it runs, and its request
/// key is free for a new one. A committed transaction stays committed: that is told on stdout, and is no error.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The transaction's id, a UUIDv7
    pub(crate) id: TxnId,
}

/// Find and publish commits whose process died before it told the other nodes
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    /// Look over every decision of the store, also where it cannot be opened: publish again what nothing carries any more (`aft check`
    /// names such commits), where nothing newer can have deleted it, and report the rest. Let no other process make checkpoints meanwhile
    #[arg(long)]
    pub(crate) all: bool,
}

/// Fold old commits into the index, so that the store opens fast and can be cleaned
///
/// Sweeps first. Commits that every process surely knows (about 18 minutes old, with the default settings) become rows of the
/// index, sorted by key; younger ones are listed beside it. From then on a process that opens the store reads a handful of
/// objects, however many commits were ever made, and `aft gc` can delete what is superseded.
///
/// Worth it every few minutes to hours, wherever something is committed; servers can do it by themselves (Config::maintenance).
/// Costs a list per shard, a read of each folded commit's small values, and a write of the rows, at most a few times over the
/// life of a row. Any process may do it at any time, and killing it does no harm.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {}

/// Delete what no transaction can reach any more
///
/// Says of each class how much goes, why, and how much of it stays. What may go is decided by the store's own clock: values
/// that were superseded, decisions and feed objects that are in the index, replaced files of it, outcomes older than
/// outcome_retention, values of transactions that never committed. Most of it needs a checkpoint that is older than any running
/// transaction (about 16 minutes with the default settings): so `aft checkpoint` first, and `aft gc` later.
///
/// Costs a list of the whole store (a request per thousand objects) and a delete per thousand objects that go. Killing it does no
/// harm: the next one goes on.
///
/// --explain OBJECT deletes nothing. It says of one object, by its path as `aft gc`, `aft check` and `aft versions` print it, what it is, whether a
/// collection would delete it now and by which rule, or else why it stays, and until when about.
#[derive(Debug, Args)]
#[command(after_help = GC_EXAMPLES)]
pub(crate) struct Gc {
    /// Only say what would be deleted; not a byte is written
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Only say why this object stays, or may go; not a byte is written
    #[arg(long, value_name = "OBJECT")]
    pub(crate) explain: Option<String>,
}

const GC_EXAMPLES: &str = "\
Example: aft gc --dry-run
         aft gc --explain commits/0/0198f3f4-0000-7000-8000-000000000000";

/// Verify everything in the store, and name what is missing, damaged or left over
///
/// Reads every checkpoint, every file of the index, every decision, feed object, claim and value, and verifies checksums, order and
/// that everything which something needs is there. Changes nothing, also where it finds something. The store may be in use.
///
/// Ends with exit code 7 where anything is missing or damaged, each object named by its path on stderr. Garbage, and objects that
/// nothing names, do no harm: they are told on stdout, and the exit code is 0.
///
/// Costs a read of the whole store: for a large one that is hours and money. Worth it after trouble with the storage below, after
/// a restore, and now and then.
#[derive(Debug, Args)]
pub(crate) struct Check {}

/// Make a store whole that was copied by other tools, or whose dates were changed
///
/// What counts in a store is judged by the dates that its objects got when they were made. After a copy (`cp -r`, a bucket copied prefix to
/// prefix, a restored backup) they say when it was copied, and every command refuses the store. This says once and for all that what is
/// there now counts. It changes nothing but the marker aft.json, and decisions that are known to be void.
///
/// Decisions that no process published are named: whether they were acknowledged before the copy, or landed too late to count, only
/// their dates could have told. Then nothing is done until --unpublished says what they are.
///
/// No process may use the store meanwhile. Afterwards run `aft check`: a copy may lack objects. To copy a store that is in use, use `aft clone`.
#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// What becomes of decisions that nobody published: `commit` where processes were stopped well before the copy, `abort` where whoever
    /// made them runs its work again
    #[arg(long, value_enum)]
    pub(crate) unpublished: Option<UnpublishedAs>,
}

/// What becomes of decisions that nobody published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnpublishedAs {
    /// They count as committed
    Commit,
    /// They are made aborts
    Abort,
}
