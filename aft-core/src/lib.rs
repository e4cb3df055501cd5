//! Atomic, exactly-once transactions over any object store, without a server, a lock or a coordinator.
//!
//! A transaction reads and writes any number of keys. Its writes become visible all at once or not at all, to every
//! process that opened the same store. The one thing that a store must be able to do is to make an object only where
//! none is; everything else follows from that. aft implements the read-atomic protocol of AFT (Sreekanti et al., "A
//! Fault-Tolerance Shim for Serverless Computing", EuroSys 2020), whose isolation level is that of RAMP (Bailis et al.,
//! "Scalable Atomic Visibility with RAMP Transactions", SIGMOD 2014).
//!
//! # Quick start
//!
//! ```
//! use std::sync::Arc;
//! use aft_core::{Aft, Begin, CommitOutcome, Config, TxnId};
//! use aft_memory::MemoryStorage;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await?;
//!
//! // An id that comes with the event makes every retry the same transaction: it commits once.
//! let id = TxnId::new();
//! for attempt in 0..2 {
//!     let mut tx = aft.begin_with(Begin::new().id(id)).await?;
//!     tx.put("order/4711", "paid")?;
//!     tx.put("stock/apples", "99")?;
//!     tx.set_result("receipt no. 1")?;
//!     let commit = tx.commit().await?;
//!     assert_eq!(commit.outcome == CommitOutcome::Replayed, attempt == 1);
//!     assert_eq!(commit.result.as_deref(), Some(&b"receipt no. 1"[..]));
//! }
//!
//! let tx = aft.begin().await?;
//! assert_eq!(tx.scan_prefix("order/").await?.len(), 1);
//! assert_eq!(tx.get("stock/apples").await?.as_deref(), Some(&b"99"[..]));
//! aft.close().await?;
//! # Ok::<(), aft_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! The store above lives in this process. `aft_s3::open(url, options)` opens `s3://bucket/prefix` and
//! `file:///folder`, and any other implementation of [`Storage`] does as well. A node needs a Tokio runtime with
//! timers, also for [`Transaction::put`], which starts uploads.
//!
//! # Exactly once, across functions
//!
//! Functions are retried, events are delivered twice, and a workflow has several steps on several machines.
//!
//! - **The event has an id and a time**: [`TxnId::for_request`] makes the same transaction id from it everywhere; pass it to
//!   [`Begin::id`]. Nothing is asked of the store.
//! - **The event has a key** (an order number): [`Aft::run`] runs its transaction exactly once and returns the stored result, also to
//!   whoever comes later. [`Begin::request`] and [`Transaction::replay`] are the parts it is made of. One more create.
//! - **The transaction has several steps**: [`Transaction::suspend`] makes a [`Token`], which goes to the next function in its payload;
//!   [`Aft::resume`] goes on with it on any node, and a retried function resumes the same token again. Steps that run side by
//!   side each resume the same token, and [`Token::join`] makes one of those they return.
//! - **A process died**, and nobody knows how far it came: [`Aft::outcome`] tells, [`Aft::cancel`] decides.
//!
//! # What it guarantees
//!
//! - **No dirty reads**: only committed transactions are read.
//! - **No fractured reads** (AFT, section 3.2): whoever read what a commit wrote reads, of everything else that the
//!   commit wrote, that or something newer. An absent key counts as read, and so does every key of a scanned range.
//! - **Read your writes** and **repeatable reads**, deletes included (AFT, section 3.5).
//! - **Exactly once** (AFT, section 3.1): one transaction id, and one request key, commits at most once, whichever processes
//!   retry or race it, and a retry gets the outcome and the stored result of the attempt that won.
//! - **No lost update, where keys are guarded**: of the transactions that read one version of a key with
//!   [`get_guarded`](Transaction::get_guarded) and write the key, at most one commits.
//! - **Serializable, where all transactions are**: those that begin with [`Begin::serializable`].
//! - **Durable when acknowledged**: a commit survives every process, and becomes visible everywhere without the one that
//!   made it (AFT, section 4.2).
//! - **Causal versions**: a commit's version exceeds every version that it read, whatever the clocks say.
//!
//! All of this holds for a transaction that travels as for one that stays.
//!
//! It does not guarantee serializability where nobody asked for it (two transactions that read the same state unguarded may both
//! commit: write skew and lost updates are possible), nor that other nodes see a commit at once. They see it within
//! [`Config::max_staleness`] and [`Config::feed_interval`]; whoever holds its [`Receipt`] sees it at once.
//!
//! # The public names
//!
//! | for | names |
//! |---|---|
//! | opening | [`Aft`], [`Builder`], [`Config`], [`StoreInfo`] |
//! | transactions | [`Transaction`], [`Begin`], [`Commit`], [`CommitOutcome`], [`Run`], [`Attempt`], [`IntoValue`], [`Token`], [`KeyRange`], [`ScanPages`], [`Entry`], [`json`] |
//! | identity | [`TxnId`], [`Version`], [`Timestamp`], [`Receipt`], [`Outcome`] |
//! | running a node | [`Stats`], [`Cost`], [`SweepReport`], [`SweepAllReport`], [`LostCommit`] |
//! | looking into a store | [`StoreInfo`], [`CommitInfo`], [`RecentCommit`], [`RecentWrite`], [`VersionInfo`], [`RecentVersion`], [`KeyChange`], [`TransactionInfo`], [`DecisionInfo`], [`WriteInfo`], [`GuardInfo`], [`Publication`], [`RequestInfo`] |
//! | maintenance | [`Maintenance`], [`CheckpointReport`], [`GarbageReport`], [`GarbageClass`], [`GarbageExplanation`], [`GarbageKind`], [`CheckReport`], [`CheckProblem`], [`CheckProblemKind`] |
//! | stores | [`Storage`], [`Object`], [`ObjectInfo`], [`StorageError`], [`check_path`]; the module `conformance` (feature of that name), the suite that every adapter runs |
//! | time | [`Clock`], [`SystemClock`] |
//! | errors | [`Error`], [`ErrorKind`], [`BoxError`] |
//!
//! # Errors
//!
//! Every call returns [`Error`]. Its [`kind`](Error::kind) says what the caller should do, its text what happened, to
//! which transaction and what became of it; the cause is its `source`. Two kinds ask for care:
//! [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) means that a commit may have happened and
//! [`Aft::outcome`] will tell, and [`Unpublished`](ErrorKind::Unpublished) means that it did happen. A future of
//! [`Transaction::commit`] that is dropped before it ends leaves the same question as `OutcomeUnknown`.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | key | 1 to [`MAX_KEY_BYTES`] bytes |
//! | request key | 1 to 4096 bytes |
//! | value | [`Config::max_value_bytes`], 256 MiB unless set otherwise |
//! | keys of one transaction | what fits one record of [`Config::max_record_bytes`]: some tens of thousands |
//! | bytes of one transaction | [`Config::max_transaction_bytes`], held in memory until it ends |
//! | stored result | [`MAX_RESULT_BYTES`] |
//! | values in a token | 64 KiB together; the others are in the store |
//! | age of a transaction | [`Config::transaction_lifetime`], 15 minutes unless set otherwise |
//! | clocks of the nodes | within [`Config::max_clock_skew`] of the store's; a node beyond it refuses to commit |
//!
//! # Keeping a store small
//!
//! [`Aft::checkpoint`] folds everything that every node surely knows into an index, sorted Parquet files in the store, so that a node
//! starts in a handful of requests and holds only about the last 20 minutes' commits in memory, however large the store is.
//! [`Aft::collect_garbage`] deletes what no transaction can reach any more. Any node may do either at any time, and so may `aft checkpoint` and
//! `aft gc`; with [`Config::maintenance`] nodes share both out among themselves. Without them a store only grows, a node holds the keys
//! (not the values) of every commit, and opening reads the whole feed.
//! [`Aft::check`] verifies a store.

mod clock;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[deny(clippy::indexing_slicing)]
#[cfg_attr(not(test), deny(clippy::string_slice))]
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod json;
mod key_range;
mod node;
mod path;
#[cfg(feature = "planted-bugs")]
#[doc(hidden)]
pub mod planted;
#[cfg(not(feature = "planted-bugs"))]
mod planted;
mod protocol;
mod receipt;
mod rng;
mod storage;
mod text;
mod token;
mod txn_id;
mod value;
mod version;

pub use clock::{Clock, SystemClock};
pub use config::{Config, MAX_KEY_BYTES, MAX_RESULT_BYTES, Maintenance};
pub use error::{Error, ErrorKind};
pub use key_range::KeyRange;
pub use node::{
    AdoptReport, Aft, Attempt, Begin, Builder, CheckProblem, CheckProblemKind, CheckReport, CheckpointInfo,
    CheckpointReport, CloneOptions, CloneProgress, CloneReport, Commit, CommitInfo, CommitOutcome, Cost,
    DecisionInfo, Entry, GarbageClass, GarbageExplanation, GarbageKind, GarbageReport, GuardInfo,
    KeyActivity, KeyChange, LostCommit, NodeInfo, Outcome, Publication, RecentCommit, RecentVersion,
    RecentWrite, RequestInfo, Run, ScanPages, Stats, StoreInfo, SweepAllReport, SweepReport, Transaction,
    TransactionInfo, Unpublished, ValueStream, VersionInfo, WriteInfo,
};
pub use path::check_path;
pub use receipt::Receipt;
pub use storage::{BoxError, Object, ObjectInfo, Storage, StorageError, TooLarge};
pub use token::Token;
pub use txn_id::TxnId;
pub use value::IntoValue;
pub use version::{Timestamp, Version};

/// The examples of the readme compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
