//! What clients do with request keys and tokens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aft_core::{Begin, CommitOutcome, Error, ErrorKind, TxnId};
use parking_lot::Mutex;

use crate::history::Status;
use crate::sim::notes::Notes;
use crate::sim::recorded::{Parcel, Recorded};
use crate::sim::recorder::How;
use crate::sim::workload::Actor;

/// Requests that are tried again: the last so many.
const OPEN_REQUESTS: u64 = 6;

/// None of a run's attempts committed, as far as its error says.
fn refused(attempts: &mut [Notes], error: &Error) {
    for notes in attempts {
        if error.kind() == ErrorKind::Application {
            notes.entry.status = Status::Aborted;
        } else {
            notes.refused(error, true);
            notes.entry.abort_decided = false;
        }
    }
}

impl Actor {
    pub(crate) async fn request_work(&mut self) {
        match self.draw(10) {
            0..2 => self.request().await,
            2..5 => self.run().await,
            5..8 => self.travel().await,
            _ => self.depart().await,
        }
    }

    /// A new request or one of the last, which others may be running or have finished.
    fn request_key(&mut self) -> String {
        let next = &self.shared.next_request;
        let newest = next.load(Ordering::Relaxed);
        if newest == 0 || self.draw(3) == 0 {
            return format!("request-{}", self.shared.next_request.fetch_add(1, Ordering::Relaxed));
        }
        let back = self.draw(OPEN_REQUESTS.min(newest));
        format!("request-{}", newest - 1 - back)
    }

    async fn begin_request(&mut self) -> Option<Recorded> {
        let key = self.request_key();
        let how = How { shared: true, request: Some(key.clone()), ..How::default() };
        self.shared.recorder.begin(&self.client, Begin::new().request(key), &how).await
    }

    /// Some reads and writes; false where a fault ended the transaction.
    async fn steps(&mut self, tx: &mut Recorded) -> bool {
        for _ in 0..1 + self.draw(3) {
            self.think(2000).await;
            let key = self.key();
            match self.draw(8) {
                0..3 => {
                    let keys = [key];
                    let read =
                        if self.draw(3) == 0 { tx.read_guarded(&keys).await } else { tx.read(&keys).await };
                    if !read {
                        return false;
                    }
                }
                3..6 => {
                    let len = self.value_len();
                    tx.put_or_stream(&key, len).await;
                }
                6 => tx.delete(&key),
                _ => {
                    let prefix = ["hot/", "dir/", "cold/1"][usize::try_from(self.draw(3)).unwrap_or(0)];
                    if tx.scan(prefix, &self.shared.universe, None).await.is_none() {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// A request by hand: begun, worked on, committed, given up or left.
    async fn request(&mut self) {
        let Some(mut tx) = self.begin_request().await else { return };
        if !self.steps(&mut tx).await {
            return;
        }
        match self.draw(12) {
            0 => tx.abort().await,
            // The client forgets it.
            1 => drop(tx),
            _ => drop(tx.commit().await),
        }
    }

    /// A request that runs to its end, whatever fails on the way.
    async fn run(&mut self) {
        let request = self.request_key();
        let (key, other, len) = (self.key(), self.key(), self.value_len());
        let (gives_up, pause, guarded) = (self.draw(10) == 0, self.draw(3000), self.draw(3) == 0);
        let attempts: Arc<Mutex<Vec<Notes>>> = Arc::default();
        let (recorder, client) = (Arc::clone(&self.shared.recorder), self.client.clone());
        // Owned, all of it: what borrows cannot be spawned.
        let (noted, notes_of) =
            (Arc::clone(&attempts), (Arc::clone(&recorder), client.clone(), request.clone()));
        let ran = client.aft.run(&request, async move |tx| {
            let (recorder, client, request) = &notes_of;
            let mut notes = Notes::new(recorder, client, tx.id());
            recorder.note_id(tx.id(), Some(request));
            // Should the node die from here on, nobody knows.
            notes.entry.status = Status::Unknown;
            notes.entry.result = Some(notes.entry.attempt.to_string());
            let read = if guarded { tx.get_guarded(&key).await } else { tx.get(&key).await };
            if guarded {
                notes.entry.guarded.insert(key.as_str().into());
            }
            if let Ok(value) = &read {
                notes.read(tx, &key, value.as_deref());
                notes.put(tx, &key, len);
                notes.put(tx, &other, 10);
            }
            let result = notes.entry.attempt.to_string();
            noted.lock().push(notes);
            read?;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if gives_up {
                return Err(Error::application(std::io::Error::other("gives up")));
            }
            Ok(result.into())
        });
        let ran = ran.await;
        let mut attempts = std::mem::take(&mut *attempts.lock());
        match ran {
            Ok(run) => {
                let result = String::from_utf8_lossy(&run.result).into_owned();
                let own = |notes: &Notes| notes.entry.attempt.to_string() == result;
                // A request has one result, so of its attempts one took effect at most.
                for notes in attempts.iter_mut().filter(|notes| !own(notes)) {
                    notes.entry.status = Status::Aborted;
                }
                if !attempts.iter().any(own) {
                    let mut notes = Notes::new(&recorder, &client, run.receipt.txn_id());
                    notes.entry.replayed = true;
                    notes.entry.result = Some(result);
                    notes.acked(&run.receipt, true);
                    if run.outcome == CommitOutcome::Fresh {
                        recorder.problem(format!(
                            "{} ran {request} afresh, as no attempt of its own",
                            client.session
                        ));
                    }
                } else if let Some(notes) = attempts.iter_mut().find(|notes| own(notes)) {
                    notes.acked(&run.receipt, true);
                }
            }
            Err(error) => {
                refused(&mut attempts, &error);
                let explained = matches!(error.kind(), ErrorKind::Application | ErrorKind::OutcomeUnknown);
                if attempts.is_empty() && !explained {
                    recorder.explain(&client, &error, "run");
                }
            }
        }
    }

    /// Begins a transaction for others to go on with: it is suspended, and its token may be delivered twice.
    async fn depart(&mut self) {
        let tx = if self.draw(3) == 0 { self.begin_request().await } else { self.begin().await };
        let Some(mut tx) = tx else { return };
        if !self.steps(&mut tx).await {
            return;
        }
        if let Some(parcel) = tx.suspend().await {
            self.send(parcel);
        }
    }

    fn send(&mut self, parcel: Parcel) {
        let copies = 1 + self.draw(2);
        let mut parcels = self.shared.parcels.lock();
        (0..copies).for_each(|_| parcels.push(parcel.clone()));
    }

    /// A parcel that somebody sent.
    fn receive(&mut self, wanted: impl Fn(TxnId) -> bool) -> Option<Parcel> {
        let draw = usize::try_from(self.draw(1 << 20)).unwrap_or_default();
        let mut parcels = self.shared.parcels.lock();
        let fitting: Vec<_> = (0..parcels.len()).filter(|at| wanted(parcels[*at].token.txn_id())).collect();
        (!fitting.is_empty()).then(|| parcels.swap_remove(fitting[draw % fitting.len()]))
    }

    /// Goes on with a transaction that somebody suspended: commits it, sends it on, gives it up; or joins it with another branch of it.
    async fn travel(&mut self) {
        let Some(mut parcel) = self.receive(|_| true) else { return self.depart().await };
        let txn = parcel.token.txn_id();
        if self.draw(2) == 0
            && let Some(other) = self.receive(|other| other == txn)
        {
            match parcel.clone().join(other) {
                Some(joined) => parcel = joined,
                None => self.client.network.note(&format!("branches of {txn} cannot be joined")),
            }
        }
        let Some(mut tx) = self.shared.recorder.resume(&self.client, &parcel).await else { return };
        if !self.steps(&mut tx).await {
            return;
        }
        match self.draw(10) {
            0..4 => {
                if let Some(parcel) = tx.suspend().await {
                    self.send(parcel);
                }
            }
            4 => tx.abort().await,
            _ => drop(tx.commit().await),
        }
    }
}
