//! Ranges of servers that send the whole object whatever was asked for.
//!
//! HTTP lets a server ignore `Range`: it answers 200 with everything. object_store takes that for a failure. Here the piece is cut out as
//! the body comes by, so that such a server costs more to read from and works like any other. (Its opposite, a server whose ranges
//! are wrong, is found by object_store, which compares them with what was asked for.)

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};

/// Whether it was said already that the server ignores ranges.
static SAID: AtomicBool = AtomicBool::new(false);

/// The range that a request asks for; `None` where it asks for a whole object.
pub(crate) fn asked(request: &HttpRequest) -> Option<Range<u64>> {
    let range = request.headers().get(RANGE).filter(|_| request.method() == "GET")?;
    let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}

/// What a server that keeps ranges would have answered.
///
/// # Errors
/// Where the body does not come.
pub(crate) async fn cut(asked: Range<u64>, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let length =
        answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let Some(length) = length.filter(|_| answer.status() == StatusCode::OK) else { return Ok(answer) };
    if !SAID.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "the server ignores ranges: of every object that is read in pieces all comes over the network each time"
        );
    }
    let (mut head, body) = answer.into_parts();
    let wanted = asked.start..asked.end.min(length);
    if wanted.is_empty() {
        head.status = StatusCode::RANGE_NOT_SATISFIABLE;
        head.headers.remove(CONTENT_LENGTH);
        return Ok(HttpResponse::from_parts(head, bytes::Bytes::new().into()));
    }
    let mut parts = body.bytes_stream();
    let (mut at, mut kept) = (0u64, Vec::new());
    while at < wanted.end {
        let Some(part) = parts.try_next().await? else {
            let short = format!("the body ended after {at} of {length} bytes");
            return Err(HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other(short)));
        };
        let end = at + part.len() as u64;
        let inside = |place: u64| usize::try_from(place.clamp(at, end) - at).unwrap_or(part.len());
        kept.extend_from_slice(&part[inside(wanted.start)..inside(wanted.end)]);
        at = end;
    }
    head.status = StatusCode::PARTIAL_CONTENT;
    let told = format!("bytes {}-{}/{length}", wanted.start, wanted.end - 1);
    if let Ok(told) = HeaderValue::from_str(&told) {
        head.headers.insert(CONTENT_RANGE, told);
    }
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(kept.len()));
    Ok(HttpResponse::from_parts(head, bytes::Bytes::from(kept).into()))
}
