//! `aft ls`: a page of keys at a time, and never a value.

use std::fmt::Write as _;
use std::pin::pin;

use aft_core::{Entry, KeyRange};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::args::Ls;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, time};
use crate::store::Store;

/// How many keys are held at once.
const PAGE_KEYS: usize = 1024;

pub(crate) async fn run(args: Ls, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let tx = aft.begin().await?;
    let mut pages = pin!(tx.scan_entries_stream(KeyRange::prefix(&args.prefix)).try_chunks(PAGE_KEYS));
    let mut listing = Listing { long: args.long, width: 0, any: false };
    if output.is_json() {
        output.bytes(opening(&args)?.as_bytes())?;
    }
    while let Some(page) = pages.try_next().await.map_err(|error| error.1)? {
        let text = if output.is_json() { listing.documents(page)? } else { listing.lines(page) };
        output.bytes(text.as_bytes())?;
    }
    if output.is_json() {
        output.bytes(listing.closing().as_bytes())?;
    }
    Ok(())
}

/// How the one document begins, of which the keys are written as they come.
fn opening(args: &Ls) -> Result<String, Failure> {
    let prefix = serde_json::to_string(&args.prefix).map_err(|error| Failure::stdout(error.into()))?;
    Ok(format!("{{\n  \"prefix\": {prefix},\n  \"keys\": ["))
}

struct Listing {
    long: bool,
    /// How wide the column of sizes is: it grows with a page whose sizes need more.
    width: usize,
    /// Whether any key was listed.
    any: bool,
}

impl Listing {
    fn lines(&mut self, page: Vec<Entry>) -> String {
        let widest = page.iter().map(|entry| entry.len).max().unwrap_or_default();
        self.width = self.width.max(widest.to_string().len());
        let mut text = String::new();
        for Entry { key, len, .. } in page {
            if self.long {
                let _ = write!(text, "{len:>width$} ", width = self.width);
            }
            let _ = writeln!(text, "{}", Key::from_bytes(key));
        }
        text
    }

    fn documents(&mut self, page: Vec<Entry>) -> Result<String, Failure> {
        let mut text = String::new();
        for entry in page {
            let document = serde_json::to_string(&self.document(&entry));
            let document = document.map_err(|error| Failure::stdout(error.into()))?;
            let comma = if self.any { "," } else { "" };
            let _ = write!(text, "{comma}\n    {document}");
            self.any = true;
        }
        Ok(text)
    }

    /// What ends the document that [`opening`] began.
    fn closing(&self) -> &'static str {
        if self.any { "\n  ]\n}\n" } else { "]\n}\n" }
    }

    fn document(&self, entry: &Entry) -> Value {
        let key = Key::from_bytes(entry.key.clone());
        if !self.long {
            return json!({ "key": key });
        }
        json!({
            "key": key,
            "size": entry.len,
            "version": entry.version.map(|version| version.to_string()),
            "time": entry.written().map(time),
        })
    }
}
