use super::*;
use crate::format::envelope::{FormatError, HEADER_LEN, Kind, seal};

/// A small file with every kind of row.
fn sample() -> (Vec<Row>, RunFileContent) {
    let part = |n| Part { attempt: 9, n, offset: 3, len: 5, checksum: 8 };
    let stored = StoredValue { len: 10, checksum: 4, parts: vec![part(0), part(1)] };
    let values =
        [RowValue::Tombstone, RowValue::Stored(stored), RowValue::Inline(Bytes::from_static(b"inline"))];
    let rows: Vec<_> = (0..6).map(|n| Row { value: values[n as usize % 3].clone(), ..plain(n) }).collect();
    let file = write(&rows);
    (rows, file)
}

/// What is read of a file whose blocks and tail are at the places that its manifest says.
fn read(bytes: &Bytes, file_len: u64, tail_len: u64) -> Result<Vec<Row>, FormatError> {
    let start = (file_len - tail_len) as usize;
    let tail = Tail::decode(bytes.len() as u64, &bytes.slice(start.min(bytes.len())..))?;
    let mut rows = Vec::new();
    for n in 0..tail.blocks() {
        let range = tail.block_range(n);
        let block = Block::decode(&tail, n, &bytes.slice(range.start as usize..range.end as usize))?;
        rows.extend((0..block.rows()).map(|n| block.row(n)));
    }
    Ok(rows)
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let (rows, file) = sample();
    let len = file.bytes.len() as u64;
    assert_eq!(read(&file.bytes, len, file.tail_len), Ok(rows.clone()));
    for bit in 0..file.bytes.len() * 8 {
        let mut bytes = file.bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = read(&bytes.into(), len, file.tail_len);
        // The magic before the first block is not read.
        if bit / 8 < 4 {
            assert_eq!(read.as_ref(), Ok(&rows));
        } else {
            read.unwrap_err();
        }
    }
    for cut in 0..file.bytes.len() {
        read(&file.bytes.slice(..cut), len, file.tail_len).unwrap_err();
        let tail = tail_of(&file);
        Tail::decode(len, &tail.slice(..cut.min(tail.len() - 1))).unwrap_err();
    }
    Tail::decode(len + 1, &tail_of(&file)).unwrap_err();
}

/// What is read of a tail to find keys, without the footer behind it.
#[test]
fn every_flipped_bit_and_every_cut_of_an_index_is_found() {
    let (_, file) = sample();
    let (len, tail_len) = (file.bytes.len() as u64, file.tail_len);
    let index = tail_of(&file).slice(..file.index_len as usize);
    assert_eq!(Tail::decode_index(len, tail_len, &index).unwrap().rows(), 6);
    for bit in 0..index.len() * 8 {
        let mut bytes = index.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Tail::decode_index(len, tail_len, &bytes.into()).unwrap_err();
    }
    for cut in 0..index.len() {
        Tail::decode_index(len, tail_len, &index.slice(..cut)).unwrap_err();
    }
    Tail::decode_index(len + 1, tail_len, &index).unwrap_err();
    Tail::decode_index(len, tail_len + 1, &index).unwrap_err();
    // Part of a footer is no footer.
    Tail::decode_index(len, tail_len, &tail_of(&file).slice(..index.len() + 1)).unwrap_err();
}

#[test]
fn a_block_is_not_taken_for_another() {
    let in_a_block = BLOCK_BYTES / plain(0).key.len();
    let rows: Vec<_> =
        (0..2 * in_a_block as u64).map(|n| Row { value: RowValue::Tombstone, ..plain(n) }).collect();
    let file = write(&rows);
    let tail = open(&file);
    assert_eq!(tail.blocks(), 2);
    let blocks = [0, 1].map(|n| piece(&file, tail.block_range(n)));
    for (n, other) in [(0, 1), (1, 0), (2, 1)] {
        Block::decode(&tail, n, &blocks[other]).unwrap_err();
        let mut forged = open(&file);
        if n < 2 {
            forged.forge(n, &blocks[other]);
        }
        Block::decode(&forged, n, &blocks[other]).unwrap_err();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..200), n in 0usize..3) {
        let (_, file) = sample();
        let garbage = Bytes::from(garbage);
        Tail::decode(garbage.len() as u64 + 4, &garbage).unwrap_err();
        Block::decode(&open(&file), n, &garbage).unwrap_err();
    }

    /// Not even with right checksums.
    #[test]
    fn forged_blocks_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (_, file) = sample();
        let mut tail = open(&file);
        let mut bytes = piece(&file, tail.block_range(0)).to_vec();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        tail.forge(0, &bytes);
        if let Ok(block) = Block::decode(&tail, 0, &bytes.into()) {
            let rows: Vec<_> = (0..block.rows()).map(|n| block.row(n)).collect();
            assert!(rows.is_sorted_by(|a, b| a.key < b.key));
        }
    }

    /// A tail that a wrong writer made: whatever it says of a block, the block's bytes are there, and right by it.
    #[test]
    fn forged_tails_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5), cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (_, file) = sample();
        let tail = tail_of(&file);
        let meta_len = u32::from_le_bytes(tail[8..12].try_into().unwrap()) as usize;
        let mut meta = tail[HEADER_LEN..HEADER_LEN + meta_len].to_vec();
        for (at, byte) in changes {
            let at = at.index(meta.len() - 8);
            meta[8 + at] = byte;
        }
        if let Some(cut) = cut {
            meta.truncate(cut.index(meta.len()));
        }
        let forged = seal(Kind::Run, &meta, &[tail.slice(HEADER_LEN + meta_len..)]).unwrap();
        for longer in 0..600 {
            let Ok(mut tail) = Tail::decode(file.bytes.len() as u64 - 300 + longer, &forged) else { continue };
            for n in 0..tail.blocks() {
                let range = tail.block_range(n);
                let bytes = Bytes::from(vec![b'x'; (range.end - range.start) as usize]);
                tail.forge(n, &bytes);
                let _ = Block::decode(&tail, n, &bytes);
                let range = range.start as usize..range.end as usize;
                if range.end <= file.bytes.len() {
                    tail.forge(n, &file.bytes[range.clone()]);
                    let _ = Block::decode(&tail, n, &file.bytes.slice(range));
                }
            }
        }
    }
}
