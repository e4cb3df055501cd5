//! `aft import`.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use aft_core::{Aft, Begin, Commit, KeyRange, Transaction};
use serde_json::json;

use crate::args::Import;
use crate::chunks::chunks;
use crate::failure::Failure;
use crate::key::{Key, Prefix};
use crate::output::{Output, count, size};
use crate::progress::Progress;
use crate::signals;
use crate::store::{self, Committed, Store};
use crate::tree::walk::{Walk, changed, walk};

/// Files up to this size are held in memory until they are uploaded.
const SMALL_FILE: u64 = 1 << 20;
/// As long as they come to no more than this.
const HELD_BYTES: u64 = 128 << 20;

/// What was imported.
struct Imported {
    commit: Commit,
    bytes: u64,
    deleted: usize,
}

pub(crate) async fn run(args: Import, store: &Store, output: &Output) -> Result<(), Failure> {
    let found = walk(&args.dir)?;
    refuse(&found, &args)?;
    refuse_own_store(&args.dir, store)?;
    let prefix = args.prefix.into_folder();
    let aft = store.open_to_write().await?;
    let imported = import(&aft, &args.dir, &found, &prefix, args.delete, output).await?;
    store::close(aft, output).await;
    let skipped = found.symlinks.len();
    let document = json!({
        "prefix": prefix, "files": found.files.len(), "bytes": imported.bytes, "deleted": imported.deleted,
        "skipped_symlinks": found.symlinks, "empty_directories": found.empty_folders,
        "commit": Committed::from(&imported.commit),
    });
    let mut line = format!(
        "imported {} ({}) as one transaction {}",
        count(found.files.len(), "file"),
        size(imported.bytes),
        imported.commit.receipt.txn_id(),
    );
    if args.delete {
        line.push_str(&format!("; deleted {}", count(imported.deleted, "key")));
    }
    if skipped > 0 {
        line.push_str(&format!("; skipped {}", count(skipped, "symbolic link")));
    }
    output.done(&document, line)
}

/// Refuses what cannot be stored, all of it at once.
fn refuse(found: &Walk, args: &Import) -> Result<(), Failure> {
    let symlinks = found.symlinks.iter().filter(|_| !args.skip_symlinks);
    let mut items: Vec<String> =
        symlinks.map(|path| format!("{}: a symbolic link", path.display())).collect();
    items.extend(found.special.iter().map(|path| format!("{}: no regular file", path.display())));
    if items.is_empty() {
        return Ok(());
    }
    let what = format!("{} holds what cannot be stored; nothing was written", args.dir.display());
    let failure = Failure::usage(what).items(items);
    let links_only = found.special.is_empty();
    Err(if links_only { failure.advice("--skip-symlinks leaves symbolic links out") } else { failure })
}

/// A store cannot hold itself.
fn refuse_own_store(dir: &Path, store: &Store) -> Result<(), Failure> {
    let (Some(place), Ok(dir)) = (store.directory(), dir.canonicalize()) else { return Ok(()) };
    match place.canonicalize() {
        Ok(place) if place.starts_with(&dir) || dir.starts_with(&place) => Err(Failure::usage(format!(
            "{} and the store {} lie in each other",
            dir.display(),
            store.shown()
        ))),
        _ => Ok(()),
    }
}

async fn import(
    aft: &Aft,
    dir: &Path,
    found: &Walk,
    prefix: &Prefix,
    delete: bool,
    output: &Output,
) -> Result<Imported, Failure> {
    let mut begin = Begin::new();
    if delete {
        // What an import that was killed after its commit wrote must be seen to be deleted.
        aft.sweep().await?;
        begin = begin.latest();
    }
    let mut tx = aft.begin_with(begin).await?;
    let length = found.files.iter().map(|file| file.size).sum();
    let progress = Progress::of_bytes(output.is_json(), "importing", Some(length));
    let (mut bytes, mut held) = (0, 0);
    for file in &found.files {
        let path = dir.join(&file.relative);
        bytes += put_file(&mut tx, prefix.join(file.name()), &path, &mut held, &progress).await?;
    }
    still(dir, found)?;
    let mut deleted = 0;
    if delete {
        let kept: HashSet<Key> = found.files.iter().map(|file| prefix.join(file.name())).collect();
        for key in tx.scan_keys(KeyRange::prefix(prefix)).await? {
            if !kept.contains(&Key::from_bytes(&*key)) {
                tx.delete(&key)?;
                deleted += 1;
            }
        }
    }
    if deleted > 0 {
        let what = format!(
            "{} under the prefix have no file in {} and are deleted.",
            count(deleted, "key"),
            dir.display()
        );
        output.confirm(what).await?;
    }
    signals::committing(true);
    let commit = tx.commit().await?;
    Ok(Imported { commit, bytes, deleted })
}

/// Puts a file, and returns its length. Small files go up beside each other, and are held until they are there; large ones, and all
/// where much is held already, go up one by one, in parts.
async fn put_file(
    tx: &mut Transaction,
    key: Key,
    path: &Path,
    held: &mut u64,
    progress: &Progress,
) -> Result<u64, Failure> {
    let cannot = |cause| Failure::io(format!("cannot read {}", path.display()), cause);
    let within = |error| Failure::from(error).within(format!("cannot import {}", path.display()));
    let file = File::open(path).map_err(cannot)?;
    if file.metadata().map_err(cannot)?.len() > SMALL_FILE || *held > HELD_BYTES {
        return tx.put_stream(key, progress.counted(chunks(file))).await.map_err(within);
    }
    // Not by its length, which may have changed; then the import is refused at its end.
    let mut value = Vec::new();
    file.take(SMALL_FILE).read_to_end(&mut value).map_err(cannot)?;
    let len = value.len() as u64;
    *held += len;
    tx.put(key, value).map_err(within)?;
    progress.advance(len);
    Ok(len)
}

/// Refuses a directory that changed while it was read: what was read may be no state it was ever in.
fn still(dir: &Path, before: &Walk) -> Result<(), Failure> {
    let paths: Vec<PathBuf> = changed(before, &walk(dir)?);
    if paths.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("{} changed while it was read; nothing was written", dir.display()))
        .items(paths.iter().map(|path| path.display()))
        .advice("import it again when nothing writes to it"))
}
