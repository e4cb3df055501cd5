//! The envelope of every stored binary record: magic, kind, format version, lengths and a checksum.
//!
//! An object is `header (32 bytes) | meta | payload`. The checksum (xxh3, 64 bits) covers the header and the meta; the
//! payload holds values, each of which has a checksum of its own in the meta, so that one value can be read and
//! verified by its range alone. All integers of the header are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..3 | `aft` |
//! | 3 | kind: `d` decision, `f` feed object, `r` claim of a request key, `k` guard, `t` token, `c` recent file, `g` garbage file or file of outcomes, `b` bundle, `i` tail of an index file |
//! | 4..6 | format version |
//! | 6..8 | zero |
//! | 8..12 | length of the meta |
//! | 12..16 | zero |
//! | 16..24 | length of the payload |
//! | 24..32 | checksum of bytes 0..24 and the meta |

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::Xxh3;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 32;

/// The format version that this code writes, and the only one it reads.
pub const FORMAT_VERSION: u16 = 1;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The decision of a transaction (or of a group of them).
    Decision,
    /// A batch of commit records.
    Feed,
    /// The claim of a request key.
    Request,
    /// Who may supersede a version of a key.
    Guard,
    /// An open transaction on its way between functions.
    Token,
    /// The commits of a checkpoint that are too young for its index.
    Recent,
    /// What a fold found to be garbage.
    Garbage,
    /// Copies of feed objects.
    Bundle,
    /// The tail of a file of a sorted run.
    Run,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Decision => b'd',
            Self::Feed => b'f',
            Self::Request => b'r',
            Self::Guard => b'k',
            Self::Token => b't',
            Self::Recent => b'c',
            Self::Garbage => b'g',
            Self::Bundle => b'b',
            Self::Run => b'i',
        }
    }
}

/// Why bytes are not the record they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Another format version: not damage, but nothing this code may guess about.
    #[error("it has format version {0}, and this aft reads only version {FORMAT_VERSION}")]
    UnsupportedVersion(u16),
    /// The object ends before its header does, or has another length than its header says.
    #[error("it is {found} bytes long where {expected} were written")]
    Length {
        /// The length in the header, or the least length of any record.
        expected: u64,
        /// The length of the object.
        found: u64,
    },
    /// The bytes are not what was written.
    #[error("its checksum does not match")]
    Checksum,
    /// Not an aft record, or one of another kind, or one that breaks its own rules.
    #[error("it is no valid record: {0}")]
    Malformed(&'static str),
}

/// A [`checksum`] of what comes piece by piece.
#[derive(Default)]
pub(crate) struct Checksum(xxhash_rust::xxh3::Xxh3Default);

impl Checksum {
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.digest()
    }
}

/// The checksum of a value or of a part of one.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Puts `meta` and the concatenated `payload` into an envelope.
///
/// # Errors
/// Where the meta is longer than 4 GiB.
pub fn seal(kind: Kind, meta: &[u8], payload: &[Bytes]) -> Result<Bytes, FormatError> {
    let meta_len = u32::try_from(meta.len()).map_err(|_| FormatError::Malformed("meta over 4 GiB"))?;
    let payload_len: usize = payload.iter().map(Bytes::len).sum();
    let mut object = BytesMut::with_capacity(HEADER_LEN + meta.len() + payload_len);
    object.put_slice(b"aft");
    object.put_u8(kind.byte());
    object.put_u16_le(FORMAT_VERSION);
    object.put_u16_le(0);
    object.put_u32_le(meta_len);
    object.put_u32_le(0);
    object.put_u64_le(payload_len as u64);
    object.put_u64_le(header_checksum(&object, meta));
    object.put_slice(meta);
    for part in payload {
        object.put_slice(part);
    }
    Ok(object.freeze())
}

/// Takes the meta out of an envelope, verified, and says where the payload begins.
///
/// # Errors
/// [`FormatError`], for any bytes that [`seal`] did not make.
pub fn open(kind: Kind, object: &Bytes) -> Result<(Bytes, usize), FormatError> {
    open_piece(kind, object, object.len() as u64)
}

/// [`open`] of an object that is `len` bytes long, of which `object` is the beginning: its header and meta at least.
///
/// # Errors
/// As [`open`].
pub fn open_piece(kind: Kind, object: &Bytes, len: u64) -> Result<(Bytes, usize), FormatError> {
    let header = object
        .first_chunk::<HEADER_LEN>()
        .ok_or(FormatError::Length { expected: HEADER_LEN as u64, found: object.len() as u64 })?;
    if &header[..3] != b"aft" {
        return Err(FormatError::Malformed("no aft record"));
    }
    if header[3] != kind.byte() {
        return Err(FormatError::Malformed("a record of another kind"));
    }
    let version = u16::from_le_bytes([header[4], header[5]]);
    if version != FORMAT_VERSION {
        return Err(FormatError::UnsupportedVersion(version));
    }
    if header[6..8] != [0; 2] || header[12..16] != [0; 4] {
        return Err(FormatError::Malformed("a header with bytes that have no meaning yet"));
    }
    let meta_len = u64::from(u32::from_le_bytes([header[8], header[9], header[10], header[11]]));
    let payload_len = read_u64(header, 16);
    let expected = (HEADER_LEN as u64).saturating_add(meta_len).saturating_add(payload_len);
    if expected != len {
        return Err(FormatError::Length { expected, found: len });
    }
    let before = HEADER_LEN.saturating_add(usize::try_from(meta_len).unwrap_or(usize::MAX));
    if before > object.len() {
        return Err(FormatError::Length { expected: before as u64, found: object.len() as u64 });
    }
    let (meta, payload_start) = (object.slice(HEADER_LEN..before), before);
    if read_u64(header, 24) != header_checksum(&header[..24], &meta) {
        return Err(FormatError::Checksum);
    }
    Ok((meta, payload_start))
}

fn read_u64(header: &[u8; HEADER_LEN], at: usize) -> u64 {
    let bytes = header.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn header_checksum(header: &[u8], meta: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(header);
    hash.update(meta);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bytes {
        seal(Kind::Decision, b"meta", &[Bytes::from_static(b"pay"), Bytes::from_static(b"load")]).unwrap()
    }

    #[test]
    fn what_was_sealed_opens() {
        let object = sample();
        let (meta, payload_start) = open(Kind::Decision, &object).unwrap();
        assert_eq!((&meta[..], &object[payload_start..]), (&b"meta"[..], &b"payload"[..]));
    }

    #[test]
    fn every_flipped_bit_of_header_and_meta_and_every_cut_is_found() {
        let object = sample();
        for bit in 0..(HEADER_LEN + 4) * 8 {
            let mut bytes = object.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            open(Kind::Decision, &bytes.into()).unwrap_err();
        }
        for len in 0..object.len() {
            assert!(matches!(open(Kind::Decision, &object.slice(..len)), Err(FormatError::Length { .. })));
        }
        open(Kind::Feed, &object).unwrap_err();
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = sample().to_vec();
        bytes[4] = 2;
        assert_eq!(open(Kind::Decision, &bytes.into()), Err(FormatError::UnsupportedVersion(2)));
    }
}
