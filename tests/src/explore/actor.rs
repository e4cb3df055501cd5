//! What the programs of a scenario are written with.

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Begin, Error, ErrorKind, Outcome, TxnId};
use parking_lot::Mutex;

use super::stage::Stage;
use crate::sim::recorded::Recorded;
use crate::sim::recorder::{Client, How, Recorder};

/// Who runs a program: a client on a node of its own. All that it does is written down.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) number: usize,
    pub(crate) client: Client,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) stage: Stage,
    /// An id that all actors know.
    pub(crate) id: TxnId,
    /// Outcomes that somebody was told.
    pub(crate) told: Told,
}

/// Outcomes that somebody was told, and by whom.
pub(crate) type Told = Arc<Mutex<Vec<(String, TxnId, Outcome)>>>;

impl Actor {
    /// Begins a transaction under an id of its own. `None` where an accident kept it from beginning.
    pub(crate) async fn begin(&self, begin: Begin) -> Option<Recorded> {
        self.recorder.begin(&self.client, begin, &How::default()).await
    }

    /// Begins a serializable transaction.
    pub(crate) async fn begin_serializable(&self) -> Option<Recorded> {
        let how = How { serializable: true, ..How::default() };
        self.recorder.begin(&self.client, Begin::new(), &how).await
    }

    /// Begins a transaction under the id that all actors know.
    pub(crate) async fn begin_shared(&self) -> Option<Recorded> {
        let how = How { shared: true, ..How::default() };
        self.recorder.begin(&self.client, Begin::new().id(self.id), &how).await
    }

    /// Begins a transaction of the request that all actors know.
    pub(crate) async fn begin_request(&self) -> Option<Recorded> {
        let how = How { shared: true, request: Some("request".to_owned()), ..How::default() };
        self.recorder.begin(&self.client, Begin::new().request("request"), &how).await
    }

    pub(crate) async fn publish(&self) {
        self.explain(self.client.aft.publish().await, "publish");
    }

    pub(crate) async fn refresh(&self) {
        self.explain(self.client.aft.refresh().await, "refresh");
    }

    pub(crate) async fn sweep(&self) {
        self.explain(self.client.aft.sweep().await, "sweep");
    }

    /// Asks what became of an id.
    pub(crate) async fn outcome(&self, id: TxnId) -> Option<Outcome> {
        let outcome = self.explain(self.client.aft.outcome(id).await, "outcome")?;
        self.tell(id, &outcome);
        Some(outcome)
    }

    /// Gives the shared id up.
    pub(crate) async fn cancel(&self) {
        match self.client.aft.cancel(self.id).await {
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {}
            answer => {
                if let Some(outcome) = self.explain(answer, "cancel") {
                    self.tell(self.id, &outcome);
                }
            }
        }
    }

    /// Lets time pass. It is a choice like a request: other actors may go on before, or after.
    pub(crate) async fn wait(&self, time: Duration) {
        self.stage.wait(self.number, time).await;
    }

    fn tell(&self, id: TxnId, outcome: &Outcome) {
        self.told.lock().push((self.client.session.clone(), id, outcome.clone()));
    }

    fn explain<T>(&self, answer: Result<T, Error>, doing: &str) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.recorder.explain(&self.client, &error, doing);
                None
            }
        }
    }
}
