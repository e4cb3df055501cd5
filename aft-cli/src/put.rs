//! `aft put`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use aft_core::Config;
use bytes::Bytes;
use serde_json::json;

use crate::args::Put;
use crate::failure::Failure;
use crate::output::{Output, size};
use crate::store::{self, Committed, Store};

pub(crate) async fn run(args: Put, store: &Store, output: &Output) -> Result<(), Failure> {
    let Put { key, value, file } = args;
    // Before the store is opened: a value that cannot be had makes no store.
    let value: Bytes = match (value, file) {
        (Some(value), _) if value != OsStr::new("-") => value.into_vec().into(),
        (_, Some(path)) => {
            let failed = |cause| Failure::io(format!("cannot read {}", path.display()), cause);
            read(File::open(&path).map_err(failed)?, &failed)?
        }
        _ => read(io::stdin().lock(), &|cause| Failure::io("cannot read stdin", cause))?,
    };
    let aft = store.open_to_write().await?;
    let mut tx = aft.begin().await?;
    let length = value.len();
    tx.put(&key, value)?;
    let commit = tx.commit().await?;
    store::close(aft, output).await;
    if !output.is_json() {
        return Ok(());
    }
    output.json(&json!({ "key": key, "size": length, "commit": Committed::from(&commit) }))
}

/// All of `from`, but not more than a value may have.
fn read(from: impl Read, failed: &dyn Fn(io::Error) -> Failure) -> Result<Bytes, Failure> {
    let limit = Config::default().max_value_bytes;
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let limit = size(limit);
        return Err(Failure::usage(format!("the value is larger than {limit}, the most a value may have")));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_value_without_end_is_refused() {
        let failure = read(io::repeat(0).take(300 << 20), &|cause| Failure::io("no", cause)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
    }
}
