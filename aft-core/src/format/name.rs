//! Names of stored objects, as typed values that print and parse.
//!
//! Every name is of fixed width within its folder, so that all stores sort it alike, and no user's key ever appears
//! in one.

use std::fmt;

use crate::txn_id::TxnId;
use crate::version::Version;

/// Path of the marker.
pub const MARKER: &str = "aft.json";
/// Path of the copy of the marker while a store is adopted.
pub const ADOPTION: &str = "adopt.json";
/// Path of what says that a place is a clone, and of which store.
pub const CLONE: &str = "clone.json";
/// Folder of the decisions.
pub const COMMITS: &str = "commits/";
/// Folder of the claims.
pub const REQUESTS: &str = "requests/";
/// Folder of the guards.
pub const GUARDS: &str = "guards/";
/// Folder of the feed objects.
pub const FEED: &str = "feed/";
/// Folder of the bundles.
pub const BUNDLES: &str = "bundles/";
/// Folder of the value objects.
pub const VALUES: &str = "values/";
/// Folder of the manifests.
pub const CHECKPOINTS: &str = "checkpoints/";
/// Folder of the files of the sorted runs.
pub const INDEX: &str = "index/";
/// Folder of the recent files.
pub const RECENT: &str = "recent/";
/// Folder of the garbage files.
pub const GARBAGE: &str = "garbage/";
/// Folder of the files of outcomes.
pub const OUTCOMES: &str = "outcomes/";
/// Folder of the epoch objects.
pub const EPOCHS: &str = "epochs/";

/// The greatest time in a name, in milliseconds since 1970: 48 bits.
pub const TIME_MOST_MS: u64 = (1 << 48) - 1;

/// The greatest random number of a node: 62 bits, so that the id of a direct decision can say it.
pub const NODE_MOST: u64 = (1 << 62) - 1;
/// In the running number of a feed object: that it is a decision.
pub const DIRECT: u32 = 1 << 31;
/// The greatest running number of a direct decision, beside that mark: 11 bits. It tells those apart that a node makes in one millisecond.
pub const DIRECT_MOST: u32 = (1 << 11) - 1;

/// How many prefixes decisions and values are spread over, so that none is the ceiling of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards {
    digits: usize,
}

impl Shards {
    /// 16, 256 or 4096 shards; `None` for any other count.
    #[must_use]
    pub const fn new(count: u32) -> Option<Self> {
        match count {
            16 => Some(Self { digits: 1 }),
            256 => Some(Self { digits: 2 }),
            4096 => Some(Self { digits: 3 }),
            _ => None,
        }
    }

    /// The folders of all decisions, in order.
    pub fn commit_folders(self) -> impl Iterator<Item = String> {
        self.folders(COMMITS)
    }

    /// The folders of all value objects, in order.
    pub fn value_folders(self) -> impl Iterator<Item = String> {
        self.folders(VALUES)
    }

    /// The folders of all claims, in order.
    pub fn request_folders(self) -> impl Iterator<Item = String> {
        self.folders(REQUESTS)
    }

    fn folders(self, within: &'static str) -> impl Iterator<Item = String> {
        let digits = self.digits;
        (0..1u32 << (4 * digits)).map(move |shard| format!("{within}{shard:0digits$x}/"))
    }

    /// The shard of an id: its last, random, hexadecimal digits.
    #[must_use]
    pub fn of(self, txn: TxnId) -> String {
        let id = txn.as_bytes();
        let low = (u32::from(id[14]) << 8 | u32::from(id[15])) & ((1 << (4 * self.digits)) - 1);
        format!("{low:0digits$x}", digits = self.digits)
    }
}

/// The name of an object in the feed: when it was made (milliseconds, by its maker's estimate of the store's clock), by which
/// node, and the node's running number. With the mark [`DIRECT`] in that number it is a decision, which publishes what it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedName {
    /// Milliseconds since 1970; 48 bits.
    pub time_ms: u64,
    /// The random number of the node.
    pub node: u64,
    /// The node's running number.
    pub seq: u32,
}

/// The name of a bundle: which feed objects it may hold, how it came about, and who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleName {
    /// The greatest time in the names of its copies: milliseconds since 1970; 48 bits.
    pub last_ms: u64,
    /// The least.
    pub first_ms: u64,
    /// When it was made, by its maker's clock; where it was made of bundles, later than these.
    pub made_ms: u64,
    /// How often its copies were bundled: 1 where they are of feed objects that were read one by one, else one more than in the bundles that they
    /// were copied from.
    pub level: u8,
    /// The random number of the node.
    pub node: u64,
    /// The node's running number.
    pub seq: u32,
}

/// The name of a value object within its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueName {
    /// The attempt that uploaded it.
    pub attempt: u64,
    /// The attempt's running number.
    pub n: u32,
}

/// What names the objects of a request key; see [`request_hash`](crate::format::request::request_hash).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestHash(pub [u8; 32]);

impl fmt::Display for RequestHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl RequestHash {
    fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() || !text.is_ascii() {
            return None;
        }
        for (n, byte) in hash.iter_mut().enumerate() {
            *byte = u8::try_from(hex(text.get(2 * n..2 * n + 2)?, 2)?).ok()?;
        }
        Some(Self(hash))
    }

    /// The folder of the key's claims.
    #[must_use]
    pub fn folder(self, shards: Shards) -> String {
        let hash = self.to_string();
        format!("{REQUESTS}{}/{hash}/", hash.get(..shards.digits).unwrap_or_default())
    }
}

/// The name of a guard: which version of which key it is over, and the how-manieth it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuardName {
    /// The hash of the key; see [`guarded_hash`](crate::format::guard::guarded_hash).
    pub key: RequestHash,
    /// The version that it is over; [`Version::ABSENT`] where the key was absent or deleted.
    pub over: Version,
    /// Its place among the guards over that version, from 0.
    pub slot: u32,
}

impl GuardName {
    /// The folder of all guards of this key.
    #[must_use]
    pub fn key_folder(self, shards: Shards) -> String {
        let hash = self.key.to_string();
        format!("{GUARDS}{}/{hash}/", hash.get(..shards.digits).unwrap_or_default())
    }

    /// The folder of all guards over this version.
    #[must_use]
    pub fn folder(self, shards: Shards) -> String {
        format!("{}{}/", self.key_folder(shards), self.over)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').skip(1);
        let (key, over, slot) = (parts.next()?, parts.next()?, parts.next()?);
        let slot = u32::try_from(hex(slot, 8)?).ok()?;
        Some(Self { key: RequestHash::parse(key)?, over: over.parse().ok()?, slot })
    }
}

/// What names a file that a maker of checkpoints writes: a UUIDv7 of its own, so that no two makers ever meet in one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub TxnId);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FileId {
    /// The id that prints as `text`; `None` where none does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(text.parse().ok()?);
        (id.to_string() == text).then_some(id)
    }
}

/// A background job that nodes share out by epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// Looking for commits whose node died.
    Sweep,
    /// Making a checkpoint.
    Checkpoint,
    /// Deleting what nobody can reach.
    Collect,
    /// Collecting claims of request keys.
    Claims,
    /// Dating a node's clock; the epoch is the node's time in milliseconds.
    Clock,
    /// Making a checkpoint that folds nothing, for those who start next.
    Light,
}

impl Job {
    const ALL: [Self; 6] =
        [Self::Sweep, Self::Checkpoint, Self::Collect, Self::Claims, Self::Clock, Self::Light];

    const fn name(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Checkpoint => "checkpoint",
            Self::Collect => "collect",
            Self::Claims => "claims",
            Self::Clock => "clock",
            Self::Light => "light",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|job| job.name() == text)
    }
}

/// The name of any object that aft stores, but `clone.json`, the note of a clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// `aft.json`
    Marker,
    /// `adopt.json`
    Adoption,
    /// `commits/<shard>/<txn id>`; of a direct decision `feed/<time>-<node>-<seq>`
    Decision(TxnId),
    /// `values/<shard>/<txn id>/<attempt>-<n>`
    Value(TxnId, ValueName),
    /// `requests/<shard>/<hash>/<number>`
    Request(RequestHash, u32),
    /// `guards/<shard>/<hash>/<version>/<slot>`
    Guard(GuardName),
    /// `feed/<time>-<node>-<seq>`
    Feed(FeedName),
    /// `bundles/<last>-<first>-<made>-<level>-<node>-<seq>`
    Bundle(BundleName),
    /// `epochs/<job>/<epoch>`
    Epoch(Job, u64),
    /// `checkpoints/<number>.json`
    Checkpoint(u64),
    /// `index/<file id>.parquet`
    Run(FileId),
    /// `recent/<file id>`
    Recent(FileId),
    /// `garbage/<file id>`
    Garbage(FileId),
    /// `outcomes/<number of the checkpoint>-<file id>`
    Outcomes(u64, FileId),
    /// `checkpoints/<number>.sealed`: empty; says that the manifest of this number landed in time.
    Seal(u64),
}

impl ObjectName {
    /// The path in a store with this many shards.
    #[must_use]
    pub fn path(&self, shards: Shards) -> String {
        match self {
            Self::Marker => MARKER.to_owned(),
            Self::Adoption => ADOPTION.to_owned(),
            Self::Decision(txn) => match txn.direct_name() {
                Some(name) => name.to_string(),
                None => format!("{COMMITS}{}/{txn}", shards.of(*txn)),
            },
            Self::Value(txn, value) => {
                format!("{VALUES}{}/{txn}/{:016x}-{:08x}", shards.of(*txn), value.attempt, value.n)
            }
            Self::Request(hash, number) => format!("{}{number:08x}", hash.folder(shards)),
            Self::Guard(name) => format!("{}{:08x}", name.folder(shards), name.slot),
            Self::Feed(name) => name.to_string(),
            Self::Bundle(name) => name.to_string(),
            Self::Epoch(job, epoch) => format!("{EPOCHS}{}/{epoch:012x}", job.name()),
            Self::Checkpoint(number) => format!("{CHECKPOINTS}{number:012x}.json"),
            Self::Run(id) => format!("{INDEX}{id}.parquet"),
            Self::Recent(id) => format!("{RECENT}{id}"),
            Self::Garbage(id) => format!("{GARBAGE}{id}"),
            Self::Outcomes(number, id) => format!("{OUTCOMES}{number:012x}-{id}"),
            Self::Seal(number) => format!("{CHECKPOINTS}{number:012x}.sealed"),
        }
    }

    /// The name that prints as `path`; `None` where no name does.
    #[must_use]
    pub fn parse(path: &str, shards: Shards) -> Option<Self> {
        let (folder, rest) = path.split_once('/').unwrap_or((path, ""));
        let name = match folder {
            MARKER => Self::Marker,
            ADOPTION => Self::Adoption,
            "commits" => Self::Decision(rest.split_once('/')?.1.parse().ok()?),
            "values" => {
                let (txn, value) = rest.split_once('/')?.1.split_once('/')?;
                let (attempt, n) = value.split_once('-')?;
                let n = u32::try_from(hex(n, 8)?).ok()?;
                Self::Value(txn.parse().ok()?, ValueName { attempt: hex(attempt, 16)?, n })
            }
            "requests" => {
                let (hash, number) = rest.split_once('/')?.1.split_once('/')?;
                Self::Request(RequestHash::parse(hash)?, u32::try_from(hex(number, 8)?).ok()?)
            }
            "guards" => Self::Guard(GuardName::parse(rest)?),
            "feed" => {
                let name = FeedName::parse(path)?;
                name.decision().map_or(Self::Feed(name), Self::Decision)
            }
            "bundles" => Self::Bundle(BundleName::parse(path)?),
            "epochs" => {
                let (job, epoch) = rest.split_once('/')?;
                Self::Epoch(Job::parse(job)?, hex(epoch, 12)?)
            }
            "checkpoints" => match rest.strip_suffix(".json") {
                Some(number) => Self::Checkpoint(hex(number, 12)?),
                None => Self::Seal(hex(rest.strip_suffix(".sealed")?, 12)?),
            },
            "index" => Self::Run(FileId::parse(rest.strip_suffix(".parquet")?)?),
            "recent" => Self::Recent(FileId::parse(rest)?),
            "garbage" => Self::Garbage(FileId::parse(rest)?),
            "outcomes" => {
                let (number, id) = rest.split_once('-')?;
                Self::Outcomes(hex(number, 12)?, FileId::parse(id)?)
            }
            _ => return None,
        };
        (name.path(shards) == path).then_some(name)
    }
}

impl FeedName {
    /// The name that prints as `path`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(FEED)?.split('-');
        let (time, node, seq) = (parts.next()?, parts.next()?, parts.next()?);
        let name =
            Self { time_ms: hex(time, 12)?, node: hex(node, 16)?, seq: u32::try_from(hex(seq, 8)?).ok()? };
        let is_known = !name.is_direct() || name.decision().is_some();
        (is_known && name.to_string() == path).then_some(name)
    }

    /// Whether an object of this name is a decision.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        self.seq & DIRECT != 0
    }

    /// The id of the decision that an object of this name is; `None` of a batch of commits that were decided elsewhere.
    #[must_use]
    pub const fn decision(self) -> Option<TxnId> {
        if self.is_direct() { TxnId::of_direct(self) } else { None }
    }

    /// Where a listing of the feed begins that must show every name of `time_ms` or later.
    #[must_use]
    pub fn cursor(time_ms: u64) -> String {
        cursor(FEED, time_ms)
    }
}

impl fmt::Display for FeedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FEED}{:012x}-{:016x}-{:08x}", self.time_ms, self.node, self.seq)
    }
}

impl BundleName {
    /// The name that prints as `path`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(BUNDLES)?.split('-');
        let mut number = |width| hex(parts.next()?, width);
        let (last_ms, first_ms, made_ms) = (number(12)?, number(12)?, number(12)?);
        let level = u8::try_from(number(2)?).ok()?;
        let (node, seq) = (number(16)?, u32::try_from(number(8)?).ok()?);
        let name = Self { last_ms, first_ms, made_ms, level, node, seq };
        (name.to_string() == path).then_some(name)
    }

    /// Where a listing of the bundles begins that must show each that may hold a feed object of `time_ms` or later.
    #[must_use]
    pub fn cursor(time_ms: u64) -> String {
        cursor(BUNDLES, time_ms)
    }
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last_ms, first_ms, made_ms, level, node, seq } = self;
        write!(f, "{BUNDLES}{last_ms:012x}-{first_ms:012x}-{made_ms:012x}-{level:02x}-{node:016x}-{seq:08x}")
    }
}

/// Before every name in a folder whose first number is this or more.
fn cursor(folder: &str, time_ms: u64) -> String {
    format!("{folder}{:012x}", time_ms.min(TIME_MOST_MS))
}

/// The number that `text`, of exactly this many lower-case hexadecimal digits, says.
pub(super) fn hex(text: &str, width: usize) -> Option<u64> {
    let plain = text.len() == width && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::version::Timestamp;

    fn id() -> impl Strategy<Value = TxnId> {
        (0u64..1 << 48, any::<u64>())
            .prop_map(|(ms, seed)| TxnId::from_parts(ms, &mut crate::rng::seeded(seed)))
    }

    fn direct() -> impl Strategy<Value = FeedName> {
        let name = |(time_ms, node, number)| FeedName { time_ms, node, seq: DIRECT | number };
        (0u64..1 << 48, 0..=NODE_MOST, 0..=DIRECT_MOST).prop_map(name)
    }

    fn names() -> impl Strategy<Value = ObjectName> {
        prop_oneof![
            Just(ObjectName::Marker),
            Just(ObjectName::Adoption),
            id().prop_map(ObjectName::Decision),
            (id(), any::<u64>(), any::<u32>())
                .prop_map(|(txn, attempt, n)| ObjectName::Value(txn, ValueName { attempt, n })),
            (any::<[u8; 32]>(), any::<u32>())
                .prop_map(|(hash, number)| ObjectName::Request(RequestHash(hash), number)),
            (any::<[u8; 32]>(), any::<u64>(), id(), any::<u32>()).prop_map(|(hash, clock, txn, slot)| {
                let over = Version::new(Timestamp::from_bits(clock), txn);
                ObjectName::Guard(GuardName { key: RequestHash(hash), over, slot })
            }),
            (any::<[u8; 32]>(), any::<u32>()).prop_map(|(hash, slot)| {
                ObjectName::Guard(GuardName { key: RequestHash(hash), over: Version::ABSENT, slot })
            }),
            (0u64..1 << 48, any::<u64>(), 0..DIRECT)
                .prop_map(|(time_ms, node, seq)| ObjectName::Feed(FeedName { time_ms, node, seq })),
            direct().prop_map(|name| ObjectName::Decision(name.decision().unwrap())),
            ([0u64..1 << 48, 0u64..1 << 48, 0u64..1 << 48], any::<u8>(), any::<u64>(), any::<u32>())
                .prop_map(|([last_ms, first_ms, made_ms], level, node, seq)| {
                    ObjectName::Bundle(BundleName { last_ms, first_ms, made_ms, level, node, seq })
                }),
            (0usize..6, 0u64..1 << 48).prop_map(|(job, epoch)| ObjectName::Epoch(Job::ALL[job], epoch)),
            (0u64..1 << 48).prop_map(ObjectName::Checkpoint),
            id().prop_map(|id| ObjectName::Run(FileId(id))),
            id().prop_map(|id| ObjectName::Recent(FileId(id))),
            id().prop_map(|id| ObjectName::Garbage(FileId(id))),
            (0u64..1 << 48, id()).prop_map(|(number, id)| ObjectName::Outcomes(number, FileId(id))),
            (0u64..1 << 48).prop_map(ObjectName::Seal),
        ]
    }

    proptest! {
        #[test]
        fn every_name_round_trips_and_no_other_text_parses(name in names(), shards in 0usize..3, cut in any::<prop::sample::Index>()) {
            let shards = Shards::new([16, 256, 4096][shards]).unwrap();
            let path = name.path(shards);
            prop_assert_eq!(ObjectName::parse(&path, shards), Some(name));
            prop_assert!(path.split('/').all(|part| !part.is_empty() && part.len() <= 200));
            let cut = cut.index(path.len());
            prop_assert_eq!(ObjectName::parse(&path[..cut], shards), None);
            prop_assert_eq!(ObjectName::parse(&path.to_uppercase(), shards), None);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*", folder in "(commits|values|requests|guards|feed|bundles|epochs|epochs/collect|checkpoints|index|recent|garbage|outcomes)/.{0,60}") {
            for text in [text, folder] {
                let _ = ObjectName::parse(&text, Shards::new(16).unwrap());
                let _ = FeedName::parse(&text);
                let _ = BundleName::parse(&text);
                let _ = FileId::parse(&text);
            }
        }

        /// Newer manifests sort after older ones, and younger files after older ones.
        #[test]
        fn numbers_and_files_sort_like_their_names(a in 0u64..1 << 48, b in 0u64..1 << 48, x in id(), y in id()) {
            let path = |name: ObjectName| name.path(Shards::new(16).unwrap());
            prop_assert_eq!(a.cmp(&b), path(ObjectName::Checkpoint(a)).cmp(&path(ObjectName::Checkpoint(b))));
            prop_assert_eq!(x.cmp(&y), path(ObjectName::Run(FileId(x))).cmp(&path(ObjectName::Run(FileId(y)))));
        }

        /// A window over ids is a range of names in every shard.
        #[test]
        fn names_of_one_shard_sort_like_their_ids(a in id(), b in id()) {
            let path = |txn| ObjectName::Decision(txn).path(Shards::new(16).unwrap());
            let (a, b, pa, pb) = (a, b, path(a), path(b));
            prop_assert_eq!(a.cmp(&b), pa[10..].cmp(&pb[10..]));
        }

        /// The id of a direct decision and its name say the same; it is no other kind of id, and starts when its name says.
        #[test]
        fn a_direct_decision_is_found_by_its_id(name in direct(), of in id()) {
            let decision = name.decision().unwrap();
            prop_assert_eq!(decision.direct_name(), Some(name));
            prop_assert!(decision.is_direct() && !decision.is_in_group());
            prop_assert_eq!(decision.start_ms(), name.time_ms);
            prop_assert_eq!(decision.to_string().parse::<TxnId>().unwrap(), decision);
            for other in [of, of.in_group()] {
                prop_assert!(!other.is_direct() && other.direct_name().is_none());
            }
        }

        #[test]
        fn a_mark_that_no_node_makes_is_no_name(time_ms in 0u64..1 << 48, node in any::<u64>(), number in any::<u32>()) {
            let name = FeedName { time_ms, node, seq: DIRECT | number };
            let made = node <= NODE_MOST && number & !DIRECT <= DIRECT_MOST;
            prop_assert_eq!(FeedName::parse(&name.to_string()).is_some(), made);
            prop_assert_eq!(name.decision().is_some(), made);
        }

        #[test]
        fn the_feed_cursor_shows_its_millisecond(time_ms in 1u64..1 << 48, node in any::<u64>(), seq in any::<u32>()) {
            let name = FeedName { time_ms, node, seq }.to_string();
            prop_assert!(name > FeedName::cursor(time_ms) && name < FeedName::cursor(time_ms + 1).replace("1000000000000", "ffffffffffffz"));
        }
    }

    #[test]
    fn the_cursor_of_bundles_shows_what_may_hold_its_millisecond() {
        let name =
            |last_ms| BundleName { last_ms, first_ms: 0, made_ms: 0, level: 1, node: 0, seq: 0 }.to_string();
        assert!(name(4) < BundleName::cursor(5) && BundleName::cursor(5) < name(5) && name(5) < name(6));
    }

    #[test]
    fn every_decision_value_and_claim_lies_in_one_of_the_listed_folders() {
        for count in [16, 256, 4096] {
            let shards = Shards::new(count).unwrap();
            let txn = TxnId::new();
            let claim = ObjectName::Request(RequestHash([0xa5; 32]), 0);
            let kinds: [(Vec<String>, ObjectName); 3] = [
                (shards.commit_folders().collect(), ObjectName::Decision(txn)),
                (shards.value_folders().collect(), ObjectName::Value(txn, ValueName { attempt: 1, n: 0 })),
                (shards.request_folders().collect(), claim),
            ];
            for (folders, name) in kinds {
                assert_eq!(folders.len(), count as usize);
                let path = name.path(shards);
                assert_eq!(folders.iter().filter(|folder| path.starts_with(*folder)).count(), 1, "{path}");
            }
        }
        assert!(Shards::new(17).is_none());
    }
}
