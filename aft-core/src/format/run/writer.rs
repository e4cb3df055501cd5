//! Writing a file of a sorted run.

use std::fmt;

use bytes::{Bytes, BytesMut};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FixedLenByteArrayType, Int32Type, Int64Type};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::columns::{COLUMNS, INLINE, STORED, TOMBSTONE, cannot, header_len, properties, schema};
use super::filter::Filter;
use super::tail::{PagePlace, WireBlock, WireTail, name_hash};
use super::{BLOCK_BYTES, BLOCK_ROWS};
use crate::config::MAX_KEY_BYTES;
use crate::format::envelope::{FormatError, HEADER_LEN, Kind, checksum, seal};
use crate::format::record::{StoredValue, checked_parts};
use crate::format::row::{Row, RowValue};
use crate::version::Version;

/// The most bytes that a row's key and value may have: a page of Parquet is at most 2 GiB.
const MOST_ROW_BYTES: usize = 1 << 30;
/// About what a block adds to a file besides its rows: page headers, its place in the tail and its metadata in the footer.
const BLOCK_OVERHEAD: u64 = 1200;
/// About what a row adds to a file besides its key and its value, its share of the filter included.
const ROW_OVERHEAD: u64 = 42;
/// The longest a tail's header and footer are without a block, about.
const FILE_OVERHEAD: u64 = 1024;

/// A finished file, and what its manifest says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFileContent {
    /// The file.
    pub bytes: Bytes,
    /// How many bytes at its end [`Tail::decode`](super::Tail::decode) takes.
    pub tail_len: u64,
    /// How many bytes of the tail [`Tail::decode_index`](super::Tail::decode_index) takes: those before the Parquet footer.
    pub index_len: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Its first key.
    pub first_key: Bytes,
    /// Its last key.
    pub last_key: Bytes,
    /// The greatest version of its rows.
    pub greatest: Version,
    /// The sum of the lengths of its stored values.
    pub stored_bytes: u64,
    /// How many of its rows are tombstones.
    pub tombstones: u64,
}

/// Writes a file of a sorted run, row by row. The same rows always make the same bytes.
pub struct RunWriter {
    file: SerializedFileWriter<Vec<u8>>,
    pending: Pending,
    blocks: Vec<WrittenBlock>,
    key_hashes: Vec<u64>,
    name_hashes: Vec<u64>,
    last_key: Bytes,
    greatest: Version,
    stored_bytes: u64,
    tombstones: u64,
}

/// A block that is in the file.
#[derive(Debug)]
struct WrittenBlock {
    rows: u32,
    checksum: u64,
    pages: [PagePlace; COLUMNS],
    first: Bytes,
    last: Bytes,
}

impl fmt::Debug for RunWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunWriter")
            .field("rows", &self.rows())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl RunWriter {
    /// A file without rows yet.
    ///
    /// # Errors
    /// None that depends on anything outside of this code.
    pub fn new() -> Result<Self, FormatError> {
        let file = SerializedFileWriter::new(Vec::new(), schema()?.root_schema_ptr(), properties());
        Ok(Self {
            file: file.map_err(cannot)?,
            pending: Pending::default(),
            blocks: Vec::new(),
            key_hashes: Vec::new(),
            name_hashes: Vec::new(),
            last_key: Bytes::new(),
            greatest: Version::ABSENT,
            stored_bytes: 0,
            tombstones: 0,
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Where its key is not greater than all keys before or of an impossible length, where its parts are not its value, and
    /// where it has more than 1 GiB. The writer is then as before.
    pub fn push(&mut self, row: &Row) -> Result<(), FormatError> {
        if row.key.len() > MAX_KEY_BYTES || row.key <= self.last_key {
            return Err(FormatError::Malformed("rows that are not sorted by their keys"));
        }
        let parts = match &row.value {
            RowValue::Stored(stored) => Bytes::from(encoded_parts(stored)?),
            RowValue::Tombstone | RowValue::Inline(_) => Bytes::new(),
        };
        let inline = if let RowValue::Inline(value) = &row.value { value.len() } else { 0 };
        let size = row.key.len().saturating_add(parts.len()).saturating_add(inline);
        if size > MOST_ROW_BYTES {
            return Err(FormatError::Malformed("a row over 1 GiB"));
        }
        let full = self.pending.rows() == BLOCK_ROWS || self.pending.size + size > BLOCK_BYTES;
        if full && self.pending.rows() > 0 {
            self.flush()?;
        }
        match &row.value {
            RowValue::Tombstone => self.tombstones += 1,
            RowValue::Inline(_) => {}
            RowValue::Stored(stored) => {
                self.stored_bytes = self.stored_bytes.saturating_add(stored.len);
                let objects = stored.parts.iter().map(|part| name_hash(row.version.txn, part.object()));
                self.name_hashes.extend(objects);
            }
        }
        self.key_hashes.push(checksum(&row.key));
        self.greatest = self.greatest.max(row.version);
        self.last_key = row.key.clone();
        self.pending.push(row, parts, size);
        Ok(())
    }

    /// About how long the file would be if it were finished now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let pending = self.pending.size as u64 + self.pending.rows() as u64 * ROW_OVERHEAD;
        let filters = (self.key_hashes.len() + self.name_hashes.len()) as u64 * 21 / 16;
        let blocks = (self.blocks.len() as u64 + 1) * BLOCK_OVERHEAD;
        self.file.bytes_written() as u64 + pending + filters + blocks + FILE_OVERHEAD
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.key_hashes.len() as u64
    }

    /// The finished file.
    ///
    /// # Errors
    /// Where it has no row.
    pub fn finish(mut self) -> Result<RunFileContent, FormatError> {
        if self.pending.rows() > 0 {
            self.flush()?;
        }
        let (Some(first), rows) = (self.blocks.first(), self.rows()) else {
            return Err(FormatError::Malformed("a run's file without a row"));
        };
        let first_key = first.first.clone();
        let mut meta = self.meta()?;
        // The footer must be known for the tail's header, and where the tail begins for the footer: so the place is kept, and
        // filled in when the footer is there.
        let start = self.file.bytes_written();
        let footer = start + HEADER_LEN + meta.len();
        self.file
            .write_all(&vec![0; footer - start])
            .map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        let mut bytes = self.file.into_inner().map_err(cannot)?;
        let footer = Bytes::from(bytes.split_off(footer));
        bytes.truncate(start);
        meta.splice(..8, checksum(&footer).to_le_bytes());
        let tail = seal(Kind::Run, &meta, &[footer])?;
        bytes.extend_from_slice(&tail);
        bytes.shrink_to_fit();
        Ok(RunFileContent {
            bytes: bytes.into(),
            tail_len: tail.len() as u64,
            index_len: (HEADER_LEN + meta.len()) as u64,
            rows,
            first_key,
            last_key: Bytes::copy_from_slice(&self.last_key),
            greatest: self.greatest,
            stored_bytes: self.stored_bytes,
            tombstones: self.tombstones,
        })
    }

    /// The meta of the tail, without the footer's checksum.
    fn meta(&mut self) -> Result<Vec<u8>, FormatError> {
        self.name_hashes.sort_unstable();
        self.name_hashes.dedup();
        let keys = Filter::new(&self.key_hashes).to_bytes();
        let names = Filter::new(&self.name_hashes).to_bytes();
        let wire = WireTail {
            footer_checksum: [0; 8],
            blocks: self.blocks.iter().map(WrittenBlock::wire).collect(),
            key_filter: serde_bytes::Bytes::new(&keys),
            name_filter: serde_bytes::Bytes::new(&names),
        };
        postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))
    }

    /// Writes the pending rows as a block.
    fn flush(&mut self) -> Result<(), FormatError> {
        let pending = std::mem::take(&mut self.pending);
        let key = |key: Option<&ByteArray>| Bytes::copy_from_slice(key.map_or(&[], ByteArray::data));
        let (first, last) = (key(pending.keys.first()), key(pending.keys.last()));
        let start = self.file.bytes_written();
        let rows = u32::try_from(pending.rows()).map_err(|_| FormatError::Malformed("an endless block"))?;
        let lens = pending.write(self.file.next_row_group().map_err(cannot)?)?;
        self.file.flush().map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        let block = Bytes::copy_from_slice(self.file.inner().get(start..).unwrap_or_default());
        let mut pages = [PagePlace::default(); COLUMNS];
        let mut rest = block.clone();
        for (n, (page, len)) in pages.iter_mut().zip(lens).enumerate() {
            let chunk = rest.split_to(rest.len().min(len as usize));
            let header = header_len(n, chunk)?;
            *page = PagePlace { header, data: len.saturating_sub(header.into()) };
        }
        self.blocks.push(WrittenBlock { rows, checksum: checksum(&block), pages, first, last });
        Ok(())
    }
}

impl WrittenBlock {
    fn wire(&self) -> WireBlock<'_> {
        WireBlock {
            rows: self.rows,
            checksum: self.checksum,
            pages: self.pages,
            first: serde_bytes::Bytes::new(&self.first),
            last: serde_bytes::Bytes::new(&self.last),
        }
    }
}

fn encoded_parts(stored: &StoredValue) -> Result<Vec<u8>, FormatError> {
    checked_parts(stored)?;
    postcard::to_stdvec(&stored.parts).map_err(|_| FormatError::Malformed("cannot be encoded"))
}

/// The rows of the block that is next, column by column.
#[derive(Debug, Default)]
struct Pending {
    /// Bytes of keys, inline values and parts.
    size: usize,
    keys: Vec<ByteArray>,
    clocks: Vec<i64>,
    txns: BytesMut,
    ordinals: Vec<i32>,
    kinds: Vec<u32>,
    values: Vec<ByteArray>,
    value_lens: Vec<i64>,
    value_checksums: Vec<i64>,
    parts: Vec<ByteArray>,
}

impl Pending {
    fn rows(&self) -> usize {
        self.keys.len()
    }

    fn push(&mut self, row: &Row, parts: Bytes, size: usize) {
        self.size += size;
        self.keys.push(row.key.clone().into());
        self.clocks.push(row.version.clock.bits().cast_signed());
        self.txns.extend_from_slice(row.version.txn.as_bytes());
        self.ordinals.push(row.ordinal.cast_signed());
        let (kind, value) = match &row.value {
            RowValue::Tombstone => (TOMBSTONE, None),
            RowValue::Inline(value) => {
                self.values.push(value.clone().into());
                (INLINE, Some((value.len() as u64, checksum(value))))
            }
            RowValue::Stored(stored) => {
                self.parts.push(parts.into());
                (STORED, Some((stored.len, stored.checksum)))
            }
        };
        self.kinds.push(kind);
        self.value_lens.extend(value.map(|(len, _)| len.cast_signed()));
        self.value_checksums.extend(value.map(|(_, sum)| sum.cast_signed()));
    }

    /// Writes the columns, in the order of the schema, and says how long each is.
    fn write(self, mut group: SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<[u32; COLUMNS], FormatError> {
        let txns = self.txns.freeze();
        let txns: Vec<_> = (0..self.kinds.len())
            .map(|row| ByteArray::from(txns.slice(16 * row..16 * (row + 1))).into())
            .collect();
        let levels = |with: fn(u32) -> bool| -> Vec<i16> {
            self.kinds.iter().map(|kind| i16::from(with(*kind))).collect()
        };
        let (inline, stored) = (levels(|kind| kind == INLINE), levels(|kind| kind == STORED));
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.cast_signed()).collect();
        let valued = levels(|kind| kind != TOMBSTONE);
        column::<ByteArrayType>(&mut group, &self.keys, None)?;
        column::<Int64Type>(&mut group, &self.clocks, None)?;
        column::<FixedLenByteArrayType>(&mut group, &txns, None)?;
        column::<Int32Type>(&mut group, &self.ordinals, None)?;
        column::<Int32Type>(&mut group, &kinds, None)?;
        column::<ByteArrayType>(&mut group, &self.values, Some(&inline))?;
        column::<Int64Type>(&mut group, &self.value_lens, Some(&valued))?;
        column::<Int64Type>(&mut group, &self.value_checksums, Some(&valued))?;
        column::<ByteArrayType>(&mut group, &self.parts, Some(&stored))?;
        let metadata = group.close().map_err(cannot)?;
        let mut lens = [0; COLUMNS];
        for (len, column) in lens.iter_mut().zip(metadata.columns()) {
            *len = u32::try_from(column.compressed_size())
                .map_err(|_| FormatError::Malformed("a column over 4 GiB"))?;
        }
        Ok(lens)
    }
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), FormatError> {
    let column = group.next_column().map_err(cannot)?;
    let mut column = column.ok_or(FormatError::Malformed("fewer columns than in the schema"))?;
    column.typed::<T>().write_batch(values, levels, None).map_err(cannot)?;
    column.close().map_err(cannot)
}
