//! The files of a sorted run of the key index: Parquet, so that any tool can query them.
//!
//! A file holds [`Row`]s in ascending order of their keys, at most one to a key:
//!
//! ```text
//! PAR1 | block 0 | block 1 | … | tail = header | block index | Bloom filters | Parquet footer
//! ```
//!
//! A **block** is one Parquet row group of at most [`BLOCK_ROWS`] rows or about [`BLOCK_BYTES`] of keys and values. It
//! lies in one piece, so one range request brings it, and one brings several that follow each other. The **tail** is the last piece of the file. It is an
//! [envelope](crate::format::envelope) whose meta is the index and whose payload is the Parquet footer; to a Parquet
//! reader it is a footer behind bytes that nothing points to. One range request, whose length the manifest knows, brings all of it before the footer:
//! everything that finds the block of a key or rules the key out.
//!
//! aft itself reads no metadata of Parquet, neither the footer nor the headers of pages: the tail says where the data of each
//! page lies (there is one to each column of a block), and what its checksum is. So a block is decoded without the rest
//! of its file, and nothing of it is looked at before its checksum was.
//!
//! | column | type | what |
//! |---|---|---|
//! | `key` | `BYTE_ARRAY` | the key |
//! | `clock` | `INT64`, unsigned | its version's reading of the hybrid logical clock: 48 bits of milliseconds since 1970, 16 of counter |
//! | `txn` | `FIXED_LEN_BYTE_ARRAY(16)`, UUID | the transaction that wrote it |
//! | `ordinal` | `INT32`, unsigned | the key's place in that transaction's write set |
//! | `kind` | `INT32`, unsigned, 8 bits | 0 tombstone, 1 inline value, 2 stored value |
//! | `value` | `BYTE_ARRAY`, optional | an inline value |
//! | `value_len` | `INT64`, unsigned, optional | the value's length in bytes; null for a tombstone |
//! | `value_checksum` | `INT64`, unsigned, optional | xxh3-64 of the value; null for a tombstone |
//! | `parts` | `BYTE_ARRAY`, optional | where a stored value lies: postcard, a list of [`Part`](crate::format::record::Part) |

mod block;
mod columns;
mod filter;
mod page;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub use block::Block;
pub use tail::Tail;
pub use writer::{RunFileContent, RunWriter};

#[cfg(doc)]
use crate::format::row::Row;

/// The most rows in a block.
pub const BLOCK_ROWS: usize = 4096;
/// The most bytes of keys and values in a block of more than one row.
pub const BLOCK_BYTES: usize = 32 << 10;
