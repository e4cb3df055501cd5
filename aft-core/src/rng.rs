//! The one source of randomness: a generator that is seeded, so that a seed replays exactly.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

/// A generator for a given seed.
pub(crate) fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A generator seeded by the operating system.
///
/// # Panics
/// Where the operating system has no randomness to give: ids could collide then, and a collision loses a commit.
pub(crate) fn system() -> StdRng {
    #[allow(clippy::expect_used, reason = "without randomness two transactions could share an id")]
    StdRng::try_from_rng(&mut SysRng).expect("the operating system gives randomness")
}

/// A node's generator, shared by its transactions. Clones share it too.
#[derive(Debug, Clone)]
pub(crate) struct NodeRng(Arc<Mutex<StdRng>>);

impl NodeRng {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(seed.map_or_else(system, seeded))))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.lock().next_u64()
    }

    pub(crate) fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock())
    }
}
