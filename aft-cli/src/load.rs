//! `aft load`.

use aft_core::{Aft, Begin, Commit, CommitOutcome, Error, ErrorKind, Transaction};
use bytes::Bytes;
use futures::stream;
use serde_json::json;

use crate::args::Load;
use crate::dump::format::{End, Item, Refusal};
use crate::dump::read::{Incoming, Source};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key::{Key, Prefix};
use crate::output::{Output, count, size};
use crate::progress::Progress;
use crate::signals;
use crate::store::{self, Committed, Store};

/// How many bytes of small values are held in memory until they are uploaded side by side. Beyond it each goes up by itself.
const HELD_BYTES: u64 = 128 << 20;

/// A load on its way.
struct Loading<'a> {
    aft: &'a Aft,
    dump: Incoming,
    prefix: &'a Prefix,
    batch: Option<u64>,
    request: Option<&'a Key>,
    progress: Progress,
    /// The digest of the dump, where it was verified before.
    verified: Option<String>,
    /// Keys of committed transactions, bytes of their values, and keys that the prefix leaves out.
    keys: u64,
    bytes: u64,
    left_out: u64,
    commits: Vec<Commit>,
}

/// What one transaction takes of a dump.
#[derive(Debug, Default)]
struct Filled {
    keys: u64,
    bytes: u64,
    /// Where the dump ended with it.
    end: Option<End>,
}

pub(crate) async fn run(args: Load, store: &Store, output: &Output) -> Result<(), Failure> {
    let source = Source::new(args.file);
    let mut verified = None;
    if args.batch.is_some() {
        if !source.is_file() {
            return Err(Failure::usage(format!("--batch needs a dump that is a file, and {} is none", source.name()))
                .advice("it is read twice: verified as a whole before anything is committed; write the dump to a file first"));
        }
        let mut dump = source.open()?;
        let end = dump.verify().await.map_err(|refusal| dump.refused(refusal, NOTHING))?;
        verified = Some(end.sha256);
    }
    let mut dump = source.open()?;
    // Before the store is opened: what is no dump makes no store.
    let head = dump.head().await.map_err(|refusal| dump.refused(refusal, NOTHING))?;
    let aft = store.open_to_write().await?;
    let mut loading = Loading {
        aft: &aft,
        dump,
        prefix: &args.prefix,
        batch: args.batch,
        request: args.request.as_ref(),
        progress: Progress::new(output.is_json(), "loading", head.keys),
        verified,
        keys: 0,
        bytes: 0,
        left_out: 0,
        commits: Vec::new(),
    };
    let end = signals::until_commit(loading.load(), STOPPED, output).await;
    let Loading { keys, bytes, left_out, commits, .. } = loading;
    // Also where it failed: what was committed before is told to other processes.
    store::close(aft, output).await;
    let end = end?;
    let replayed = commits.iter().filter(|commit| commit.outcome == CommitOutcome::Replayed).count();
    let document = json!({
        "prefix": args.prefix, "keys": keys, "bytes": bytes, "left_out": left_out, "sha256": end.sha256,
        "commits": commits.iter().map(Committed::from).collect::<Vec<_>>(),
    });
    let mut line =
        format!("loaded {} ({})", count(usize::try_from(keys).unwrap_or(usize::MAX), "key"), size(bytes));
    match &commits[..] {
        [] => line.push_str("; nothing to write"),
        [commit] => line.push_str(&format!(" as one transaction {}", commit.receipt.txn_id())),
        several => line.push_str(&format!(" in {} transactions", several.len())),
    }
    match replayed {
        0 => {}
        all if all == commits.len() => line.push_str("; the request had been done before"),
        some => line.push_str(&format!("; {some} of them had been committed before")),
    }
    output.done(&document, line)
}

/// What is true where a signal stops a load between two commits.
const STOPPED: &str =
    "nothing was committed beyond whole batches (--batch); run the same command again: it writes the same";
const NOTHING: &str = "nothing was committed";

impl Loading<'_> {
    /// Loads all of the dump.
    async fn load(&mut self) -> Result<End, Failure> {
        for number in 1.. {
            let filled = self.transaction(number).await?;
            if let Some(end) = filled.end {
                return self.ended(end);
            }
        }
        Err(Failure::new(Exit::Error, "the dump has no end; this is a bug"))
    }

    fn ended(&self, end: End) -> Result<End, Failure> {
        if self.left_out == end.keys && end.keys > 0 {
            let what = format!("no key of the dump begins with {}; nothing was written", self.prefix);
            return Err(Failure::new(Exit::KeyNotFound, what));
        }
        Ok(end)
    }

    /// Commits what the next transaction takes.
    async fn transaction(&mut self, number: u64) -> Result<Filled, Failure> {
        let mut begin = Begin::new();
        if let Some(request) = self.request {
            let part = if self.batch.is_some() { format!("#{number}") } else { String::new() };
            begin = begin.request([request.as_ref(), part.as_bytes()].concat());
        }
        let mut tx = self.aft.begin_with(begin).await.map_err(|error| self.failed(error))?;
        let before = match self.request {
            Some(_) => tx.replay().await.map_err(|error| self.failed(error))?,
            None => None,
        };
        let filled = self.fill(before.is_none().then_some(&mut tx)).await?;
        let digest = filled.end.as_ref().map(|end| end.sha256.clone()).or_else(|| self.verified.clone());
        let result = self.result(&digest.unwrap_or_default(), number);
        // A dump that changed between two readings.
        if let (Some(end), Some(verified)) = (&filled.end, &self.verified)
            && end.sha256 != *verified
        {
            let refusal = Refusal::damaged("the file", "it is not the one any more that was verified");
            return Err(self.dump.refused(refusal, &self.became()));
        }
        // Nothing is left for a last transaction, or all was left out.
        if filled.keys == 0 && before.is_none() {
            return Ok(filled);
        }
        let commit = match before {
            Some(commit) => commit,
            None => {
                if self.request.is_some() {
                    tx.set_result(result.clone()).map_err(|error| self.failed(error))?;
                }
                signals::committing(true);
                let committed = tx.commit().await;
                signals::committing(false);
                committed.map_err(|error| self.unfit(error))?
            }
        };
        if commit.outcome == CommitOutcome::Replayed && commit.result.as_deref() != Some(result.as_bytes()) {
            return Err(Failure::usage(format!(
                "the request key loaded something else before (transaction {}); {}",
                commit.receipt.txn_id(),
                self.became()
            ))
            .advice("another dump, --prefix or --batch is another request: give it a key of its own"));
        }
        self.keys += filled.keys;
        self.bytes += filled.bytes;
        self.commits.push(commit);
        Ok(filled)
    }

    /// What a transaction under a request key stores: by this a later one knows that it is the same load.
    fn result(&self, sha256: &str, number: u64) -> String {
        let batch =
            self.batch.map_or(String::new(), |batch| format!(", batch {number} of {batch} keys each"));
        format!("load of dump {sha256}, prefix \"{}\"{batch}", self.prefix.escaped())
    }

    /// Takes as many keys as one transaction has, or all. Without a transaction they only go by.
    async fn fill(&mut self, mut tx: Option<&mut Transaction>) -> Result<Filled, Failure> {
        let mut filled = Filled::default();
        let mut held = 0;
        while self.batch != Some(filled.keys) {
            let item =
                self.dump.next().await.map_err(|refusal| self.dump.refused(refusal, &self.became()))?;
            let key = match item {
                Item::Key(key) => key,
                Item::End(end) => {
                    filled.end = Some(end);
                    break;
                }
                // The verifier lets no piece and no head stand here.
                Item::Piece { .. } | Item::Head(_) => {
                    let refusal = Refusal::damaged("a key", "it must be here, and is not");
                    return Err(self.dump.refused(refusal, &self.became()));
                }
            };
            self.progress.advance(1);
            let wanted = key.starts_with(self.prefix.as_bytes());
            let len = match &mut tx {
                Some(tx) if wanted => self.put(tx, &key, &mut held).await?,
                _ => self.pass_by().await?,
            };
            if wanted {
                filled.keys += 1;
                filled.bytes += len;
            } else {
                self.left_out += 1;
            }
        }
        Ok(filled)
    }

    /// Puts a value. One of one piece goes up beside others, as long as not too much is held; any other in parts.
    async fn put(&mut self, tx: &mut Transaction, key: &[u8], held: &mut u64) -> Result<u64, Failure> {
        let (first, last) = self.piece().await?;
        if last && *held <= HELD_BYTES {
            let len = first.len() as u64;
            *held += len;
            tx.put(key, first).map_err(|error| self.unfit(error))?;
            return Ok(len);
        }
        let dump = &mut self.dump;
        let pieces = stream::try_unfold((Some((first, last)), dump), |(piece, dump)| async move {
            let Some((bytes, last)) = piece else { return Ok::<_, std::io::Error>(None) };
            let next = match last {
                true => None,
                false => Some(dump.piece().await.map_err(|refusal| dump.keep(refusal))?),
            };
            Ok(Some((bytes, (next, dump))))
        });
        match tx.put_stream(key, pieces).await {
            Ok(len) => Ok(len),
            Err(error) => Err(match self.dump.kept() {
                Some(refusal) => self.dump.refused(refusal, &self.became()),
                None => self.unfit(error),
            }),
        }
    }

    /// Takes a value and drops it.
    async fn pass_by(&mut self) -> Result<u64, Failure> {
        let mut len = 0;
        loop {
            let (bytes, last) = self.piece().await?;
            len += bytes.len() as u64;
            if last {
                return Ok(len);
            }
        }
    }

    async fn piece(&mut self) -> Result<(Bytes, bool), Failure> {
        self.dump.piece().await.map_err(|refusal| self.dump.refused(refusal, &self.became()))
    }

    /// What became of the store where a load ends early.
    fn became(&self) -> String {
        match self.commits.len() {
            0 => NOTHING.to_owned(),
            commits => format!("{} keys are loaded, in {commits} transactions", self.keys),
        }
    }

    /// The failure of the store, with what became of it and what to do.
    fn failed(&self, error: Error) -> Failure {
        let failure = Failure::from(error);
        if self.commits.is_empty() {
            return failure;
        }
        failure.within(format!("the load is not complete: {}", self.became())).advice(
            "run the same command again: it writes the same, and under a --request only what is missing",
        )
    }

    /// The same for what a transaction can be too large or too slow for.
    fn unfit(&self, error: Error) -> Failure {
        if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Expired) {
            return self.failed(error);
        }
        let what = format!("the load does not fit one transaction; {}", self.became());
        let failure = Failure::from(error).within(what);
        match self.batch {
            None => failure.advice("--batch 10000 loads so many keys in each of several transactions"),
            Some(_) => failure.advice("a smaller --batch makes smaller transactions"),
        }
    }
}
