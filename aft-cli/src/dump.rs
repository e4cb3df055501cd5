//! `aft dump`, and what a dump is.

mod archive;
pub(crate) mod format;
mod lines;
pub(crate) mod read;
pub(crate) mod target;

use std::io::{self, Write};

use aft_core::{Error, ErrorKind, KeyRange};
use futures::TryStreamExt;
use serde_json::json;

use self::archive::ArchiveWriter;
use self::format::{Digest, End, Head, VERSION};
use self::lines::LineWriter;
use self::target::Target;
use crate::args::{Dump, DumpFormat};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, count, size};
use crate::progress::Progress;
use crate::store::Store;

/// How many values are fetched side by side.
const BATCH: usize = 64;

pub(crate) async fn run(args: Dump, store: &Store, output: &Output) -> Result<(), Failure> {
    let target = Target::new(&args, store)?;
    let aft = store.open_to_read().await?;
    let tx = aft.begin().await?;
    // The keys at once and not in pages: so all of them are of one moment.
    let keys = tx.scan_keys(KeyRange::prefix(&args.prefix)).await?;
    if keys.is_empty() && !args.allow_empty {
        let what = format!("there is no key that begins with {}", args.prefix);
        let what =
            if args.prefix.as_bytes().is_empty() { "there is no key in the store".to_owned() } else { what };
        return Err(Failure::new(Exit::KeyNotFound, format!("{what}; nothing was written"))
            .advice("--allow-empty makes a dump without keys"));
    }
    let cannot = |cause| target.cannot(cause);
    let mut dump = Writer::new(target.open()?, args.format);
    dump.head(keys.len() as u64).map_err(cannot)?;
    let progress = Progress::new(output.is_json(), "dumping", keys.len() as u64);
    for keys in keys.chunks(BATCH) {
        let values = tx.get_streams(keys).await.map_err(failed)?;
        for (key, value) in keys.iter().zip(values) {
            let mut value = value.ok_or_else(|| {
                let key = Key::from_bytes(&**key);
                Failure::new(
                    Exit::Error,
                    format!("the key {key} was scanned and is not there; this is a bug"),
                )
            })?;
            dump.key(key, value.len()).map_err(cannot)?;
            while let Some(part) = value.try_next().await.map_err(failed)? {
                dump.value(&part).map_err(cannot)?;
            }
            dump.end_of_value().map_err(cannot)?;
        }
        progress.advance(keys.len() as u64);
    }
    drop(progress);
    let (sink, end) = dump.end().map_err(cannot)?;
    target.publish(sink)?;
    let Some(path) = target.path() else { return Ok(()) };
    let document = json!({
        "prefix": args.prefix, "file": path, "keys": end.keys, "bytes": end.bytes, "sha256": end.sha256,
    });
    let line = format!("dumped {} ({}) to {}", count(keys.len(), "key"), size(end.bytes), path.display());
    output.done(&document, line)
}

/// The failure of reading the store on the way.
fn failed(error: Error) -> Failure {
    let expired = error.kind() == ErrorKind::Expired;
    let failure = Failure::from(error);
    if !expired {
        return failure;
    }
    failure.advice(
        "a dump is one transaction, and must be done within the store's transaction_lifetime: dump a --prefix at a time, \
         or to something that takes it faster",
    )
}

/// Writes a dump in either format, and reckons its end.
#[derive(Debug)]
struct Writer<W> {
    format: Format<W>,
    digest: Digest,
}

#[derive(Debug)]
enum Format<W> {
    Lines(LineWriter<W>),
    Archive(ArchiveWriter<W>),
}

impl<W: Write> Writer<W> {
    fn new(to: W, format: DumpFormat) -> Self {
        let format = match format {
            DumpFormat::Jsonl => Format::Lines(LineWriter::new(to)),
            DumpFormat::Tar => Format::Archive(ArchiveWriter::new(to)),
        };
        Self { format, digest: Digest::default() }
    }

    fn head(&mut self, keys: u64) -> io::Result<()> {
        let head = Head { version: VERSION, keys };
        match &mut self.format {
            Format::Lines(lines) => lines.head(head),
            Format::Archive(archive) => archive.head(&head),
        }
    }

    fn key(&mut self, key: &[u8], len: u64) -> io::Result<()> {
        self.digest.key(key);
        match &mut self.format {
            Format::Lines(lines) => lines.key(key, len),
            Format::Archive(archive) => archive.key(key, len)?,
        }
        Ok(())
    }

    fn value(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.piece(bytes);
        match &mut self.format {
            Format::Lines(lines) => lines.value(bytes),
            Format::Archive(archive) => archive.value(bytes),
        }
    }

    fn end_of_value(&mut self) -> io::Result<()> {
        self.digest.end_of_value();
        match &mut self.format {
            Format::Lines(lines) => lines.end_of_value(),
            Format::Archive(archive) => archive.end_of_value(),
        }
    }

    fn end(self) -> io::Result<(W, End)> {
        let end = self.digest.end();
        let to = match self.format {
            Format::Lines(mut lines) => {
                lines.end(end.clone())?;
                lines.into_inner()
            }
            Format::Archive(mut archive) => {
                archive.end(&end)?;
                archive.into_inner()
            }
        };
        Ok((to, end))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A dump of these keys and values, which come in pieces of an odd size.
    pub(crate) fn dumped(format: DumpFormat, rows: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut dump = Writer::new(Vec::new(), format);
        dump.head(rows.len() as u64).unwrap();
        for (key, value) in rows {
            dump.key(key, value.len() as u64).unwrap();
            value.chunks(700_001).for_each(|part| dump.value(part).unwrap());
            dump.end_of_value().unwrap();
        }
        dump.end().unwrap().0
    }

    #[test]
    fn lines_are_as_documented() {
        let lines = dumped(DumpFormat::Jsonl, &[(b"a\\\n", b"text \"1\"\n"), (b"b", b"\xff\0"), (b"e", b"")]);
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            r#"{"aft_dump":{"version":1,"keys":3}}
{"key":"a\\\\\\x0a","value":"text \"1\"\n"}
{"key":"b","value_base64":"/wA="}
{"key":"e","value":""}
{"end":{"keys":3,"bytes":11,"sha256":"9e1bd089c2ccfa9a71ad125b008e3a55f46c2589890dd66f659901466cb7c9a7"}}
"#
        );
    }
}
