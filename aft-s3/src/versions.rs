//! Whether a bucket keeps what is deleted from it, as far as its answers told.
//!
//! Nothing asks for it: the setting of a bucket needs a permission of its own, and a request. But every answer that concerns an object with a
//! version names it, and a delete that only hides names the marker that it made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::client::HttpRequest;
use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::header::HeaderMap;

/// What the answers of one bucket told. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions(Arc<AtomicBool>);

impl Versions {
    /// Whether an answer told that versions are kept.
    pub(crate) fn are_kept(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes what the head of an answer says. Also one without success tells: that of an object which a marker hides.
    pub(crate) fn note(&self, head: &HeaderMap) {
        let version = head.get("x-amz-version-id").map(|version| version.as_bytes());
        self.note_if(version.is_some_and(is_kept));
    }

    /// Notes what the body of the answer to a delete of many objects says.
    pub(crate) fn note_deleted(&self, body: &[u8]) {
        let mut reader = Reader::from_reader(body);
        let mut of_marker = false;
        // Whoever asked for the delete judges whether this is XML at all.
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(tag) => of_marker = tag.local_name().as_ref() == b"DeleteMarkerVersionId",
                Event::Text(version) if of_marker => self.note_if(is_kept(&version)),
                Event::End(_) => of_marker = false,
                Event::Eof => return,
                _ => {}
            }
        }
    }

    fn note_if(&self, kept: bool) {
        if kept && !self.0.swap(true, Ordering::Relaxed) {
            tracing::info!("the bucket keeps versions: deleting an object there frees nothing by itself");
        }
    }
}

/// An object without a version of its own (made while versions were not kept) has the version `null`: the next one replaces it.
fn is_kept(version: &[u8]) -> bool {
    let version = version.trim_ascii();
    !version.is_empty() && version != b"null"
}

/// Whether a request deletes many objects.
pub(crate) fn deletes_many(request: &HttpRequest) -> bool {
    let query = request.uri().query().filter(|_| request.method() == "POST");
    query.is_some_and(|query| query.split('&').any(|part| part == "delete" || part == "delete="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_head(version: &str) -> bool {
        let versions = Versions::default();
        let mut head = HeaderMap::new();
        head.insert("x-amz-version-id", version.parse().unwrap());
        versions.clone().note(&head);
        versions.are_kept()
    }

    fn by_body(body: &str) -> bool {
        let versions = Versions::default();
        versions.note_deleted(body.as_bytes());
        versions.are_kept()
    }

    #[test]
    fn a_version_says_that_versions_are_kept_and_null_is_none() {
        assert!(by_head("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY") && by_head("1"));
        assert!(!by_head("null") && !by_head("") && !by_head(" "));
        let versions = Versions::default();
        versions.note(&HeaderMap::new());
        assert!(!versions.are_kept());
    }

    #[test]
    fn a_marker_that_a_delete_made_says_so_too() {
        let deleted = |more: &str| {
            format!(
                "<?xml version=\"1.0\"?><DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Deleted><Key>a</Key></Deleted>\
                 <Error><Key>b</Key><Code>InternalError</Code></Error><Deleted><Key>c</Key>{more}</Deleted></DeleteResult>"
            )
        };
        let marker = |version: &str| {
            deleted(&format!(
                "<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>{version}</DeleteMarkerVersionId>"
            ))
        };
        assert!(by_body(&marker("A1b2")) && !by_body(&marker("null")) && !by_body(&marker("")));
        assert!(!by_body(&deleted("")) && !by_body(&deleted("<DeleteMarkerVersionId/>")));
        assert!(!by_body("") && !by_body("no XML <") && !by_body("<DeleteMarkerVersionId>"));
    }
}
