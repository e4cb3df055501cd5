//! Receipts: what a commit hands to whoever must see it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::text::serde_as_text;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// Proof of a commit, about a hundred bytes long: [`Begin::after`](crate::Begin::after) a receipt, on any node, sees that
/// commit at once. That of a transaction that only read names what others may not know yet of all that it read, so that whoever
/// begins after it sees at least as much; it may be a few kilobytes long.
///
/// A receipt knows which store it is of: at another one it is refused.
///
/// # Examples
///
/// ```
/// # use aft_core::Receipt;
/// # fn pass_on(receipt: &Receipt) -> Result<(), aft_core::Error> {
/// let text = receipt.to_string();
/// assert_eq!(&text.parse::<Receipt>()?, receipt);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt {
    pub(crate) version: Version,
    /// The id under which the decision lies: the transaction's own, or its group's.
    pub(crate) decided_by: TxnId,
    /// Older commits that must be seen as well, newest first, each with the id under which its decision lies.
    pub(crate) older: Vec<(Version, TxnId)>,
    /// Whether everything published before it must be seen: whoever begins after it refreshes first.
    pub(crate) latest: bool,
    /// Some bits of the store's id.
    pub(crate) store: Option<u32>,
}

/// How the receipt of a transaction that read and wrote nothing prints.
const NOTHING_TEXT: &str = "aft1.none";
/// What says that everything published before must be seen.
const LATEST_TEXT: &str = "latest";
/// A version prints as so many characters, and the bits of a store's id.
const VERSION_CHARS: usize = 16 + 1 + 36;
const STORE_CHARS: usize = 8;

/// A receipt names at most so many commits.
pub(crate) const NAMED_AT_MOST: usize = 64;

/// The bits of a store's id that its receipts carry: accidents, not forgery, are what they find.
pub(crate) fn store_bits(store_id: &str) -> u32 {
    // Half of the checksum.
    (checksum(store_id.as_bytes()) >> 32) as u32
}

impl Receipt {
    /// Of a transaction that read and wrote nothing: whoever begins after it need know nothing.
    pub(crate) const NOTHING: Self = Self {
        version: Version::ABSENT,
        decided_by: Version::ABSENT.txn,
        older: Vec::new(),
        latest: false,
        store: None,
    };

    pub(crate) const fn new(version: Version, decided_by: TxnId) -> Self {
        Self { version, decided_by, older: Vec::new(), latest: false, store: None }
    }

    /// The same, of this store.
    pub(crate) fn of_store(self, store_id: &str) -> Self {
        Self { store: Some(store_bits(store_id)), ..self }
    }

    /// Each commit that it names, with the id under which its decision lies.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Version, TxnId)> {
        let newest = (!self.version.is_absent()).then_some((self.version, self.decided_by));
        newest.into_iter().chain(self.older.iter().copied())
    }

    /// The transaction that committed; of one that only read, the newest that it read from.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// let id = tx.id();
    /// tx.put("k", "v")?;
    /// let receipt = tx.commit().await?.receipt;
    /// assert_eq!(receipt.txn_id(), id);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn txn_id(&self) -> TxnId {
        self.version.txn
    }

    /// The id of its decision: the transaction's own, or that of the group in which it committed
    /// ([`Config::decisions_in_flight`](crate::Config::decisions_in_flight)). [`Aft::outcome`](crate::Aft::outcome) takes either. Of a
    /// version that was read from the index it is the transaction's own: its decision is forgotten.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("k", "v")?;
    /// let receipt = tx.commit().await?.receipt;
    /// assert!(matches!(aft.outcome(receipt.decided_by()).await?, aft_core::Outcome::Committed { .. }));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn decided_by(&self) -> TxnId {
        self.decided_by
    }

    /// The version of everything it wrote; of a transaction that only read, the newest version that it read.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// let id = tx.id();
    /// tx.put("k", "v")?;
    /// let receipt = tx.commit().await?.receipt;
    /// let tx = aft.begin().await?;
    /// tx.get("k").await?;
    /// assert_eq!(tx.reads().next(), Some((&b"k"[..], Some(receipt.version()))));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.version.is_absent() {
            return f.write_str(NOTHING_TEXT);
        }
        f.write_str("aft1")?;
        for (version, decided_by) in self.named() {
            write!(f, ".{version}")?;
            if decided_by != version.txn {
                write!(f, ".{decided_by}")?;
            }
        }
        if self.latest {
            write!(f, ".{LATEST_TEXT}")?;
        }
        self.store.map_or(Ok(()), |store| write!(f, ".s{store:08x}"))
    }
}

impl FromStr for Receipt {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == NOTHING_TEXT {
            return Ok(Self::NOTHING);
        }
        parse(text).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is no receipt; expected what Receipt prints"),
            )
        })
    }
}

fn parse(text: &str) -> Option<Receipt> {
    let mut parts = text.strip_prefix("aft1.")?.split('.').peekable();
    let mut named = Vec::new();
    while let Some(version) = parts.next_if(|part| part.len() == VERSION_CHARS) {
        let version = parse_version(version)?;
        let group = parts.next_if(|part| part.len() == VERSION_CHARS - 17);
        let decided_by = group.map_or(Some(version.txn), |group| group.parse().ok())?;
        // Newest first, each once: one receipt, one text.
        if named.last().is_some_and(|(newer, _)| *newer <= version) {
            return None;
        }
        named.push((version, decided_by));
    }
    let latest = parts.next_if_eq(&LATEST_TEXT).is_some();
    let store = match parts.next() {
        None => None,
        Some(part) => {
            // The mark tells it from an id that was cut off.
            let bits = part.strip_prefix('s').filter(|bits| bits.len() == STORE_CHARS && is_hex(bits))?;
            Some(u32::from_str_radix(bits, 16).ok()?)
        }
    };
    if named.is_empty() || named.len() > NAMED_AT_MOST || parts.next().is_some() {
        return None;
    }
    let (version, decided_by) = named.remove(0);
    Some(Receipt { version, decided_by, older: named, latest, store })
}

fn parse_version(text: &str) -> Option<Version> {
    let (clock, txn) = text.split_at_checked(16)?;
    if !is_hex(clock) {
        return None;
    }
    let clock = Timestamp::from_bits(u64::from_str_radix(clock, 16).ok()?);
    Some(Version::new(clock, txn.strip_prefix('-')?.parse().ok()?))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

serde_as_text!(Receipt);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_round_trips_and_damage_is_refused() {
        let mut rng = crate::rng::seeded(1);
        let (txn, group) = (TxnId::from_parts(77, &mut rng), TxnId::from_parts(78, &mut rng));
        for decided_by in [txn, group] {
            let receipt = Receipt::new(Version::new(Timestamp::from_ms(99), txn), decided_by);
            let text = receipt.to_string();
            assert_eq!(text.parse::<Receipt>().unwrap(), receipt);
            for cut in 0..text.len() {
                if cut != "aft1.".len() + VERSION_CHARS {
                    assert!(text[..cut].parse::<Receipt>().is_err(), "{cut}");
                }
            }
            assert!(format!("{text}.").parse::<Receipt>().is_err());
        }
        assert_eq!(Receipt::NOTHING.to_string().parse::<Receipt>().unwrap(), Receipt::NOTHING);
        for text in
            ["", "aft1", "aft2.00", "aft1.é", "aft1.+123456789abcdef-0198f3f4-0000-7000-8000-000000000000"]
        {
            assert!(text.parse::<Receipt>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_receipt_of_several_commits_is_one_text() {
        let mut rng = crate::rng::seeded(1);
        let mut id = |ms| TxnId::from_parts(ms, &mut rng);
        let (a, b, group) = (id(1), id(2), id(3));
        let version = |ms, txn| Version::new(Timestamp::from_ms(ms), txn);
        for (latest, store) in [(false, None), (true, None), (false, Some(7)), (true, Some(0xabcd_ef01))] {
            for older in [vec![], vec![(version(9, b), b)], vec![(version(9, b), group), (version(9, a), a)]]
            {
                let receipt = Receipt { older, latest, store, ..Receipt::new(version(10, a), a) };
                let text = receipt.to_string();
                assert_eq!(text.parse::<Receipt>().unwrap(), receipt, "{text}");
                assert!(format!("{text}.").parse::<Receipt>().is_err());
                assert!(format!("{text}.s0000000g").parse::<Receipt>().is_err());
                let shown = text.matches('.').count();
                assert_eq!(text.split('.').count(), shown + 1);
            }
        }
        let twice = format!("aft1.{0}.{0}", version(9, b));
        assert!(twice.parse::<Receipt>().is_err(), "a commit that is named twice");
        let upwards = format!("aft1.{}.{}", version(9, b), version(10, b));
        assert!(upwards.parse::<Receipt>().is_err(), "the older one first");
        for text in ["aft1.latest", "aft1.s00000007", "aft1.latest.s00000007", "aft1..s00000007"] {
            assert!(text.parse::<Receipt>().is_err(), "{text}");
        }
        let many: Vec<_> =
            (0..=NAMED_AT_MOST as u64).rev().map(|ms| format!(".{}", version(ms, a))).collect();
        assert!(format!("aft1{}", many.concat()).parse::<Receipt>().is_err());
        assert!(format!("aft1{}", many[1..].concat()).parse::<Receipt>().is_ok());
    }

    #[test]
    fn another_store_has_other_bits() {
        let [one, other] = ["6ba7b810-9dad-41d1-80b4-00c04fd430c8", "6ba7b810-9dad-41d1-80b4-00c04fd430c9"];
        assert_ne!(store_bits(one), store_bits(other));
    }
}
