//! What the read-atomic protocol says of each version of a key, given what was read before.

use aft_core::Version;
use serde_json::{Value, json};

use super::decided;
use crate::key::Key;

/// A read before, in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) key: Key,
    /// `None`: absent.
    pub(super) version: Option<Version>,
    /// Below what the key may not be read because of it: its commit wrote both.
    pub(super) floor: Option<Version>,
    /// Whether its commit is folded: whatever it would demand, the index is at or above it.
    pub(super) folded: bool,
}

impl Read {
    /// What it demands of a read of `key`.
    pub(super) fn told(&self, key: &Key) -> String {
        let Self { key: read, version, floor, folded } = self;
        match (version, floor) {
            (None, _) => format!(
                "{read} was read before, as absent: no version of {key} is read whose commit wrote {read}"
            ),
            (Some(version), Some(_)) => format!(
                "{read} was read before, as decided at {}: that commit wrote {key} too, which is read at that version or a newer one",
                decided(*version)
            ),
            (Some(version), None) => {
                let decided = decided(*version);
                let why = if *folded {
                    format!("that commit is folded, and so is all that it wrote of {key}")
                } else {
                    format!("that commit did not write {key}")
                };
                format!("{read} was read before, as decided at {decided}, and sets no floor: {why}")
            }
        }
    }

    pub(super) fn document(&self) -> Value {
        let text = |version: &Version| version.to_string();
        json!({ "key": self.key, "version": self.version.as_ref().map(text), "floor": self.floor.as_ref().map(text) })
    }
}

/// Why a version is read, or is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is read; with the key because of which no newer one is.
    Read { deleted: bool, unless: Option<Key> },
    /// Its commit also wrote this key, which was read before at an older version.
    Torn { key: Key },
    /// The commit of what was read for this key before wrote the key at this version.
    BelowFloor { key: Key, floor: Version },
    /// A newer version is read.
    Superseded { by: Version, folded: bool },
    /// It became known only after the read.
    Later,
}

impl Verdict {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Torn { .. } => "too new",
            Self::BelowFloor { .. } => "too old",
            Self::Superseded { .. } => "superseded",
            Self::Later => "later",
        }
    }

    pub(super) fn why(&self) -> String {
        match self {
            Self::Read { deleted, unless } => {
                let what =
                    if *deleted { "the newest version; it deleted the key" } else { "the newest version" };
                match unless {
                    None => what.to_owned(),
                    Some(key) => format!("{what} that fits what was read of {key}"),
                }
            }
            Self::Torn { key } => format!("its commit wrote {key} too, which was read at an older version"),
            Self::BelowFloor { key, floor } => {
                format!("what was read of {key} demands the version of {} or a newer one", decided(*floor))
            }
            Self::Superseded { by, folded: false } => {
                format!("a newer version is known, of {}", decided(*by))
            }
            Self::Superseded { by, folded: true } => {
                format!("folded into the index, and a newer version is known, of {}", decided(*by))
            }
            Self::Later => "it became known after the read".to_owned(),
        }
    }
}

/// A version of the key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) version: Version,
    pub(super) deleted: bool,
    /// Whether its commit is folded: then the key alone counts of it.
    pub(super) folded: bool,
}

/// What is to be said of each of these versions, newest first, where `chosen` was read after `before`. `wrote` says whether the commit of a version
/// wrote a key, as far as it is not folded.
pub(super) fn verdicts(
    candidates: &[Candidate],
    chosen: Option<Version>,
    before: &[Read],
    wrote: impl Fn(Version, &Key) -> bool,
) -> Vec<Verdict> {
    let torn = |version: Version| {
        let older =
            |read: &&Read| read.version.is_none_or(|read| read < version) && wrote(version, &read.key);
        before.iter().find(older).map(|read| read.key.clone())
    };
    let floors = before.iter().filter_map(|read| Some((read.floor?, &read.key)));
    let floor = floors.max_by_key(|(floor, _)| *floor);
    let newer = candidates.iter().filter(|it| Some(it.version) > chosen);
    let unless = newer.clone().find_map(|it| torn(it.version));
    let verdict = |it: &Candidate| match chosen {
        Some(chosen) if it.version == chosen => Verdict::Read { deleted: it.deleted, unless: unless.clone() },
        Some(chosen) if it.version < chosen => match floor.filter(|(floor, _)| it.version < *floor) {
            Some((floor, key)) => Verdict::BelowFloor { key: key.clone(), floor },
            None => Verdict::Superseded { by: chosen, folded: it.folded },
        },
        _ => torn(it.version).map_or(Verdict::Later, |key| Verdict::Torn { key }),
    };
    candidates.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from_bytes(text)
    }

    /// The version of the commit that was decided in this second.
    fn version(n: u64) -> Version {
        let id = format!("0198f3f4-0000-7000-8000-{n:012x}");
        let millis = 0x0198_f3f4_0000_u64 + n * 1000;
        format!("{:016x}-{id}", millis << 16).parse().unwrap()
    }

    fn candidates(newest: u64) -> Vec<Candidate> {
        let one = |n| Candidate { version: version(n), deleted: false, folded: n == 1 };
        (1..=newest).rev().map(one).collect()
    }

    /// Commit 2 wrote `l` too, commit 3 `m`.
    fn wrote(of: Version, other: &Key) -> bool {
        (of == version(2) && *other == key("l")) || (of == version(3) && *other == key("m"))
    }

    #[test]
    fn without_reads_before_the_newest_supersedes_all_others() {
        let verdicts = verdicts(&candidates(3), Some(version(3)), &[], wrote);
        let superseded = |folded| Verdict::Superseded { by: version(3), folded };
        assert_eq!(
            verdicts,
            [Verdict::Read { deleted: false, unless: None }, superseded(false), superseded(true)]
        );
    }

    #[test]
    fn what_was_read_before_rules_older_and_newer_versions_out() {
        let l = Read { key: key("l"), version: Some(version(2)), floor: Some(version(2)), folded: false };
        // Read as absent, before the third commit, which wrote it, was known.
        let m = Read { key: key("m"), version: None, floor: None, folded: false };
        let verdicts = verdicts(&candidates(4), Some(version(2)), &[l, m], wrote);
        let read = Verdict::Read { deleted: false, unless: Some(key("m")) };
        let (torn, old) =
            (Verdict::Torn { key: key("m") }, Verdict::BelowFloor { key: key("l"), floor: version(2) });
        assert_eq!(verdicts, [Verdict::Later, torn, read, old]);
        assert!(verdicts[2].why().contains("fits what was read of m"), "{}", verdicts[2].why());
    }

    #[test]
    fn a_key_that_was_read_as_absent_has_only_later_versions() {
        assert_eq!(verdicts(&candidates(1), None, &[], wrote), [Verdict::Later]);
        assert_eq!(verdicts(&[], None, &[], wrote), []);
    }
}
