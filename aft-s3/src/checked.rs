//! Looks at each answer to a list before object_store reads it.
//!
//! object_store 0.14 reads a list for the elements it needs, and all of them may be missing: any XML with a root is an empty
//! listing to it. The page is read here by the same reader, for the root and for what else it says of itself. By the way it is noted whether
//! the bucket keeps versions.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::form_urlencoded;

use crate::connector::Connector;
use crate::listing::{NoListing, shown};
use crate::versions::{Versions, deletes_many};

/// The longest page. One of 1,000 of the longest names, each mark of them escaped, has 6 MB.
const MOST_BYTES: usize = 16 << 20;

/// Makes the clients of a store that speaks S3, whose listings are checked, and who tell of versions.
#[derive(Debug, Default)]
pub(crate) struct CheckedConnector {
    connector: Connector,
    versions: Versions,
}

#[cfg(feature = "aws")]
impl CheckedConnector {
    pub(crate) fn new(connector: Connector, versions: Versions) -> Self {
        Self { connector, versions }
    }
}

impl HttpConnector for CheckedConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.connector.connect(options)?;
        Ok(HttpClient::new(Checked { client, versions: self.versions.clone() }))
    }
}

#[derive(Debug)]
struct Checked {
    client: HttpClient,
    versions: Versions,
}

#[async_trait]
impl HttpService for Checked {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let list = List::of(&request);
        let deletes = deletes_many(&request) && !self.versions.are_kept();
        let answer = self.client.execute(request).await?;
        self.versions.note(answer.headers());
        if deletes && answer.status().is_success() {
            return self.note_deleted(answer).await;
        }
        let Some(list) = list.filter(|_| answer.status().is_success()) else { return Ok(answer) };
        let (head, body) = answer.into_parts();
        // `Decode` is not tried again in here: whoever lists does, and it is no matter of milliseconds.
        let refused = |error| HttpError::new(HttpErrorKind::Decode, error);
        let page = whole(body).await?.ok_or_else(|| {
            refused(NoListing::passing(format!("it is longer than {} MiB", MOST_BYTES >> 20)))
        })?;
        list.check(&page).map_err(refused)?;
        Ok(HttpResponse::from_parts(head, page.into()))
    }
}

impl Checked {
    /// The same answer to a delete of many objects, once it was looked at.
    async fn note_deleted(&self, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
        let (head, body) = answer.into_parts();
        let long = || {
            let why = format!("the answer to a delete is longer than {} MiB", MOST_BYTES >> 20);
            HttpError::new(HttpErrorKind::Decode, std::io::Error::other(why))
        };
        let body = whole(body).await?.ok_or_else(long)?;
        self.versions.note_deleted(&body);
        Ok(HttpResponse::from_parts(head, body.into()))
    }
}

/// The whole body; `None` where it is too long.
async fn whole(body: HttpResponseBody) -> Result<Option<Bytes>, HttpError> {
    let mut parts = body.bytes_stream();
    let mut page = Vec::new();
    while let Some(part) = parts.try_next().await? {
        if page.len() + part.len() > MOST_BYTES {
            return Ok(None);
        }
        page.extend_from_slice(&part);
    }
    Ok(Some(page.into()))
}

/// What a list asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct List {
    prefix: String,
    start_after: String,
}

/// A page, as far as it is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    prefix: Option<String>,
    start_after: Option<String>,
    key_count: Option<String>,
    is_truncated: Option<String>,
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Entry>,
    #[serde(default)]
    common_prefixes: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    last_modified: Option<String>,
}

/// S3's errors.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl List {
    /// `None` where the request is no list.
    fn of(request: &HttpRequest) -> Option<Self> {
        let query = request.uri().query().filter(|_| request.method() == "GET")?;
        let value = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
        };
        value("list-type").filter(|version| version == "2")?;
        let of = |name| value(name).unwrap_or_default();
        Some(Self { prefix: of("prefix"), start_after: of("start-after") })
    }

    fn check(&self, page: &[u8]) -> Result<(), NoListing> {
        match root(page)?.as_str() {
            "ListBucketResult" => {}
            "Error" => return Err(refusal(page)),
            other => {
                let why = format!("its root is {:?}, not ListBucketResult", shown(other));
                return Err(NoListing::passing(why));
            }
        }
        let page: Page = quick_xml::de::from_reader(page).map_err(|error| {
            NoListing::passing(format!("it is cut short or damaged ({})", shown(&error.to_string())))
        })?;
        self.check_page(&page)
    }

    /// Refuses only what is surely wrong: much of this is optional, and servers differ.
    fn check_page(&self, page: &Page) -> Result<(), NoListing> {
        let whole = match page.is_truncated.as_deref().map(str::trim) {
            Some(truncated) if truncated.eq_ignore_ascii_case("true") => false,
            Some(truncated) if truncated.eq_ignore_ascii_case("false") => true,
            _ => return Err(NoListing::passing("it does not say whether it is the whole (IsTruncated)")),
        };
        if !whole && page.next_continuation_token.as_deref().unwrap_or_default().is_empty() {
            return Err(NoListing::passing("it is a part (IsTruncated) and has no token for the rest"));
        }
        let entries = page.contents.len() + page.common_prefixes.len();
        if let Some(count) = page.key_count.as_deref().map(str::trim).filter(|count| !count.is_empty())
            && count.parse() != Ok(entries)
        {
            let why = format!("it announces {} entries and has {entries}", shown(count));
            return Err(NoListing::passing(why));
        }
        for (what, asked, told) in
            [("prefix", &self.prefix, &page.prefix), ("start", &self.start_after, &page.start_after)]
        {
            if let Some(told) = told.as_ref().filter(|told| !told.is_empty() && *told != asked) {
                let why = format!("it is one for the {what} {:?}, not {asked:?}", shown(told));
                return Err(NoListing::passing(why));
            }
        }
        page.contents.iter().try_for_each(|entry| self.check_entry(entry))
    }

    fn check_entry(&self, entry: &Entry) -> Result<(), NoListing> {
        let key = shown(&entry.key);
        if !entry.key.starts_with(&self.prefix) {
            return Err(NoListing::passing(format!("{key:?} does not begin with {:?}", self.prefix)));
        }
        match &entry.last_modified {
            Some(_) => Ok(()),
            None => Err(NoListing::lasting(format!("its entry {key:?} has no LastModified"))),
        }
    }
}

/// The name of the root, without its namespace.
fn root(page: &[u8]) -> Result<String, NoListing> {
    let mut reader = Reader::from_reader(page);
    let name = |tag: &BytesStart<'_>| String::from_utf8_lossy(tag.local_name().as_ref()).into_owned();
    let no_xml = || NoListing::passing("it is no XML");
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) => return Ok(name(&tag)),
            Ok(Event::Text(text)) if !text.iter().all(u8::is_ascii_whitespace) => return Err(no_xml()),
            Ok(Event::Eof) => return Err(NoListing::passing("it is empty")),
            Ok(Event::End(_) | Event::CData(_) | Event::GeneralRef(_)) | Err(_) => return Err(no_xml()),
            Ok(Event::Text(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {}
        }
    }
}

/// An error of S3 that came with a status of success. Its code is told in the way in which `failure` reads codes.
fn refusal(page: &[u8]) -> NoListing {
    let parsed: Result<Refusal, _> = quick_xml::de::from_reader(page);
    let Refusal { code, message } =
        parsed.unwrap_or_else(|_| Refusal { code: String::new(), message: String::new() });
    NoListing::passing(format!("it is an error (code: {}): {}", shown(&code), shown(&message)))
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    fn list(method: &str, target: &str) -> Option<List> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = target.parse().unwrap();
        List::of(&request)
    }

    #[test]
    fn which_requests_are_lists() {
        let asked = List { prefix: "a b/c".into(), start_after: "a b/c+".into() };
        let target = "http://h/b?list-type=2&prefix=a%20b%2Fc&start-after=a%20b%2Fc%2B";
        assert_eq!(list("GET", target), Some(asked));
        assert_eq!(list("GET", "http://h/?continuation-token=x&list-type=2"), Some(List::default()));
        assert_eq!(list("POST", target), None);
        for other in
            ["http://h/b/k", "http://h/b/k?versionId=1", "http://h/b/list-type=2", "http://h/b?delete"]
        {
            assert_eq!(list("GET", other), None, "{other}");
        }
    }
}
