//! What a checkpoint is made of: manifests, recent files, garbage files.

use super::*;
use crate::format::envelope::{FormatError, HEADER_LEN, Kind, seal};
use crate::format::garbage::Garbage;
use crate::format::manifest::{FileRef, Manifest, RunFile, SortedRun};
use crate::format::name::{FeedName, FileId, ObjectName, Shards};
use crate::format::recent::{Home, PrunedCommit, Recent, RecentCommit};

fn feed_name() -> impl Strategy<Value = FeedName> {
    (0u64..1 << 48, any::<u64>(), any::<u32>()).prop_map(|(time_ms, node, seq)| FeedName {
        time_ms,
        node,
        seq,
    })
}

/// A recent file, homes included: none of them follows from the encoding.
pub(super) fn recent() -> impl Strategy<Value = Recent> {
    let home = (prop::option::of(feed_name()), any::<u32>()).prop_map(|(name, offset)| {
        let inline_offset = offset.into();
        name.map_or(Home::Decision { inline_offset }, |name| Home::Feed { name, inline_offset })
    });
    let commit = (any::<[u64; 2]>(), txn(), any::<[bool; 2]>(), home, record()).prop_map(
        |([published, dated], decided_by, [keyed, restored], home, (record, _))| RecentCommit {
            published,
            dated,
            decided_by,
            keyed,
            restored,
            home,
            record,
        },
    );
    let values = prop::collection::vec((any::<u64>(), any::<u32>()), 0..3);
    let pruned = (any::<u64>(), txn(), txn(), values).prop_map(|(published, decided_by, txn, values)| {
        let values = values.into_iter().map(|(attempt, n)| ValueName { attempt, n }).collect();
        PrunedCommit { published, decided_by, txn, values }
    });
    let pruned = prop::collection::vec(pruned, 0..3);
    let ids = || prop::collection::vec(txn(), 0..4);
    let published = prop::collection::vec((txn(), any::<u64>()), 0..4);
    (prop::collection::vec(commit, 0..4), prop::collection::vec(feed_name(), 0..4), published, ids(), pruned)
        .prop_map(|(commits, seen, published, dead, pruned)| Recent {
            commits,
            seen,
            published,
            dead,
            pruned,
        })
}

pub(super) fn garbage() -> impl Strategy<Value = Garbage> {
    let value =
        (txn(), any::<u64>(), any::<u32>()).prop_map(|(txn, attempt, n)| (txn, ValueName { attempt, n }));
    (prop::collection::vec(txn(), 0..4), prop::collection::vec(value, 0..4))
        .prop_map(|(decisions, values)| Garbage { decisions, values })
}

fn file_id() -> impl Strategy<Value = FileId> {
    (0u64..1 << 48, any::<u64>())
        .prop_map(|(ms, seed)| FileId(TxnId::from_parts(ms, &mut crate::rng::seeded(seed))))
}

fn file_ref() -> impl Strategy<Value = FileRef> {
    (file_id(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(id, bytes, entries, checksum)| FileRef {
        id,
        bytes,
        entries,
        checksum,
    })
}

fn version() -> impl Strategy<Value = Version> {
    let any = (any::<u64>(), txn()).prop_map(|(clock, txn)| Version::new(Timestamp::from_bits(clock), txn));
    prop_oneof![any, Just(Version::ABSENT)]
}

/// A sorted run whose files begin and end at some of `keys`; at least one.
fn run() -> impl Strategy<Value = SortedRun> {
    let sizes = (any::<u64>(), any::<u64>(), 2..=u64::MAX, any::<u64>(), any::<u64>());
    let files = prop::collection::vec((file_id(), sizes, any::<bool>()), 1..5);
    (prop::collection::btree_set(key(), 10), files).prop_map(|(keys, files)| {
        let mut keys = keys.into_iter();
        let file = |(id, sizes, single): (FileId, (u64, u64, u64, u64, u64), bool)| {
            let (bytes, tail, rows, stored_bytes, tombstones) = sizes;
            let first_key: Bytes = keys.next().unwrap();
            let last_key = if single { first_key.clone() } else { keys.next().unwrap() };
            let (tail_bytes, tombstones) = (bytes.min(tail), rows.min(tombstones));
            let checksum = bytes ^ tail;
            RunFile {
                id,
                bytes,
                tail_bytes,
                index_bytes: tail_bytes - tail_bytes / 3,
                rows,
                stored_bytes,
                tombstones,
                checksum,
                first_key,
                last_key,
            }
        };
        SortedRun { files: files.into_iter().map(file).collect() }
    })
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let time = || 0u64..1 << 38;
    let sweeps = prop::collection::btree_map(time(), time(), 0..3);
    let swept = (time(), time(), sweeps);
    let times = ((time(), time()), (time(), 0u64..=64), time(), swept, 0u64..1000 << 38);
    let beside = || prop::option::of(file_ref());
    let files = (prop::collection::vec(run(), 0..4), file_ref(), beside(), beside());
    let unfolded = prop::collection::btree_set(txn(), 0..3);
    let versions = ((version(), version()), unfolded);
    (0u64..1 << 48, "\\PC{0,40}", any::<u64>(), times, versions, files)
        .prop_map(
            |(number, store_id, attempt, times, (versions, unfolded), (runs, recent, garbage, outcomes))| {
                let (greatest, purged) = versions;
                let ((begun, full_begun), (horizon, share), basis, swept, settled_ms) = times;
                let (swept_through, last_sweep, sweeps) = swept;
                Manifest {
                    number,
                    store_id,
                    attempt,
                    begun,
                    full_begun,
                    horizon,
                    // Zero, or anything below the horizon.
                    folded_until: horizon.saturating_sub(1) / 64 * share,
                    basis,
                    swept_through,
                    last_sweep,
                    sweeps,
                    settled_ms,
                    unfolded,
                    greatest,
                    purged,
                    runs,
                    recent,
                    garbage,
                    outcomes,
                }
            },
        )
        .prop_filter("two files of one id", |manifest| {
            let ids: std::collections::BTreeSet<_> = manifest.files().map(|file| file.id).collect();
            ids.len() == manifest.files().count()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn recent_files(recent in recent()) {
        let object = recent.encode().unwrap();
        prop_assert_eq!(Recent::decode(&object).unwrap(), recent);
    }

    #[test]
    fn garbage_files(garbage in garbage()) {
        let object = garbage.encode().unwrap();
        prop_assert_eq!(Garbage::decode(&object).unwrap(), garbage.clone());
        prop_assert_eq!(garbage.entries() as usize, garbage.decisions.len() + garbage.values.len());
    }

    #[test]
    fn manifests(manifest in manifest()) {
        let object = manifest.encode().unwrap();
        prop_assert_eq!(&Manifest::decode(&object).unwrap(), &manifest);
        prop_assert_eq!(manifest.encode().unwrap(), object, "one state, one object");
        let shards = Shards::new(16).unwrap();
        for name in manifest.objects() {
            prop_assert_eq!(ObjectName::parse(&name.path(shards), shards), Some(name));
        }
        let beside = usize::from(manifest.garbage.is_some()) + usize::from(manifest.outcomes.is_some());
        let named = manifest.files().count() + 1 + beside;
        prop_assert_eq!(manifest.objects().count(), named);
    }

    /// Any place of a manifest changed or cut: it is found, or it was white space.
    #[test]
    fn a_damaged_manifest(manifest in manifest(), at in any::<prop::sample::Index>(), byte in any::<u8>(), bit in 0..8) {
        let object = manifest.encode().unwrap();
        let at = at.index(object.len());
        for byte in [object[at] ^ 1u8 << bit, byte] {
            let mut damaged = object.to_vec();
            damaged[at] = byte;
            let harmless = object[at] == byte || (object[at].is_ascii_whitespace() && byte.is_ascii_whitespace());
            match Manifest::decode(&damaged) {
                Ok(read) => prop_assert!(harmless && read == manifest, "byte {}", at),
                Err(_) => prop_assert!(object[at] != byte, "byte {}", at),
            }
        }
        let cut = Manifest::decode(&object[..at]);
        prop_assert!(cut.is_err() || at + 1 == object.len(), "only the last line feed may go");
    }

    /// The files that a key or a range may be in, against looking at all of them.
    #[test]
    fn the_files_of_a_key_and_of_a_range(
        run in run(), start in key(), end in prop::option::of(key()), edges in prop::array::uniform2(prop::option::of(any::<prop::sample::Index>())),
    ) {
        // Any keys, or those at which files begin and end.
        let keys: Vec<_> = run.files.iter().flat_map(|file| [&file.first_key, &file.last_key]).collect();
        let [start_at, end_at] = edges.map(|edge| edge.map(|at| at.get(&keys).to_owned().clone()));
        let (start, end) = (start_at.unwrap_or(start), end.map(|end| end_at.unwrap_or(end)));
        let holds = |file: &&RunFile| file.first_key <= start && start <= file.last_key;
        prop_assert_eq!(run.file_for(&start), run.files.iter().find(holds));
        let overlaps = |file: &&RunFile| {
            // Some key k with start <= k < end lies between the file's first and last.
            let from = start.clone().max(file.first_key.clone());
            from <= file.last_key && end.as_ref().is_none_or(|end| from < *end)
        };
        let expected: Vec<_> = run.files.iter().filter(overlaps).cloned().collect();
        prop_assert_eq!(run.files_in(&start, end.as_deref()), expected);
        let all = run.files.first().unwrap().first_key.clone();
        prop_assert_eq!(run.files_in(&all, None), &run.files[..]);
    }
}

// ---- rules ---------------------------------------------------------------------------------------------------------

fn id(n: u8) -> FileId {
    let mut id = [n; 16];
    (id[6], id[8]) = (0x70, 0x80);
    FileId(TxnId::from_bytes(id))
}

fn file(n: u8, first: &'static str, last: &'static str) -> RunFile {
    let (first_key, last_key) = (Bytes::from(first), Bytes::from(last));
    RunFile {
        id: id(n),
        bytes: 100,
        tail_bytes: 40,
        index_bytes: 30,
        rows: 2,
        stored_bytes: 7,
        tombstones: 1,
        checksum: 5,
        first_key,
        last_key,
    }
}

fn good() -> Manifest {
    let side = |n| FileRef { id: id(n), bytes: 9, entries: 1, checksum: 2 };
    let runs = [vec![file(0xab, "b", "c"), file(2, "d", "f")], vec![file(3, "a", "z")]];
    Manifest {
        number: 3,
        store_id: "store".to_owned(),
        attempt: 4,
        begun: 5,
        full_begun: 4,
        horizon: 6,
        folded_until: 5,
        basis: 7,
        swept_through: 8,
        last_sweep: 9,
        sweeps: [(10, 8)].into(),
        settled_ms: 9,
        unfolded: [id(9).0].into(),
        greatest: Version::new(Timestamp::from_bits(1), id(9).0),
        purged: Version::ABSENT,
        runs: runs.map(|files| SortedRun { files }).into(),
        recent: side(7),
        garbage: Some(side(8)),
        outcomes: Some(side(9)),
    }
}

/// A rule, and a change that breaks it.
type Rule = (&'static str, fn(&mut Manifest));

const RULES: [Rule; 18] = [
    ("a sweep at a time that no clock says", |bad| bad.sweeps = [(1 << 38, 1)].into()),
    ("a time that no clock says", |bad| bad.horizon = 1 << 38),
    ("an age that no clock says", |bad| bad.settled_ms = 1000 << 38),
    ("a number over 48 bits", |bad| bad.number = 1 << 48),
    ("a run of nothing", |bad| bad.runs[0].files.clear()),
    ("files out of order", |bad| bad.runs[0].files.swap(0, 1)),
    ("files that share a key", |bad| bad.runs[0].files[0].last_key = "d".into()),
    ("a file within another", |bad| bad.runs[0].files[1].first_key = "b".into()),
    ("a file twice", |bad| bad.runs[1].files[0].id = id(0xab)),
    ("an empty key", |bad| bad.runs[0].files[0].first_key.clear()),
    ("one byte too long a key", |bad| {
        bad.runs[1].files[0].last_key = vec![b'z'; crate::MAX_KEY_BYTES + 1].into()
    }),
    ("last before first", |bad| bad.runs[1].files[0].first_key = "zz".into()),
    ("a tail of more than all", |bad| bad.runs[0].files[0].tail_bytes = 101),
    ("more to read than the tail", |bad| bad.runs[0].files[0].index_bytes = 41),
    ("no rows", |bad| bad.runs[0].files[0].rows = 0),
    ("two keys in one row", |bad| bad.runs[0].files[0].rows = 1),
    ("runs from beyond the horizon", |bad| bad.folded_until = bad.horizon),
    ("more tombstones than rows", |bad| bad.runs[0].files[0].tombstones = 3),
];

/// As manifests were before the footer was left out.
#[test]
fn a_file_without_the_length_of_its_index_has_its_whole_tail_read() {
    let mut manifest = good();
    manifest
        .runs
        .iter_mut()
        .flat_map(|run| &mut run.files)
        .for_each(|file| file.index_bytes = file.tail_bytes);
    let bytes = manifest.encode().unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("index_bytes"));
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    assert_eq!(manifest.runs[0].files[0].index_range(), 60..100);
    assert_eq!(good().runs[0].files[0].index_range(), 60..90);
}

#[test]
fn what_breaks_a_rule_of_a_manifest_is_neither_written_nor_read() {
    let text = String::from_utf8(good().encode().unwrap().to_vec()).unwrap();
    for (rule, bend) in RULES {
        let mut bad = good();
        bend(&mut bad);
        assert!(matches!(bad.encode(), Err(FormatError::Malformed(_))), "{rule}");
    }
    // What is not even a value of the type, under a right checksum.
    let id = id(0xab).to_string();
    let texts = [
        ("\"0000000000000004\"", "\"000000000000004\""),
        ("\"0000000000000004\"", "\"000000000000000A\""),
        ("\"62\"", "\"6\""),
        ("\"63\"", "\"6G\""),
        ("\"63\"", "\"6é\""),
        ("\"63\"", "\"636\""),
        ("\"0000000000000001-", "\"000000000000001-"),
        ("\"0000000000000001-", "\"+000000000000001-"),
        (id.as_str(), &id.to_uppercase()),
        (id.as_str(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ];
    for (good, bad) in texts {
        assert!(text.contains(good), "{good}");
        let bad = with_right_checksum(&text.replacen(good, bad, 1));
        assert!(matches!(Manifest::decode(bad.as_bytes()), Err(FormatError::Malformed(_))), "{bad}");
    }
}

/// A manifest's text, with the checksum that its other fields demand: of all of it as compact JSON, in which that field is empty.
fn with_right_checksum(text: &str) -> String {
    let (fields, _) = text.rsplit_once("  \"checksum\"").unwrap();
    let mut compact = String::new();
    for line in fields.lines().map(str::trim_start) {
        compact.push_str(&if line.starts_with('"') {
            line.replacen("\": ", "\":", 1)
        } else {
            line.to_owned()
        });
    }
    let sum = checksum(format!("{compact}\"checksum\":\"\"}}").as_bytes());
    format!("{fields}  \"checksum\": \"{sum:016x}\"\n}}\n")
}

#[test]
fn the_checksum_of_a_manifest_is_what_the_design_says() {
    let text = String::from_utf8(good().encode().unwrap().to_vec()).unwrap();
    assert_eq!(with_right_checksum(&text), text);
}

#[test]
fn another_version_a_wrong_sum_and_other_fields_are_told_apart() {
    let text = String::from_utf8(good().encode().unwrap().to_vec()).unwrap();
    let decode = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Manifest::decode(text.replacen(from, to, 1).as_bytes())
    };
    assert_eq!(decode("\"format\": 1", "\"format\": 2"), Err(FormatError::UnsupportedVersion(2)));
    assert_eq!(decode("\"horizon\": 6", "\"horizon\": 7"), Err(FormatError::Checksum));
    assert_eq!(decode("\"rows\": 2", "\"rows\": 3"), Err(FormatError::Checksum));
    for (from, to) in [
        ("\"garbage\"", "\"Garbage\""),
        ("\"rows\"", "\"row\""),
        ("\"format\": 1", "\"format\": 1, \"more\": 1"),
        ("\"horizon\": 6", "\"horizon\": -6"),
        ("\"horizon\": 6", "\"horizon\": 6.0"),
        ("\"horizon\": 6", "\"horizon\": 18446744073709551616"),
        ("\"horizon\": 6", "\"horizon\": 6, \"horizon\": 6"),
    ] {
        assert!(matches!(decode(from, to), Err(FormatError::Malformed(_))), "{to}");
    }
    for object in ["", "{}", "[]", "null", "{\"format\": 1}", "{\"format\": 70000}"] {
        assert!(matches!(Manifest::decode(object.as_bytes()), Err(FormatError::Malformed(_))), "{object}");
    }
}

#[test]
fn a_run_adds_up_and_nothing_overflows() {
    let mut run = good().runs.swap_remove(0);
    assert_eq!(run.weight(), 214);
    run.files[0].stored_bytes = u64::MAX;
    assert_eq!(run.weight(), u64::MAX);
}

#[test]
fn what_breaks_a_rule_of_a_recent_or_a_garbage_file() {
    let name = FeedName { time_ms: (1 << 48) - 1, node: 1, seq: 2 };
    let (writes, _) = writes([(Bytes::from_static(b"k"), Content::Inline(Bytes::from_static(b"v")))]);
    let clock = Timestamp::from_bits(1);
    let record =
        CommitRecord { txn: id(1).0, clock, request_key: None, result: None, guards: vec![], writes };
    let commit = RecentCommit {
        published: 1,
        dated: 1,
        keyed: false,
        restored: false,
        decided_by: id(1).0,
        home: Home::Feed { name, inline_offset: u64::MAX - 1 },
        record,
    };
    let good = Recent { commits: vec![commit], seen: vec![name], ..Recent::default() };
    let object = good.encode().unwrap();
    assert_eq!(Recent::decode(&object).as_ref(), Ok(&good));
    let late = FeedName { time_ms: 1 << 48, ..name };
    let change = |change: fn(&mut Recent, FeedName)| {
        let mut bad = good.clone();
        change(&mut bad, late);
        bad.encode().unwrap()
    };
    let more = |kind, object: &Bytes, meta: &[u8], payload: &'static [u8]| {
        let meta = [&object[HEADER_LEN..], meta].concat();
        seal(kind, &meta, &[Bytes::from_static(payload)]).unwrap()
    };
    let bad = [
        change(|bad, late| bad.seen = vec![late]),
        change(|bad, late| bad.commits[0].home = Home::Feed { name: late, inline_offset: 0 }),
        change(|bad, _| bad.commits[0].home = Home::Decision { inline_offset: u64::MAX }),
        change(|bad, _| bad.commits[0].record.writes[0].key.clear()),
        more(Kind::Recent, &object, b"x", b""),
        more(Kind::Recent, &object, b"", b"x"),
    ];
    for (n, object) in bad.iter().enumerate() {
        assert!(matches!(Recent::decode(object), Err(FormatError::Malformed(_))), "{n}");
    }
    let object = Garbage { decisions: vec![id(1).0], values: vec![] }.encode().unwrap();
    for object in [more(Kind::Garbage, &object, b"x", b""), more(Kind::Garbage, &object, b"", b"x")] {
        assert!(matches!(Garbage::decode(&object), Err(FormatError::Malformed(_))));
    }
}
