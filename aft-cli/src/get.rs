//! `aft get`.

use futures::TryStreamExt;
use serde_json::json;

use crate::args::Get;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, put_bytes};
use crate::store::Store;

pub(crate) async fn run(args: Get, store: &Store, output: &Output) -> Result<(), Failure> {
    let key = args.key;
    let aft = store.open_to_read().await?;
    let tx = aft.begin().await?;
    let absent = || Failure::new(Exit::KeyNotFound, format!("there is no key {key}"));
    if !output.is_json() {
        let mut parts = tx.get_stream(&key).await?.ok_or_else(absent)?;
        while let Some(part) = parts.try_next().await? {
            output.bytes(&part)?;
        }
        return Ok(());
    }
    let value = tx.get(&key).await?.ok_or_else(absent)?;
    let mut document = json!({ "key": key, "size": value.len() });
    put_bytes(&mut document, "value", &value);
    output.json(&document)
}
