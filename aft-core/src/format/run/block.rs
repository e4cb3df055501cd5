//! A block of a run's file, decoded.

use std::slice::Iter;
use std::vec::IntoIter;

use bytes::Bytes;

use super::columns::{INLINE, STORED, TOMBSTONE};
use super::page::Page;
use super::tail::{BlockPlace, Tail};
use crate::config::MAX_KEY_BYTES;
use crate::format::envelope::{FormatError, checksum};
use crate::format::record::{Part, StoredValue, checked_parts};
use crate::format::row::{Row, RowValue};
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// Rows of a run's file that are read together.
#[derive(Debug)]
pub struct Block {
    /// The keys and inline values of all rows.
    data: Bytes,
    rows: Box<[BlockRow]>,
    stored: Box<[StoredValue]>,
}

/// A row; its places are in [`Block::data`].
#[derive(Debug)]
struct BlockRow {
    version: Version,
    ordinal: u32,
    /// Where the key begins and ends.
    key: [u32; 2],
    value: BlockValue,
}

#[derive(Debug)]
enum BlockValue {
    Tombstone,
    /// Where it begins and ends.
    Inline([u32; 2]),
    /// Which one of [`Block::stored`] it is.
    Stored(u32),
}

impl Block {
    /// Decodes the `n`th block of the file. The result, and every row of it, holds on to nothing of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`], where `bytes` is not that block, or the file has none of that number.
    pub fn decode(tail: &Tail, n: usize, bytes: &Bytes) -> Result<Self, FormatError> {
        let place = tail.place(n).ok_or(FormatError::Malformed("a block that is not there"))?;
        let found = bytes.len() as u64;
        if found != place.len() {
            return Err(FormatError::Length { expected: place.len(), found });
        }
        if checksum(bytes) != place.checksum {
            return Err(FormatError::Checksum);
        }
        let mut decoder = Decoder::new(place, bytes)?;
        let rows = std::iter::from_fn(|| decoder.row()).collect::<Result<Box<_>, _>>()?;
        let block = Self { data: decoder.data, rows, stored: decoder.stored.into() };
        block.check(place.rows as usize, tail.ends_of(place))?;
        Ok(block)
    }

    /// Checks that it has all its rows, sorted, and begins and ends as its file says.
    fn check(&self, rows: usize, ends: (&[u8], &[u8])) -> Result<(), FormatError> {
        let sorted = self.rows.is_sorted_by(|a, b| self.key_of(a) < self.key_of(b));
        let long = self.rows.iter().any(|row| self.key_of(row).len() > MAX_KEY_BYTES);
        if self.rows() != rows || !sorted || long || (self.key(0), self.key(rows - 1)) != ends {
            return Err(FormatError::Malformed("a block of other keys than its file says"));
        }
        Ok(())
    }

    /// The row of the key.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<Row> {
        let n = self.lower_bound(key);
        (n < self.rows() && self.key(n) == key).then(|| self.row(n))
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The `n`th row.
    ///
    /// # Panics
    /// Where `n` is not less than [`rows`](Self::rows).
    #[must_use]
    #[allow(
        clippy::indexing_slicing,
        reason = "no input reaches it: which rows there are, the caller asks first"
    )]
    pub fn row(&self, n: usize) -> Row {
        let row = &self.rows[n];
        let value = match row.value {
            BlockValue::Tombstone => RowValue::Tombstone,
            BlockValue::Inline(place) => RowValue::Inline(self.slice(place)),
            BlockValue::Stored(at) => RowValue::Stored(self.stored[at as usize].clone()),
        };
        Row { key: self.slice(row.key), version: row.version, ordinal: row.ordinal, value }
    }

    /// The number of the first row whose key is not less than `key`; [`rows`](Self::rows) where there is none.
    #[must_use]
    pub fn lower_bound(&self, key: &[u8]) -> usize {
        self.rows.partition_point(|row| self.key_of(row) < key)
    }

    /// Bytes in memory.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let parts: usize = self.stored.iter().map(|stored| stored.parts.len() * size_of::<Part>()).sum();
        let stored = size_of_val(&*self.stored) + parts;
        (size_of::<Self>() + self.data.len() + size_of_val(&*self.rows) + stored) as u64
    }

    /// The key of the `n`th row; nothing where there is none.
    #[must_use]
    pub fn key(&self, n: usize) -> &[u8] {
        self.rows.get(n).map_or(&[], |row| self.key_of(row))
    }

    fn slice(&self, [start, end]: [u32; 2]) -> Bytes {
        self.data.slice(start as usize..end as usize)
    }

    fn key_of(&self, row: &BlockRow) -> &[u8] {
        let [start, end] = row.key;
        self.data.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// Makes rows of columns. What a row does not have is in none of its columns, so each column is taken from its front.
struct Decoder<'a> {
    /// All keys, and behind them all inline values.
    data: Bytes,
    /// Where in them the next key begins.
    next_key: u32,
    /// Where in them the next value begins.
    next_value: u32,
    key_lens: IntoIter<u32>,
    clocks: IntoIter<u64>,
    txns: Iter<'a, [u8; 16]>,
    ordinals: IntoIter<u32>,
    kinds: IntoIter<u32>,
    inline_lens: IntoIter<u32>,
    lens: IntoIter<u64>,
    checksums: IntoIter<u64>,
    part_lens: IntoIter<u32>,
    parts: &'a [u8],
    stored: Vec<StoredValue>,
}

impl<'a> Decoder<'a> {
    fn new(place: &BlockPlace, bytes: &'a [u8]) -> Result<Self, FormatError> {
        let rows = place.rows as usize;
        let [keys, clocks, txns, ordinals, kinds, mut values, mut lens, mut checksums, mut parts] =
            place.pages(bytes);
        let (key_lens, keys) = keys.strings(rows)?;
        let kinds = kinds.deltas_u32(rows)?;
        if kinds.iter().any(|kind| *kind > STORED) {
            return Err(FormatError::Malformed("a row of an unknown kind"));
        }
        let inline = having(&mut values, &kinds, |kind| kind == INLINE)?;
        let (inline_lens, values) = values.strings(inline)?;
        let stored = having(&mut parts, &kinds, |kind| kind == STORED)?;
        let (part_lens, parts) = parts.strings(stored)?;
        let valued = [&mut lens, &mut checksums].map(|page| having(page, &kinds, |kind| kind != TOMBSTONE));
        let [of_lens, of_checksums] = valued;
        let data = [keys, values].concat();
        u32::try_from(data.len()).map_err(|_| FormatError::Malformed("a block over 4 GiB"))?;
        Ok(Self {
            next_key: 0,
            // No more than the length of the data, which is one that fits.
            next_value: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            data: data.into(),
            key_lens: key_lens.into_iter(),
            clocks: clocks.deltas(rows)?.into_iter(),
            txns: txns.fixed(rows)?.iter(),
            ordinals: ordinals.deltas_u32(rows)?.into_iter(),
            kinds: kinds.into_iter(),
            inline_lens: inline_lens.into_iter(),
            lens: lens.deltas(of_lens?)?.into_iter(),
            checksums: checksums.plain_u64s(of_checksums?)?.into_iter(),
            part_lens: part_lens.into_iter(),
            parts,
            stored: Vec::with_capacity(stored),
        })
    }

    /// The next row; nothing behind the last one.
    fn row(&mut self) -> Option<Result<BlockRow, FormatError>> {
        let kind = self.kinds.next()?;
        let key = following(&mut self.next_key, self.key_lens.next()?);
        let clock = Timestamp::from_bits(self.clocks.next()?);
        let version = Version::new(clock, TxnId::from_bytes(*self.txns.next()?));
        let ordinal = self.ordinals.next()?;
        let value = match kind {
            TOMBSTONE => Ok(BlockValue::Tombstone),
            INLINE => self.inline()?,
            // STORED: there is no other.
            _ => self.stored()?,
        };
        Some(value.map(|value| BlockRow { version, ordinal, key, value }))
    }

    fn inline(&mut self) -> Option<Result<BlockValue, FormatError>> {
        let (inline_len, len, sum) = (self.inline_lens.next()?, self.lens.next()?, self.checksums.next()?);
        let place = following(&mut self.next_value, inline_len);
        let value = self.data.get(place[0] as usize..place[1] as usize)?;
        Some(if u64::from(inline_len) != len {
            Err(FormatError::Malformed("a value of another length"))
        } else if checksum(value) != sum {
            Err(FormatError::Checksum)
        } else {
            Ok(BlockValue::Inline(place))
        })
    }

    fn stored(&mut self) -> Option<Result<BlockValue, FormatError>> {
        let (parts, rest) = self.parts.split_at_checked(self.part_lens.next()? as usize)?;
        self.parts = rest;
        let (len, sum) = (self.lens.next()?, self.checksums.next()?);
        let at = u32::try_from(self.stored.len()).ok()?;
        Some(stored_value(len, sum, parts).map(|value| {
            self.stored.push(value);
            BlockValue::Stored(at)
        }))
    }
}

/// The next `len` bytes from `next` on, which is moved behind them.
fn following(next: &mut u32, len: u32) -> [u32; 2] {
    let start = *next;
    *next = start.saturating_add(len);
    [start, *next]
}

/// How many rows have a value in an optional column: just those whose kind says so.
fn having(page: &mut Page<'_>, kinds: &[u32], has: fn(u32) -> bool) -> Result<usize, FormatError> {
    let levels = page.levels(kinds.len())?;
    if !levels.iter().copied().eq(kinds.iter().map(|kind| has(*kind))) {
        return Err(FormatError::Malformed("a row whose columns contradict each other"));
    }
    Ok(levels.into_iter().filter(|level| *level).count())
}

fn stored_value(len: u64, checksum: u64, parts: &[u8]) -> Result<StoredValue, FormatError> {
    let (parts, rest) = postcard::take_from_bytes::<Vec<Part>>(parts)
        .map_err(|_| FormatError::Malformed("parts that cannot be read"))?;
    if !rest.is_empty() {
        return Err(FormatError::Malformed("bytes behind the parts"));
    }
    let stored = StoredValue { len, checksum, parts };
    checked_parts(&stored)?;
    Ok(stored)
}
