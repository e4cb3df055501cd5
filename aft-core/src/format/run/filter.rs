//! Bloom filters: whether a file may hold a key, or name an object.
//!
//! The split block Bloom filter of the Parquet format (Putze et al., 2007, and Apple's and Impala's variant): eight
//! bits of one 32-byte block for each entry, so that a look costs one cache line. Parquet's own filters are per row group
//! and their size is a power of two; this one is for the whole file and of any size.

use crate::format::envelope::FormatError;

/// Bits per entry, times two: 10.5 bits, which lets about one absent entry in a hundred through.
const HALF_BITS_PER_ENTRY: usize = 21;
const WORDS: usize = 8;
const BLOCK_BYTES: usize = WORDS * 4;
const SALT: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// A set of 64-bit hashes that sometimes says yes where it should say no, and never the other way round.
#[derive(Debug)]
pub(super) struct Filter {
    blocks: Box<[[u32; WORDS]]>,
}

impl Filter {
    /// The filter of these hashes. Without any it is empty and holds nothing.
    pub(super) fn new(hashes: &[u64]) -> Self {
        let count = (hashes.len() * HALF_BITS_PER_ENTRY).div_ceil(2 * 8 * BLOCK_BYTES);
        let mut filter = Self { blocks: vec![[0; WORDS]; count].into() };
        for hash in hashes {
            if let Some(block) = filter.place(*hash).and_then(|at| filter.blocks.get_mut(at)) {
                block.iter_mut().zip(bits(*hash)).for_each(|(word, bit)| *word |= bit);
            }
        }
        filter
    }

    /// Whether the hash may be in it.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let block = self.place(hash).and_then(|at| self.blocks.get(at));
        block.is_some_and(|block| block.iter().zip(bits(hash)).all(|(word, bit)| word & bit != 0))
    }

    fn place(&self, hash: u64) -> Option<usize> {
        let at = (u128::from(hash >> 32) * self.blocks.len() as u128) >> 32;
        usize::try_from(at).ok()
    }

    /// The filter as bytes: its words, little-endian.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The filter whose bytes these are.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        if !rest.is_empty() {
            return Err(FormatError::Malformed("a Bloom filter of an impossible length"));
        }
        let words = |block: &[u8; BLOCK_BYTES]| {
            let mut words = [0; WORDS];
            words
                .iter_mut()
                .zip(block.as_chunks::<4>().0)
                .for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
            words
        };
        Ok(Self { blocks: blocks.iter().map(words).collect() })
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }
}

/// One bit of each word of a block.
fn bits(hash: u64) -> [u32; WORDS] {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the lower half chooses the bits, the upper one the block"
    )]
    let low = hash as u32;
    SALT.map(|salt| 1 << (low.wrapping_mul(salt) >> 27))
}
