use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;

/// What an estimate may be off by.
#[test]
fn the_estimate_is_near_the_length() {
    for count in [1, 5_000, 50_000] {
        let mut writer = RunWriter::new().unwrap();
        (0..count).for_each(|n| writer.push(&plain(n)).unwrap());
        let (estimate, rows) = (writer.bytes(), writer.rows());
        let file = writer.finish().unwrap();
        let len = file.bytes.len() as u64;
        assert!(estimate * 9 < len * 10 + 40_000 && len * 9 < estimate * 10, "{estimate} for {len}");
        assert_eq!(rows, count);
    }
}

/// What rows of 20-byte keys and 100-byte values cost; `cargo test --release -- --ignored --nocapture` measures.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn measure() {
    let rows: Vec<_> = (0..200_000).map(plain).collect();
    let began = std::time::Instant::now();
    let file = write(&rows);
    let written = began.elapsed();
    let began = std::time::Instant::now();
    let tail = open(&file);
    let opened = began.elapsed();
    let began = std::time::Instant::now();
    let blocks: Vec<_> = (0..tail.blocks()).map(|n| block(&file, &tail, n)).collect();
    let decoded = began.elapsed();
    let count = rows.len() as f64;
    let reader = SerializedFileReader::new(file.bytes.clone()).unwrap();
    println!("{} bytes of Parquet's metadata, decoded", reader.metadata().memory_size());
    println!("written: {:.0} rows/s", count / written.as_secs_f64());
    println!("tail decoded in {opened:?}");
    println!("decoded: {:.0} rows/s", count / decoded.as_secs_f64());
    println!("{:.1} bytes a row", file.bytes.len() as f64 / count);
    println!("{:.0} bytes of tail to a million rows", file.tail_len as f64 / count * 1e6);
    println!("{:.0} bytes of decoded tail to a million rows", tail.weight() as f64 / count * 1e6);
    println!(
        "{} blocks of {} bytes, {} decoded",
        blocks.len(),
        tail.block_range(0).end - 4,
        blocks[0].weight()
    );
}
