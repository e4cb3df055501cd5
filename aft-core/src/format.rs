//! Bytes: object names, the envelope around every stored record, decisions, feed objects, request objects,
//! files of the key index, the marker and tokens.
//!
//! Nothing here does IO, and no input can make it panic or allocate more than a constant times its size (I11).

pub mod decision;
pub mod envelope;
pub mod feed;
pub mod marker;
pub mod name;
pub mod record;
pub mod request;
pub mod row;
pub mod run;
#[cfg(test)]
mod stored;
pub mod token;
