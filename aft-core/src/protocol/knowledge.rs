//! What a node knows.

pub mod feed_state;
pub mod time;
