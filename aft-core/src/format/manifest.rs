//! The manifest of a checkpoint: `checkpoints/<number>.json`, which sorted runs and files make up the store's past.
//!
//! JSON like the marker, so that people can read it. The file list of a large store is long, so nothing in it grows with the
//! number of rows: a file of a run is one entry, whatever it holds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::MAX_KEY_BYTES;
use crate::format::bounds;
use crate::format::envelope::{FORMAT_VERSION, FormatError, checksum};
use crate::format::name::{FileId, ObjectName, hex};
use crate::txn_id::TxnId;
use crate::version::Version;

/// No clock of a store says so many seconds since 1970: the year is past 10,000.
const MOST_SECONDS: u64 = 1 << 38;

/// The content of a manifest. Times are readings of the store's clock, in seconds since 1970, unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its number, which its name says too: 48 bits.
    pub number: u64,
    /// The store that it belongs to.
    pub store_id: String,
    /// The random number of its maker: how a maker knows its own manifest when it reads it back.
    pub attempt: u64,
    /// The newest date that its maker knew before it made the first new file. A manifest that lands too long after that is void.
    pub begun: u64,
    /// When the newest checkpoint was begun that folded what it could: this one, or one that it builds on.
    pub full_begun: u64,
    /// Exactly the commits that were published before this are in the runs.
    pub horizon: u64,
    /// None of the commits in the runs was published after this: whoever was shown that much of the feed knew them all. 0 where there are none, and in
    /// a clone, whose runs hold what was published elsewhere.
    pub folded_until: u64,
    /// Where refreshes go on: all feed objects that a refresh from here would not look at are in the runs or the recent file.
    pub basis: u64,
    /// What the newest sweep that is in here says of itself.
    pub swept_through: u64,
    /// When the last sweep was published, as far as its maker knew.
    pub last_sweep: u64,
    /// What newer sweeps say of themselves that nobody may believe yet, by the date that a listing must have shown before.
    pub sweeps: BTreeMap<u64, u64>,
    /// Every commit whose id starts before this (milliseconds since 1970) is in the runs.
    pub settled_ms: u64,
    /// Commits that are in the recent file although others may know of a publication before the horizon: those whose transactions started before
    /// it, as far as clocks can tell. The runs do not hold them, whatever a date says.
    pub unfolded: BTreeSet<TxnId>,
    /// The greatest version in the runs.
    pub greatest: Version,
    /// The greatest version of a deletion that ever left the runs: what is above it was never hidden by one.
    pub purged: Version,
    /// The sorted runs, newest first.
    pub runs: Vec<SortedRun>,
    /// The recent file.
    pub recent: FileRef,
    /// The garbage file, where the fold found any garbage.
    pub garbage: Option<FileRef>,
    /// The file of outcomes: the decisions of folded commits that stay for their outcome, since a request key leads to them.
    pub outcomes: Option<FileRef>,
}

/// A sorted run: files with at least one row each, in the order of their keys, which do not overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortedRun {
    /// The files; at least one.
    pub files: Vec<RunFile>,
}

/// A file of a sorted run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// What it is named by.
    pub id: FileId,
    /// Length in bytes.
    pub bytes: u64,
    /// How many of its last bytes say where everything in it is.
    pub tail_bytes: u64,
    /// How many bytes of the tail are read to find keys: those before the Parquet footer.
    pub index_bytes: u64,
    /// Rows, tombstones included.
    pub rows: u64,
    /// Bytes of the values that lie in value objects.
    pub stored_bytes: u64,
    /// How many of its rows are tombstones.
    pub tombstones: u64,
    /// Checksum of so many bytes of its tail, which have those of its blocks and of its footer.
    pub checksum: u64,
    /// The least key in it.
    pub first_key: Bytes,
    /// The greatest key in it.
    pub last_key: Bytes,
}

/// A file beside the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRef {
    /// What it is named by.
    pub id: FileId,
    /// Length in bytes.
    pub bytes: u64,
    /// How many commits, or pieces of garbage, it holds.
    pub entries: u64,
    /// Checksum of the file.
    pub checksum: u64,
}

impl Manifest {
    /// Every file of every run, newest run first and in the order of keys within a run.
    pub fn files(&self) -> impl Iterator<Item = &RunFile> {
        self.runs.iter().flat_map(|run| &run.files)
    }

    /// Every object that it names.
    pub fn objects(&self) -> impl Iterator<Item = ObjectName> {
        let garbage = self.garbage.map(|file| ObjectName::Garbage(file.id));
        let outcomes = self.outcomes.map(|file| ObjectName::Outcomes(self.number, file.id));
        let beside = [ObjectName::Recent(self.recent.id)].into_iter().chain(garbage).chain(outcomes);
        self.files().map(|file| ObjectName::Run(file.id)).chain(beside)
    }

    /// The rules that a manifest keeps.
    fn check(&self) -> Result<(), FormatError> {
        if self.number >= 1 << 48 {
            return Err(FormatError::Malformed("a number that has no name"));
        }
        let seconds = [
            self.begun,
            self.full_begun,
            self.horizon,
            self.basis,
            self.swept_through,
            self.last_sweep,
            self.settled_ms / 1000,
        ];
        let sweeps = self.sweeps.iter().flat_map(|(dated, through)| [*dated, *through]);
        if seconds.into_iter().chain(sweeps).any(|time| time >= MOST_SECONDS) {
            return Err(FormatError::Malformed("a time that no clock says"));
        }
        if self.folded_until > 0 && self.folded_until >= self.horizon {
            return Err(FormatError::Malformed("runs with commits from beyond the horizon"));
        }
        let mut ids = BTreeSet::new();
        for run in &self.runs {
            run.check()?;
            if !run.files.iter().all(|file| ids.insert(file.id)) {
                return Err(FormatError::Malformed("a file that is listed twice"));
            }
        }
        Ok(())
    }
}

impl SortedRun {
    /// What it weighs where runs are chosen to be merged: its files, and the values that it refers to.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let weights = self.files.iter().map(|file| file.bytes.saturating_add(file.stored_bytes));
        weights.fold(0, u64::saturating_add)
    }

    /// The one file that may have a row of this key.
    #[must_use]
    pub fn file_for(&self, key: &[u8]) -> Option<&RunFile> {
        let at = self.files.partition_point(|file| *file.last_key < *key);
        self.files.get(at).filter(|file| *file.first_key <= *key)
    }

    /// The files that may have rows from the key `start` on and below the key `end`, in order.
    #[must_use]
    pub fn files_in(&self, start: &[u8], end: Option<&[u8]>) -> &[RunFile] {
        let from = self.files.partition_point(|file| *file.last_key < *start);
        let below = |end: &[u8]| self.files.partition_point(|file| *file.first_key < *end);
        let to = end.map_or(self.files.len(), below);
        if end.is_some_and(|end| end <= start) { &[] } else { self.files.get(from..to).unwrap_or_default() }
    }

    fn check(&self) -> Result<(), FormatError> {
        if self.files.is_empty() {
            return Err(FormatError::Malformed("a run without files"));
        }
        if !self.files.is_sorted_by(|before, after| before.last_key < after.first_key) {
            return Err(FormatError::Malformed("files of a run that are out of order or overlap"));
        }
        self.files.iter().try_for_each(RunFile::check)
    }
}

impl RunFile {
    /// Where in the file what is read to find keys lies.
    #[must_use]
    pub fn index_range(&self) -> std::ops::Range<u64> {
        let start = self.bytes.saturating_sub(self.tail_bytes);
        start..start.saturating_add(self.index_bytes)
    }

    /// Whether a tail, or its beginning of [`index_bytes`](Self::index_bytes), is that of this file.
    #[must_use]
    pub fn is_tail(&self, tail: &[u8]) -> bool {
        let index = usize::try_from(self.index_bytes).ok().and_then(|len| tail.get(..len));
        index.is_some_and(|index| checksum(index) == self.checksum)
    }

    fn check(&self) -> Result<(), FormatError> {
        let possible = |key: &Bytes| !key.is_empty() && key.len() <= MAX_KEY_BYTES;
        if !possible(&self.first_key) || !possible(&self.last_key) {
            return Err(FormatError::Malformed("a key of an impossible length"));
        }
        if self.first_key > self.last_key {
            return Err(FormatError::Malformed("a file that ends before it begins"));
        }
        let index = (self.tail_bytes.min(1)..=self.tail_bytes).contains(&self.index_bytes);
        if self.tail_bytes > self.bytes || !index {
            return Err(FormatError::Malformed("a tail that is longer than its file"));
        }
        let least_rows = if self.first_key == self.last_key { 1 } else { 2 };
        if self.rows < least_rows || self.tombstones > self.rows {
            return Err(FormatError::Malformed("a file with an impossible number of rows"));
        }
        Ok(())
    }
}

// ---- JSON --------------------------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireManifest {
    format: u16,
    store_id: String,
    number: u64,
    attempt: String,
    begun: u64,
    full_begun: u64,
    horizon: u64,
    folded_until: u64,
    basis: u64,
    swept_through: u64,
    last_sweep: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sweeps: Vec<(u64, u64)>,
    settled_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unfolded: Vec<String>,
    greatest: String,
    purged: String,
    runs: Vec<Vec<WireFile>>,
    recent: WireRef,
    garbage: Option<WireRef>,
    outcomes: Option<WireRef>,
    checksum: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    id: String,
    bytes: u64,
    tail_bytes: u64,
    /// 0: all of the tail.
    #[serde(default, skip_serializing_if = "is_zero")]
    index_bytes: u64,
    rows: u64,
    stored_bytes: u64,
    tombstones: u64,
    checksum: String,
    first_key: String,
    last_key: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRef {
    id: String,
    bytes: u64,
    entries: u64,
    checksum: String,
}

impl Manifest {
    /// The object: JSON, one field a line, so that people can read it.
    ///
    /// # Errors
    /// Where it breaks a rule of the format, so that nobody could read it: better found by its maker than by everybody else.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        self.check()?;
        let mut wire = WireManifest {
            format: FORMAT_VERSION,
            store_id: self.store_id.clone(),
            number: self.number,
            attempt: format!("{:016x}", self.attempt),
            begun: self.begun,
            full_begun: self.full_begun,
            horizon: self.horizon,
            folded_until: self.folded_until,
            basis: self.basis,
            swept_through: self.swept_through,
            last_sweep: self.last_sweep,
            sweeps: self.sweeps.iter().map(|(dated, through)| (*dated, *through)).collect(),
            settled_ms: self.settled_ms,
            unfolded: self.unfolded.iter().map(TxnId::to_string).collect(),
            greatest: self.greatest.to_string(),
            purged: self.purged.to_string(),
            runs: self.runs.iter().map(|run| run.files.iter().map(WireFile::new).collect()).collect(),
            recent: WireRef::new(&self.recent),
            garbage: self.garbage.as_ref().map(WireRef::new),
            outcomes: self.outcomes.as_ref().map(WireRef::new),
            checksum: String::new(),
        };
        wire.checksum = wire.sum();
        let mut json =
            serde_json::to_vec_pretty(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        json.push(b'\n');
        if json.len() as u64 > bounds::MANIFEST {
            return Err(FormatError::Malformed("more files than a manifest can name"));
        }
        Ok(json.into())
    }

    /// Reads a manifest, checked against every rule of the format.
    ///
    /// # Errors
    /// [`FormatError`]: another format version, damage, or what [`Manifest::encode`] would not make.
    pub fn decode(object: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Format {
            format: u16,
        }
        let Format { format } =
            serde_json::from_slice(object).map_err(|_| FormatError::Malformed("no manifest"))?;
        if format != FORMAT_VERSION {
            return Err(FormatError::UnsupportedVersion(format));
        }
        let mut wire: WireManifest = serde_json::from_slice(object)
            .map_err(|_| FormatError::Malformed("a manifest with other fields"))?;
        if std::mem::take(&mut wire.checksum) != wire.sum() {
            return Err(FormatError::Checksum);
        }
        let version =
            |text: &str| Version::parse(text).ok_or(FormatError::Malformed("text that is no version"));
        let run = |files: Vec<WireFile>| {
            let files = files.into_iter().map(WireFile::into_file).collect::<Result<_, _>>()?;
            Ok(SortedRun { files })
        };
        let manifest = Self {
            number: wire.number,
            attempt: hex(&wire.attempt, 16).ok_or(FormatError::Malformed("text that is no attempt"))?,
            begun: wire.begun,
            full_begun: wire.full_begun,
            horizon: wire.horizon,
            folded_until: wire.folded_until,
            basis: wire.basis,
            swept_through: wire.swept_through,
            last_sweep: wire.last_sweep,
            sweeps: sweeps(wire.sweeps)?,
            settled_ms: wire.settled_ms,
            unfolded: ids(&wire.unfolded)?,
            greatest: version(&wire.greatest)?,
            purged: version(&wire.purged)?,
            runs: wire.runs.into_iter().map(run).collect::<Result<_, FormatError>>()?,
            recent: wire.recent.to_ref()?,
            garbage: wire.garbage.map(|file| file.to_ref()).transpose()?,
            outcomes: wire.outcomes.map(|file| file.to_ref()).transpose()?,
            store_id: wire.store_id,
        };
        manifest.check()?;
        Ok(manifest)
    }
}

impl WireManifest {
    /// The checksum of everything else; only to be asked while there is none.
    fn sum(&self) -> String {
        format!("{:016x}", checksum(&serde_json::to_vec(self).unwrap_or_default()))
    }
}

impl WireFile {
    fn new(file: &RunFile) -> Self {
        Self {
            id: file.id.to_string(),
            bytes: file.bytes,
            tail_bytes: file.tail_bytes,
            index_bytes: if file.index_bytes == file.tail_bytes { 0 } else { file.index_bytes },
            rows: file.rows,
            stored_bytes: file.stored_bytes,
            tombstones: file.tombstones,
            checksum: format!("{:016x}", file.checksum),
            first_key: key_text(&file.first_key),
            last_key: key_text(&file.last_key),
        }
    }

    fn into_file(self) -> Result<RunFile, FormatError> {
        let key = |text: &str| key_of(text).ok_or(FormatError::Malformed("text that is no key"));
        Ok(RunFile {
            id: file_id(&self.id)?,
            bytes: self.bytes,
            tail_bytes: self.tail_bytes,
            index_bytes: if self.index_bytes == 0 { self.tail_bytes } else { self.index_bytes },
            rows: self.rows,
            stored_bytes: self.stored_bytes,
            tombstones: self.tombstones,
            checksum: sum_of(&self.checksum)?,
            first_key: key(&self.first_key)?,
            last_key: key(&self.last_key)?,
        })
    }
}

impl WireRef {
    fn new(file: &FileRef) -> Self {
        let checksum = format!("{:016x}", file.checksum);
        Self { id: file.id.to_string(), bytes: file.bytes, entries: file.entries, checksum }
    }

    fn to_ref(&self) -> Result<FileRef, FormatError> {
        let checksum = sum_of(&self.checksum)?;
        Ok(FileRef { id: file_id(&self.id)?, bytes: self.bytes, entries: self.entries, checksum })
    }
}

/// What sweeps say, by date, each date once.
fn sweeps(told: Vec<(u64, u64)>) -> Result<BTreeMap<u64, u64>, FormatError> {
    let ascend = told.is_sorted_by(|before, after| before.0 < after.0);
    ascend.then(|| told.into_iter().collect()).ok_or(FormatError::Malformed("sweeps that are out of order"))
}

/// Ids in their order, each once.
fn ids(texts: &[String]) -> Result<BTreeSet<TxnId>, FormatError> {
    let ids: Option<Vec<_>> = texts.iter().map(|text| TxnId::parse(text)).collect();
    let ids = ids.filter(|ids| ids.is_sorted_by(|before, after| before < after));
    ids.map(BTreeSet::from_iter).ok_or(FormatError::Malformed("text that is no list of ids"))
}

fn sum_of(text: &str) -> Result<u64, FormatError> {
    hex(text, 16).ok_or(FormatError::Malformed("text that is no checksum"))
}

fn file_id(text: &str) -> Result<FileId, FormatError> {
    FileId::parse(text).ok_or(FormatError::Malformed("text that is no file id"))
}

/// A key as hexadecimal text: any bytes, one text for each key, sorted like the keys.
fn key_text(key: &[u8]) -> String {
    key.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn key_of(text: &str) -> Option<Bytes> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect::<Option<Vec<u8>>>().map(Bytes::from))?
}
