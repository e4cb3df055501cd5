//! What an error of object_store says about the effect.
//!
//! object_store tells the HTTP status of most errors only in their text (its `RetryError` cannot be named), so the
//! text is read here; `tests/responses.rs` pins it, response by response, against the version in use.

use std::fmt;

use aft_core::StorageError;
use object_store::Error;

use crate::listing::NoListing;

/// Which kind of request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// A get: nothing can have happened.
    Read,
    /// A list: nor by this.
    List,
    /// A create.
    Create,
    /// A delete.
    Delete,
}

/// The most characters shown of what a server said.
const MOST_SHOWN: usize = 1_000;

/// An error of object_store. Its `Display` holds the whole chain, so that it has no `source` of its own: a chain is printed
/// once.
struct Failure {
    error: Error,
    hint: Option<&'static str>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hint) = self.hint {
            write!(f, "{hint}: ")?;
        }
        let text = chain(&self.error);
        // The XML of an answer may hold what was signed; its code and message say enough.
        let Some(body) = text.find('<') else { return f.write_str(&cut(&text)) };
        f.write_str(&cut(text[..body].trim_end()))?;
        let parts = ["Code", "Message"].map(|tag| element(&text, tag).unwrap_or_default());
        parts.iter().filter(|part| !part.is_empty()).try_for_each(|part| write!(f, " {}", cut(part)))
    }
}

/// An error with its causes. Most of object_store's print the next one themselves; those of the connection do not.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// The beginning of what was said.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl std::error::Error for Failure {}

/// The text of the first element of this name.
fn element<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let rest = &text[text.find(&format!("<{tag}>"))? + tag.len() + 2..];
    rest.split('<').next()
}

/// The HTTP status of the answer, where there was one.
fn status(text: &str) -> Option<u16> {
    let rest = text.split("Server returned non-2xx status code: ").nth(1)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// S3's own name for the error, of a whole request or of one path of a bulk delete.
fn code(text: &str) -> Option<&str> {
    let of_path = || text.split("(code: ").nth(1)?.split(')').next();
    element(text, "Code").or_else(of_path)
}

/// The first cause of this type.
fn cause<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Whether no connection came about, so that nothing was sent.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
fn never_sent(error: &Error) -> bool {
    use object_store::client::{HttpError, HttpErrorKind};
    cause::<HttpError>(error).is_some_and(|error| error.kind() == HttpErrorKind::Connect)
}

#[cfg(not(any(feature = "aws", feature = "azure", feature = "gcp")))]
fn never_sent(_: &Error) -> bool {
    false
}

/// What is meant by a connection that never comes about.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
fn no_trust(error: &Error) -> Option<(Kind, Option<&'static str>)> {
    let error = cause::<crate::connector::NoTrust>(error)?;
    Some((StorageError::invalid, Some(error.hint)))
}

#[cfg(not(any(feature = "aws", feature = "azure", feature = "gcp")))]
fn no_trust(_: &Error) -> Option<(Kind, Option<&'static str>)> {
    None
}

type Kind = fn(String) -> StorageError;

const NO_BUCKET: &str = "there is no such bucket: make it, or mend the URL or the endpoint";
const NOT_ALLOWED_TO_READ: &str = "the credentials do not allow to read this (s3:GetObject), or there is no such object and they do not allow to list \
                                  the bucket (s3:ListBucket, without a condition that a get does not meet), which a store asks for before it says so";
const NOT_ALLOWED_TO_LIST: &str = "the credentials do not allow to list what begins so (s3:ListBucket)";
const NOT_ALLOWED_TO_CREATE: &str = "the credentials do not allow to write this (s3:PutObject)";
const NOT_ALLOWED_TO_DELETE: &str = "the credentials do not allow to delete this (s3:DeleteObject)";
const FULL: &str = "the store is full: make room, or raise its quota";
const ELSEWHERE: &str =
    "the bucket is in another region, or at another endpoint: set the region (AWS_REGION) or the endpoint";
const NO_CONNECTION: &str = "no connection to the store: check the endpoint and the network";

const UNSIZED: &str = "the answer does not say how long the object is (Content-Length), which every S3 server says: is there a proxy between that \
                       changes answers on their way?";

const NO_LISTING: &str = "what answered is not the store, or not all of its answer came: is there a proxy or a captive portal between?";

/// What is meant by an answer to a list that is none.
fn no_listing(error: &Error) -> Option<(Kind, Option<&'static str>)> {
    let error = cause::<NoListing>(error)?;
    let kind: Kind = if error.lasting { StorageError::invalid } else { StorageError::unavailable };
    Some((kind, Some(NO_LISTING)))
}

/// The permission that is missing, in S3's words.
const fn not_allowed(request: Request) -> &'static str {
    match request {
        Request::Read => NOT_ALLOWED_TO_READ,
        Request::List => NOT_ALLOWED_TO_LIST,
        Request::Create => NOT_ALLOWED_TO_CREATE,
        Request::Delete => NOT_ALLOWED_TO_DELETE,
    }
}

/// What is meant by S3's codes that say more than their status.
fn by_code(code: &str, request: Request) -> Option<(Kind, Option<&'static str>)> {
    let (kind, hint): (Kind, &'static str) = match code {
        "NoSuchBucket" | "InvalidBucketName" => (StorageError::invalid, NO_BUCKET),
        "NoSuchUpload" => (StorageError::unknown, "the upload was lost"),
        "RequestTimeTooSkewed" | "RequestExpired" => {
            (StorageError::denied, "the clock of this machine is too far from the store's: set it right")
        }
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
            (StorageError::denied, "the credentials have expired: get new ones")
        }
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => {
            (StorageError::denied, not_allowed(request))
        }
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException" => (
            StorageError::denied,
            "the credentials are not accepted: check the access key, its secret and its session token",
        ),
        "InvalidObjectState" => (
            StorageError::invalid,
            "the object is in an archive class (Glacier) and must be restored before anybody can read it; no lifecycle rule \
             may move aft's objects there",
        ),
        "EntityTooLarge" => (StorageError::invalid, "the object is too large for the store"),
        "QuotaExceeded"
        | "InsufficientStorage"
        | "InsufficientCapacity"
        | "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded" => (StorageError::invalid, FULL),
        // Also the answer to a key that no server can read; the store's own message tells which.
        "AuthorizationHeaderMalformed" => (
            StorageError::invalid,
            "what was signed is not for this bucket: check the region (AWS_REGION) and the access key",
        ),
        "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" => {
            (StorageError::invalid, ELSEWHERE)
        }
        "SlowDown" | "ServiceUnavailable" | "Throttling" | "RequestLimitExceeded" => {
            (StorageError::unknown, "the store has too much to do")
        }
        // Refused because the body did not arrive as announced: trying again may help.
        "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch" => {
            return Some((StorageError::unavailable, None));
        }
        "RequestTimeout" => return Some((StorageError::unknown, None)),
        _ => return None,
    };
    Some((kind, Some(hint)))
}

/// What is meant by a status without a telling code.
fn by_status(status: u16, request: Request) -> Option<(Kind, Option<&'static str>)> {
    let (kind, hint): (Kind, Option<&'static str>) = match status {
        300..=399 => (StorageError::invalid, Some(ELSEWHERE)),
        401 | 403 => (StorageError::denied, Some(not_allowed(request))),
        408 => (StorageError::unknown, None),
        413 => (StorageError::invalid, Some("the object is too large for the store")),
        429 => (StorageError::unavailable, None),
        507 => (StorageError::invalid, Some(FULL)),
        501 => (StorageError::invalid, Some("the store does not support this")),
        400..=499 => (StorageError::invalid, None),
        _ => return None,
    };
    Some((kind, hint))
}

/// Whether it is the bucket that was not found.
pub(crate) fn is_missing_bucket(error: &Error) -> bool {
    code(&error.to_string()) == Some("NoSuchBucket")
}

/// Whether the server does not know this request at all.
pub(crate) fn is_not_implemented(error: &Error) -> bool {
    let text = error.to_string();
    matches!(status(&text), Some(405 | 501))
        || matches!(code(&text), Some("NotImplemented" | "MethodNotAllowed"))
}

/// Whether a request was denied as a whole, for want of a permission.
pub(crate) fn is_denied(error: &Error) -> bool {
    let text = error.to_string();
    status(&text) == Some(403) && matches!(code(&text), None | Some("AccessDenied"))
}

/// The error of a request at `path`.
pub(crate) fn map(error: Error, path: &str, request: Request) -> StorageError {
    let text = error.to_string();
    let told = code(&text).and_then(|code| by_code(code, request));
    let (kind, hint) = match &error {
        _ if told.is_some() => told.unwrap_or((StorageError::unknown, None)),
        Error::NotFound { .. } if request == Request::Read => (StorageError::not_found as Kind, None),
        Error::NotFound { .. } => (StorageError::invalid as Kind, Some(NO_BUCKET)),
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. }
            if request == Request::Create =>
        {
            (StorageError::already_exists as Kind, None)
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            (StorageError::denied as Kind, Some(not_allowed(request)))
        }
        Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::InvalidPath { .. }
        | Error::UnknownConfigurationKey { .. } => (StorageError::invalid as Kind, None),
        Error::Generic { .. } if text.contains("Received redirect without LOCATION") => {
            (StorageError::invalid as Kind, Some(ELSEWHERE))
        }
        Error::Generic { .. } if text.contains("Content-Length Header missing") => {
            (StorageError::invalid as Kind, Some(UNSIZED))
        }
        Error::Generic { .. } if never_sent(&error) => {
            (StorageError::unavailable as Kind, Some(NO_CONNECTION))
        }
        Error::Generic { .. } => {
            let told = no_trust(&error).or_else(|| no_listing(&error));
            let told = told.or_else(|| status(&text).and_then(|status| by_status(status, request)));
            told.unwrap_or((StorageError::unknown as Kind, None))
        }
        _ => (StorageError::unknown as Kind, None),
    };
    let hint = no_credentials(&text).or(hint);
    let kind = kind(path.to_owned());
    let settled = match kind {
        // A read has no effect that could be unknown.
        StorageError::Unknown { path, source } if matches!(request, Request::Read | Request::List) => {
            StorageError::Unavailable { path, source }
        }
        other => other,
    };
    settled.with_source(Failure { error, hint })
}

/// The metadata service is the last place where credentials are looked for; on most machines there is none.
fn no_credentials(text: &str) -> Option<&'static str> {
    let asked = text.contains("169.254.169.254") || text.contains("fd00:ec2::254");
    asked.then_some(
        "no credentials in the settings, the environment or a profile, and no machine role answered",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_code_are_found_in_the_text() {
        let text = "Generic S3 error: Error performing PUT http://h/b/k in 1ms - Server returned non-2xx status code: \
                    507 Insufficient Storage: <Error><Code>X</Code><Message>full</Message><Sign>hush</Sign></Error>";
        assert_eq!((status(text), code(text)), (Some(507), Some("X")));
        assert_eq!(
            code("DeleteObjects request failed for key k: no (code: AccessDenied)"),
            Some("AccessDenied")
        );
        assert_eq!((status("Generic S3 error: timeout"), code("timeout")), (None, None));
        let failure = Failure { error: Error::Generic { store: "S3", source: text.into() }, hint: None };
        let shown = format!("{failure} {failure:?}");
        assert!(shown.contains("X full") && !shown.contains("hush"), "{shown}");
    }
}
