use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_written_is_read(rows in rows(1..60)) {
        let file = write(rows.values());
        prop_assert!(all_rows(&file).iter().eq(rows.values()));
        prop_assert_eq!(&file, &write(rows.values()));
        prop_assert_eq!(file.rows, rows.len() as u64);
        prop_assert_eq!(Some(&file.first_key), rows.keys().next());
        prop_assert_eq!(Some(&file.last_key), rows.keys().next_back());
        prop_assert_eq!(Some(file.greatest), rows.values().map(|row| row.version).max());
        let tombstones = rows.values().filter(|row| row.value == RowValue::Tombstone).count();
        prop_assert_eq!(file.tombstones, tombstones as u64);
        let stored = rows.values().map(|row| if let RowValue::Stored(stored) = &row.value { stored.len } else { 0 });
        prop_assert_eq!(file.stored_bytes, stored.sum::<u64>());
        let tail = open(&file);
        prop_assert_eq!((tail.first_key(), tail.last_key(), tail.rows()), (&file.first_key[..], &file.last_key[..], file.rows));
    }

    #[test]
    fn every_key_is_found_and_no_other(rows in rows(1..60), others in prop::collection::vec(key(), 0..30)) {
        let file = write(rows.values());
        let tail = open(&file);
        let blocks: Vec<_> = (0..tail.blocks()).map(|n| block(&file, &tail, n)).collect();
        for key in rows.keys().chain(&others) {
            let found = tail.block_for(key).and_then(|n| blocks[n].find(key));
            prop_assert_eq!(found.as_ref(), rows.get(key));
            prop_assert!(found.is_none() || tail.may_hold(key));
            for block in &blocks {
                let bound = (0..block.rows()).find(|n| block.key(*n) >= &key[..]);
                prop_assert_eq!(block.lower_bound(key), bound.unwrap_or(block.rows()));
                prop_assert_eq!(block.find(key).is_some(), bound.is_some_and(|n| block.row(n).key == *key));
            }
        }
    }

    #[test]
    fn blocks_in_a_range_are_those_with_a_key_in_it(rows in rows(1..60), range in (key(), prop::option::of(key()))) {
        let file = write(rows.values());
        let tail = open(&file);
        let range = KeyRange::between(range.0, range.1);
        let found = tail.blocks_in(&range);
        for n in 0..tail.blocks() {
            let block = block(&file, &tail, n);
            if (0..block.rows()).any(|n| range.contains(block.key(n))) {
                prop_assert!(found.contains(&n));
            } else if found.contains(&n) {
                // The range lies between two of its rows; the later one may be the first that is not in it.
                let (start, end) = range.ends();
                prop_assert!(block.key(0) < &start[..] && end.unwrap() <= block.key(block.rows() - 1));
            }
        }
    }

    #[test]
    fn every_object_of_a_stored_value_is_named(rows in rows(1..60)) {
        let tail = open(&write(rows.values()));
        let mut named = 0;
        for row in rows.values() {
            let RowValue::Stored(stored) = &row.value else { continue };
            for part in &stored.parts {
                prop_assert!(tail.may_name(row.version.txn, part.object()));
                named += 1;
            }
        }
        let any = crate::format::name::ValueName { attempt: 1, n: 2 };
        prop_assert!(named > 0 || !tail.may_name(TxnId::from_bytes([3; 16]), any));
    }
}

#[test]
fn rows_that_are_not_sorted_are_refused_and_change_nothing() {
    let mut writer = RunWriter::new().unwrap();
    writer.push(&plain(5)).unwrap();
    writer.push(&plain(5)).unwrap_err();
    writer.push(&plain(4)).unwrap_err();
    writer.push(&Row { key: Bytes::new(), ..plain(6) }).unwrap_err();
    writer.push(&Row { key: vec![b'z'; crate::MAX_KEY_BYTES + 1].into(), ..plain(6) }).unwrap_err();
    let no_parts = RowValue::Stored(StoredValue { len: 0, checksum: 0, parts: Vec::new() });
    writer.push(&Row { value: no_parts, ..plain(6) }).unwrap_err();
    writer.push(&plain(7)).unwrap();
    assert_eq!(writer.finish().unwrap(), write(&[plain(5), plain(7)]));
}

#[test]
fn a_file_has_a_row() {
    RunWriter::new().unwrap().finish().unwrap_err();
}

#[test]
fn a_row_holds_on_to_its_block_and_a_block_to_nothing() {
    let file = write(&[plain(1), plain(2)]);
    let tail = open(&file);
    let bytes = Bytes::copy_from_slice(&piece(&file, tail.block_range(0)));
    let block = Block::decode(&tail, 0, &bytes).unwrap();
    assert!(bytes.try_into_mut().is_ok(), "the block still holds its bytes");
    let tail_bytes = Bytes::copy_from_slice(&tail_of(&file));
    let again = Tail::decode(file.bytes.len() as u64, &tail_bytes).unwrap();
    assert!(tail_bytes.try_into_mut().is_ok(), "the tail still holds its bytes");
    assert_eq!(again.weight(), tail.weight());
    assert_eq!(block.row(1), plain(2));
}

#[test]
fn everything_may_move_between_threads() {
    fn send<T: Send + 'static>() {}
    fn sync<T: Sync>() {}
    send::<RunWriter>();
    send::<Tail>();
    send::<Block>();
    sync::<Tail>();
    sync::<Block>();
}
