//! Ranges of keys, in bytewise order.

use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use bytes::Bytes;

/// A range of keys in bytewise order. Made from `..`, `a..b`, `a..=b`, `a..`, `..b` and `..=b` of anything that is
/// `AsRef<[u8]>`, or by [`KeyRange::prefix`].
///
/// # Examples
///
/// ```
/// use aft_core::KeyRange;
///
/// let range = KeyRange::from("a".."c");
/// assert!(range.contains(b"bee") && !range.contains(b"c"));
/// assert!(KeyRange::prefix("user/").contains(b"user/7"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key of the range.
    start: Bytes,
    /// The first key after the range; `None` where it has no end.
    end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        let kept = prefix.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
        let end = prefix[..kept].split_last().map(|(last, rest)| [rest, &[last + 1]].concat().into());
        Self { start: Bytes::copy_from_slice(prefix), end }
    }

    /// The part of the range behind `key`: where a listing goes on that ended with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use aft_core::KeyRange;
    ///
    /// let rest = KeyRange::prefix("user/").after("user/7");
    /// assert!(rest.contains(b"user/70") && !rest.contains(b"user/7") && !rest.contains(b"v"));
    /// assert_eq!(KeyRange::prefix("user/").after("a"), KeyRange::prefix("user/"));
    /// ```
    #[must_use]
    pub fn after(self, key: impl AsRef<[u8]>) -> Self {
        let start = successor(key.as_ref()).max(self.start);
        Self { start, end: self.end }
    }

    /// Whether the key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && self.end.as_ref().is_none_or(|end| key < *end)
    }

    /// Whether no key lies in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// From `start` to before `end`; without an end, every key from `start` on.
    pub(crate) const fn between(start: Bytes, end: Option<Bytes>) -> Self {
        Self { start, end }
    }

    /// What [`between`](Self::between) made it of.
    pub(crate) const fn ends(&self) -> (&Bytes, Option<&Bytes>) {
        (&self.start, self.end.as_ref())
    }

    /// The part of the range up to and including `last`, and the part after it.
    pub(crate) fn split_after(self, last: &[u8]) -> (Self, Self) {
        let boundary = successor(last);
        let rest = Self { start: boundary.clone(), end: self.end };
        (Self { start: self.start, end: Some(boundary) }, rest)
    }

    /// Whether it ends before `other` begins, and a key lies between them.
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        self.end.as_ref().is_some_and(|end| *end < other.start)
    }

    /// The bounds, for a sorted map; `None` where the range is empty.
    pub(crate) fn bounds(&self) -> Option<Bounds<'_>> {
        let end = self.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&**end));
        (!self.is_empty()).then_some((Bound::Included(&self.start), end))
    }

    /// Joins `self` and `other` where they overlap or touch.
    pub(crate) fn union(&self, other: &Self) -> Option<Self> {
        let reaches = |a: &Self, b: &Self| a.end.as_ref().is_none_or(|end| *end >= b.start);
        if !reaches(self, other) || !reaches(other, self) {
            return None;
        }
        let end = match (&self.end, &other.end) {
            (Some(a), Some(b)) => Some(a.max(b).clone()),
            _ => None,
        };
        Some(Self { start: self.start.clone().min(other.start.clone()), end })
    }
}

/// Adds a range to a sorted list of which no two overlap or touch; it stays one.
pub(crate) fn add(ranges: &mut Vec<KeyRange>, range: KeyRange) {
    if range.is_empty() {
        return;
    }
    let mut joined = range;
    ranges.retain(|other| match joined.union(other) {
        Some(union) => {
            joined = union;
            false
        }
        None => true,
    });
    let at = ranges.partition_point(|other| other.precedes(&joined));
    ranges.insert(at, joined);
}

/// The bounds of a range in a sorted map.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The least key that is greater than `key`.
fn successor(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

fn copy(key: &impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(key.as_ref())
}

impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> Self {
        Self::all()
    }
}

impl<K: AsRef<[u8]>> From<Range<K>> for KeyRange {
    fn from(range: Range<K>) -> Self {
        Self { start: copy(&range.start), end: Some(copy(&range.end)) }
    }
}

impl<K: AsRef<[u8]>> From<RangeInclusive<K>> for KeyRange {
    fn from(range: RangeInclusive<K>) -> Self {
        Self { start: copy(range.start()), end: Some(successor(range.end().as_ref())) }
    }
}

impl<K: AsRef<[u8]>> From<RangeFrom<K>> for KeyRange {
    fn from(range: RangeFrom<K>) -> Self {
        Self { start: copy(&range.start), end: None }
    }
}

impl<K: AsRef<[u8]>> From<RangeTo<K>> for KeyRange {
    fn from(range: RangeTo<K>) -> Self {
        Self { start: Bytes::new(), end: Some(copy(&range.end)) }
    }
}

impl<K: AsRef<[u8]>> From<RangeToInclusive<K>> for KeyRange {
    fn from(range: RangeToInclusive<K>) -> Self {
        Self { start: Bytes::new(), end: Some(successor(range.end.as_ref())) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xfe), Just(0xff)], 0..4)
    }

    proptest! {
        #[test]
        fn ranges_hold_what_they_say(a in key(), b in key(), key in key()) {
            prop_assert_eq!(KeyRange::prefix(&a).contains(&key), key.starts_with(&a));
            prop_assert_eq!(KeyRange::from(&a..&b).contains(&key), a <= key && key < b);
            prop_assert_eq!(KeyRange::from(&a..=&b).contains(&key), a <= key && key <= b);
            prop_assert_eq!(KeyRange::from(..&b).contains(&key), key < b);
            prop_assert_eq!(KeyRange::from(..=&b).contains(&key), key <= b);
            prop_assert_eq!(KeyRange::from(&a..).contains(&key), a <= key);
            prop_assert!(KeyRange::from(..).contains(&key));
        }

        #[test]
        fn splits_and_unions_lose_and_add_nothing(a in key(), b in key(), c in key(), d in key(), key in key()) {
            let (low, high) = KeyRange::from(&a..).split_after(&b);
            prop_assert_eq!(low.contains(&key) || high.contains(&key) , a <= key || key > b);
            prop_assert!(!(low.contains(&key) && high.contains(&key)));
            let (x, y) = (KeyRange::from(&a..&b), KeyRange::from(&c..&d));
            if let Some(union) = x.union(&y).filter(|_| !x.is_empty() && !y.is_empty()) {
                prop_assert_eq!(union.contains(&key), x.contains(&key) || y.contains(&key));
            }
        }
    }
}
