//! `aft export`.

use std::path::PathBuf;

use aft_core::KeyRange;
use futures::TryStreamExt;
use serde_json::json;

use crate::args::Export;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, count, size};
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::layout;
use crate::tree::staging::{Staging, Target};

/// How many values are fetched side by side.
const BATCH: usize = 64;

pub(crate) async fn run(args: Export, store: &Store, output: &Output) -> Result<(), Failure> {
    let target = Target::new(&args.dir, &precious(store))?;
    if store.directory().is_some_and(|place| target.is_within(&place)) {
        return Err(Failure::usage(format!("{} lies in the store itself", target.path().display())));
    }
    let prefix = args.prefix.into_folder();
    let aft = store.open_to_read().await?;
    let tx = aft.begin().await?;
    let keys = tx.scan_keys(KeyRange::prefix(&prefix)).await?;
    if keys.is_empty() && !args.allow_empty {
        return Err(Failure::new(
            Exit::KeyNotFound,
            format!("there is no key under {prefix}; nothing was written"),
        )
        .advice("--allow-empty exports an empty directory"));
    }
    let paths = layout::paths(&prefix, &keys, target.path_length()).map_err(|refused| {
        let what = format!("{} cannot be files; nothing was written", count(refused.len(), "key"));
        Failure::usage(what).items(refused)
    })?;
    let shown = target.path().to_path_buf();
    if std::fs::read_dir(&shown).is_ok_and(|mut entries| entries.next().is_some()) {
        output.confirm(format!("All that is in {} is replaced, whatever it is.", shown.display())).await?;
    }
    let staging = Staging::new(target)?;
    let progress = Progress::new(output.is_json(), "exporting", keys.len() as u64);
    let mut bytes = 0;
    for (keys, paths) in keys.chunks(BATCH).zip(paths.chunks(BATCH)) {
        let values = tx.get_streams(keys).await?;
        for ((key, path), value) in keys.iter().zip(paths).zip(values) {
            let mut value = value.ok_or_else(|| {
                let key = crate::key::Key::from_bytes(&**key);
                Failure::new(
                    Exit::Error,
                    format!("the key {key} was scanned and is not there; this is a bug"),
                )
            })?;
            bytes += value.len();
            let mut file = staging.create(path)?;
            while let Some(part) = value.try_next().await? {
                file.write(&part)?;
            }
        }
        progress.advance(keys.len() as u64);
    }
    drop(progress);
    staging.publish()?;
    let document = json!({ "prefix": prefix, "directory": shown, "files": keys.len(), "bytes": bytes });
    output.done(
        &document,
        format!("exported {} ({}) to {}", count(keys.len(), "file"), size(bytes), shown.display()),
    )
}

/// What an export never removes.
fn precious(store: &Store) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    [store.directory(), std::env::current_dir().ok(), home].into_iter().flatten().collect()
}
