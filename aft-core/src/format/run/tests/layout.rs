use super::*;
use crate::format::envelope::checksum;

/// Many small rows, some large ones and one that is larger than a block.
fn several_blocks() -> Vec<Row> {
    let value = |n: u64| match n {
        10_000..10_040 => Bytes::from(vec![n as u8; 20_000]),
        11_000 => Bytes::from(vec![1; 2 * BLOCK_BYTES]),
        _ => Bytes::from_static(b"v"),
    };
    (0..12_000).map(|n| Row { value: RowValue::Inline(value(n)), ..plain(n) }).collect()
}

#[test]
fn blocks_follow_each_other_from_the_magic_to_the_tail() {
    let rows = several_blocks();
    let file = write(&rows);
    let tail = open(&file);
    assert!(tail.blocks() > 5);
    let mut at = 4;
    let mut next = 0;
    for n in 0..tail.blocks() {
        let range = tail.block_range(n);
        assert_eq!(range.start, at);
        at = range.end;
        let block = block(&file, &tail, n);
        let held: usize = (0..block.rows()).map(|n| size(&block.row(n))).sum();
        assert!(block.rows() <= BLOCK_ROWS && (held <= BLOCK_BYTES || block.rows() == 1));
        let full = block.rows() == BLOCK_ROWS
            || rows.get(next + block.rows()).is_none_or(|row| held + size(row) > BLOCK_BYTES);
        assert!(full, "a block that ends early");
        (0..block.rows()).for_each(|row| assert_eq!(block.row(row), rows[next + row]));
        next += block.rows();
    }
    assert_eq!(at + file.tail_len, file.bytes.len() as u64);
    assert_eq!(next, rows.len());
    assert_eq!(tail.block_range(tail.blocks()), 0..0);
}

fn size(row: &Row) -> usize {
    let RowValue::Inline(value) = &row.value else { unreachable!() };
    row.key.len() + value.len()
}

/// A Parquet reader finds what aft wrote, footer and all.
#[test]
fn a_parquet_reader_reads_the_file() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let rows = several_blocks();
    let file = write(&rows);
    let tail = open(&file);
    let reader = SerializedFileReader::new(file.bytes.clone()).unwrap();
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().created_by(), Some("aft"));
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    assert_eq!((&*pairs[0].key, pairs[0].value.as_deref()), ("aft.format_version", Some("1")));
    assert_eq!(metadata.num_row_groups(), tail.blocks());
    for (n, group) in metadata.row_groups().iter().enumerate() {
        let (first, last) = (group.columns().first().unwrap(), group.columns().last().unwrap());
        let end = last.byte_range().0 + last.byte_range().1;
        assert_eq!(first.byte_range().0..end, tail.block_range(n));
    }
    assert!(reader.get_row_iter(None).unwrap().map(|row| row_of(row.unwrap())).eq(rows));
}

/// A row as the Parquet library reads it.
fn row_of(row: parquet::record::Row) -> Row {
    use parquet::record::Field::{self, Bytes as Blob, Null, UByte, UInt, ULong};
    let fields: Vec<Field> = row.into_columns().into_iter().map(|(_, field)| field).collect();
    let copy = |bytes: &parquet::data_type::ByteArray| Bytes::copy_from_slice(bytes.data());
    let [Blob(key), ULong(clock), txn, UInt(ordinal), UByte(kind), value @ ..] = &fields[..] else {
        panic!("{fields:?}")
    };
    let txn = match txn {
        Field::Str(text) => text.parse().unwrap(),
        Blob(bytes) => TxnId::from_bytes(bytes.data().try_into().unwrap()),
        _ => panic!("{txn:?}"),
    };
    let value = match (kind, value) {
        (0, [Null, Null, Null, Null]) => RowValue::Tombstone,
        (1, [Blob(value), ULong(len), ULong(sum), Null]) => {
            assert_eq!((*len, *sum), (value.len() as u64, checksum(value.data())));
            RowValue::Inline(copy(value))
        }
        (2, [Null, ULong(len), ULong(sum), Blob(parts)]) => {
            let parts = postcard::from_bytes(parts.data()).unwrap();
            RowValue::Stored(StoredValue { len: *len, checksum: *sum, parts })
        }
        _ => panic!("{fields:?}"),
    };
    Row { key: copy(key), version: Version::new(Timestamp::from_bits(*clock), txn), ordinal: *ordinal, value }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_parquet_reader_reads_any_row(rows in rows(1..60)) {
        use parquet::file::reader::{FileReader, SerializedFileReader};
        let reader = SerializedFileReader::new(write(rows.values()).bytes).unwrap();
        let read = reader.get_row_iter(None).unwrap().map(|row| row_of(row.unwrap()));
        prop_assert!(read.eq(rows.into_values()));
    }
}

#[test]
fn the_filters_let_about_one_in_a_hundred_through() {
    let part = |n: u64| Part { attempt: n / 3, n: (n % 3) as u32, offset: 0, len: n, checksum: n };
    let stored = |n| RowValue::Stored(StoredValue { len: n, checksum: n, parts: vec![part(n)] });
    let rows: Vec<_> = (0..40_000).map(|n| Row { value: stored(n), ..plain(2 * n) }).collect();
    let tail = open(&write(&rows));
    assert!(rows.iter().all(|row| tail.may_hold(&row.key)));
    let absent = (0..40_000).filter(|n| tail.may_hold(&plain(2 * n + 1).key)).count();
    let unnamed = rows.iter().filter(|row| {
        let RowValue::Stored(stored) = &row.value else { unreachable!() };
        let mut name = stored.parts[0].object();
        name.n += 3;
        tail.may_name(row.version.txn, name)
    });
    let unnamed = unnamed.count();
    assert!(absent < 1000 && unnamed < 1000, "{absent} and {unnamed} of 40,000");
    assert!(absent > 40 && unnamed > 40, "{absent} and {unnamed} of 40,000: is anything looked at?");
    assert!(!tail.may_hold(b"a") && !tail.may_hold(b"z"));
}
