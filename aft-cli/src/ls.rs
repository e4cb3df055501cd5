//! `aft ls`: a page of keys at a time, and never a value.

use std::fmt::Write as _;

use aft_core::{Aft, Entry, KeyRange, ScanPages, Transaction};
use serde_json::{Value, json};

use crate::args::Ls;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, time};
use crate::progress::Progress;
use crate::store::Store;

/// How many keys are asked for first: few, so that the first line comes soon.
const FIRST_KEYS: usize = 64;
/// How many keys are held at once.
const PAGE_KEYS: usize = 1024;

pub(crate) async fn run(args: Ls, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    if args.count { count(&args, &aft, output).await } else { list(&args, &aft, output).await }
}

/// The keys that are asked for, in pages of which the first is small.
fn pages<'a>(args: &Ls, tx: &'a Transaction) -> ScanPages<'a> {
    let range = KeyRange::prefix(&args.prefix);
    let range = match &args.start_after {
        Some(key) => range.after(key),
        None => range,
    };
    tx.scan_pages(range, FIRST_KEYS)
}

/// The next page, of `most` keys at most; `None` after the last. One can be empty.
async fn next(pages: &mut ScanPages<'_>, most: u64) -> Result<Option<Vec<Entry>>, Failure> {
    let page = pages.next_entries().await?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let got = page.as_ref().map_or(0, Vec::len);
    pages.resize(PAGE_KEYS.min(most.saturating_sub(got)));
    Ok(page)
}

async fn count(args: &Ls, aft: &Aft, output: &Output) -> Result<(), Failure> {
    let tx = aft.begin().await?;
    let mut pages = pages(args, &tx);
    let progress = Progress::counting(output.is_json(), "counting", "keys");
    let mut keys = 0_u64;
    while let Some(page) = next(&mut pages, u64::MAX).await? {
        keys += page.len() as u64;
        progress.advance(page.len() as u64);
    }
    drop(progress);
    output.done(&json!({ "prefix": args.prefix, "count": keys }), keys)
}

async fn list(args: &Ls, aft: &Aft, output: &Output) -> Result<(), Failure> {
    let tx = aft.begin().await?;
    let mut pages = pages(args, &tx);
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut listing =
        Listing { form: form(args, output), long: args.long, width: 0, any: false, more: false };
    if listing.form == Form::Document {
        output.bytes(opening(args)?.as_bytes())?;
    }
    // One more than is wanted tells whether there are more.
    while let Some(mut page) = next(&mut pages, left.saturating_add(1)).await? {
        listing.more = page.len() as u64 > left;
        page.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= page.len() as u64;
        output.bytes(&listing.page(page)?)?;
        if listing.more || (left == 0 && listing.form != Form::Document) {
            break;
        }
    }
    if listing.form == Form::Document {
        output.bytes(listing.closing().as_bytes())?;
    }
    Ok(())
}

/// How keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A line each, for people.
    Lines,
    /// Their bytes, each ended by a NUL.
    Raw,
    /// One JSON document.
    Document,
    /// A JSON object each.
    Documents,
}

fn form(args: &Ls, output: &Output) -> Form {
    match () {
        () if output.is_json() => Form::Document,
        () if args.jsonl => Form::Documents,
        () if args.null => Form::Raw,
        () => Form::Lines,
    }
}

/// How the one document begins, of which the keys are written as they come.
fn opening(args: &Ls) -> Result<String, Failure> {
    let prefix = serde_json::to_string(&args.prefix).map_err(|error| Failure::stdout(error.into()))?;
    Ok(format!("{{\n  \"prefix\": {prefix},\n  \"keys\": ["))
}

struct Listing {
    form: Form,
    long: bool,
    /// How wide the column of sizes is: it grows with a page whose sizes need more.
    width: usize,
    /// Whether any key was listed.
    any: bool,
    /// Whether there are more than were asked for.
    more: bool,
}

impl Listing {
    fn page(&mut self, page: Vec<Entry>) -> Result<Vec<u8>, Failure> {
        match self.form {
            Form::Lines => Ok(self.lines(page).into_bytes()),
            Form::Raw => {
                Ok(page.iter().flat_map(|entry| [&entry.key[..], b"\0"]).collect::<Vec<_>>().concat())
            }
            Form::Document | Form::Documents => self.documents(page).map(String::into_bytes),
        }
    }

    fn lines(&mut self, page: Vec<Entry>) -> String {
        let widest = page.iter().map(|entry| entry.len).max().unwrap_or_default();
        self.width = self.width.max(widest.to_string().len());
        let mut text = String::new();
        for entry in page {
            if self.long {
                let written = entry.written().map_or_else(|| "-".to_owned(), time);
                let _ = write!(text, "{:>width$} {written} ", entry.len, width = self.width);
            }
            let _ = writeln!(text, "{}", Key::from_bytes(entry.key));
        }
        text
    }

    fn documents(&mut self, page: Vec<Entry>) -> Result<String, Failure> {
        let mut text = String::new();
        for entry in page {
            let document = serde_json::to_string(&self.document(&entry));
            let document = document.map_err(|error| Failure::stdout(error.into()))?;
            let comma = if self.any { "," } else { "" };
            let _ = match self.form {
                Form::Documents => writeln!(text, "{document}"),
                _ => write!(text, "{comma}\n    {document}"),
            };
            self.any = true;
        }
        Ok(text)
    }

    /// What ends the document that [`opening`] began.
    fn closing(&self) -> String {
        let end = if self.any { "\n  ]" } else { "]" };
        format!("{end},\n  \"more\": {}\n}}\n", self.more)
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
