//! The background tasks of a node: its publisher, a sweep now and then, and the maintenance where it is configured.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

use crate::error::Error;
use crate::node::Node;
use crate::planted::{Planted, planted};

/// The tasks that run beside a node's work.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    publisher: Option<JoinHandle<()>>,
    sweep: Option<JoinHandle<()>>,
    bundle: Option<JoinHandle<()>>,
    checkpoint: Option<JoinHandle<()>>,
    maintenance: Option<JoinHandle<()>>,
}

impl Tasks {
    pub(crate) fn sweep(&mut self, task: JoinHandle<()>) {
        self.sweep = Some(task);
    }

    pub(crate) fn bundle(&mut self, task: JoinHandle<()>) {
        self.bundle = Some(task);
    }

    pub(crate) fn checkpoint(&mut self, task: JoinHandle<()>) {
        self.checkpoint = Some(task);
    }

    pub(crate) fn is_bundling(&self) -> bool {
        self.bundle.as_ref().is_some_and(|task| !task.is_finished())
    }

    pub(crate) fn maintain(&mut self, task: JoinHandle<()>) {
        self.maintenance = Some(task);
    }

    /// Forgets the publisher and the maintenance where they have ended though nobody stopped them: the runtime that they ran on is gone.
    /// Which of the two were.
    fn take_ended(&mut self) -> (bool, bool) {
        let ended = |task: &mut Option<JoinHandle<()>>| task.take_if(|task| task.is_finished()).is_some();
        (ended(&mut self.publisher), ended(&mut self.maintenance))
    }

    /// Stops the publisher and the maintenance, which may be left anywhere, and hands over what is under way and ends by itself: the sweep, what bundles, and a light
    /// checkpoint.
    pub(crate) fn stop(&mut self) -> [Option<JoinHandle<()>>; 3] {
        for task in [self.publisher.take(), self.maintenance.take()].into_iter().flatten() {
            task.abort();
        }
        [self.sweep.take(), self.bundle.take(), self.checkpoint.take()]
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// A task that stops when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Task<T> {
    /// What it came to.
    pub(crate) async fn ended(mut self) -> Result<T, JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Node {
    /// Starts the publisher: a while after a commit it publishes what gathered. Idle, it costs nothing.
    pub(crate) fn start_publisher(self: &Arc<Self>) {
        let (node, wake) = (Arc::downgrade(self), Arc::clone(&self.wake));
        let interval = self.config.feed_interval;
        let task = async move {
            loop {
                wake.notified().await;
                tokio::time::sleep(interval).await;
                if !publish_waiting(&node).await {
                    return;
                }
            }
        };
        self.tasks.lock().publisher = Some(tokio::spawn(task));
    }
}

impl Node {
    /// Sees to it that commits get published: by the background task, which is started anew on this runtime where the one that it ran on is
    /// gone; without such a task by this call, where that is due.
    pub(crate) async fn keep_publishing(self: &Arc<Self>) -> Result<(), Error> {
        if !self.config.background || Handle::try_current().is_err() {
            return self.publish_if_due().await;
        }
        let (publisher, maintenance) = self.tasks.lock().take_ended();
        if publisher && self.check_open().is_ok() && !planted(Planted::PublisherStaysGone) {
            tracing::warn!(
                "the runtime that published this node's commits is gone; this one does it from now on"
            );
            self.start_publisher();
            self.wake.notify_one();
        }
        if maintenance && self.check_open().is_ok() {
            self.start_maintenance();
        }
        Ok(())
    }
}

/// Publishes; false once the node is gone.
async fn publish_waiting(node: &Weak<Node>) -> bool {
    let Some(node) = node.upgrade() else { return false };
    if let Err(error) = node.publish().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "publishing failed; the commits wait and are tried again"
        );
    }
    if node.feed.lock().len() > 0 {
        node.wake.notify_one();
    }
    true
}
