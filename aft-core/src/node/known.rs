//! The one lock of what a node knows, and the order of locks.
//!
//! What is asked of [`Knowledge`] is asked under one lock, and so of one moment. It is asked by closures: none of them can await, and
//! none asks anything of [`Known`] again (debug builds refuse that, which would else deadlock once in a while).
//!
//! **The order of locks**: this one; under it the reads of one transaction (`Transaction::reads`); under that none. All others (the feed
//! queue, the generator, the tasks, what collections remember of proofs) are held for themselves alone, with none under or above them.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::protocol::base::Base;
use crate::protocol::knowledge::Knowledge;

/// What a node knows, behind a lock: many look at once, one changes.
#[derive(Debug)]
pub(crate) struct Known(RwLock<Knowledge>);

impl Known {
    pub(crate) const fn new(knowledge: Knowledge) -> Self {
        Self(RwLock::new(knowledge))
    }

    /// Looks at what is known at one moment. Reads wait for each other's looks only where somebody waits to change something: so nothing
    /// long belongs in here.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Knowledge) -> T) -> T {
        let _once = Once::enter();
        look(&self.0.read())
    }

    /// Changes what is known, in one step.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Knowledge) -> T) -> T {
        let _once = Once::enter();
        change(&mut self.0.write())
    }

    /// What is folded, now.
    pub(crate) fn base(&self) -> Arc<Base> {
        self.read(|known| Arc::clone(known.base()))
    }

    /// The next refresh looks for a newer checkpoint.
    pub(crate) fn look_again(&self) {
        self.write(Knowledge::look_again);
    }
}

/// That a thread is inside, in debug builds.
struct Once;

#[cfg(debug_assertions)]
thread_local! {
    static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Once {
    fn enter() -> Self {
        #[cfg(debug_assertions)]
        assert!(!INSIDE.replace(true), "what a node knows is asked for while it is looked at");
        Self
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        INSIDE.set(false);
    }
}
