//! Transactions that travel between nodes which build on different checkpoints: what one reads of a pair of keys here, it reads of the
//! other there, while pairs rest long enough for their deletions to leave the index.

use crate::history::Op;
use crate::sim::recorded::Recorded;
use crate::sim::workload::Actor;

/// Pairs of the cold keys.
const PAIRS: u64 = 12;

fn pair(n: u64) -> [String; 2] {
    [2 * n, 2 * n + 1].map(|n| format!("cold/{n:02}"))
}

/// The keys of the pair that a transaction has read from, the unread one last.
fn rest_of(ops: &[Op]) -> Option<[String; 2]> {
    let read = ops.iter().find_map(|op| match op {
        Op::Read { key, .. } => key.strip_prefix("cold/").and_then(|n| n.parse::<u64>().ok()),
        Op::Write { .. } => None,
    })?;
    let [even, odd] = pair(read / 2);
    Some(if read.is_multiple_of(2) { [even, odd] } else { [odd, even] })
}

impl Actor {
    /// Mostly transactions that are handed on; now and then a write.
    pub(crate) async fn relay_work(&mut self) {
        match self.draw(100) {
            0..3 => self.replace_pair().await,
            3..5 => self.mixed().await,
            5..50 => self.hand_on().await,
            _ => self.take_over().await,
        }
    }

    /// One key of a pair is written, the other deleted.
    async fn replace_pair(&mut self) {
        let Some(mut tx) = self.begin().await else { return };
        let [mut written, mut deleted] = pair(self.draw(PAIRS));
        if self.draw(2) == 0 {
            std::mem::swap(&mut written, &mut deleted);
        }
        tx.put(&written, 10);
        tx.delete(&deleted);
        tx.commit().await;
    }

    async fn look(&mut self, tx: &mut Recorded, key: String) -> bool {
        match self.draw(2) {
            0 => tx.read(&[key]).await,
            _ => tx.scan(&key, &self.shared.universe, None).await.is_some(),
        }
    }

    /// Reads one key of a pair, and lets others read the other.
    async fn hand_on(&mut self) {
        let Some(mut tx) = self.begin().await else { return };
        let [even, odd] = pair(self.draw(PAIRS));
        let key = if self.draw(2) == 0 { even } else { odd };
        if self.look(&mut tx, key).await
            && let Some(parcel) = tx.suspend().await
        {
            self.shared.parcels.lock().push(parcel);
        }
    }

    /// Goes on with the youngest transaction that waits.
    async fn take_over(&mut self) {
        let parcel = self.shared.parcels.lock().pop();
        let Some(parcel) = parcel else { return self.hand_on().await };
        let Some([_, key]) = rest_of(&parcel.ops) else { return };
        let Some(mut tx) = self.shared.recorder.resume(&self.client, &parcel).await else { return };
        if !self.look(&mut tx, key).await {
            return;
        }
        match self.draw(4) {
            0 => {
                if let Some(parcel) = tx.suspend().await {
                    self.shared.parcels.lock().push(parcel);
                }
            }
            1 => {
                let key = self.key();
                tx.put(&key, 10);
                tx.commit().await;
            }
            _ => drop(tx.commit().await),
        }
    }
}
