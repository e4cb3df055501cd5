//! `aft export-log`: the recent commits as a Parquet table.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aft_core::{RecentCommit, RecentWrite};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::json;

use crate::args::ExportLog;
use crate::dump::target::Target;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, count, time};
use crate::store::Store;

const SCHEMA: &str = "message aft_log {
    REQUIRED INT64 committed_at (TIMESTAMP(MILLIS, true));
    REQUIRED INT64 clock (INTEGER(64, false));
    REQUIRED BYTE_ARRAY transaction (STRING);
    REQUIRED BYTE_ARRAY version (STRING);
    REQUIRED BYTE_ARRAY decided_by (STRING);
    OPTIONAL INT64 published_at (TIMESTAMP(MILLIS, true));
    OPTIONAL BYTE_ARRAY node (STRING);
    REQUIRED BYTE_ARRAY key;
    REQUIRED BYTE_ARRAY key_text (STRING);
    REQUIRED BOOLEAN deleted;
    REQUIRED INT64 bytes;
    REQUIRED BYTE_ARRAY object (STRING);
}";

/// So many rows are held in memory, and make a row group.
const GROUP_ROWS: usize = 64 << 10;
/// So many bytes of keys, texts and paths are, about.
const GROUP_BYTES: usize = 16 << 20;

pub(crate) async fn run(args: &ExportLog, store: &Store, output: &Output) -> Result<(), Failure> {
    let target = Target::file("log", &args.file, store)?;
    let aft = store.open_to_read().await?;
    let cannot = |cause| target.cannot(cause);
    let mut log = LogWriter::new(target.open()?).map_err(cannot)?;
    let mut commits = 0;
    for commit in aft.recent().rev() {
        log.commit(&commit).map_err(cannot)?;
        commits += 1;
    }
    let (rows, sink) = log.finish().map_err(cannot)?;
    target.publish(sink)?;
    let horizon = aft.store_info().horizon.map(time);
    let file = target.path();
    let document = json!({ "file": file, "commits": commits, "rows": rows, "horizon": horizon });
    let file = args.file.display();
    output.done(&document, format!("wrote {} of {} to {file}", count(rows, "row"), count(commits, "commit")))
}

/// A Parquet file of commits.
struct LogWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: usize,
    pending: Rows,
}

impl<W: Write + Send> LogWriter<W> {
    fn new(to: W) -> io::Result<Self> {
        let schema = parse_message_type(SCHEMA).map_err(io::Error::other)?;
        let properties = WriterProperties::builder().set_created_by("aft".to_owned()).build();
        let file = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties));
        Ok(Self { file: file.map_err(io::Error::other)?, rows: 0, pending: Rows::default() })
    }

    fn commit(&mut self, commit: &RecentCommit) -> io::Result<()> {
        let told = Told::new(commit);
        for write in commit.writes() {
            self.pending.push(&told, write);
            self.rows += 1;
            if self.pending.is_full() {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.pending);
        let written = self.file.next_row_group().and_then(|group| rows.write(group));
        written.map_err(io::Error::other)
    }

    /// How many rows there are; and what they were written to.
    fn finish(mut self) -> io::Result<(usize, W)> {
        if self.pending.len() > 0 {
            self.flush()?;
        }
        Ok((self.rows, self.file.into_inner().map_err(io::Error::other)?))
    }
}

/// What all rows of a commit have.
struct Told {
    committed_at: i64,
    clock: i64,
    transaction: ByteArray,
    version: ByteArray,
    decided_by: ByteArray,
    published_at: Option<i64>,
    node: Option<ByteArray>,
}

impl Told {
    fn new(commit: &RecentCommit) -> Self {
        let info = commit.info();
        let text = |text: String| ByteArray::from(text.into_bytes());
        Self {
            committed_at: info.version.clock_ms().cast_signed(),
            clock: info.version.clock().bits().cast_signed(),
            transaction: text(info.txn_id.to_string()),
            version: text(info.version.to_string()),
            decided_by: text(info.decided_by.to_string()),
            published_at: info.published.map(|published| millis(published).cast_signed()),
            node: info.node.map(text),
        }
    }
}

/// Rows that are not written yet, column by column.
#[derive(Default)]
struct Rows {
    /// Bytes of what is not of fixed size and not shared with the row before.
    bytes: usize,
    committed_at: Vec<i64>,
    clock: Vec<i64>,
    transaction: Vec<ByteArray>,
    version: Vec<ByteArray>,
    decided_by: Vec<ByteArray>,
    published_at: Vec<Option<i64>>,
    node: Vec<Option<ByteArray>>,
    key: Vec<ByteArray>,
    key_text: Vec<ByteArray>,
    deleted: Vec<bool>,
    len: Vec<i64>,
    object: Vec<ByteArray>,
}

impl Rows {
    fn len(&self) -> usize {
        self.clock.len()
    }

    fn is_full(&self) -> bool {
        self.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES
    }

    fn push(&mut self, told: &Told, write: RecentWrite) {
        let key_text = Key::from_bytes(&*write.key).to_string();
        self.bytes += write.key.len() + key_text.len() + write.object.len();
        self.committed_at.push(told.committed_at);
        self.clock.push(told.clock);
        self.transaction.push(told.transaction.clone());
        self.version.push(told.version.clone());
        self.decided_by.push(told.decided_by.clone());
        self.published_at.push(told.published_at);
        self.node.push(told.node.clone());
        self.key.push(write.key.into());
        self.key_text.push(key_text.into_bytes().into());
        self.deleted.push(write.deleted);
        self.len.push(write.bytes.cast_signed());
        self.object.push(write.object.into_bytes().into());
    }

    /// Writes the columns, in the order of the schema.
    fn write<W: Write + Send>(self, mut group: SerializedRowGroupWriter<'_, W>) -> Result<(), ParquetError> {
        column::<Int64Type, _>(&mut group, &self.committed_at)?;
        column::<Int64Type, _>(&mut group, &self.clock)?;
        column::<ByteArrayType, _>(&mut group, &self.transaction)?;
        column::<ByteArrayType, _>(&mut group, &self.version)?;
        column::<ByteArrayType, _>(&mut group, &self.decided_by)?;
        optional::<Int64Type, _>(&mut group, self.published_at)?;
        optional::<ByteArrayType, _>(&mut group, self.node)?;
        column::<ByteArrayType, _>(&mut group, &self.key)?;
        column::<ByteArrayType, _>(&mut group, &self.key_text)?;
        column::<BoolType, _>(&mut group, &self.deleted)?;
        column::<Int64Type, _>(&mut group, &self.len)?;
        column::<ByteArrayType, _>(&mut group, &self.object)?;
        group.close().map(drop)
    }
}

fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    write_column::<T, W>(group, values, None)
}

fn optional<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: Vec<Option<T::T>>,
) -> Result<(), ParquetError> {
    let levels: Vec<_> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<_> = values.into_iter().flatten().collect();
    write_column::<T, W>(group, &values, Some(&levels))
}

fn write_column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column =
        column.ok_or_else(|| ParquetError::General("fewer columns than in the schema".to_owned()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

fn millis(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
