//! What may be deleted: one rule for each kind of object.
//!
//! Nobody is asked and no acknowledgement awaited. Every rule compares dates that the store gave with `now`, the newest date that
//! the node *has seen*: the store's clock is at least there, and what is asked of the store afterwards is answered later still. So
//! `now` is taken first, then the store is asked whether anything still needs the object, and then the rule is applied to that
//! `now`. A `now` that is too old only delays.
//!
//! The order in which a collection works, so that it may stop anywhere (the number of the rule in brackets):
//!
//! 1. Take `now`; refuse where the node's own clock cannot explain it. List the manifests and read each; list the feed, the
//!    decisions and the lists. Find the newest manifest that [settles](Limits::settles). Without one only orphan values and epochs
//!    may go. Where one cannot be read, only claims and epochs: it may name anything.
//! 2. Read what that manifest needs: its recent file, and each file that is new in it. Where anything of it is damaged, all that older
//!    ones need stays, and so does what lies on the feed.
//! 3. For each manifest up to that one, oldest first: delete all older manifests ([`manifest_may_go`]), so that nobody can
//!    begin from one of those any more, and then what its garbage file names ([`garbage_may_go`]), which only they needed.
//! 4. Delete feed objects, bundles of them, and files that no manifest names any more, void ones included.
//! 5. Delete claims, then the decisions that they led to: those which a list of outcomes names, and those which were read and are
//!    no commits. Then orphan values, and epochs.
//!
//! Nothing of this is deleted where a commit needs it that is in the node's view, or in the recent file of a manifest that stays.
//! A manifest that still exists is therefore whole. Void manifests count for nobody and are deleted like older ones, by number:
//! a number must stay taken until a newer manifest has settled.

use crate::planted::{Planted, planted};
use crate::protocol::timeliness::{Limits, ROUNDING_MS, StoreTime};

/// A manifest may go once a newer one has settled: whoever begins reads the newest, and whoever is running began with the settled
/// one or a newer. `settled` is the number of the newest manifest that settles. Void manifests go by the same rule.
#[must_use]
pub const fn manifest_may_go(number: u64, settled: u64) -> bool {
    number < settled
}

/// What the garbage file of manifest `number` names may go once that manifest or a newer one has settled.
///
/// Its values lost to versions that are in the view of every running transaction, and its decisions are in the runs and forgotten
/// ([`Limits::horizon`]), so nobody who reads through this manifest or a newer one needs them. But a manifest that is older
/// still names both; so older manifests go first, and then these. (Of a decision with a request key there is more to ask:
/// [`Limits::outcome_may_go`].)
#[must_use]
pub const fn garbage_may_go(number: u64, settled: u64) -> bool {
    number <= settled
}

impl Limits {
    /// The horizon of a checkpoint that is made at the store's time `now`: commits published before it are folded, all others stay
    /// in the recent file. (A maker takes no horizon below that of the manifest before.)
    ///
    /// Two things hold for a commit that was published before it, whoever reads through the manifest and whenever:
    ///
    /// - **It was in the view of every running transaction at its begin.** The view at begin has all feed objects that were visible
    ///   L before, so all that were dated L + E before. A transaction reads for D by its node's clocks; where it travelled, D after
    ///   its start by the clock of the node where it is: its start may be S ahead of the clock of the node where it began, that clock S
    ///   ahead of the store's, and the clock where it reads S behind. That makes L + D + E + 3 S. So a row is the version that such
    ///   a transaction must read, or one that it knows to be superseded.
    /// - **Its id is forgotten.** It was decided before it was published, so it started at most S after that by the store's clock;
    ///   that needs D + C + E + 2 S. So nobody finds the id undecided when its decision is gone.
    #[must_use]
    pub fn horizon(&self, now: StoreTime) -> StoreTime {
        let window = self.staleness_ms
            + self.deadline_ms
            + if planted(Planted::HorizonWithoutLifetime) { 0 } else { self.lifetime_ms }
            + self.visibility_ms
            + 3 * self.skew_ms
            + ROUNDING_MS;
        StoreTime(now.ms().saturating_sub(window) / 1000)
    }

    /// Whether a manifest counts for nobody: it landed more than D after `begun`, the newest date that its maker knew before it made
    /// the first of its new files. Whoever deletes files must not wait for a maker that was frozen.
    #[must_use]
    pub fn manifest_void(&self, begun: StoreTime, date: StoreTime) -> bool {
        date.ms() > begun.ms().saturating_add(self.lifetime_ms)
            && !self.is_adopted(date)
            && !planted(Planted::VoidManifestCounts)
    }

    /// Whether every running transaction began on a node that had seen this manifest, dated `date`, or a newer one. (It must not be
    /// void. Nodes look for a newer manifest when they refresh; one that does not will find what it reads gone, and must look then.)
    ///
    /// It became visible at most E after its date. A transaction that runs began, or was resumed, at most D ago, and the last
    /// refresh of its node had begun at most L before that. 2 S are slack. A node that is frozen in the middle of a transaction
    /// finds that it is older than D before it uses what it reads.
    #[must_use]
    pub fn settles(&self, date: StoreTime, now: StoreTime) -> bool {
        let window =
            self.staleness_ms + self.lifetime_ms + self.visibility_ms + 2 * self.skew_ms + ROUNDING_MS;
        self.is_past(date.ms(), window, now)
    }

    /// How long after a refresh began nothing that it has not seen was collected, and nothing that it reads from a manifest on; by
    /// the node's own clocks, in milliseconds.
    ///
    /// What appears after a refresh is dated E before it or later. It goes once it is dated before the horizon of a manifest that
    /// settles: more than L + D + E for the one and as much for the other, C and 5 S beside. What a manifest needs goes once a newer one
    /// settles. So both of the node's clocks may lose half of the time unnoticed.
    #[must_use]
    pub const fn feed_kept_ms(&self) -> u64 {
        self.staleness_ms + self.lifetime_ms + self.visibility_ms
    }

    /// Whether a feed object may go: it was [published](Self::feed_published) before the horizon of the newest manifest that settles.
    ///
    /// If it is in time, each commit in it was published then or before, and so is folded: values that lie in it are in the runs. If
    /// it is late it counts for nobody. A node that has not seen that manifest and looks for the object has been away for longer
    /// than any transaction lives; it begins anew from the manifest.
    #[must_use]
    pub fn feed_may_go(&self, published: StoreTime, settled_horizon: StoreTime) -> bool {
        published < settled_horizon
    }

    /// Whether a file of a run, a recent file or a garbage file that no manifest names may go. The manifests must be listed, and
    /// read, after `now` was seen, and all of them: if one cannot be read, no file may go.
    ///
    /// The manifest that names it first is void unless it is dated at most D after a time that its maker knew before the file was
    /// made; the store's clock may have gone back by E since then. It became visible at most E after its date. S is slack, for
    /// rounding. Other manifests name the file only because one before them does.
    #[must_use]
    pub fn unreferenced_file_may_go(&self, date: StoreTime, now: StoreTime) -> bool {
        let window = self.lifetime_ms + 2 * self.visibility_ms + self.skew_ms + ROUNDING_MS;
        self.is_past(date.ms(), window, now)
    }

    /// Whether a file that is dated `date` cannot be one of a checkpoint that is newer than the manifest which says that it was `begun`:
    /// a maker takes the number after every manifest that it sees, and writes its files then. The store's clock may have gone back by E.
    #[must_use]
    pub fn is_before(&self, date: StoreTime, begun: StoreTime) -> bool {
        date.ms().saturating_add(self.visibility_ms + ROUNDING_MS) < begun.ms()
    }

    /// Whether a value object of a transaction that started at `start_ms` may go, where nothing names it: `now` was seen first, then
    /// its decision was asked for and is not there, and then neither the newest manifest's runs and recent file nor the feed name
    /// it, nor does an older manifest that stays (or it would not be whole any more).
    ///
    /// The id is forgotten, so no decision that names it can come to count. The decision comes *before* the index: had
    /// it been folded and deleted in between, an older index would not have its row, and a live value would look like an orphan
    /// (`HAZARDS` 1). One more S is slack.
    #[must_use]
    pub fn orphan_value_may_go(&self, start_ms: u64, now: StoreTime) -> bool {
        self.is_forgotten(start_ms.saturating_add(self.skew_ms), now)
    }

    /// Whether a decision may go that is kept for its outcome: an abort, a void commit, or a commit with a request key. `settled_ms` is
    /// that of a manifest that counts.
    ///
    /// No commit of the id is dated later than start + D + C, and no abort that counts later than when the id is forgotten, E + S
    /// and a second after that; so each was there for the retention. A commit is in the runs, since it started before `settled_ms`;
    /// but where the feed object that carried it was lost, it is not. So it goes only where a checkpoint has listed it, too.
    /// It goes after its [claims](Self::claims_may_go), which lead to it: the newest of them is dated at most S + D + E after the
    /// transaction's start, for whoever is older claims nothing any more.
    #[must_use]
    pub fn outcome_may_go(&self, start_ms: u64, now: StoreTime, retention_ms: u64, settled_ms: u64) -> bool {
        let claimed = self.skew_ms + self.lifetime_ms + self.visibility_ms;
        let window = claimed + self.claims_window();
        start_ms < settled_ms && self.is_past(start_ms.saturating_add(retention_ms), window, now)
    }

    /// Whether the claims of a request key may go, the oldest first and the newest last, where the transaction of the newest
    /// committed; `newest` is the date of the newest of them, and the key's claims were listed after `now` was seen.
    ///
    /// The commit was dated at most S + D + C after the claim, and stays for the retention. And no attempt that has not seen the newest
    /// claim can make a claim with a number that is free again (`HAZARDS` 7): it began before that claim became visible, E after its
    /// date, sends for D, and what it sends is dated at most E later, and visible E after that.
    #[must_use]
    pub fn claims_may_go(&self, newest: StoreTime, now: StoreTime, retention_ms: u64) -> bool {
        self.is_past(newest.ms().saturating_add(retention_ms), self.claims_window(), now)
    }

    fn claims_window(&self) -> u64 {
        self.lifetime_ms + self.deadline_ms + 3 * self.visibility_ms + 2 * self.skew_ms + ROUNDING_MS
    }

    /// Whether an epoch object may go. One that goes too early costs nothing but a job that is done twice.
    #[must_use]
    pub fn epoch_may_go(&self, date: StoreTime, now: StoreTime) -> bool {
        self.settles(date, now)
    }

    fn is_past(&self, at_ms: u64, window: u64, now: StoreTime) -> bool {
        now.ms() > at_ms.saturating_add(window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::timeliness::tests::limits;

    // ---- the edges, with the defaults: L 5, D 900, C 60, S 10, E 30 ----------------------------------------------------

    /// The first second of `now` in which a rule says yes.
    fn first(rule: impl Fn(StoreTime) -> bool) -> u64 {
        (0..200_000).find(|now| rule(StoreTime(*now))).unwrap()
    }

    #[test]
    fn every_window_at_its_edge() {
        let limits = limits();
        let (at, start) = (StoreTime(1_000), 1_000_000);
        assert_eq!(limits.horizon(StoreTime(10_000)), StoreTime(10_000 - (5 + 60 + 900 + 30 + 30 + 1)));
        assert_eq!(limits.horizon(StoreTime(17)), StoreTime(0));
        assert!(!limits.manifest_void(at, StoreTime(1_900)) && limits.manifest_void(at, StoreTime(1_901)));
        assert!(!limits.manifest_void(at, StoreTime(0)));
        assert_eq!(first(|now| limits.settles(at, now)), 1_001 + 5 + 900 + 30 + 20 + 1);
        assert_eq!(first(|now| limits.epoch_may_go(at, now)), 1_957);
        assert_eq!(first(|now| limits.unreferenced_file_may_go(at, now)), 1_001 + 900 + 60 + 10 + 1);
        assert_eq!(first(|now| limits.orphan_value_may_go(start, now)), 1_001 + 900 + 60 + 30 + 20 + 1);
        let outcome = |settled| move |now| limits.outcome_may_go(start, now, 86_400_000, settled);
        assert_eq!(first(outcome(start + 1)), 86_400 + 1_001 + (10 + 900 + 30) + 900 + 60 + 90 + 20 + 1);
        assert!((0..200_000).all(|now| !outcome(start)(StoreTime(now))), "it is not in the runs");
        let claims = |now| limits.claims_may_go(at, now, 86_400_000);
        assert_eq!(first(claims), 86_400 + 1_001 + 900 + 60 + 90 + 20 + 1);
        assert!(limits.is_before(StoreTime(968), at) && !limits.is_before(StoreTime(969), at));
        assert!(limits.feed_may_go(StoreTime(999), at) && !limits.feed_may_go(at, at));
        assert!(
            manifest_may_go(6, 7) && !manifest_may_go(7, 7) && garbage_may_go(7, 7) && !garbage_may_go(8, 7)
        );
    }

    #[test]
    fn nothing_goes_before_time_began_and_nothing_overflows() {
        let (limits, end) = (limits(), StoreTime(u64::MAX));
        assert!(!limits.settles(end, end) && !limits.unreferenced_file_may_go(end, end));
        assert!(!limits.outcome_may_go(u64::MAX - 1, end, u64::MAX, u64::MAX));
        assert!(!limits.claims_may_go(end, end, u64::MAX) && !limits.orphan_value_may_go(u64::MAX, end));
        assert!(!limits.settles(StoreTime(0), StoreTime(0)) && !limits.manifest_void(end, end));
    }

    // ---- brute force over what the contract of a store allows ------------------------------------------------------

    /// A part of some span: nothing, all, almost all, or any.
    #[derive(Debug, Clone, Copy)]
    struct Share {
        permille: u64,
        less: u64,
    }

    impl Share {
        fn of(self, span: u64) -> u64 {
            (span * self.permille / 1000).saturating_sub(self.less)
        }

        /// From `-span` to `span`.
        fn around(self, at: u64, span: u64) -> u64 {
            at + self.of(2 * span) - span
        }
    }

    fn share() -> impl Strategy<Value = Share> {
        let permille = prop_oneof![2 => Just(0u64), 4 => Just(1000), 1 => 0u64..=1000];
        let less = prop_oneof![4 => Just(0u64), 1 => Just(1), 1 => 0u64..3_000];
        (permille, less).prop_map(|(permille, less)| Share { permille, less })
    }

    fn shares<const N: usize>() -> impl Strategy<Value = [Share; N]> {
        prop::array::uniform(share())
    }

    prop_compose! {
        fn any_limits()(
            staleness_ms in prop_oneof![Just(0), Just(5_000), 0u64..60_000],
            lifetime_ms in prop_oneof![Just(1_000), Just(900_000), 1_000u64..900_000],
            deadline_ms in prop_oneof![Just(2_000), 2_000u64..60_000],
            skew_ms in prop_oneof![Just(2_000), 2_000u64..60_000],
            visibility_ms in prop_oneof![Just(1_000), 1_000u64..60_000],
        ) -> Limits {
            let given = Limits { staleness_ms, lifetime_ms, deadline_ms, skew_ms, visibility_ms, ..limits() };
            Limits { publish_ms: 10_000, ..given }
        }
    }

    /// Long after 1970, in milliseconds, anywhere in a second.
    fn moment() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(999), 0u64..1000].prop_map(|ms| 10_000_000_000 + ms)
    }

    fn second(ms: u64) -> StoreTime {
        StoreTime(ms / 1000)
    }

    /// The newest date that somebody can have seen before the moment `ms`.
    fn seen_before(ms: u64) -> StoreTime {
        second(ms - 1)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Whatever is folded was in the view at begin of everybody who can still read, also of a transaction that travelled,
        /// under an id from the future, from a node whose clock is ahead to one whose clock is behind.
        #[test]
        fn what_is_folded_was_in_every_view(limits in any_limits(), begin in moment(), shares in shares::<7>(), seconds in 0u64..3) {
            let [ahead, future, stale, behind, late, within, early] = shares;
            let start = ahead.around(begin, limits.skew_ms) + future.of(limits.skew_ms);
            let refreshed = begin - stale.of(limits.staleness_ms);
            // It reads while its age is at most D by the clock of the node where it is, which shows `wall`.
            let wall = start + late.of(limits.lifetime_ms);
            let reads = behind.around(wall, limits.skew_ms);
            let horizon = limits.horizon(second(reads));
            // The last feed object before the horizon, visible as late as can be.
            let dated = (horizon.0 - 1 - seconds) * 1000 + within.of(999);
            let visible = dated + early.of(limits.visibility_ms);
            prop_assert!(visible <= refreshed, "{} ms too late", visible.saturating_sub(refreshed));
        }

        /// The id of every commit that is folded is forgotten.
        #[test]
        fn what_is_folded_is_forgotten(limits in any_limits(), now in moment(), shares in shares::<3>()) {
            let [ahead, age, waited] = shares;
            let now = second(now);
            let published = StoreTime(limits.horizon(now).0 - 1);
            let decided = StoreTime(published.0 - waited.of(5_000) / 1000);
            let clock = decided.ms() + ahead.of(limits.skew_ms);
            let start = clock - age.of(limits.lifetime_ms);
            prop_assert_eq!(limits.void(start, clock, decided), None);
            prop_assert!(limits.is_forgotten(start, now));
        }

        /// Whoever runs when a manifest has settled began after a refresh that saw it.
        #[test]
        fn a_settled_manifest_was_seen_by_all(limits in any_limits(), refreshed in moment(), shares in shares::<3>()) {
            let [stale, age, early] = shares;
            // It became visible just after the refresh.
            let dated = refreshed + 1 - early.of(limits.visibility_ms);
            let runs = refreshed + stale.of(limits.staleness_ms) + age.of(limits.lifetime_ms);
            prop_assert!(!limits.settles(second(dated), second(runs)));
        }

        /// No manifest that is not void and that nobody could see when `now` was seen can name a file that may go.
        #[test]
        fn no_manifest_to_come_names_a_file_that_went(limits in any_limits(), begun in moment(), shares in shares::<3>()) {
            let [back, landed, late] = shares;
            // The store's clock went back after it was read, and then the file was made at once.
            let file = begun - back.of(limits.visibility_ms);
            let manifest = second(begun).ms() + landed.of(limits.lifetime_ms + 999);
            let visible = manifest + late.of(limits.visibility_ms);
            if !limits.manifest_void(second(begun), second(manifest)) {
                prop_assert!(!limits.unreferenced_file_may_go(second(file), seen_before(visible)));
            }
        }

        /// No file of a checkpoint that was begun once another manifest could be seen is dated before that was begun.
        #[test]
        fn a_file_of_a_newer_checkpoint_is_not_before_this_one(limits in any_limits(), begun in moment(), shares in shares::<3>()) {
            let [landed, late, back] = shares;
            let manifest = second(begun).ms() + landed.of(limits.lifetime_ms);
            let visible = manifest + late.of(limits.visibility_ms);
            // The store's clock went back just before the file was made.
            let file = second(visible - back.of(limits.visibility_ms));
            prop_assert!(!limits.is_before(file, second(begun)));
        }

        /// No decision in time that nobody could see when `now` was seen can name a value that may go.
        #[test]
        fn no_decision_to_come_names_a_value_that_went(limits in any_limits(), start in moment(), shares in shares::<3>()) {
            let [age, landing, late] = shares;
            let clock = start + age.of(limits.lifetime_ms);
            let dated = clock + landing.of(limits.deadline_ms + 999);
            let visible = dated + late.of(limits.visibility_ms);
            if limits.void(start, clock, second(dated)).is_none() {
                prop_assert!(!limits.orphan_value_may_go(start, seen_before(visible)));
                prop_assert!(!limits.outcome_may_go(start, seen_before(visible), 0, u64::MAX));
            }
        }

        /// Every outcome that counts stays for the retention, and its id is forgotten when it goes.
        #[test]
        fn an_outcome_stays_for_the_retention(limits in any_limits(), start in moment(), shares in shares::<3>(), retention in 0u64..10_000_000) {
            let [age, landing, late] = shares;
            let clock = start + age.of(limits.lifetime_ms);
            let decided = second(clock + landing.of(limits.deadline_ms + 999));
            let ends = |dated: StoreTime| seen_before(dated.ms() + retention + 1);
            if limits.void(start, clock, decided).is_none() {
                prop_assert!(!limits.outcome_may_go(start, ends(decided), retention, u64::MAX));
            }
            // An abort counts if it is not dated when its id was forgotten.
            let window = limits.lifetime_ms + limits.deadline_ms + limits.visibility_ms + limits.skew_ms;
            let aborted = second(start + late.of(window + 2_000));
            if !limits.is_forgotten(start, aborted) {
                prop_assert!(!limits.outcome_may_go(start, ends(aborted), retention, u64::MAX));
            }
            let now = StoreTime(aborted.0 + retention / 1000);
            prop_assert!(!limits.outcome_may_go(start, now, retention, u64::MAX) || limits.is_forgotten(start, now));
        }

        /// An attempt that has not seen the newest claim can make no claim once they are gone, and the outcome that they lead to stays for
        /// the retention.
        #[test]
        fn no_claim_is_made_in_a_folder_that_was_emptied(limits in any_limits(), newest in moment(), shares in shares::<6>(), retention in 0u64..10_000_000) {
            let [late, age, sent, landed, ahead, landing] = shares;
            let (lifetime, visibility) = (limits.lifetime_ms, limits.visibility_ms);
            // It looked just before the newest claim became visible, and had begun just then.
            let looked = newest + late.of(visibility);
            let made = looked + age.of(lifetime) + sent.of(visibility) + landed.of(visibility);
            prop_assert!(!limits.claims_may_go(second(newest), seen_before(made), retention));
            let start = newest + ahead.of(limits.skew_ms);
            let decided = start + lifetime + landing.of(limits.deadline_ms + 999);
            if limits.void(start, start + lifetime, second(decided)).is_none() {
                let ends = seen_before(decided + retention);
                prop_assert!(!limits.claims_may_go(second(newest), ends, retention));
            }
        }
    }
}
