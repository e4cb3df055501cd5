//! The spans that a tracing layer gets: their names and fields, as docs/metrics.md lists them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aft_core::Begin;
use aft_memory::{ErrorKind, Fault, Operation};
use aft_tests::World;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A span: its name and its fields, as text.
type Seen = (&'static str, BTreeMap<&'static str, String>);

/// A span, and the name of the one it was in.
type Within = (Seen, Option<&'static str>);

/// Notes every span that closes.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Within>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        values.record(context.span(id).unwrap().extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions_mut().remove::<Fields>().unwrap();
        let parent = span.parent().map(|parent| parent.name());
        self.0.lock().push(((span.name(), fields.0), parent));
    }
}

impl Spans {
    /// The spans that closed since the last call.
    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.lock()).into_iter().map(|(seen, _)| seen).collect()
    }
}

fn span<const N: usize>(name: &'static str, fields: [(&'static str, &str); N]) -> Seen {
    (name, fields.map(|(name, value)| (name, value.to_owned())).into())
}

fn listening(level: LevelFilter) -> (Spans, tracing::subscriber::DefaultGuard) {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone().with_filter(level));
    (spans, tracing::subscriber::set_default(subscriber))
}

/// One thread polls everything, so that the subscriber of this thread gets it.
#[tokio::test(start_paused = true)]
async fn a_commit_and_reads_are_spans() {
    let (spans, _listening) = listening(LevelFilter::DEBUG);
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    spans.take();

    let mut tx = writer.begin().await.unwrap();
    let id = tx.id().to_string();
    let begun = [("txn", id.as_str()), ("latest", "false"), ("receipts", "0"), ("outcome", "ok")];
    assert_eq!(spans.take(), [span("aft.begin", begun)]);
    tx.put("k", "value").unwrap();
    tx.put("other", "").unwrap();
    let receipt = tx.commit().await.unwrap().receipt;
    let seen = spans.take();
    let [(name, fields)] = &seen[..] else { panic!("{seen:?}") };
    let of = |field: &str| fields[field].as_str();
    assert_eq!((*name, of("txn"), of("keys"), of("outcome")), ("aft.commit", id.as_str(), "2", "fresh"));
    assert_eq!((of("requests"), of("bytes").parse::<u64>().unwrap() > 10), ("1", true), "{fields:?}");

    // The writer has it in memory: reading that is no span.
    let tx = writer.begin().await.unwrap();
    spans.take();
    tx.get("k").await.unwrap();
    assert_eq!(spans.take(), []);
    // Another node's cache learns it from the decision that the receipt names; a value that it does not have, it fetches.
    writer.publish().await.unwrap();
    assert_eq!(spans.take(), [span("aft.publish", [("commits", "1"), ("outcome", "ok")])]);
    let tx = reader.begin_with(Begin::new().after(&receipt).latest()).await.unwrap();
    let id = tx.id().to_string();
    let begun = [("txn", id.as_str()), ("latest", "true"), ("receipts", "1"), ("outcome", "ok")];
    assert_eq!(spans.take(), [span("aft.refresh", [("outcome", "ok")]), span("aft.begin", begun)]);
    assert_eq!(tx.get_many(["k", "other", "none"]).await.unwrap()[0].as_deref(), Some(&b"value"[..]));
    let read = [("txn", id.as_str()), ("keys", "3"), ("bytes", "5"), ("outcome", "ok")];
    assert_eq!(spans.take(), [span("aft.get", read)]);
    tx.scan_keys(..).await.unwrap();
    assert_eq!(spans.take(), [span("aft.scan", [("txn", id.as_str()), ("keys", "2"), ("outcome", "ok")])]);

    // A failure says of what kind it was.
    let mut tx = writer.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(ErrorKind::Denied));
    tx.commit().await.unwrap_err();
    let seen = spans.take();
    assert_eq!(
        seen.last().map(|(name, fields)| (*name, fields["outcome"].as_str())),
        Some(("aft.commit", "denied"))
    );
}

/// At the level that most listen at there is the upkeep alone, and the caller's own span is left as it is.
#[tokio::test(start_paused = true)]
async fn upkeep_is_told_at_level_info() {
    let (spans, _listening) = listening(LevelFilter::INFO);
    let world = World::new();
    let node = world.node().await;
    let own = tracing::span!(Level::INFO, "own", outcome = tracing::field::Empty);
    let work = async {
        let mut tx = node.begin().await.unwrap();
        tx.put("k", "v").unwrap();
        tx.commit().await.unwrap();
        node.checkpoint().await.unwrap();
        node.collect_garbage(true).await.unwrap();
    };
    tracing::Instrument::instrument(work, own).await;
    let seen = std::mem::take(&mut *spans.0.lock());
    let made = [("number", "1"), ("made", "true"), ("folded", "0"), ("bytes", ""), ("outcome", "ok")];
    let collected = [("dry_run", "true"), ("objects", "0"), ("bytes", "0"), ("outcome", "ok")];
    let mut seen = seen.into_iter();
    let ((name, mut fields), parent) = seen.next().unwrap();
    assert!(fields.insert("bytes", String::new()).unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(((name, fields), parent), (span("aft.checkpoint", made), Some("own")));
    assert_eq!(seen.next(), Some((span("aft.collect", collected), Some("own"))));
    assert_eq!(seen.next(), Some((span("own", []), None)));
    assert_eq!(seen.next(), None);
}
