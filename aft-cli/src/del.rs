//! `aft del`.

use serde_json::json;

use crate::args::Del;
use crate::failure::Failure;
use crate::output::Output;
use crate::signals;
use crate::store::{self, Committed, Store};

pub(crate) async fn run(args: Del, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_existing().await?;
    let mut tx = aft.begin().await?;
    for key in &args.keys {
        tx.delete(key)?;
    }
    signals::committing(true);
    let commit = tx.commit().await?;
    store::close(aft, output).await;
    if !output.is_json() {
        return Ok(());
    }
    output.json(&json!({ "deleted": args.keys, "commit": Committed::from(&commit) }))
}
