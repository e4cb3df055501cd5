//! Bytes: object names, the envelope around every stored record, decisions, feed objects, claims, the marker, tokens and
//! what a checkpoint is made of: manifests, rows and their files, recent and garbage files; bundles of feed objects.
//!
//! Nothing here does IO, and no input can make it panic or allocate more than a constant times its size (I11).

pub mod bounds;
pub mod bundle;
pub mod clone;
pub mod decision;
pub mod envelope;
pub mod feed;
pub mod garbage;
pub mod guard;
pub mod manifest;
pub mod marker;
pub mod name;
pub mod recent;
pub mod record;
pub mod request;
pub mod row;
pub mod run;
#[cfg(test)]
mod stored;
pub mod token;
