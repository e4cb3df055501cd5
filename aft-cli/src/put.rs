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
use crate::progress::Progress;
use crate::store::{self, Committed, Store};

pub(crate) async fn run(args: Put, store: &Store, output: &Output) -> Result<(), Failure> {
    let Put { key, value, file } = args;
    // Before the store is opened: a value that cannot be had makes no store.
    let (source, name, length): (Box<dyn Read + Send>, String, Option<u64>) = match (value, file) {
        (Some(value), _) if value != OsStr::new("-") => {
            let length = value.len() as u64;
            (Box::new(io::Cursor::new(value.into_vec())), "VALUE".into(), Some(length))
        }
        (_, Some(path)) => {
            let file = File::open(&path).map_err(|cause| Failure::input(path.display(), cause))?;
            let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len());
            (Box::new(file), path.display().to_string(), length)
        }
        _ => (Box::new(io::stdin()), "stdin".into(), None),
    };
    let aft = store.open_to_write().await?;
    let mut tx = aft.begin().await?;
    let progress = Progress::of_bytes(output.is_json(), "putting", length);
    let put = tx.put_stream(&key, progress.counted(chunks(source))).await;
    let length = put.map_err(|error| Failure::from(error).within(format!("cannot store {name}")))?;
    let commit = tx.commit().await?;
    drop(progress);
    store::close(aft, output).await;
    if !output.is_json() {
        return Ok(());
    }
    output.json(&json!({ "key": key, "size": length, "commit": Committed::from(&commit) }))
}
