//! The schema of a run's files, and how each column is encoded.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::PageReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, SchemaDescPtr, SchemaDescriptor};

use super::BLOCK_ROWS;
use crate::format::envelope::{FORMAT_VERSION, FormatError};

/// How many columns a file has.
pub(super) const COLUMNS: usize = 9;

/// `kind` of a tombstone.
pub(super) const TOMBSTONE: u32 = 0;
/// `kind` of an inline value.
pub(super) const INLINE: u32 = 1;
/// `kind` of a stored value.
pub(super) const STORED: u32 = 2;

const SCHEMA_TEXT: &str = "message aft_index {
    REQUIRED BYTE_ARRAY key;
    REQUIRED INT64 clock (INTEGER(64, false));
    REQUIRED FIXED_LEN_BYTE_ARRAY (16) txn (UUID);
    REQUIRED INT32 ordinal (INTEGER(32, false));
    REQUIRED INT32 kind (INTEGER(8, false));
    OPTIONAL BYTE_ARRAY value;
    OPTIONAL INT64 value_len (INTEGER(64, false));
    OPTIONAL INT64 value_checksum (INTEGER(64, false));
    OPTIONAL BYTE_ARRAY parts;
}";

/// What each column is written in: no dictionaries, and lengths and small numbers in as few bits as they need.
const ENCODINGS: [(&str, Encoding); COLUMNS] = [
    ("key", Encoding::DELTA_LENGTH_BYTE_ARRAY),
    ("clock", Encoding::DELTA_BINARY_PACKED),
    ("txn", Encoding::PLAIN),
    ("ordinal", Encoding::DELTA_BINARY_PACKED),
    ("kind", Encoding::DELTA_BINARY_PACKED),
    ("value", Encoding::DELTA_LENGTH_BYTE_ARRAY),
    ("value_len", Encoding::DELTA_BINARY_PACKED),
    ("value_checksum", Encoding::PLAIN),
    ("parts", Encoding::DELTA_LENGTH_BYTE_ARRAY),
];

static SCHEMA: LazyLock<Result<SchemaDescPtr, FormatError>> = LazyLock::new(|| {
    let schema = parse_message_type(SCHEMA_TEXT).map_err(cannot)?;
    Ok(Arc::new(SchemaDescriptor::new(Arc::new(schema))))
});

/// The schema.
pub(super) fn schema() -> Result<SchemaDescPtr, FormatError> {
    SCHEMA.clone()
}

/// How a file is written. Nothing in it depends on the time, the machine or this crate's version.
pub(super) fn properties() -> WriterPropertiesPtr {
    let mut properties = WriterProperties::builder()
        .set_created_by("aft".to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "aft.format_version".to_owned(),
            FORMAT_VERSION.to_string(),
        )]))
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 0,
            descending: false,
            nulls_first: false,
        }]))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(ColumnPath::from("key"), EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(BLOCK_ROWS))
        // One page to a column: a block is small, or a single row.
        .set_data_page_row_count_limit(usize::MAX)
        .set_data_page_size_limit(usize::MAX);
    for (name, encoding) in ENCODINGS {
        properties = properties.set_column_encoding(ColumnPath::from(name), encoding);
    }
    Arc::new(properties.build())
}

/// How long the header of the one page of a column's chunk is.
pub(super) fn header_len(column: usize, chunk: Bytes) -> Result<u16, FormatError> {
    let len = chunk.len();
    let size = i64::try_from(len).map_err(|_| CANNOT)?;
    let metadata = ColumnChunkMetaData::builder(schema()?.column(column))
        .set_total_compressed_size(size)
        .set_data_page_offset(0)
        .set_num_values(1)
        .build()
        .map_err(cannot)?;
    let mut pages = SerializedPageReader::new(Arc::new(chunk), &metadata, 1, None).map_err(cannot)?;
    let page = pages.get_next_page().map_err(cannot)?.ok_or(CANNOT)?;
    let header = len.checked_sub(page.buffer().len()).ok_or(CANNOT)?;
    u16::try_from(header).map_err(|_| CANNOT)
}

const CANNOT: FormatError = FormatError::Malformed("cannot be encoded");

/// What an error of the Parquet library becomes: it writes into memory, and what it is given fits its limits.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn cannot(_: ParquetError) -> FormatError {
    CANNOT
}
