//! What nodes tell each other: decisions and their outcome, the feed, sweeps.

pub(crate) mod bundles;
pub(crate) mod heal;
pub(crate) mod listings;
pub(crate) mod outcome;
pub(crate) mod publish;
pub(crate) mod refresh;
pub(crate) mod register;
pub(crate) mod sweep;
pub(crate) mod sweep_all;
pub(crate) mod told;
