//! What is no listing, and listings that would not end.
//!
//! An empty listing means "nothing was committed" and "nothing needs this object", so nothing else may pass for one.

use std::collections::HashSet;
use std::fmt;

/// The most pages of one listing: a hundred million objects, as servers cut them.
const MOST_PAGES: usize = 100_000;
/// The most pages without an object, one after another. Servers have some where much was deleted.
const MOST_EMPTY_PAGES: usize = 1_000;
/// The most characters shown of what a server said.
const SHOWN: usize = 200;

/// Why an answer is no listing, or a sequence of pages no whole one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoListing {
    why: String,
    /// Whether the next answer will be no other.
    pub(crate) lasting: bool,
}

impl NoListing {
    /// What a proxy says today and a server tomorrow.
    pub(crate) fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), lasting: false }
    }

    /// What the server always does.
    #[cfg(any(feature = "aws", feature = "gcp"))]
    pub(crate) fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), lasting: true }
    }
}

impl fmt::Display for NoListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is no listing: {}", self.why)
    }
}

impl std::error::Error for NoListing {}

/// The beginning of what a server said.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|mark| !mark.is_control()).take(SHOWN).collect()
}

/// The pages of one listing so far.
///
/// No order is demanded: some servers list `a/b` before `a-b`. But a listing has each object once, so a page that begins with
/// the first object of an earlier one is that page again, and so is one that names a token a second time.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    pages: usize,
    empty: usize,
    firsts: HashSet<String>,
    tokens: HashSet<String>,
}

impl Pages {
    /// A page came: its first object, and the token of the next page.
    ///
    /// # Errors
    /// Where the listing goes in circles, or on for too long.
    pub(crate) fn add(&mut self, first: Option<&str>, token: Option<&str>) -> Result<(), NoListing> {
        self.pages += 1;
        self.empty = if first.is_none() { self.empty + 1 } else { 0 };
        if let Some(first) = first.filter(|first| !self.firsts.insert((*first).to_owned())) {
            let first = shown(first);
            return Err(NoListing::passing(format!("a page that begins with {first:?} came a second time")));
        }
        let Some(token) = token else { return Ok(()) };
        if !self.tokens.insert(token.to_owned()) {
            return Err(NoListing::passing("its continuation token was there before: it would never end"));
        }
        if self.empty >= MOST_EMPTY_PAGES || self.pages >= MOST_PAGES {
            let (pages, empty) = (self.pages, self.empty);
            let why = format!("{pages} pages, the last {empty} of them empty, and still no end");
            return Err(NoListing::passing(why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_an_end() {
        let mut pages = Pages::default();
        let last = (0..).find(|n| pages.add(Some(&format!("o{n}")), Some(&format!("t{n}"))).is_err());
        assert_eq!(last, Some(MOST_PAGES - 1));
        let mut pages = Pages::default();
        let last = (0..).find(|n| pages.add(None, Some(&format!("t{n}"))).is_err());
        assert_eq!(last, Some(MOST_EMPTY_PAGES - 1));
    }

    #[test]
    fn empty_pages_between_others_are_fine() {
        let mut pages = Pages::default();
        for n in 0..5 * MOST_EMPTY_PAGES {
            let object = (n % 100 == 0).then(|| format!("o{n}"));
            pages.add(object.as_deref(), Some(&format!("t{n}"))).unwrap();
        }
        pages.add(None, None).unwrap();
    }

    #[test]
    fn what_comes_again_is_noticed() {
        let mut pages = Pages::default();
        pages.add(Some("a"), Some("1")).unwrap();
        pages.add(Some("b"), Some("2")).unwrap();
        assert!(pages.add(Some("a"), Some("3")).is_err(), "a page");
        assert!(pages.add(Some("c"), Some("1")).is_err(), "a token");
    }
}
