//! Golden files: one of each stored format and version, in `aft-core/testdata/v<version>/`.
//!
//! Today's encoder must make exactly these bytes and today's decoder must read them. `SUMS` fails, and so does CI, where the
//! files of a version changed that is in it. docs/testing.md says what to do after a deliberate change of a format, and for
//! a new kind of object.

use std::path::PathBuf;

use super::*;
use crate::format::bundle::Bundle;
use crate::format::clone::CloneNote;
use crate::format::envelope::FORMAT_VERSION;
use crate::format::garbage::Garbage;
use crate::format::manifest::{FileRef, Manifest, RunFile, SortedRun};
use crate::format::marker::Marker;
use crate::format::name::{FeedName, FileId, ObjectName, Shards};
use crate::format::recent::{Home, PrunedCommit, Recent, RecentCommit};
use crate::format::request::{input_hash, request_hash};
use crate::format::row::{Row, RowValue};
use crate::format::run::{Block, RunFileContent, RunWriter, Tail};
use crate::format::token::{Suspended, SuspendedWrite};
use crate::key_range::KeyRange;
use crate::receipt::Receipt;

/// The checksum of every golden file of every version.
const SUMS: [(u16, &str, u64); 15] = [
    (1, "bundle.bin", 0xa520_2eb7_db07_f14b),
    (1, "clone.json", 0x54bc_ae54_26ec_8acb),
    (1, "decision-abort.bin", 0x7540_15c4_b0f3_011d),
    (1, "decision-commit.bin", 0x3365_2594_fd35_0fb9),
    (1, "decision-group.bin", 0x6847_53be_ef2c_7f5c),
    (1, "feed.bin", 0xc9f1_7257_07da_4f37),
    (1, "garbage.bin", 0xf0c1_f9b7_9574_44bf),
    (1, "guard.bin", 0x5ae3_6eee_f4de_ade6),
    (1, "manifest.json", 0x8c8b_3740_b076_8c43),
    (1, "marker.json", 0x21fe_0bf4_b9cf_2cff),
    (1, "recent.bin", 0x09e0_fd9d_0fe1_7d9c),
    (1, "request.bin", 0x6fbc_e2b2_4f81_d4b5),
    (1, "request-input.bin", 0x7b6e_f3c8_59ab_5f9e),
    (1, "run.parquet", 0x290b_02c1_b6f6_b580),
    (1, "token.bin", 0x479d_a97b_b04c_ea9e),
];

fn path(version: u16, name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "testdata", &format!("v{version}"), name].iter().collect()
}

fn txn(n: u8) -> TxnId {
    let mut id = [n; 16];
    id[..8].copy_from_slice(&[0x01, 0x98, 0xf3, 0xf4, 0, 0, 0x70, n]);
    id[8] = 0x80;
    TxnId::from_bytes(id)
}

fn clock(counter: u64) -> Timestamp {
    Timestamp::from_bits(0x0198_f3f4_0001 << 16 | counter)
}

fn plain(n: u8, contents: impl IntoIterator<Item = (Bytes, Content)>) -> (CommitRecord, Vec<Bytes>) {
    let (writes, payload) = writes(contents);
    let clock = clock(n.into());
    (
        CommitRecord { txn: txn(n), clock, request_key: None, result: None, guards: Vec::new(), writes },
        payload,
    )
}

fn inline(key: &'static str, value: &'static str) -> (Bytes, Content) {
    (Bytes::from(key), Content::Inline(Bytes::from(value)))
}

fn commit() -> (Decision, Vec<Bytes>) {
    let (record, payload) = plain(1, [inline("a", "value"), inline("a/b", "")]);
    (
        Decision { id: record.txn, attempt: 0x1122_3344_5566_7788, verdict: Verdict::Commit(vec![record]) },
        payload,
    )
}

/// A group with every optional field and every kind of value.
fn group() -> (Decision, Vec<Bytes>) {
    let part = |n, offset, len| Part { attempt: 0xfedc_ba98_7654_3210, n, offset, len, checksum: 0xabcd };
    let parts = vec![part(0, 0, 1 << 23), part(1, 4096, 77)];
    let (mut full, mut payload) = plain(
        2,
        [
            (Bytes::from_static(b"\x00"), Content::Tombstone),
            (Bytes::from_static(b"big"), Content::Stored(parts)),
            inline("small", "inline"),
            (Bytes::from_static(b"\xff\xff"), Content::Inline(Bytes::from_static(b"\x00\xff"))),
        ],
    );
    full.request_key = Some(Bytes::from("order-4711"));
    full.result = Some(Bytes::from("done"));
    let over = |version| Guard { key: Bytes::from("small"), over: version, slot: 3 };
    full.guards = vec![over(Version::ABSENT), over(Version::new(clock(1), txn(1)))];
    let (mut second, more) = plain(3, [inline("small", "later")]);
    second.result = Some(Bytes::new());
    let (third, _) = plain(4, []);
    payload.extend(more);
    (Decision { id: txn(9), attempt: 1, verdict: Verdict::Commit(vec![full, second, third]) }, payload)
}

fn a_feed() -> (Feed, Vec<Bytes>) {
    let (Decision { verdict: Verdict::Commit(records), .. }, mut payload) = group() else { unreachable!() };
    let (alone, more) = plain(5, [inline("x", "y")]);
    let homes = [
        EntryHome::Feed { inline_offset: 0 },
        EntryHome::Decision { inline_offset: 200 },
        EntryHome::Decision { inline_offset: 300 },
    ];
    let of_group = |(record, home)| Entry::Commit { decided_by: txn(9), home, restored: false, record };
    let mut entries: Vec<_> = records.into_iter().zip(homes).map(of_group).collect();
    payload.truncate(2);
    let home = EntryHome::Feed { inline_offset: 0 };
    entries.push(Entry::Commit { decided_by: txn(5), home, restored: true, record: alone });
    payload.extend(more);
    let values = vec![ValueName { attempt: 6, n: 0 }, ValueName { attempt: 6, n: 1 }];
    entries.push(Entry::Pruned { decided_by: txn(6), txn: txn(6), values });
    let instead_of = vec![FeedName { time_ms: 0x0198_f3f4_0000, node: 0xff, seq: 1 }];
    let name = FeedName { time_ms: 1_756_000_000_123, node: 0xfeed, seq: 1 };
    (Feed { name, swept_through: Some(1_756_000_000), instead_of, entries }, payload)
}

fn note() -> CloneNote {
    CloneNote::new(marker().store_id, crate::Config::default().shared())
}

fn marker() -> Marker {
    let id = "0198f3f4-0000-7000-8000-000000000000".into();
    Marker::new(id, 1_756_000_000_123, None, crate::Config::default().shared())
}

fn a_claim() -> Claim {
    Claim { txn: txn(8), key: Bytes::from("order-4711"), input: None }
}

fn a_guard() -> GuardClaim {
    let over = Version::new(clock(3), txn(3));
    GuardClaim {
        txn: txn(8),
        since_ms: 1_756_000_000_123,
        writes: true,
        over,
        slot: 2,
        key: Bytes::from("stock"),
    }
}

fn a_claim_for_an_input() -> Claim {
    Claim { input: Some(input_hash(b"1 apple")), ..a_claim() }
}

/// A token with every optional field, every kind of value and every kind of read.
fn a_token() -> Suspended {
    let (Decision { verdict: Verdict::Commit(mut records), .. }, payload) = group() else { unreachable!() };
    let (record, mut payload) = (records.swap_remove(0), payload.into_iter());
    let suspend = |(writer, Write { key, value }): (u64, Write)| {
        let inline = value.is_inline().then(|| payload.next().unwrap());
        (key, SuspendedWrite { writer, value, inline })
    };
    let [alone, of_group] = [1, 2].map(|n| Version::new(clock(n.into()), txn(n)));
    let read = |key, version| (Bytes::from_static(key), version);
    Suspended {
        store_id: "0198f3f4-0000-7000-8000-000000000000".to_owned(),
        txn: txn(10),
        age_ms: 1_500,
        seen_until: 1_756_000_000,
        base: 300,
        request_key: record.request_key,
        latest: true,
        publish_before_ack: true,
        serializable: true,
        guarded: [Bytes::from_static(b"a"), Bytes::from_static(b"nothing")].into(),
        receipts: [Receipt::new(alone, alone.txn), Receipt::new(of_group, txn(9))]
            .map(|receipt| (receipt.version, receipt))
            .into(),
        reads: [read(b"a", alone), read(b"big", of_group), read(b"nothing", Version::ABSENT)].into(),
        ranges: vec![KeyRange::from(..b"\x01"), KeyRange::from(b"m"..b"n"), KeyRange::from(b"x"..)],
        floors: [read(b"a/b", alone), read(b"small", of_group)].into(),
        writes: [3, u64::MAX, 3, 3].into_iter().zip(record.writes).map(suspend).collect(),
        result: record.result.map(|result| (u64::MAX, result)),
        lineage: [3, 4, u64::MAX].into(),
    }
}

/// Two runs, one of two files; keys that are no text.
fn a_manifest() -> Manifest {
    let file = |n, first_key: &'static [u8], last_key: &'static [u8]| RunFile {
        id: FileId(txn(n)),
        bytes: 1 << 25,
        tail_bytes: 4_096,
        index_bytes: 1_024,
        rows: 1_000,
        stored_bytes: 1 << 40,
        tombstones: u64::from(n),
        checksum: 0xabcd,
        first_key: Bytes::from_static(first_key),
        last_key: Bytes::from_static(last_key),
    };
    let beside = |n, entries| FileRef { id: FileId(txn(n)), bytes: 70, entries, checksum: 0xef };
    let runs =
        [vec![file(20, b"a", b"a")], vec![file(21, b"\x00", b"a/b"), file(22, b"a/b\x00", b"\xff\xff")]];
    Manifest {
        number: 0x1a,
        store_id: "0198f3f4-0000-7000-8000-000000000000".to_owned(),
        attempt: 0xfedc_ba98_7654_3210,
        begun: 1_756_000_000,
        full_begun: 1_755_999_900,
        horizon: 1_755_998_964,
        folded_until: 1_755_998_960,
        basis: 1_755_999_990,
        swept_through: 1_755_999_980,
        last_sweep: 1_755_999_970,
        sweeps: [(1_756_000_020, 1_755_999_985), (1_756_000_080, 1_755_999_995)].into(),
        settled_ms: 1_755_998_000_123,
        unfolded: [txn(5), txn(6)].into(),
        greatest: Version::new(clock(5), txn(5)),
        purged: Version::new(clock(4), txn(4)),
        runs: runs.map(|files| SortedRun { files }).into(),
        recent: beside(23, 2),
        garbage: Some(beside(24, 3)),
        outcomes: Some(beside(25, 1)),
    }
}

/// Both homes; one commit with every optional field and every kind of value.
fn a_recent_file() -> Recent {
    let (Decision { verdict: Verdict::Commit(mut records), .. }, _) = group() else { unreachable!() };
    let name = |seq| FeedName { time_ms: 0x0198_f3f4_0000, node: 0xff, seq };
    let commit = |decided_by, keyed, home, record| RecentCommit {
        published: 1_756_000_010,
        dated: 1_756_000_000,
        decided_by,
        keyed,
        restored: keyed,
        home,
        record,
    };
    let of_group = commit(txn(9), true, Home::Decision { inline_offset: 200 }, records.swap_remove(0));
    let alone = commit(
        txn(5),
        false,
        Home::Feed { name: name(1), inline_offset: 77 },
        plain(5, [inline("x", "y")]).0,
    );
    Recent {
        commits: vec![of_group, alone],
        seen: vec![name(1), name(2)],
        published: vec![(txn(6), 1_755_999_999), (txn(9), 1_756_000_000)],
        dead: vec![txn(7)],
        pruned: vec![PrunedCommit {
            published: 1_755_999_998,
            decided_by: txn(6),
            txn: txn(6),
            values: vec![ValueName { attempt: 6, n: 1 }],
        }],
    }
}

fn a_garbage_file() -> Garbage {
    let value = |n| (txn(6), ValueName { attempt: 6, n });
    Garbage { decisions: vec![txn(5), txn(6)], values: vec![value(0), value(u32::MAX)] }
}

/// Rows of every kind.
fn run_rows() -> Vec<Row> {
    let part = |n, offset, len| Part { attempt: 0xfedc_ba98_7654_3210, n, offset, len, checksum: 0xabcd };
    let parts = vec![part(0, 0, 1 << 23), part(1, 4096, 77)];
    let row = |key: &'static [u8], n, ordinal, value| {
        let version = Version::new(clock(u64::from(n)), txn(n));
        Row { key: Bytes::from_static(key), version, ordinal, value }
    };
    vec![
        row(b"\x00", 1, 0, RowValue::Inline(Bytes::new())),
        row(b"big", 2, 1, RowValue::Stored(StoredValue { len: (1 << 23) + 77, checksum: u64::MAX, parts })),
        row(b"gone", 4, 0, RowValue::Tombstone),
        row(b"small", 3, u32::MAX, RowValue::Inline(Bytes::from_static(b"inline"))),
        row(b"\xff\xff", 1, 2, RowValue::Inline(Bytes::from_static(b"\x00\xff"))),
    ]
}

fn a_run() -> RunFileContent {
    let mut writer = RunWriter::new().unwrap();
    run_rows().iter().for_each(|row| writer.push(row).unwrap());
    writer.finish().unwrap()
}

/// What today's encoder makes.
/// Copies of a whole feed object, and of one that is damaged: a copy is a copy.
fn a_bundle() -> Bundle {
    let (feed, payload) = a_feed();
    let name = |seq| FeedName { time_ms: 1_756_000_000_123, node: 0xfeed, seq };
    Bundle { copies: vec![(name(1), feed.encode(&payload).unwrap()), (name(2), Bytes::from_static(b"aft"))] }
}

fn encoded() -> [(&'static str, Bytes); 15] {
    let abort = Decision { id: txn(7), attempt: u64::MAX, verdict: Verdict::Abort };
    let decision = |(decision, payload): (Decision, Vec<Bytes>)| decision.encode(&payload).unwrap();
    let (feed, payload) = a_feed();
    [
        ("bundle.bin", a_bundle().encode().unwrap()),
        ("clone.json", note().encode()),
        ("decision-abort.bin", decision((abort, Vec::new()))),
        ("decision-commit.bin", decision(commit())),
        ("decision-group.bin", decision(group())),
        ("feed.bin", feed.encode(&payload).unwrap()),
        ("garbage.bin", a_garbage_file().encode().unwrap()),
        ("guard.bin", a_guard().encode().unwrap()),
        ("manifest.json", a_manifest().encode().unwrap()),
        ("marker.json", marker().encode()),
        ("recent.bin", a_recent_file().encode().unwrap()),
        ("request.bin", a_claim().encode().unwrap()),
        ("request-input.bin", a_claim_for_an_input().encode().unwrap()),
        ("run.parquet", a_run().bytes),
        ("token.bin", a_token().encode().unwrap()),
    ]
}

#[test]
fn golden_files_are_what_the_encoder_makes() {
    let bless = std::env::var_os("AFT_BLESS").is_some();
    assert!(!(bless && std::env::var_os("CI").is_some()), "golden files are blessed by people, not by CI");
    for (name, object) in encoded() {
        let path = path(FORMAT_VERSION, name);
        if bless {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &object).unwrap();
        }
        let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(
            stored, object,
            "{name} is encoded otherwise than version {FORMAT_VERSION} was: see this file's head"
        );
    }
}

#[test]
fn golden_files_are_read() {
    let read = |name| Bytes::from(std::fs::read(path(1, name)).unwrap());
    let abort = Decision { id: txn(7), attempt: u64::MAX, verdict: Verdict::Abort };
    assert_eq!(Bundle::decode(&read("bundle.bin")).unwrap(), a_bundle());
    assert_eq!(CloneNote::decode(&read("clone.json")).unwrap(), note());
    assert_eq!(Decision::decode(&read("decision-abort.bin")).unwrap().decision, abort);
    assert_eq!(Decision::decode(&read("decision-commit.bin")).unwrap().decision, commit().0);
    let object = read("decision-group.bin");
    let decoded = Decision::decode(&object).unwrap();
    assert_eq!(decoded.decision, group().0);
    assert_eq!(&object[decoded.inline_offsets[0] as usize..], b"inline\x00\xfflater");
    assert_eq!(&object[decoded.inline_offsets[1] as usize..], b"later");
    assert_eq!(without_offsets(Feed::decode(&read("feed.bin")).unwrap()), a_feed().0);
    assert_eq!(Garbage::decode(&read("garbage.bin")).unwrap(), a_garbage_file());
    assert_eq!(GuardClaim::decode_as(a_guard().name(), &read("guard.bin")).unwrap(), a_guard());
    assert_eq!(Manifest::decode(&read("manifest.json")).unwrap(), a_manifest());
    assert_eq!(Marker::decode(&read("marker.json")).unwrap(), marker());
    assert_eq!(Recent::decode(&read("recent.bin")).unwrap(), a_recent_file());
    assert_eq!(Claim::decode(&read("request.bin")).unwrap(), a_claim());
    assert_eq!(Claim::decode(&read("request-input.bin")).unwrap(), a_claim_for_an_input());
    let file = read("run.parquet");
    let tail =
        Tail::decode(file.len() as u64, &file.slice(file.len() - a_run().tail_len as usize..)).unwrap();
    let range = tail.block_range(0);
    let block = Block::decode(&tail, 0, &file.slice(range.start as usize..range.end as usize)).unwrap();
    assert!((0..block.rows()).map(|n| block.row(n)).eq(run_rows()));
    assert_eq!(Suspended::decode(&read("token.bin")).unwrap(), a_token());
}

#[test]
fn golden_files_of_a_version_never_change() {
    let found = SUMS
        .map(|(version, name, _)| (version, name, checksum(&std::fs::read(path(version, name)).unwrap())));
    assert_eq!(found, SUMS, "a golden file changed: raise the format version instead");
    assert!(SUMS.iter().any(|(version, ..)| *version == FORMAT_VERSION), "this version has no golden files");
}

#[test]
fn where_the_guards_of_a_key_lie_never_changes() {
    // SHA-256 of "aft guarded key", a zero byte and the key.
    let path = ObjectName::Guard(a_guard().name()).path(Shards::new(16).unwrap());
    let hash = "ecb7c0d15f173c094f0e0c51ba84edd34daad4953defd22e362048dd9c50b0e2";
    assert_eq!(path, format!("guards/{}/{hash}/{}/00000002", &hash[..1], a_guard().over));
}

#[test]
fn where_a_request_key_leads_never_changes() {
    // SHA-256 of "aft request key", a zero byte and the key.
    let hash = "4a09667d9bb42c0ae46599ad9914a5691e73b9e0169658086790804b56654a05";
    let name = ObjectName::Request(request_hash(b"order-4711"), 0x1a);
    for (shards, digits) in [(16, 1), (256, 2), (4096, 3)] {
        let path = format!("requests/{}/{hash}/0000001a", &hash[..digits]);
        assert_eq!(name.path(Shards::new(shards).unwrap()), path);
    }
    let hashes = [&b""[..], b"\0", b"order-4711", b"order-4712", b"aft request key\0"].map(request_hash);
    assert!(hashes.iter().enumerate().all(|(n, hash)| !hashes[n + 1..].contains(hash)));
}
