//! Stores that are not what they should be: listings that lie, and objects whose dates are changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_core::Clock;
use aft_memory::{Lie, SimulatedStorage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::sim::archive::Archive;
use crate::sim::truth::decision_of;
use crate::world::NodeClock;

/// Which of them a run has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kinds {
    pub(crate) lies: bool,
    pub(crate) redates: bool,
}

/// Below which folders single objects are dated anew.
///
/// Decisions are not among them: one that is dated later than its deadline is void to whoever looks at it from then on, though it was
/// acknowledged (docs/design.md, limits). Add `commits/` once the register takes that for damage.
const REDATED: [&str; 11] = [
    "feed/",
    "feed/",
    "bundles/",
    "checkpoints/",
    "values/",
    "requests/",
    "guards/",
    "index/",
    "recent/",
    "garbage/",
    "epochs/",
];

/// How long after a lie an error may still come of it: a node believes listings again E + P after they tell the truth, and what began until then on
/// an older view lives for D; with a refresh or two.
const AFTERMATH_MS: u64 = 65_000;

/// Lies, and changes dates.
#[derive(Debug)]
pub(crate) struct Mischief {
    pub(crate) kinds: Kinds,
    rng: StdRng,
    network: SimulatedStorage,
    pub(crate) archive: Archive,
    clock: Arc<NodeClock>,
    /// Whether nodes die: then a commit that nobody published is found by listings of decisions alone.
    deadly: bool,
    /// Until when listings lie, by the run's time.
    lied_until_ms: Arc<AtomicU64>,
}

impl Mischief {
    pub(crate) fn new(
        kinds: Kinds,
        seed: u64,
        network: SimulatedStorage,
        archive: Archive,
        clock: Arc<NodeClock>,
        deadly: bool,
        lied_until_ms: Arc<AtomicU64>,
    ) -> Self {
        Self { kinds, rng: StdRng::seed_from_u64(seed), network, archive, clock, deadly, lied_until_ms }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below
    }

    /// How many kinds of trouble it adds to the others.
    pub(crate) fn weight(&self) -> u64 {
        4 * (u64::from(self.kinds.lies) + u64::from(self.kinds.redates))
    }

    /// One piece of mischief, by a process of this name or all; what it was.
    pub(crate) async fn once(&mut self, now_ms: u64, process: &str) -> &'static str {
        if self.kinds.lies && (!self.kinds.redates || self.draw(2) == 0) {
            self.lie(now_ms, process);
            return "listings lie";
        }
        self.redate().await;
        "objects dated anew"
    }

    fn lie(&mut self, now_ms: u64, process: &str) {
        let process = (self.draw(3) > 0).then_some(process);
        let lie = [Lie::Empty, Lie::CutShort, Lie::Lacks][usize::try_from(self.draw(3)).unwrap_or(0)];
        let everywhere =
            ["feed/", "checkpoints/", "requests/", "guards/", "values/", "index/", "epochs/", "bundles/", ""];
        let mut folders = everywhere[..everywhere.len() - usize::from(lie != Lie::Empty)].to_vec();
        // Where decisions are missing one by one, a sweep cannot know; a dead node's commit must be seen by one.
        if lie == Lie::Empty || !self.deadly {
            folders.push("commits/");
        }
        let at = self.draw(folders.len() as u64);
        let folder = folders[usize::try_from(at).unwrap_or(0)];
        // Of single objects nothing tells; those of the feed are listed again for E and P by a node that refreshes all the while.
        let most = if lie == Lie::Lacks && folder == "feed/" { 5_000 } else { 60_000 };
        let lasts = 500 + self.draw(most);
        self.lied_until_ms.fetch_max(now_ms + lasts, Ordering::Relaxed);
        self.network.lie(lie, folder, process, Duration::from_millis(lasts));
    }

    /// Some objects of one folder.
    async fn redate(&mut self) {
        let at = self.draw(REDATED.len() as u64);
        let folder = REDATED[usize::try_from(at).unwrap_or(0)];
        let listed = self.archive.paths().await;
        let decision = |path: &str| path.starts_with("feed/") && decision_of(path).is_some();
        let below = listed.into_iter().filter(|it| it.path.starts_with(folder) && !decision(&it.path));
        let below: Vec<_> = below.collect();
        for _ in 0..1 + self.draw(3) {
            if below.is_empty() {
                return;
            }
            let at = usize::try_from(self.draw(below.len() as u64)).unwrap_or(0);
            self.archive.redate(&below[at].path, self.clock.now()).await;
        }
    }
}

/// Whether an error at this moment may come of a lie.
pub(crate) fn in_the_aftermath(lied_until_ms: &AtomicU64, now_ms: u64) -> bool {
    let until = lied_until_ms.load(Ordering::Relaxed);
    until > 0 && now_ms < until + AFTERMATH_MS
}
