//! What else tells that a decision is a commit, asked before a register is believed that does not say so (I10).
//!
//! The register decides, and everything that a node knows of a commit began with it. So where the feed, a checkpoint or the node itself
//! tells of a commit, and its register is empty, an abort, or dated too late, the register was lost or changed, and believing it would
//! deny a commit that was acknowledged, or run a finished request a second time. What a node knows costs no request to ask. Where the two differ,
//! the register is asked again (it may have been empty a moment ago, when nobody had committed yet), and what is known after a refresh: a decision may be
//! gone because its commit was folded, by a checkpoint that this node does not know yet.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::format::garbage::Garbage;
use crate::format::name::{OUTCOMES, ObjectName};
use crate::node::Node;
use crate::node::exchange::register::RegisterState;
use crate::node::store::{Store, retry_read};
use crate::planted::{Planted, planted};
use crate::protocol::knowledge::Teller;
use crate::storage::StorageError;
use crate::txn_id::TxnId;

impl Node {
    /// What this node knows that says that a decision is a commit whose object must still be there; `None` where nothing does.
    pub(crate) fn told(&self, id: TxnId) -> Option<Teller> {
        if planted(Planted::BelieveLostRegister) {
            return None;
        }
        self.known.read(|known| known.told(id))
    }

    /// What a register says, where it denies no commit that this node knows of. It is asked once more where it seems to: what is known by
    /// now may have been decided, and told, since it was asked.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], with the decision's path and what tells of it; else as a refresh.
    pub(crate) async fn check_told(
        self: &Arc<Self>,
        store: &Store,
        id: TxnId,
        mut looked: RegisterState,
    ) -> Result<RegisterState, Error> {
        if matches!(looked, RegisterState::Committed { .. }) || self.told(id).is_none() {
            return Ok(looked);
        }
        if !planted(Planted::TellOfOldAnswers) {
            looked = self.read_register(store, id).await?;
            if matches!(looked, RegisterState::Committed { .. }) {
                return Ok(looked);
            }
        }
        if !planted(Planted::TellWithoutRefresh) {
            self.known.look_again();
            self.refresh().await?;
        }
        match self.told(id) {
            None => Ok(looked),
            Some(told) => Err(self.denied(id, &looked, &told.to_string())),
        }
    }

    /// Refuses to take a request for one that never committed where a checkpoint's list of outcomes says that it did. The transaction's register
    /// is known not to say so, and to be too old to. Asked only where nothing else can tell: it costs a list, and a get per list of outcomes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], with the paths of the decision and of the list.
    pub(crate) async fn check_outcome_lists(
        &self,
        store: &Store,
        id: TxnId,
        looked: &RegisterState,
    ) -> Result<(), Error> {
        let horizon_ms = self.known.base().horizon().ms();
        // What began later is not folded: this node would know of it.
        if id.start_ms() > horizon_ms.saturating_add(self.limits.skew_ms)
            || planted(Planted::IgnoreOutcomeLists)
        {
            return Ok(());
        }
        let retention = self.marker.settings.outcome_retention_ms;
        let now = self.store_time();
        if now.is_some_and(|now| self.limits.outcome_may_go(id.start_ms(), now, retention, u64::MAX)) {
            return Ok(());
        }
        let listed = retry_read(&self.rng, || store.list(OUTCOMES, None)).await;
        let listed = listed.map_err(|error| Error::storage("listing outcomes", error))?;
        // The first checkpoint that can have folded it comes first.
        let mut lists: Vec<_> = listed
            .into_iter()
            .filter_map(|object| match ObjectName::parse(&object.path, self.shards) {
                Some(ObjectName::Outcomes(_, file)) => Some((file, object)),
                _ => None,
            })
            .filter(|(file, _)| file.0.start_ms().saturating_add(2 * self.limits.skew_ms) >= id.start_ms())
            .collect();
        lists.sort_unstable_by_key(|(file, _)| *file);
        for (_, object) in lists {
            let path = object.path;
            let read = match retry_read(&self.rng, || store.get_sized(&path, object.size)).await {
                Ok(read) => read,
                Err(StorageError::NotFound { .. }) => continue,
                Err(error) => return Err(Error::storage(format_args!("reading {path:?}"), error)),
            };
            match Garbage::decode(&read.bytes) {
                Ok(list) if list.decisions.contains(&id) => {
                    return Err(self.denied(id, looked, &format!("the list of outcomes {path:?} tells")));
                }
                Ok(_) => {}
                // Nothing else says that the register is wrong: to be stopped by this one would stop every request that died.
                Err(cause) => {
                    tracing::error!(path, %cause, "a list of outcomes is damaged; whether it names a request's decision is not known");
                }
            }
        }
        Ok(())
    }

    fn denied(&self, id: TxnId, looked: &RegisterState, told: &str) -> Error {
        let path = self.path(ObjectName::Decision(id));
        let what = match looked {
            RegisterState::Empty => "is gone",
            RegisterState::Dead { void: None, .. } => "is an abort",
            RegisterState::Dead { .. } => "is dated too late to count",
            RegisterState::Forgotten => "is gone, or dated too late to count",
            RegisterState::Committed { .. } => "cannot be trusted",
        };
        let message = format!(
            "the decision {path:?} {what}, though {told} that it committed: it was lost or changed, and nothing was done; put the object back as it was, with its \
             date, or put it back and run `aft adopt`, which goes by no date"
        );
        tracing::error!(txn = %id, path, told, "a decision was lost or changed");
        Error::new(ErrorKind::Corrupt, message).with_txn(id).with_object(&path)
    }
}
