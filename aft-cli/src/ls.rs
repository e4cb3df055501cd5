//! `aft ls`.

use aft_core::KeyRange;
use serde_json::json;

use crate::args::Ls;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::Output;
use crate::store::Store;

pub(crate) async fn run(args: Ls, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let mut tx = aft.begin().await?;
    if args.long {
        let found = tx.scan_prefix(&args.prefix).await?;
        let rows: Vec<_> = found.iter().map(|(key, value)| (Key::from_bytes(&**key), value.len())).collect();
        if output.is_json() {
            let keys: Vec<_> = rows.iter().map(|(key, size)| json!({ "key": key, "size": size })).collect();
            return output.json(&json!({ "prefix": args.prefix, "keys": keys }));
        }
        let width = rows.iter().map(|(_, size)| size.to_string().len()).max().unwrap_or_default();
        return output.lines(rows.iter().map(|(key, size)| format!("{size:>width$} {key}")));
    }
    let keys: Vec<Key> =
        tx.scan_keys(KeyRange::prefix(&args.prefix)).await?.into_iter().map(Key::from_bytes).collect();
    if output.is_json() {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "key": key })).collect();
        return output.json(&json!({ "prefix": args.prefix, "keys": keys }));
    }
    output.lines(keys)
}
