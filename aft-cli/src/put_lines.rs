//! `aft put --from-jsonl`: several keys in one transaction, all or none.
//!
//! All lines are read before the store is opened, so that a bad one writes nothing and makes no store. So there is a bound for them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use aft_core::{Aft, Begin, Commit, CommitOutcome, ErrorKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::dump::read::Source;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, count, size};
use crate::signals;
use crate::store::{self, Committed, Store};

/// The most bytes of all lines together.
const MOST_BYTES: u64 = 64 << 20;
/// The most keys: more than fit one commit record, with the default settings.
const MOST_KEYS: usize = 100_000;

/// One line. The names are those of a dump, but for `deleted`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    deleted: bool,
}

/// What becomes of each key: its new value, or `None` where it is deleted; and the line that says so.
type Writes = BTreeMap<Key, (Option<Vec<u8>>, usize)>;

pub(crate) async fn run(
    from: Option<PathBuf>,
    request: Option<&Key>,
    store: &Store,
    output: &Output,
) -> Result<(), Failure> {
    let source = Source::new(from);
    let text = read(&source).await?;
    let writes = parse(&text).map_err(|(line, why)| {
        Failure::usage(format!(
            "line {line} of {} cannot be taken: {why}; nothing was written",
            source.name()
        ))
    })?;
    if writes.is_empty() {
        return Err(Failure::usage(format!("{} has no line; nothing was written", source.name())));
    }
    let (written, bytes) = writes
        .values()
        .filter_map(|(value, _)| value.as_ref())
        .fold((0_usize, 0_u64), |(number, bytes), value| (number + 1, bytes + value.len() as u64));
    let deleted = writes.len() - written;
    let result = format!("put of lines {}", digest(&text));
    drop(text);
    let aft = store.open_to_write().await?;
    let commit = commit(&aft, writes, request, &result).await?;
    store::close(aft, output).await;
    let replayed = commit.outcome == CommitOutcome::Replayed;
    let document = json!({
        "written": written, "deleted": deleted, "bytes": bytes, "commit": Committed::from(&commit),
    });
    let mut line = format!("wrote {} ({})", count(written, "key"), size(bytes));
    if deleted > 0 {
        line.push_str(&format!(", deleted {}", count(deleted, "key")));
    }
    line.push_str(&format!(", as one transaction {}", commit.receipt.txn_id()));
    if replayed {
        line.push_str("; the request had been done before");
    }
    output.done(&document, line)
}

/// All of the source. On a thread of its own: the process must be able to end while stdin brings nothing.
async fn read(source: &Source) -> Result<Vec<u8>, Failure> {
    let reader = source.reader()?;
    let (done, text) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = reader.take(MOST_BYTES + 1).read_to_end(&mut text);
        let _ = done.send(read.map(|_| text));
    });
    let text = text.await.unwrap_or_else(|_| Err(io::Error::other("the thread that read it has ended")));
    let text = text.map_err(|cause| Failure::input(source.name(), cause))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(Failure::usage(format!(
            "{} has more than {}, which is the most for one transaction of lines; nothing was written",
            source.name(),
            size(MOST_BYTES)
        ))
        .advice("`aft load` takes dumps of any size"));
    }
    Ok(text)
}

/// What the lines say. Where one cannot be taken: its number and why.
fn parse(text: &[u8]) -> Result<Writes, (usize, String)> {
    let mut writes = Writes::new();
    for (line, at) in text.split(|byte| *byte == b'\n').zip(1..) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let (key, value) = write(line).map_err(|why| (at, why))?;
        if let Some((_, before)) = writes.get(&key) {
            return Err((at, format!("the key {key} stands in line {before} already")));
        }
        if writes.len() == MOST_KEYS {
            let why = format!(
                "one transaction of lines takes {} at most; `aft load` takes more",
                count(MOST_KEYS, "key")
            );
            return Err((at, why));
        }
        writes.insert(key, (value, at));
    }
    Ok(writes)
}

/// What a line says.
fn write(line: &[u8]) -> Result<(Key, Option<Vec<u8>>), String> {
    let line: Line = serde_json::from_slice(line).map_err(|cause| {
        // Which line it is says who asked.
        let text = cause.to_string();
        format!("{} at column {}", text.split(" at line ").next().unwrap_or_default(), cause.column())
    })?;
    let key = Key::parse(&line.key).map_err(|cause| cause.to_string())?;
    let value = match (line.value, line.value_base64, line.deleted) {
        (Some(text), None, false) => Some(text.into_bytes()),
        (None, Some(text), false) => {
            Some(STANDARD.decode(text).map_err(|cause| format!("value_base64: {cause}"))?)
        }
        (None, None, true) => None,
        _ => return Err("a key has one of `value`, `value_base64` and `\"deleted\":true`".to_owned()),
    };
    Ok((key, value))
}

fn digest(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Commits all, or finds it done before under the request key.
async fn commit(aft: &Aft, writes: Writes, request: Option<&Key>, result: &str) -> Result<Commit, Failure> {
    let mut begin = Begin::new();
    if let Some(request) = request {
        begin = begin.request(request);
    }
    let mut tx = aft.begin_with(begin).await?;
    let before = if request.is_some() { tx.replay().await? } else { None };
    let commit = match before {
        Some(commit) => commit,
        None => {
            for (key, (value, _)) in writes {
                match value {
                    Some(value) => tx.put(&key, value),
                    None => tx.delete(&key),
                }
                .map_err(|error| {
                    unfit(error).within(format!("cannot write the key {key}; nothing was written"))
                })?;
            }
            if request.is_some() {
                tx.set_result(result.to_owned())?;
            }
            signals::committing(true);
            tx.commit().await.map_err(unfit)?
        }
    };
    if commit.outcome == CommitOutcome::Replayed && commit.result.as_deref() != Some(result.as_bytes()) {
        return Err(Failure::usage(format!(
            "the request key wrote something else before (transaction {}); nothing was written",
            commit.receipt.txn_id()
        ))
        .advice("other lines are another request: give it a key of its own"));
    }
    Ok(commit)
}

/// The failure of the store; of what one transaction cannot take, with what can.
fn unfit(error: aft_core::Error) -> Failure {
    let too_much = error.kind() == ErrorKind::InvalidInput;
    let failure = Failure::from(error);
    if too_much { failure.advice("write fewer lines at once, or use `aft load --batch`") } else { failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_is_written_and_deleted() {
        let text = b"{\"key\":\"b\",\"value\":\"x\"}\n\n{\"key\":\"\\\\xff\",\"value_base64\":\"AP8=\"}\r\n{\"key\":\"a\",\"deleted\":true}";
        let writes: Vec<_> =
            parse(text).unwrap().into_iter().map(|(key, (value, _))| (key.to_string(), value)).collect();
        let wanted = [("a", None), ("b", Some(b"x".to_vec())), ("\\xff", Some(b"\0\xff".to_vec()))];
        assert_eq!(writes, wanted.map(|(key, value)| (key.to_owned(), value)));
        assert!(parse(b"").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_taken_is_named_by_its_line() {
        let good = "{\"key\":\"a\",\"value\":\"1\"}\n";
        for (line, why) in [
            (good, "stands in line 1 already"),
            ("{\"key\":\"b\"}", "one of"),
            ("{\"key\":\"b\",\"value\":\"\",\"deleted\":true}", "one of"),
            ("{\"key\":\"b\",\"deleted\":false}", "one of"),
            ("{\"key\":\"b\",\"value_base64\":\"?\"}", "value_base64"),
            ("{\"key\":\"\",\"value\":\"\"}", "at least one byte"),
            ("{\"key\":\"\\\\q\",\"value\":\"\"}", "no escape"),
            ("{\"key\":\"b\",\"valu\":\"\"}", "unknown field"),
            ("{\"key\":\"b\",\"value\":\"", "EOF"),
            ("[]", "invalid"),
            ("\u{fffd}", "expected value"),
        ] {
            let (at, said) = parse(format!("{good}{line}").as_bytes()).unwrap_err();
            assert!(at == 2 && said.contains(why), "{line}: {at}: {said}");
        }
    }
}
