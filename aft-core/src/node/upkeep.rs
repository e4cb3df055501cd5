//! What keeps a store small and whole: checkpoints, collections, maintenance; and adopting one that was copied.

pub(crate) mod adopt;
pub(crate) mod checkpoint;
pub(crate) mod claims;
pub(crate) mod collect;
pub(crate) mod fold;
pub(crate) mod light;
pub(crate) mod maintenance;
pub(crate) mod orphans;
