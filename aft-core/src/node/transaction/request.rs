//! Request keys: which transaction a request leads to, settled by write-once claims (AFT, section 3.1, without ids of the
//! caller's own).
//!
//! Claim number n + 1 of a key is only ever made by someone who knows that the transaction of claim n can never commit. So
//! at most one transaction of a key does, and whoever finds the newest claim need look no further back.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tracing::Instrument;

use crate::config::MAX_KEY_BYTES;
use crate::error::{Error, ErrorKind};
use crate::format::name::{ObjectName, RequestHash};
use crate::format::request::{Claim, input_hash, request_hash};
use crate::node::background::Task;
use crate::node::exchange::register::{Committed, RegisterState, commit_of};
use crate::node::store::{Store, retry_read};
use crate::node::unencodable;
use crate::node::write_once::write_once;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::storage::StorageError;
use crate::txn_id::TxnId;

/// How a claim ended.
#[derive(Debug, Clone)]
pub(crate) enum Claimed {
    /// The request is this transaction: ours, or another attempt's that may still commit.
    Open(TxnId),
    /// The request was finished before.
    Finished(TxnId, Committed),
}

impl Claimed {
    pub(crate) fn txn(&self) -> TxnId {
        let (Self::Open(txn) | Self::Finished(txn, _)) = self;
        *txn
    }
}

/// What the holder of a claim means for its request.
enum Judged {
    /// The request is that transaction.
    Claimed(Claimed),
    /// It can never commit, as its register says.
    Never(RegisterState),
}

/// A claim under way, beside the transaction's reads.
pub(crate) type Claiming = Shared<BoxFuture<'static, Result<Claimed, Error>>>;

/// A request, as its claims know it.
pub(crate) struct Request {
    key: Bytes,
    hash: RequestHash,
    /// The hash of its input, where the caller told it.
    input: Option<[u8; 32]>,
}

impl Request {
    pub(crate) fn new(key: Bytes, input: Option<&Bytes>) -> Self {
        Self { hash: request_hash(&key), key, input: input.map(|input| input_hash(input)) }
    }

    /// Refuses a claim that was made for another input: its result answers another question. Where one of the two told none, nothing
    /// can be said.
    fn check_input(&self, claim: &Claim) -> Result<(), Error> {
        let differ = self.input.zip(claim.input).is_some_and(|(own, other)| own != other);
        if !differ || planted(Planted::IgnoreInput) {
            return Ok(());
        }
        let message = "its request key was used before, with another input, and this input changed nothing; another request needs \
                       another key";
        Err(Error::new(ErrorKind::InputMismatch, message).with_txn(claim.txn))
    }
}

/// Claims of one key that are looked at before giving up: each is a transaction that was given up while this one looked.
const CLAIMS_AT_MOST: u32 = 64;
/// Tries before a claim is given up: about 15 s of waiting.
const CLAIM_TRIES: u32 = 14;

/// Refuses a request key of an impossible length.
pub(crate) fn check_request_key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        let message = format!("a request key of {} bytes; they have 1 to {MAX_KEY_BYTES}", key.len());
        return Err(Error::invalid(message));
    }
    Ok(())
}

impl Node {
    /// Starts to claim a request key for the transaction `fresh`.
    pub(crate) fn start_claim(self: &Arc<Self>, store: Store, request: Request, fresh: TxnId) -> Claiming {
        let node = Arc::clone(self);
        let span = tracing::debug_span!("aft.claim", txn = %fresh);
        // Stops when nobody waits for the claim any more.
        let task = Task::spawn(async move { node.claim(&store, &request, fresh).await }.instrument(span));
        async move {
            match task.ended().await {
                Ok(claimed) => claimed,
                Err(cause) => {
                    let message = "the claim of the request key was stopped; nothing was committed";
                    Err(Error::new(ErrorKind::Unavailable, message).with_source(cause))
                }
            }
        }
        .boxed()
        .shared()
    }

    async fn claim(
        self: &Arc<Self>,
        store: &Store,
        request: &Request,
        fresh: TxnId,
    ) -> Result<Claimed, Error> {
        let mut number = 0;
        let mut claim = self.create_claim(store, request, number, fresh).await?;
        let mut newest = None;
        for _ in 0..CLAIMS_AT_MOST {
            let holder = claim.txn;
            if holder == fresh {
                return Ok(Claimed::Open(fresh));
            }
            let looked = match self.judge_holder(store, holder).await? {
                Judged::Claimed(claimed) => {
                    tracing::debug!(number, holder = %holder, "the request key has a transaction");
                    request.check_input(&claim)?;
                    return Ok(claimed);
                }
                Judged::Never(looked) => looked,
            };
            // The holder can never commit. The claims after it are found by one list, however many there are.
            let known = match newest {
                Some(newest) => newest,
                None => *newest.insert(self.newest_claim(store, request.hash).await?.max(number)),
            };
            let below = (number, holder);
            if known > number {
                number = known;
                claim = self.read_claim(store, request, number).await?.ok_or_else(collected)?;
            } else {
                // Of an abort its maker knew that nothing came before it; of what is gone or void, only that it is too late.
                if !matches!(looked, RegisterState::Dead { void: None, .. }) {
                    self.check_outcome_lists(store, holder, &looked).await?;
                }
                number += 1;
                claim = self.create_claim(store, request, number, fresh).await?;
            }
            self.check_still_there(store, request, below).await?;
        }
        let message =
            "others keep giving up transactions of this request key; nothing was committed; try again later";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Refuses to build on a claim that was collected meanwhile: its number may be another attempt's by now, who may commit (HAZARDS 7).
    /// The oldest goes first; so where this one is still there, the claim after it is what it seemed to be when it was read or made.
    async fn check_still_there(
        &self,
        store: &Store,
        request: &Request,
        (number, holder): (u32, TxnId),
    ) -> Result<(), Error> {
        if planted(Planted::TrustOldClaims)
            || self.read_claim(store, request, number).await?.is_some_and(|claim| claim.txn == holder)
        {
            return Ok(());
        }
        Err(collected())
    }

    /// What the holder of a claim means for the request.
    async fn judge_holder(self: &Arc<Self>, store: &Store, holder: TxnId) -> Result<Judged, Error> {
        // Before the register is asked: what lands while the answer is on its way may still be in time.
        let known = self.store_time();
        let looked = self.read_register(store, holder).await?;
        if let RegisterState::Committed { commits, .. } = looked {
            return finished(holder, commits);
        }
        // The refresh that `begin` makes beside this: the node may have been idle until now.
        self.refresh_if_stale().await?;
        match self.check_told(store, holder, looked).await? {
            RegisterState::Dead { .. } if planted(Planted::AdoptDeadClaim) => {
                Ok(Judged::Claimed(Claimed::Open(holder)))
            }
            // Meanwhile.
            RegisterState::Committed { commits, .. } => finished(holder, commits),
            looked @ (RegisterState::Dead { .. } | RegisterState::Forgotten) => Ok(Judged::Never(looked)),
            looked @ RegisterState::Empty => {
                let now = self.now().wall_ms;
                let young = now.saturating_sub(holder.start_ms()) <= self.limits.lifetime_ms;
                let from_the_future = holder.start_ms() > now.saturating_add(self.limits.skew_ms);
                if young && !from_the_future {
                    return Ok(Judged::Claimed(Claimed::Open(holder)));
                }
                if planted(Planted::TakeOverUnfenced) {
                    return Ok(Judged::Never(looked));
                }
                // Too old to be run under, and yet it might commit: not after the fence.
                match self.fence(store, holder, known).await.map_err(not_fenced)? {
                    RegisterState::Committed { commits, .. } => finished(holder, commits),
                    fenced => Ok(Judged::Never(fenced)),
                }
            }
        }
    }

    /// Makes a claim, or learns who holds it.
    async fn create_claim(
        &self,
        store: &Store,
        request: &Request,
        number: u32,
        fresh: TxnId,
    ) -> Result<Claim, Error> {
        let path = self.path(ObjectName::Request(request.hash, number));
        let claim = Claim { txn: fresh, key: request.key.clone(), input: request.input };
        let bytes = claim.encode().map_err(|cause| unencodable("the claim", cause))?;
        let failed = |error| Error::storage("claiming the request key", error);
        let began = self.now();
        let create = async || {
            // Whoever was frozen for so long may find the number free, because the key's claims were collected (HAZARDS 7).
            let now = self.now();
            let age = now.wall_ms.saturating_sub(fresh.start_ms()).max(now.elapsed_since(began));
            if age > self.limits.lifetime_ms {
                return Err(self.expired(fresh));
            }
            store.try_create(&path, bytes.clone()).await.map_err(failed)
        };
        let settle = async |made: bool| {
            if made || planted(Planted::TrustClaimConflict) {
                return Ok(Some(claim.clone()));
            }
            self.read_claim(store, request, number).await
        };
        write_once(&self.rng, &path, CLAIM_TRIES, create, settle).await?.map_err(failed)
    }

    async fn read_claim(
        &self,
        store: &Store,
        request: &Request,
        number: u32,
    ) -> Result<Option<Claim>, Error> {
        Ok(self.read_dated_claim(store, request, number).await?.map(|(claim, _)| claim))
    }

    /// The same, with its date.
    async fn read_dated_claim(
        &self,
        store: &Store,
        request: &Request,
        number: u32,
    ) -> Result<Option<(Claim, SystemTime)>, Error> {
        let path = self.path(ObjectName::Request(request.hash, number));
        let object = match retry_read(&self.rng, || store.get(&path)).await {
            Ok(object) => object,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::storage("reading the claim of the request key", error)),
        };
        let claim = Claim::decode(&object.bytes).map_err(|cause| format_error(&path, cause))?;
        if claim.key != request.key {
            let message =
                format!("the object {path:?} holds the claim of another request key; it was left as it is");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(Some((claim, object.last_modified)))
    }

    /// The newest claim of a request, with its number and its date; nothing is claimed. A list and two gets.
    pub(crate) async fn find_claim(
        &self,
        store: &Store,
        request: &Request,
    ) -> Result<Option<(u32, Claim, SystemTime)>, Error> {
        let mut number = self.newest_claim(store, request.hash).await?;
        let mut newest = None;
        // A listing may not show the youngest yet.
        for _ in 0..CLAIMS_AT_MOST {
            let Some((claim, dated)) = self.read_dated_claim(store, request, number).await? else { break };
            newest = Some((number, claim, dated));
            number = number.saturating_add(1);
        }
        Ok(newest)
    }

    async fn newest_claim(&self, store: &Store, hash: RequestHash) -> Result<u32, Error> {
        let folder = hash.folder(self.shards);
        let listed = retry_read(&self.rng, || store.list(&folder, None)).await;
        let listed =
            listed.map_err(|error| Error::storage("listing the claims of the request key", error))?;
        let numbers = listed.iter().filter_map(|object| match ObjectName::parse(&object.path, self.shards) {
            Some(ObjectName::Request(found, number)) if found == hash => Some(number),
            _ => None,
        });
        Ok(numbers.max().unwrap_or(0))
    }
}

fn finished(holder: TxnId, commits: Vec<Committed>) -> Result<Judged, Error> {
    Ok(Judged::Claimed(Claimed::Finished(holder, commit_of(holder, commits)?)))
}

/// What is unknown is whether an earlier attempt was fenced: of this one, nothing was sent.
fn not_fenced(error: Error) -> Error {
    if error.kind() != ErrorKind::OutcomeUnknown {
        return error;
    }
    let message =
        "an earlier attempt of the request could not be fenced; this one committed nothing; try again later";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

fn collected() -> Error {
    let message = "the claims of the request key were collected just now; nothing was committed; try again";
    Error::new(ErrorKind::Unavailable, message)
}
