//! `aft put`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};

use serde_json::json;

use crate::args::Put;
use crate::chunks::chunks;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;
use crate::put_lines;
use crate::signals;
use crate::store::{self, Committed, Store};

/// The bytes of an argument.
#[cfg(unix)]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere not every argument has bytes")]
fn bytes(value: OsString) -> Result<Vec<u8>, Failure> {
    Ok(std::os::unix::ffi::OsStringExt::into_vec(value))
}

/// The bytes of an argument, where it is text.
#[cfg(not(unix))]
fn bytes(value: OsString) -> Result<Vec<u8>, Failure> {
    let text =
        value.into_string().map_err(|_| Failure::usage("VALUE is no text; put it into a file (--file)"))?;
    Ok(text.into_bytes())
}

pub(crate) async fn run(args: Put, store: &Store, output: &Output) -> Result<(), Failure> {
    let Put { key, value, file, from_jsonl, request } = args;
    // One of the two is given: clap sees to that.
    let Some(key) = key else { return put_lines::run(from_jsonl, request.as_ref(), store, output).await };
    // Before the store is opened: a value that cannot be had makes no store.
    let (source, name, length): (Box<dyn Read + Send>, String, Option<u64>) = match (value, file) {
        (Some(value), _) if value != OsStr::new("-") => {
            let length = value.len() as u64;
            (Box::new(io::Cursor::new(bytes(value)?)), "VALUE".into(), Some(length))
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
    signals::committing(true);
    let commit = tx.commit().await?;
    drop(progress);
    store::close(aft, output).await;
    if !output.is_json() {
        return Ok(());
    }
    output.json(&json!({ "key": key, "size": length, "commit": Committed::from(&commit) }))
}
