//! Spans of what a node does, for whoever traces it: their names begin with `aft.`, and stay as they are (docs/metrics.md has the list).
//!
//! They name transactions and count keys, and never show a key or a value: those are the caller's, and may be secret. What is read from memory
//! has none, since it would cost more than the read.

use std::borrow::Cow;
use std::future::Future;

use futures::FutureExt;
use tracing::{Instrument, Span};

use crate::error::Error;

/// The outcome of what did its work.
pub(crate) const OK: &str = "ok";

/// Does the work in a span, and notes in its field `outcome` how it ended: what `ended` says, which may note more, or the kind of the error.
pub(crate) fn noted<T>(
    span: Span,
    work: impl Future<Output = Result<T, Error>>,
    ended: impl FnOnce(&Span, &T) -> &'static str,
) -> impl Future<Output = Result<T, Error>> {
    // Not the current span: where this one is switched off, that is the caller's.
    let noted = span.clone();
    work.instrument(span).inspect(move |result| {
        if noted.is_disabled() {
            return;
        }
        let outcome = match result {
            Ok(value) => Cow::Borrowed(ended(&noted, value)),
            Err(error) => Cow::Owned(label(error)),
        };
        noted.record("outcome", &*outcome);
    })
}

/// The kind of an error in one word, for a field or a label.
pub(crate) fn label(error: &Error) -> String {
    error.kind().to_string().replace(' ', "_")
}
