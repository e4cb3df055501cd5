//! The tail of a run's file: where its blocks are, and what it cannot hold.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::BLOCK_ROWS;
use super::columns::COLUMNS;
use super::filter::Filter;
use super::page::Page;
use crate::config::MAX_KEY_BYTES;
use crate::format::envelope::{self, FormatError, Kind, checksum};
use crate::format::name::ValueName;
use crate::key_range::KeyRange;
use crate::txn_id::TxnId;

/// Where the first block begins: behind `PAR1`.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// What a reader keeps of a file: the place, the checksum and the first and last key of each block, and two Bloom
/// filters.
#[derive(Debug)]
pub struct Tail {
    /// The first and last keys of all blocks.
    keys: Box<[u8]>,
    blocks: Box<[BlockPlace]>,
    key_filter: Filter,
    name_filter: Filter,
}

/// Where a block is.
#[derive(Debug)]
pub(super) struct BlockPlace {
    start: u64,
    pub(super) checksum: u64,
    pub(super) rows: u32,
    /// Where its first key begins, and its last key begins and ends, in [`Tail::keys`].
    keys: [u32; 3],
    /// The pages of its columns, which follow each other.
    pages: [PagePlace; COLUMNS],
}

impl BlockPlace {
    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.pages.iter().map(PagePlace::len).sum()
    }

    /// The data of each page.
    pub(super) fn pages<'a>(&self, mut block: &'a [u8]) -> [Page<'a>; COLUMNS] {
        self.pages.map(|page| {
            let (chunk, rest) =
                block.split_at(block.len().min(usize::try_from(page.len()).unwrap_or(usize::MAX)));
            block = rest;
            Page::new(chunk.get(usize::from(page.header)..).unwrap_or_default())
        })
    }
}

/// How long the one page of a column is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct PagePlace {
    /// The length of its header.
    pub(super) header: u16,
    /// The length of what follows.
    pub(super) data: u32,
}

impl PagePlace {
    fn len(&self) -> u64 {
        u64::from(self.header) + u64::from(self.data)
    }
}

/// The meta of the tail's envelope: postcard.
#[derive(Serialize, Deserialize)]
pub(super) struct WireTail<'a> {
    /// The checksum of the Parquet footer; of fixed width, since it is filled in last.
    pub(super) footer_checksum: [u8; 8],
    #[serde(borrow)]
    pub(super) blocks: Vec<WireBlock<'a>>,
    #[serde(borrow)]
    pub(super) key_filter: &'a serde_bytes::Bytes,
    #[serde(borrow)]
    pub(super) name_filter: &'a serde_bytes::Bytes,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireBlock<'a> {
    pub(super) rows: u32,
    pub(super) checksum: u64,
    pub(super) pages: [PagePlace; COLUMNS],
    #[serde(borrow)]
    pub(super) first: &'a serde_bytes::Bytes,
    #[serde(borrow)]
    pub(super) last: &'a serde_bytes::Bytes,
}

impl Tail {
    /// Decodes the tail of a file that is `file_len` bytes long. The result holds on to nothing of `tail`.
    ///
    /// # Errors
    /// [`FormatError`], where `tail` is not the tail of such a file.
    pub fn decode(file_len: u64, tail: &Bytes) -> Result<Self, FormatError> {
        Self::decode_index(file_len, tail.len() as u64, tail)
    }

    /// Decodes the beginning of a tail that is `tail_len` bytes long: all of it but the Parquet footer, of which aft needs nothing. Where the footer is
    /// there as well, it is verified.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_index(file_len: u64, tail_len: u64, index: &Bytes) -> Result<Self, FormatError> {
        let (meta, footer) = envelope::open_piece(Kind::Run, index, tail_len)?;
        let (wire, rest) = postcard::take_from_bytes::<WireTail<'_>>(&meta)
            .map_err(|_| FormatError::Malformed("not the tail of a run's file"))?;
        if !rest.is_empty() {
            return Err(FormatError::Malformed("bytes behind the tail"));
        }
        let footer = index.get(footer..).unwrap_or_default();
        let whole = index.len() as u64 == tail_len;
        if (whole || !footer.is_empty()) && wire.footer_checksum != checksum(footer).to_le_bytes() {
            return Err(FormatError::Checksum);
        }
        let (keys, blocks, end) = places(&wire.blocks)?;
        let expected = end.saturating_add(tail_len);
        if expected != file_len {
            return Err(FormatError::Length { expected, found: file_len });
        }
        Ok(Self {
            keys,
            blocks,
            key_filter: Filter::from_bytes(wire.key_filter)?,
            name_filter: Filter::from_bytes(wire.name_filter)?,
        })
    }

    /// Whether the file may hold a row of the key: false for about 99 of 100 keys that it does not hold, and never for one that
    /// it does.
    #[must_use]
    pub fn may_hold(&self, key: &[u8]) -> bool {
        self.block_for(key).is_some() && self.key_filter.may_hold(checksum(key))
    }

    /// Whether a row of the file may be a value in this object of this transaction: never false where one is.
    #[must_use]
    pub fn may_name(&self, txn: TxnId, value: ValueName) -> bool {
        self.name_filter.may_hold(name_hash(txn, value))
    }

    /// The one block that may hold the key.
    #[must_use]
    pub fn block_for(&self, key: &[u8]) -> Option<usize> {
        let n = self.blocks.partition_point(|block| self.last_of(block) < key);
        self.blocks.get(n).filter(|block| self.first_of(block) <= key).map(|_| n)
    }

    /// The blocks that may hold keys of the range; none of an empty one.
    #[must_use]
    pub fn blocks_in(&self, range: &KeyRange) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        let (start, end) = range.ends();
        let from = self.blocks.partition_point(|block| self.last_of(block) < start);
        let to = end.map_or(self.blocks.len(), |end| {
            self.blocks.partition_point(|block| self.first_of(block) < &end[..])
        });
        from..to.max(from)
    }

    /// Where in the file the block is; empty where there is no such block.
    #[must_use]
    pub fn block_range(&self, n: usize) -> Range<u64> {
        self.blocks.get(n).map_or(0..0, |block| block.start..block.start + block.len())
    }

    /// How many blocks the file has; at least one.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// How many rows a block has; 0 where there is no such block.
    #[must_use]
    pub fn rows_of(&self, n: usize) -> usize {
        self.blocks.get(n).map_or(0, |block| block.rows as usize)
    }

    /// How many rows the file has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.rows)).sum()
    }

    /// The file's first key.
    #[must_use]
    pub fn first_key(&self) -> &[u8] {
        self.blocks.first().map_or(&[], |block| self.first_of(block))
    }

    /// The file's last key.
    #[must_use]
    pub fn last_key(&self) -> &[u8] {
        self.blocks.last().map_or(&[], |block| self.last_of(block))
    }

    /// Bytes in memory.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let filters = self.key_filter.weight() + self.name_filter.weight();
        (size_of::<Self>() + self.keys.len() + size_of_val(&*self.blocks) + filters) as u64
    }

    pub(super) fn place(&self, n: usize) -> Option<&BlockPlace> {
        self.blocks.get(n)
    }

    /// The first and the last key of a block.
    pub(super) fn ends_of(&self, block: &BlockPlace) -> (&[u8], &[u8]) {
        (self.first_of(block), self.last_of(block))
    }

    fn first_of(&self, block: &BlockPlace) -> &[u8] {
        self.key_between(block.keys[0], block.keys[1])
    }

    fn last_of(&self, block: &BlockPlace) -> &[u8] {
        self.key_between(block.keys[1], block.keys[2])
    }

    fn key_between(&self, start: u32, end: u32) -> &[u8] {
        self.keys.get(start as usize..end as usize).unwrap_or_default()
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Tail {
    /// Makes the tail believe other bytes to be the block.
    pub(crate) fn forge(&mut self, n: usize, bytes: &[u8]) {
        if let Some(block) = self.blocks.get_mut(n) {
            block.checksum = checksum(bytes);
        }
    }
}

/// The keys and places of the blocks, and where the last one ends.
type Places = (Box<[u8]>, Box<[BlockPlace]>, u64);

fn places(blocks: &[WireBlock<'_>]) -> Result<Places, FormatError> {
    if blocks.is_empty() {
        return Err(FormatError::Malformed("a run's file without a row"));
    }
    let mut keys = Vec::with_capacity(blocks.iter().map(|block| block.first.len() + block.last.len()).sum());
    let mut places: Vec<BlockPlace> = Vec::with_capacity(blocks.len());
    let mut start = MAGIC.len() as u64;
    let mut before: &[u8] = &[];
    for block in blocks {
        let (first, last): (&[u8], &[u8]) = (block.first, block.last);
        let sorted = before < first && (if block.rows == 1 { first == last } else { first < last });
        let rows = usize::try_from(block.rows).is_ok_and(|rows| (1..=BLOCK_ROWS).contains(&rows));
        if !sorted || !rows || first.len() > MAX_KEY_BYTES || last.len() > MAX_KEY_BYTES {
            return Err(FormatError::Malformed("a block that breaks the rules"));
        }
        before = last;
        let mut add = |key: &[u8]| {
            let at = keys.len();
            keys.extend_from_slice(key);
            u32::try_from(at).map_err(|_| FormatError::Malformed("keys over 4 GiB"))
        };
        let (first, last) = (add(first)?, add(last)?);
        let keys = [first, last, add(&[])?];
        let place =
            BlockPlace { start, checksum: block.checksum, rows: block.rows, keys, pages: block.pages };
        start = start.saturating_add(place.len());
        places.push(place);
    }
    Ok((keys.into(), places.into(), start))
}

/// What the filter of names holds for a value object.
pub(super) fn name_hash(txn: TxnId, value: ValueName) -> u64 {
    let mut name = [0; 28];
    name[..16].copy_from_slice(txn.as_bytes());
    name[16..24].copy_from_slice(&value.attempt.to_le_bytes());
    name[24..].copy_from_slice(&value.n.to_le_bytes());
    checksum(&name)
}
