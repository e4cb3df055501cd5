//! What the decision of a transaction says, for people and for programs.

use std::time::{Duration, UNIX_EPOCH};

use aft_core::{Aft, DecisionInfo, Outcome, Publication, TransactionInfo, Version, VersionInfo, WriteInfo};
use comfy_table::ColumnConstraint;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::key::Key;
use crate::output::{count, size, table, time};

/// How many keys are looked up, and how many guards, keys and members are shown to people, where not all are asked for.
pub(crate) const SHOWN: usize = 20;
/// How many keys are looked up side by side.
const AT_ONCE: usize = 8;

/// What became of a version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Now {
    /// It is the newest.
    Newest,
    /// The next newer version that is known.
    Superseded(Version),
    /// Neither it nor a newer one is known: the key is absent, or something older is the newest.
    Gone,
}

impl Now {
    /// By the versions of the key that are known, in any order.
    fn of(own: Version, known: &[VersionInfo]) -> Self {
        let versions = || known.iter().map(|it| it.version);
        match versions().filter(|it| *it > own).min() {
            Some(newer) => Self::Superseded(newer),
            None if versions().any(|it| it == own) => Self::Newest,
            None => Self::Gone,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Superseded(_) => "superseded",
            Self::Gone => "gone",
        }
    }
}

/// What became of the first `most` keys that a transaction wrote, in their order; of one that did not commit, nothing.
pub(crate) async fn now(aft: &Aft, told: &TransactionInfo, most: usize) -> Result<Vec<Now>, Failure> {
    let (Outcome::Committed { receipt, .. }, Some(decision)) = (&told.outcome, &told.decision) else {
        return Ok(Vec::new());
    };
    let version = receipt.version();
    let keys: Vec<_> = decision.writes.iter().take(most).map(|write| write.key.clone()).collect();
    let look = |key| async move { Ok::<_, Failure>(Now::of(version, &aft.versions(key).await?)) };
    futures::stream::iter(keys).map(look).buffered(AT_ONCE).try_collect().await
}

/// Adds to the document of a transaction what its decision says.
pub(crate) fn put(document: &mut Value, told: &TransactionInfo, now: &[Now]) {
    let Some(decision) = &told.decision else { return };
    document["decision"] = json!({
        "id": decision.id.to_string(), "object": decision.object, "size": decision.bytes, "dated": time(decision.dated),
        "members": decision.members.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if let Outcome::Committed { receipt, .. } = &told.outcome {
        document["decided"] = decided(receipt.version()).into();
    }
    if let Some(key) = &decision.request_key {
        document["request_key"] = Key::from_bytes(key.clone()).to_string().into();
    }
    match &told.publication {
        Some(Publication::Published { since, object, node }) => {
            document["publication"] = "published".into();
            document["published"] = json!({
                "since": since.map(time), "object": object, "node": node.map(node_text),
            });
        }
        Some(Publication::Folded) => document["publication"] = "folded".into(),
        Some(Publication::Unpublished) => document["publication"] = "unpublished".into(),
        _ => {}
    }
    let guards = decision.guards.iter().map(|guard| {
        let over = guard.over.map(|over| over.to_string());
        json!({ "key": Key::from_bytes(guard.key.clone()), "over": over, "slot": guard.slot })
    });
    document["guards"] = guards.collect();
    let mut now = now.iter();
    document["writes"] = decision.writes.iter().map(|write| written(write, now.next())).collect();
}

fn written(write: &WriteInfo, now: Option<&Now>) -> Value {
    let mut document = json!({
        "key": Key::from_bytes(write.key.clone()), "deleted": write.deleted, "size": write.bytes,
        "object": write.object, "parts": write.parts,
    });
    if let Some(now) = now {
        document["now"] = now.name().into();
        if let Now::Superseded(by) = now {
            document["superseded_by"] = by.to_string().into();
        }
    }
    document
}

/// What the decision says beside the keys, as rows for people.
pub(crate) fn rows(told: &TransactionInfo) -> Vec<(&'static str, String)> {
    let Some(decision) = &told.decision else { return Vec::new() };
    let mut rows = Vec::new();
    if let Outcome::Committed { receipt, .. } = &told.outcome {
        rows.push(("decided", decided(receipt.version())));
    } else if !decision.members.is_empty() {
        rows.push(("why", "its decision says commit, and came too late to count".to_owned()));
    }
    let dated = time(decision.dated);
    rows.push(("decision", format!("{}, {}, dated {dated}", decision.object, size(decision.bytes))));
    if decision.members.len() > 1 {
        let members = shown(decision.members.iter(), decision.members.len());
        rows.push(("group", format!("{} of {}: {members}", decision.id, decision.members.len())));
    }
    if let Some(key) = &decision.request_key {
        rows.push(("request key", Key::from_bytes(key.clone()).to_string()));
    }
    rows.extend(told.publication.as_ref().map(|publication| ("told others", publication_text(publication))));
    for guard in decision.guards.iter().take(SHOWN) {
        let over = guard.over.map_or("absent".to_owned(), |over| over.to_string());
        rows.push(("guard", format!("{} over {over}", Key::from_bytes(guard.key.clone()))));
    }
    let more = decision.guards.len().saturating_sub(SHOWN);
    rows.extend((more > 0).then(|| ("", format!("and {} more", count(more, "guard")))));
    rows
}

fn publication_text(publication: &Publication) -> String {
    match publication {
        Publication::Folded => "yes, and it is folded into the index".to_owned(),
        Publication::Published { since, object, node } => {
            let since = since.map_or(String::new(), |since| format!(" since {}", time(since)));
            let by = node.map_or(String::new(), |node| format!(", by node {}", node_text(node)));
            let object = object.as_ref().map_or(String::new(), |object| format!(", in {object}"));
            format!("yes{since}{by}{object}")
        }
        _ => "not yet, as far as is known: its own process does, or the next sweep".to_owned(),
    }
}

/// The keys that were written, as a table for people.
pub(crate) fn keys(decision: &DecisionInfo, now: &[Now]) -> String {
    let writes = &decision.writes;
    if writes.is_empty() {
        return "it wrote no key".to_owned();
    }
    let mut table = table(["value", "lies in", "key", "now"]);
    for (n, write) in writes.iter().take(now.len().max(SHOWN)).enumerate() {
        let value = if write.deleted { "deleted".to_owned() } else { size(write.bytes) };
        let object = match (&write.object, write.parts) {
            (Some(object), 1) => object.clone(),
            (Some(object), parts) => format!("{object} and {} more", parts.saturating_sub(1)),
            (None, _) if write.deleted => String::new(),
            (None, _) => "the decision".to_owned(),
        };
        let now = now.get(n).map_or(String::new(), now_text);
        table.add_row([value, object, Key::from_bytes(write.key.clone()).to_string(), now]);
    }
    // Paths and ids are to be copied.
    for column in [1, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let more = writes.len().saturating_sub(now.len().max(SHOWN));
    let more = if more > 0 {
        format!("\nand {} more; --all-keys shows them", count(more, "key"))
    } else {
        String::new()
    };
    table.trim_fmt() + &more
}

fn now_text(now: &Now) -> String {
    match now {
        Now::Newest => "the newest".to_owned(),
        Now::Superseded(by) => format!("superseded by {}, {}", by.txn_id(), decided(*by)),
        Now::Gone => "not known any more, nor a newer one".to_owned(),
    }
}

/// The first few of so many, in one line.
fn shown(items: impl Iterator<Item = impl ToString>, of: usize) -> String {
    let mut text = items.take(SHOWN).map(|item| item.to_string()).collect::<Vec<_>>().join(" ");
    if of > SHOWN {
        text.push_str(&format!(" and {} more", of - SHOWN));
    }
    text
}

/// The random number of a node, as the names of its feed objects say it.
fn node_text(node: u64) -> String {
    format!("{node:016x}")
}

fn decided(version: Version) -> String {
    time(UNIX_EPOCH + Duration::from_millis(version.clock_ms()))
}
