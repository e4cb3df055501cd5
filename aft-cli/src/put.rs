//! `aft put`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use serde_json::json;

use crate::args::Put;
use crate::chunks::chunks;
use crate::failure::Failure;
use crate::output::Output;
use crate::store::{self, Committed, Store};

pub(crate) async fn run(args: Put, store: &Store, output: &Output) -> Result<(), Failure> {
    let Put { key, value, file } = args;
    // Before the store is opened: a value that cannot be had makes no store.
    let (source, name): (Box<dyn Read + Send>, String) = match (value, file) {
        (Some(value), _) if value != OsStr::new("-") => {
            (Box::new(io::Cursor::new(value.into_vec())), "VALUE".into())
        }
        (_, Some(path)) => {
            let file = File::open(&path)
                .map_err(|cause| Failure::io(format!("cannot read {}", path.display()), cause))?;
            (Box::new(file), path.display().to_string())
        }
        _ => (Box::new(io::stdin()), "stdin".into()),
    };
    let aft = store.open_to_write().await?;
    let mut tx = aft.begin().await?;
    let put = tx.put_stream(&key, chunks(source)).await;
    let length = put.map_err(|error| Failure::from(error).within(format!("cannot store {name}")))?;
    let commit = tx.commit().await?;
    store::close(aft, output).await;
    if !output.is_json() {
        return Ok(());
    }
    output.json(&json!({ "key": key, "size": length, "commit": Committed::from(&commit) }))
}
