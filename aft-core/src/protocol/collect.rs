//! What may be deleted (temporary).
use crate::protocol::timeliness::{Limits, StoreTime};

impl Limits {
    #[allow(missing_docs)]
    pub fn horizon(&self, now: StoreTime) -> StoreTime {
        let ms = self.staleness_ms + self.deadline_ms + self.lifetime_ms + self.visibility_ms + 2 * self.skew_ms + 1000;
        StoreTime(now.ms().saturating_sub(ms) / 1000)
    }
    #[allow(missing_docs)]
    pub fn settles(&self, now: StoreTime, made: StoreTime) -> bool {
        now.ms() > made.ms() + self.staleness_ms + self.lifetime_ms + self.visibility_ms + 2 * self.skew_ms + 1000
    }
    #[allow(missing_docs)]
    pub fn unreferenced_file_may_go(&self, date: StoreTime, now: StoreTime) -> bool {
        now.ms() > date.ms() + self.lifetime_ms + 2 * self.visibility_ms + self.skew_ms + 1000
    }
    #[allow(missing_docs)]
    pub fn orphan_value_may_go(&self, start_ms: u64, now: StoreTime) -> bool {
        self.is_forgotten(start_ms + self.skew_ms, now)
    }
    #[allow(missing_docs)]
    pub fn outcome_may_go(&self, start_ms: u64, now: StoreTime, retention: u64, settled_ms: u64) -> bool {
        start_ms < settled_ms && now.ms() > start_ms + retention + 2 * self.lifetime_ms + self.deadline_ms + 2 * self.visibility_ms + 3 * self.skew_ms + 1000
    }
    #[allow(missing_docs)]
    pub fn claims_may_go(&self, date: StoreTime, now: StoreTime, retention: u64) -> bool {
        now.ms() > date.ms() + retention + self.lifetime_ms + self.visibility_ms + 1000
    }
    #[allow(missing_docs)]
    pub fn epoch_may_go(&self, date: StoreTime, now: StoreTime) -> bool {
        self.settles(now, date)
    }
    #[allow(missing_docs)]
    pub fn manifest_void(&self, begun: StoreTime, date: StoreTime) -> bool {
        date.ms() > begun.ms() + self.lifetime_ms
    }
}
