//! What a transaction has told of its reads: a list that grows while references into it are held.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::protocol::read_set::ReadSet;
use crate::version::Version;

/// What was read for a key, as told to the caller; `None`: absent.
type Read = (Bytes, Option<Version>);

/// Reads that were told. The read set itself is behind a lock, from under which nothing can be lent; so what a caller asks for is copied
/// here, once, into links that never move. Nobody who does not ask pays for it.
#[derive(Debug, Default)]
pub(crate) struct ToldReads {
    first: OnceLock<Box<Link>>,
}

#[derive(Debug)]
struct Link {
    reads: Box<[Read]>,
    next: OnceLock<Box<Link>>,
}

impl ToldReads {
    /// Takes in what was read since the last time.
    pub(crate) fn catch_up(&self, set: &ReadSet) {
        let mut end = &self.first;
        let mut known: Vec<&[u8]> = Vec::new();
        while let Some(link) = end.get() {
            known.extend(link.reads.iter().map(|(key, _)| &key[..]));
            end = &link.next;
        }
        if known.len() == set.len() {
            return;
        }
        known.sort_unstable();
        let new = set.iter().filter(|(key, _)| known.binary_search(&&key[..]).is_err());
        let reads = new.map(|(key, version)| (key.clone(), version)).collect();
        // Called under the lock of the read set: nobody else appends.
        let _ = end.set(Box::new(Link { reads, next: OnceLock::new() }));
    }

    /// All of them, in the order of their keys.
    pub(crate) fn sorted(&self) -> Vec<(&[u8], Option<Version>)> {
        let mut told = Vec::new();
        let mut end = &self.first;
        while let Some(link) = end.get() {
            told.extend(link.reads.iter().map(|(key, version)| (&key[..], *version)));
            end = &link.next;
        }
        told.sort_unstable_by_key(|(key, _)| *key);
        told
    }
}

impl Drop for ToldReads {
    /// Link by link: a long list dropped as a whole would be as deep on the stack.
    fn drop(&mut self) {
        let mut next = self.first.take();
        while let Some(mut link) = next {
            next = link.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_stays_while_more_is_told_and_a_long_list_is_dropped() {
        let (told, mut set) = (ToldReads::default(), ReadSet::default());
        set.record(&Bytes::from("m"), None);
        told.catch_up(&set);
        let before = told.sorted();
        for n in 0..2_000 {
            set.record(&Bytes::from(format!("{n:06}")), None);
            if n % 100 == 0 {
                told.catch_up(&set);
                told.catch_up(&set);
            }
        }
        assert_eq!(before, [(&b"m"[..], None)]);
        told.catch_up(&set);
        let after = told.sorted();
        assert_eq!(after.len(), 2_001);
        assert!(after.is_sorted_by_key(|(key, _)| *key));
        assert_eq!(after.last(), before.first());
        drop((before, after));
        let mut long = ToldReads::default();
        for _ in 0..200_000 {
            let link = Link { reads: Box::default(), next: std::mem::take(&mut long.first) };
            let _ = long.first.set(Box::new(link));
        }
        drop(long);
    }
}
