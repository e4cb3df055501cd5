//! Bytes: object names, the envelope around every stored record, decisions, feed objects and the marker.
//!
//! Nothing here does IO, and no input can make it panic or allocate more than a constant times its size (I11).

pub mod decision;
pub mod envelope;
pub mod feed;
pub mod marker;
pub mod name;
pub mod record;
#[cfg(test)]
mod stored;
