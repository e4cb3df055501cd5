//! What the fuzz targets call: every decoder, with any bytes.
//!
//! Each entry panics where a decoder breaks its promise: what it accepts, it decodes alike from its own encoding.
//! Checksums would keep a fuzzer out, so the bytes are also tried as the meta of an envelope with a right checksum.

use bytes::Bytes;

use crate::format::bundle::Bundle;
use crate::format::decision::{Decision, Verdict};
use crate::format::envelope::{FormatError, Kind, checksum, seal};
use crate::format::feed::{Entry, EntryHome, Feed};
use crate::format::garbage::Garbage;
use crate::format::guard::GuardClaim;
use crate::format::manifest::Manifest;
use crate::format::marker::Marker;
use crate::format::name::{FeedName, FileId, ObjectName, Shards};
use crate::format::recent::Recent;
use crate::format::record::{CommitRecord, Value};
use crate::format::request::{Claim, request_hash};
use crate::format::run::{Block, RunWriter, Tail};
use crate::{Receipt, Token, TxnId, Version};

/// The bytes as they are, and as the meta of a valid envelope: the first byte says how long the payload is.
fn objects(kind: Kind, data: &[u8]) -> Vec<Bytes> {
    let mut objects = vec![Bytes::copy_from_slice(data)];
    if let Some((payload, meta)) = data.split_first() {
        let payload = Bytes::from(vec![7; usize::from(*payload)]);
        objects.extend(seal(kind, meta, &[payload]));
    }
    objects
}

/// Every inline value lies in the object.
fn check_values(object: &Bytes, base: u64, record: &CommitRecord) {
    for write in &record.writes {
        if let Value::Inline { offset, len, .. } = write.value {
            assert!(base + offset + len <= object.len() as u64, "a value beyond its object");
        }
    }
}

/// Decodes a decision.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_decision(data: &[u8]) {
    for object in objects(Kind::Decision, data) {
        let Ok(decoded) = Decision::decode(&object) else { continue };
        let first = decoded.inline_offsets.first().map_or(object.len() as u64, |base| *base);
        if let Verdict::Commit(records) = &decoded.decision.verdict {
            assert_eq!(records.len(), decoded.inline_offsets.len());
            records
                .iter()
                .zip(&decoded.inline_offsets)
                .for_each(|(record, at)| check_values(&object, *at, record));
        }
        let payload = object.slice(usize::try_from(first).expect("in the object")..);
        let again = decoded.decision.encode(&[payload]).expect("it was decoded");
        assert_eq!(Decision::decode(&again).expect("it was encoded").decision, decoded.decision);
    }
}

/// Decodes a feed object.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_feed(data: &[u8]) {
    for object in objects(Kind::Feed, data) {
        let Ok(feed) = Feed::decode(&object) else { continue };
        let mut inline = 0;
        for entry in &feed.entries {
            if let Entry::Commit { home: EntryHome::Feed { inline_offset }, record, .. } = entry {
                check_values(&object, *inline_offset, record);
                inline += record.inline_len();
            }
        }
        let start = object.len() - usize::try_from(inline).expect("in the object");
        let again = feed.encode(&[object.slice(start..)]).expect("it was decoded");
        // Bases follow from the encoding, which is canonical the second time.
        let decoded = Feed::decode(&again).expect("it was encoded");
        assert_eq!(decoded.entries.len(), feed.entries.len());
        assert_eq!(decoded.encode(&[object.slice(start..)]).expect("it was decoded"), again);
    }
}

/// Decodes a marker.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_marker(data: &[u8]) {
    if let Ok(marker) = Marker::decode(data) {
        assert_eq!(Marker::decode(&marker.encode()).expect("it was encoded"), marker);
    }
}

/// Decodes a manifest; what it lists is found by its keys.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::decode(data) else { return };
    let again = manifest.encode().expect("it was decoded");
    assert_eq!(Manifest::decode(&again).expect("it was encoded"), manifest);
    for run in &manifest.runs {
        assert!(run.files.iter().all(|file| run.weight() >= file.bytes));
        for file in &run.files {
            assert_eq!(run.file_for(&file.first_key), Some(file));
            assert_eq!(run.file_for(&file.last_key), Some(file));
            let single = [&file.last_key[..], b"\0"].concat();
            assert_eq!(run.files_in(&file.last_key, Some(&single)), std::slice::from_ref(file));
        }
    }
}

/// Decodes a recent file.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_recent(data: &[u8]) {
    for object in objects(Kind::Recent, data) {
        let Ok(recent) = Recent::decode(&object) else { continue };
        let again = recent.encode().expect("it was decoded");
        assert_eq!(Recent::decode(&again).expect("it was encoded"), recent);
    }
}

/// Decodes a bundle, and the copies in it.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_bundle(data: &[u8]) {
    for object in objects(Kind::Bundle, data) {
        let Ok(bundle) = Bundle::decode(&object) else { continue };
        let again = bundle.encode().expect("it was decoded");
        assert_eq!(Bundle::decode(&again).expect("it was encoded"), bundle);
        bundle.copies.iter().for_each(|(_, copy)| decode_feed(copy));
    }
}

/// Decodes a garbage file.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_garbage(data: &[u8]) {
    for object in objects(Kind::Garbage, data) {
        let Ok(garbage) = Garbage::decode(&object) else { continue };
        let again = garbage.encode().expect("it was decoded");
        assert_eq!(Garbage::decode(&again).expect("it was encoded"), garbage);
    }
}

/// Decodes a claim.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_claim(data: &[u8]) {
    for object in objects(Kind::Request, data) {
        let Ok(claim) = Claim::decode(&object) else { continue };
        let again = claim.encode().expect("it was decoded");
        assert_eq!(Claim::decode(&again).expect("it was encoded"), claim);
        let name = ObjectName::Request(request_hash(&claim.key), 0);
        let shards = Shards::new(16).expect("a count of shards");
        assert_eq!(ObjectName::parse(&name.path(shards), shards), Some(name));
    }
}

/// Decodes a guard.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_guard(data: &[u8]) {
    for object in objects(Kind::Guard, data) {
        let Ok(guard) = GuardClaim::decode(&object) else { continue };
        let again = guard.encode().expect("it was decoded");
        assert_eq!(GuardClaim::decode_as(guard.name(), &again).expect("it was encoded"), guard);
        let (name, shards) = (ObjectName::Guard(guard.name()), Shards::new(16).expect("a count of shards"));
        assert_eq!(ObjectName::parse(&name.path(shards), shards), Some(name));
    }
}

/// Decodes the tail of a run's file, and the first blocks that it tells of. The first two bytes say how long the meta of the
/// tail is; what follows it is taken for each block, under a right checksum.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_run(data: &[u8]) {
    let _ = open_run(&Bytes::copy_from_slice(data));
    let Some((len, rest)) = data.split_first_chunk() else { return };
    let (meta, block) = rest.split_at(rest.len().min(u16::from_le_bytes(*len).into()));
    let mut meta = meta.to_vec();
    if let Some(footer_checksum) = meta.first_chunk_mut() {
        *footer_checksum = checksum(b"").to_le_bytes();
    }
    let sealed = seal(Kind::Run, &meta, &[]).expect("it is short");
    let Some(mut tail) = open_run(&sealed) else { return };
    for n in 0..tail.blocks().min(4) {
        let range = tail.block_range(n);
        let Ok(len @ 0..=0xf_ffff) = usize::try_from(range.end - range.start) else { continue };
        let bytes: Bytes = block.iter().copied().chain(std::iter::repeat(0)).take(len).collect();
        tail.forge(n, &bytes);
        if let Ok(block) = Block::decode(&tail, n, &bytes) {
            check_block(&block);
        }
    }
}

/// The tail, of a file of whatever length it says.
fn open_run(object: &Bytes) -> Option<Tail> {
    match Tail::decode(0, object) {
        Err(FormatError::Length { expected, .. }) => Tail::decode(expected, object).ok(),
        _ => None,
    }
}

/// The block finds its own rows, and they make a file that holds them.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
fn check_block(block: &Block) {
    let mut writer = RunWriter::new().expect("nothing is written");
    for n in 0..block.rows() {
        let row = block.row(n);
        assert_eq!(block.find(&row.key).as_ref(), Some(&row));
        assert_eq!(block.lower_bound(&row.key), n);
        writer.push(&row).expect("it was decoded");
    }
    let file = writer.finish().expect("a block has a row");
    let (len, tail_len) = (file.bytes.len(), usize::try_from(file.tail_len).expect("in memory"));
    let tail = Tail::decode(len as u64, &file.bytes.slice(len - tail_len..)).expect("it was written");
    let mut rows = 0;
    for n in 0..tail.blocks() {
        let range = tail.block_range(n);
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).expect("in memory"));
        let again = Block::decode(&tail, n, &file.bytes.slice(start..end)).expect("it was written");
        for n in 0..again.rows() {
            assert!(tail.may_hold(again.key(n)));
            assert_eq!(again.row(n), block.row(rows));
            rows += 1;
        }
    }
    assert_eq!(rows, block.rows());
}

/// Decodes a token, as bytes and as text, and joins it with itself.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn decode_token(data: &[u8]) {
    for object in objects(Kind::Token, data) {
        let Ok(token) = Token::from_bytes(object) else { continue };
        let again = Token::new(token.state.clone()).expect("it was decoded");
        assert_eq!(Token::from_bytes(again.to_bytes()).expect("it was encoded"), again);
        assert_eq!(again.to_string().parse::<Token>().expect("it was printed"), again);
        assert_eq!(again.state, token.state);
        if let Ok(joined) = Token::join([token.clone(), token]) {
            assert_eq!(Token::from_bytes(joined.to_bytes()).expect("it was encoded"), joined);
        }
    }
}

/// Parses object names, receipts, ids and tokens.
#[allow(clippy::expect_used, reason = "a panic is what a fuzzer looks for")]
pub fn parse_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for shards in [16, 256, 4096].into_iter().filter_map(Shards::new) {
        if let Some(name) = ObjectName::parse(text, shards) {
            assert_eq!(name.path(shards), text, "a name prints as it was parsed");
        }
    }
    if let Some(name) = FeedName::parse(text) {
        assert_eq!(name.to_string(), text);
    }
    if let Some(id) = FileId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(version) = Version::parse(text) {
        assert_eq!(version.to_string(), text);
    }
    if let Ok(receipt) = text.parse::<Receipt>() {
        assert_eq!(receipt.to_string().parse::<Receipt>().expect("it was printed"), receipt);
    }
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.to_string(), text);
    }
    if let Ok(txn) = text.parse::<TxnId>() {
        assert_eq!(txn.to_string().parse::<TxnId>().expect("it was printed"), txn);
    }
}
