//! What the pages of a block hold, decoded.
//!
//! A decoder of our own, for just what [`columns`](super::columns) writes: the Parquet library's panics at lengths that
//! do not fit, and the index has to survive whatever it meets (I11). Its tests compare it with the library.

use crate::format::envelope::FormatError;

/// The most values in a block of differences; the library writes 128 or 256.
const MOST_DELTA_BLOCK: u64 = 1 << 16;

const SHORT: FormatError = FormatError::Malformed("a page that ends early");
const WRONG: FormatError = FormatError::Malformed("a page that breaks the rules");

/// The data of a page, read from its front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    rest: &'a [u8],
}

impl<'a> Page<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, FormatError> {
        let (byte, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WRONG)
    }

    /// A signed number as the bits of an unsigned one.
    fn zigzag(&mut self) -> Result<u64, FormatError> {
        let value = self.varint()?;
        Ok((value >> 1) ^ (value & 1).wrapping_neg())
    }

    fn end(self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::Malformed("bytes behind a page")) }
    }

    /// Which rows have a value: the definition levels of an optional column, in runs and groups of eight bits.
    pub(super) fn levels(&mut self, rows: usize) -> Result<Vec<bool>, FormatError> {
        let len = self.take(4)?.first_chunk().copied().map_or(0, u32::from_le_bytes);
        let mut runs = Page::new(self.take(usize::try_from(len).map_err(|_| SHORT)?)?);
        let mut levels = Vec::with_capacity(rows);
        while levels.len() < rows {
            let header = runs.varint()?;
            let (count, missing) = (usize::try_from(header >> 1).map_err(|_| WRONG)?, rows - levels.len());
            if header & 1 == 0 {
                let level = runs.byte()?;
                if level > 1 || count > missing {
                    return Err(WRONG);
                }
                levels.resize(levels.len() + count, level == 1);
            } else {
                let bits =
                    runs.take(count)?.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
                levels.extend(bits.take(missing));
            }
        }
        runs.end()?;
        Ok(levels)
    }

    /// `count` numbers, which are all the page holds, as `DELTA_BINARY_PACKED`.
    pub(super) fn deltas(mut self, count: usize) -> Result<Vec<u64>, FormatError> {
        let values = self.packed(count)?;
        self.end()?;
        Ok(values)
    }

    /// The same of a column of 32 bits, whose differences wrap around at those.
    #[allow(clippy::cast_possible_truncation, reason = "see above")]
    pub(super) fn deltas_u32(self, count: usize) -> Result<Vec<u32>, FormatError> {
        Ok(self.deltas(count)?.into_iter().map(|value| value as u32).collect())
    }

    /// `count` numbers in eight bytes each, which are all the page holds.
    pub(super) fn plain_u64s(self, count: usize) -> Result<Vec<u64>, FormatError> {
        let values = self.fixed::<8>(count)?;
        Ok(values.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }

    /// `count` values of `N` bytes each, which are all the page holds.
    pub(super) fn fixed<const N: usize>(self, count: usize) -> Result<&'a [[u8; N]], FormatError> {
        let (values, rest) = self.rest.as_chunks();
        if values.len() == count && rest.is_empty() { Ok(values) } else { Err(SHORT) }
    }

    /// `count` byte strings, which are all the page holds, as `DELTA_LENGTH_BYTE_ARRAY`: their lengths, and all of them
    /// behind each other.
    pub(super) fn strings(mut self, count: usize) -> Result<(Vec<u32>, &'a [u8]), FormatError> {
        let lens = self.packed(count)?;
        let sum = lens.iter().try_fold(0u64, |sum, len| sum.checked_add(*len));
        if sum != Some(self.rest.len() as u64) {
            return Err(FormatError::Malformed("strings of other lengths than said"));
        }
        let lens = lens.into_iter().map(|len| u32::try_from(len).map_err(|_| WRONG));
        Ok((lens.collect::<Result<_, _>>()?, self.rest))
    }

    /// Numbers as differences: a header, and blocks of a least difference and miniblocks, each of as many bits to a number as it
    /// needs.
    fn packed(&mut self, count: usize) -> Result<Vec<u64>, FormatError> {
        let (block, minis, total) = (self.varint()?, self.varint()?, self.varint()?);
        let mut value = self.zigzag()?;
        let possible = (1..=MOST_DELTA_BLOCK).contains(&block) && (1..=block).contains(&minis);
        if total != count as u64 || !possible || block % (8 * minis) != 0 {
            return Err(WRONG);
        }
        let sizes = usize::try_from(block / minis).and_then(|per| Ok((per, usize::try_from(minis)?)));
        let (per_mini, minis) = sizes.map_err(|_| WRONG)?;
        let mut values = Vec::with_capacity(count);
        if count > 0 {
            values.push(value);
        }
        while values.len() < count {
            let least = self.zigzag()?;
            for width in self.take(minis)? {
                if values.len() == count {
                    break;
                }
                if *width > 64 {
                    return Err(WRONG);
                }
                let mut bits = Bits::new(self.take(per_mini / 8 * usize::from(*width))?);
                for _ in 0..per_mini.min(count - values.len()) {
                    value = value.wrapping_add(least).wrapping_add(bits.next(u32::from(*width)));
                    values.push(value);
                }
            }
        }
        Ok(values)
    }
}

/// Numbers of equal width, the lowest bits first.
struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    held: u128,
    have: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter(), held: 0, have: 0 }
    }

    /// The next `width` bits, at most 64; zeros behind the end.
    fn next(&mut self, width: u32) -> u64 {
        while self.have < width {
            self.held |= u128::from(self.bytes.next().copied().unwrap_or(0)) << self.have;
            self.have += 8;
        }
        let mask = (1u128 << width) - 1;
        let value = self.held & mask;
        self.held >>= width;
        self.have -= width;
        u64::try_from(value).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_every_width() {
        // 128 to a block, 4 miniblocks, 3 numbers from -1 on; differences of 1 and what two bits say more: 2 and 1.
        let page = [0x80, 1, 4, 3, 1, 2, 2, 0, 0, 0, 0b0110, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Page::new(&page).deltas(3), Ok(vec![u64::MAX, 2, 4]));
        assert_eq!(Page::new(&page).deltas_u32(3), Ok(vec![u32::MAX, 2, 4]));
        for count in [0, 2, 4] {
            Page::new(&page).deltas(count).unwrap_err();
        }
        for cut in 0..page.len() {
            Page::new(&page[..cut]).deltas(3).unwrap_err();
        }
    }

    #[test]
    fn huge_headers_overflow_nothing() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let numbers: [&[u8]; 5] =
            [&[0], &[8], &[0x80, 1], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20], &huge];
        for block in numbers {
            for minis in numbers {
                for total in numbers {
                    let page = [block, minis, total, &huge, &huge, &[64; 8]].concat();
                    for count in [0, 8, 128] {
                        let _ = Page::new(&page).deltas(count);
                        let _ = Page::new(&page).strings(count);
                    }
                }
            }
        }
        for count in numbers {
            let levels = [&[count.len() as u8 + 1, 0, 0, 0], count, &[1]].concat();
            let _ = Page::new(&levels).levels(100);
        }
    }

    proptest! {
        #[test]
        fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..100), count in 0usize..300) {
            let page = Page::new(&data);
            let mut levels = page;
            let lens = [levels.levels(count).map(|levels| levels.len()), page.deltas(count).map(|values| values.len())];
            prop_assert!(lens.iter().all(|len| len.as_ref().is_ok_and(|len| *len == count) || len.is_err()));
            let _ = (page.strings(count), page.plain_u64s(count), page.fixed::<16>(count));
        }
    }
}
