//! `aft sweep`.

use crate::failure::Failure;
use crate::output::Output;
use crate::store::{self, Store};

pub(crate) async fn run(store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_existing().await?;
    let report = aft.sweep().await?;
    store::close(aft, output).await;
    output.done(&report, format!("{report:?}"))
}
