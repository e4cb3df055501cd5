//! `aft import` and `aft export` on a system that is no Unix: names of files are no bytes there, and directories cannot be exchanged. They
//! say so.

use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

#[allow(clippy::unused_async, reason = "as the commands that it stands for")]
pub(crate) async fn run<T>(_: T, _: &Store, _: &Output) -> Result<(), Failure> {
    Err(Failure::usage("directories cannot be imported or exported on this system, only on a Unix")
        .advice("`aft dump` and `aft load` move keys and values as a stream"))
}
