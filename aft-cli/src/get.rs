//! `aft get`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::args::Get;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::Store;

pub(crate) async fn run(args: Get, store: &Store, output: &Output) -> Result<(), Failure> {
    let key = args.key;
    let aft = store.open_to_read().await?;
    let mut tx = aft.begin().await?;
    let Some(value) = tx.get(&key).await? else {
        return Err(Failure::new(Exit::KeyNotFound, format!("there is no key {key}")));
    };
    if !output.is_json() {
        return output.bytes(&value);
    }
    let mut document = json!({ "key": key, "size": value.len() });
    match std::str::from_utf8(&value) {
        Ok(text) => document["value"] = text.into(),
        Err(_) => document["value_base64"] = STANDARD.encode(&value).into(),
    }
    output.json(&document)
}
