//! What both formats of a dump have in common: a head, keys with their values in pieces, and an end that proves the rest.

use std::fmt;
use std::io;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::output::count;

/// The version of the format.
pub(crate) const VERSION: u32 = 1;
/// The longest piece of a value: a line of JSON, or what is held of a tar member at a time.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// How a dump begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) version: u32,
    /// How many keys follow.
    pub(crate) keys: u64,
}

/// How a dump ends: without it, it was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) keys: u64,
    /// The length of all values together.
    pub(crate) bytes: u64,
    /// See [`Digest`].
    pub(crate) sha256: String,
}

/// What a dump is made of, in order: a head; each key, and the pieces of its value; an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Head(Head),
    Key(Vec<u8>),
    /// A piece of the value of the last key. Every value has at least one, and one that is the last.
    Piece {
        bytes: Bytes,
        last: bool,
    },
    End(End),
}

/// The digest of keys and values: the SHA-256 of, for each key, its length (8 bytes, the highest first), the key, and the
/// SHA-256 of its value. It depends on nothing else, so that equal keys and values have one digest in both formats.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    whole: Sha256,
    value: Sha256,
    keys: u64,
    bytes: u64,
}

impl Digest {
    pub(crate) fn key(&mut self, key: &[u8]) {
        self.whole.update((key.len() as u64).to_be_bytes());
        self.whole.update(key);
    }

    pub(crate) fn piece(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.value.update(bytes);
    }

    pub(crate) fn end_of_value(&mut self) {
        self.keys += 1;
        self.whole.update(std::mem::take(&mut self.value).finalize());
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys
    }

    pub(crate) fn end(self) -> End {
        let sha256 = self.whole.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        End { keys: self.keys, bytes: self.bytes, sha256 }
    }
}

/// Why a dump cannot be loaded.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It cannot be read.
    Io(io::Error),
    /// It is none, or another version's.
    NoDump(String),
    /// It ends after so many whole keys.
    CutOff(u64),
    /// It is not what was dumped: where, and what is wrong there.
    Damaged { place: String, why: String },
}

impl Refusal {
    pub(crate) fn damaged(place: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Damaged { place: place.into(), why: why.to_string() }
    }
}

impl From<io::Error> for Refusal {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("it cannot be read"),
            Self::NoDump(why) => f.write_str(why),
            Self::CutOff(keys) => {
                let keys = count(usize::try_from(*keys).unwrap_or(usize::MAX), "whole key");
                write!(f, "it is cut off: it ends after {keys}")
            }
            Self::Damaged { place, why } => write!(f, "it is damaged: {place}: {why}"),
        }
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Io(cause) = self { Some(cause) } else { None }
    }
}

/// Checks that the items of a dump come in their order and are what was dumped.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    digest: Digest,
    head: Option<Head>,
}

impl Verifier {
    /// Takes the next item, which was found at `place`.
    pub(crate) fn item(&mut self, item: &Item, place: &str) -> Result<(), Refusal> {
        if self.head.is_none() && !matches!(item, Item::Head(_)) {
            let why = "it is no dump of aft: it does not begin with the head of one";
            return Err(Refusal::NoDump(why.to_owned()));
        }
        match item {
            Item::Head(head) if self.head.is_none() => {
                if head.version != VERSION {
                    let why = format!("it has version {}; this aft reads version {VERSION}", head.version);
                    return Err(Refusal::NoDump(why));
                }
                self.head = Some(head.clone());
            }
            Item::Head(_) => return Err(Refusal::damaged(place, "a second dump begins in it")),
            Item::Key(key) => self.digest.key(key),
            Item::Piece { bytes, last } => {
                self.digest.piece(bytes);
                if *last {
                    self.digest.end_of_value();
                }
            }
            Item::End(end) => {
                let found = std::mem::take(&mut self.digest).end();
                let keys = self.head.as_ref().map(|head| head.keys);
                if found.keys != end.keys || Some(end.keys) != keys {
                    let why = format!(
                        "it has {} keys, and its head says {}, its end {}",
                        found.keys,
                        keys.unwrap_or_default(),
                        end.keys
                    );
                    return Err(Refusal::damaged(place, why));
                }
                if found != *end {
                    return Err(Refusal::damaged(
                        place,
                        "keys or values are not those that were dumped: their digest is another",
                    ));
                }
            }
        }
        Ok(())
    }

    /// How many keys came whole.
    pub(crate) fn keys(&self) -> u64 {
        self.digest.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[(&[u8], &[&[u8]])]) -> String {
        let mut digest = Digest::default();
        for (key, pieces) in rows {
            digest.key(key);
            pieces.iter().for_each(|piece| digest.piece(piece));
            digest.end_of_value();
        }
        digest.end().sha256
    }

    #[test]
    fn the_digest_depends_on_keys_and_values_and_not_on_pieces() {
        let whole = digest(&[(b"a", &[b"12345"]), (b"b", &[b""])]);
        assert_eq!(whole, digest(&[(b"a", &[b"12", b"", b"345"]), (b"b", &[])]));
        for other in [
            digest(&[(b"a", &[b"12346"]), (b"b", &[b""])]),
            digest(&[(b"a", &[b"1234"]), (b"b", &[b"5"])]),
            digest(&[(b"b", &[b""]), (b"a", &[b"12345"])]),
            digest(&[(b"a", &[b"12345"])]),
            digest(&[(b"a1", &[b"2345"]), (b"b", &[b""])]),
        ] {
            assert_ne!(whole, other);
        }
        // Pinned: whoever reads dumps computes the same.
        assert_eq!(digest(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
