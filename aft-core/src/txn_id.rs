//! Transaction ids: when a transaction started, plus randomness.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::millis;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind};
use crate::format::name::{DIRECT, DIRECT_MOST, FeedName, NODE_MOST, TIME_MOST_MS};
use crate::text::serde_as_text;

/// The identity of a transaction: a UUIDv7, made of its start (milliseconds since 1970) and 73 random bits (74 of a hash in one that is [made of an event](Self::for_request)).
///
/// Retries that reuse an id are the same transaction: it commits at most once, whichever processes race for it (AFT,
/// section 3.1; here the id also names the decision object, so that no coordinator is needed).
///
/// # Examples
///
/// ```
/// use aft_core::TxnId;
///
/// let id = TxnId::new();
/// let same: TxnId = id.to_string().parse()?;
/// assert_eq!(id, same);
/// # Ok::<(), aft_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId([u8; 16]);

impl TxnId {
    /// A fresh id that starts now, by the machine's clock and from the operating system's randomness.
    ///
    /// [`Aft::new_txn_id`](crate::Aft::new_txn_id) does the same with the node's own clock and generator.
    ///
    /// # Examples
    ///
    /// ```
    /// use aft_core::TxnId;
    ///
    /// assert_ne!(TxnId::new(), TxnId::new());
    /// ```
    #[must_use]
    #[allow(clippy::new_without_default, reason = "an id is an event, not a default value")]
    pub fn new() -> Self {
        Self::from_parts(unix_ms(SystemClock::new().now()), &mut crate::rng::system())
    }

    /// The id of a request that came with an event: when the event was issued, and any bytes that identify it (a message id,
    /// an order number). Every process that handles the event, first or again, makes the same id from it, so all of them are
    /// one transaction, without a request to the store (AFT, section 3.1).
    ///
    /// `issued_at` must be the event's own time, which every retry repeats to the millisecond; times before 1970 count as 1970.
    /// The id expires a [transaction lifetime](crate::Config::transaction_lifetime) after it. Where there is no such
    /// time, use [`Begin::request`](crate::Begin::request).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use aft_core::TxnId;
    ///
    /// let issued_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_000_000_000);
    /// let id = TxnId::for_request(issued_at, b"message-17");
    /// assert_eq!(id, TxnId::for_request(issued_at, b"message-17"));
    /// assert_ne!(id, TxnId::for_request(issued_at, b"message-18"));
    /// ```
    #[must_use]
    pub fn for_request(issued_at: SystemTime, key: &[u8]) -> Self {
        let start_ms = unix_ms(issued_at);
        let mut hash = Sha256::new();
        hash.update(b"aft transaction id\0");
        hash.update(start_ms.to_be_bytes());
        hash.update(key);
        let digest: [u8; 32] = hash.finalize().into();
        let mut random = [0; 10];
        random.copy_from_slice(&digest[..10]);
        Self::with_random(start_ms, random)
    }

    /// The id that starts at `start_ms` (milliseconds since 1970; only 48 bits are kept).
    pub(crate) fn from_parts(start_ms: u64, rng: &mut impl Rng) -> Self {
        let mut random = [0; 10];
        rng.fill_bytes(&mut random);
        // The bit by which direct decisions are told from members of groups: so a member's id keeps all that is random.
        random[0] &= 0x07;
        Self::with_random(start_ms, random)
    }

    fn with_random(start_ms: u64, random: [u8; 10]) -> Self {
        Self(*uuid::Builder::from_unix_timestamp_millis(start_ms, &random).as_uuid().as_bytes())
    }

    /// The smallest id that starts at or after `start_ms`: where a listing of a window begins.
    #[must_use]
    pub fn window_start(start_ms: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&start_ms.min((1 << 48) - 1).to_be_bytes()[2..]);
        Self(bytes)
    }

    /// When the transaction started.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let issued_at = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    /// assert_eq!(aft_core::TxnId::for_request(issued_at, b"message-17").started_at(), issued_at);
    /// ```
    #[must_use]
    pub fn started_at(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.start_ms())
    }

    /// When the transaction started, in milliseconds since 1970.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let issued_at = UNIX_EPOCH + Duration::from_millis(1_795_000_000_123);
    /// assert_eq!(aft_core::TxnId::for_request(issued_at, b"message-17").start_ms(), 1_795_000_000_123);
    /// ```
    #[must_use]
    pub fn start_ms(self) -> u64 {
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&self.0[..6]);
        u64::from_be_bytes(ms)
    }

    /// The id as a number, which sorts like the id.
    ///
    /// # Examples
    ///
    /// ```
    /// let id = aft_core::TxnId::new();
    /// assert_eq!(id.as_u128() >> 80, u128::from(id.start_ms()));
    /// ```
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The id of the same transaction where it commits in a group: a UUID of version 8. Nobody knew the other one, and no decision is named by this
    /// one, so that nobody who meets it can take a register that was never written for an open question (`HAZARDS` 6).
    pub(crate) const fn in_group(self) -> Self {
        let mut bytes = self.0;
        bytes[6] = bytes[6] & 0x07 | 0x80;
        Self(bytes)
    }

    /// Whether this is the id of a transaction that committed in a group. Its decision bears the group's id, which its receipt tells.
    ///
    /// # Examples
    ///
    /// ```
    /// let id: aft_core::TxnId = "0198f3f4-0000-8005-8005-050505050505".parse()?;
    /// assert!(id.is_in_group() && !aft_core::TxnId::new().is_in_group());
    /// # Ok::<(), aft_core::Error>(())
    /// ```
    #[must_use]
    pub const fn is_in_group(self) -> bool {
        self.0[6] >> 3 == 0x80 >> 3
    }

    /// The id of the decision that lies in the feed under this name: a UUID of version 8 as well, of which one bit tells it from a member's. It says the
    /// whole name, so that whoever knows one finds the other. `None` where no node makes decisions of such a name.
    pub(crate) const fn of_direct(name: FeedName) -> Option<Self> {
        let FeedName { time_ms, node, seq } = name;
        let number = seq ^ DIRECT;
        if time_ms > TIME_MOST_MS || node > NODE_MOST || number > DIRECT_MOST {
            return None;
        }
        let high = time_ms << 16 | 0x8800 | number as u64;
        let low = 1 << 63 | node;
        Some(Self(((high as u128) << 64 | low as u128).to_be_bytes()))
    }

    /// The name of the object in the feed that is the decision of this id; `None` where its decision lies among the others.
    pub(crate) const fn direct_name(self) -> Option<FeedName> {
        if !self.is_direct() {
            return None;
        }
        let id = u128::from_be_bytes(self.0);
        let time_ms = (id >> 80) as u64;
        let number = (id >> 64) as u32 & DIRECT_MOST;
        Some(FeedName { time_ms, node: id as u64 & NODE_MOST, seq: DIRECT | number })
    }

    /// Whether this is the id of a direct decision: one that lies in the feed, so that it publishes what it commits. Its transactions commit in it as in a
    /// group, of one or more.
    ///
    /// # Examples
    ///
    /// ```
    /// let id: aft_core::TxnId = "0198f3f4-0000-8805-8005-050505050505".parse()?;
    /// assert!(id.is_direct() && !id.is_in_group() && !aft_core::TxnId::new().is_direct());
    /// # Ok::<(), aft_core::Error>(())
    /// ```
    #[must_use]
    pub const fn is_direct(self) -> bool {
        self.0[6] >> 3 == 0x88 >> 3 && self.0[8] >> 6 == 0b10
    }

    /// The id that prints as `text`, a UUID of any version; `None` where none does.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id = Self(*Uuid::try_parse(text).ok()?.as_bytes());
        (id.to_string() == text).then_some(id)
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Milliseconds since 1970; 0 for anything before.
pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, millis)
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxnId({self})")
    }
}

impl FromStr for TxnId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why: &str| {
            Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "{text:?} is no transaction id: {why}; expected a UUIDv7, or the UUIDv8 of a transaction that committed in a group, or of a direct decision"
                ),
            )
        };
        let id = Uuid::try_parse(text).map_err(|_| invalid("not a UUID"))?;
        if ![7, 8].contains(&id.get_version_num()) {
            return Err(invalid("a UUID of another version"));
        }
        Ok(Self(*id.as_bytes()))
    }
}

serde_as_text!(TxnId);

/// Its 16 bytes, most significant first.
impl From<TxnId> for [u8; 16] {
    fn from(id: TxnId) -> Self {
        id.0
    }
}

/// From its 16 bytes, most significant first; those of another UUID than a UUIDv7, or the UUIDv8 of a transaction that committed in a group or of a direct decision, are refused.
impl TryFrom<[u8; 16]> for TxnId {
    type Error = Error;

    fn try_from(bytes: [u8; 16]) -> Result<Self, Error> {
        Uuid::from_bytes(bytes).to_string().parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_knows_its_start_and_round_trips() {
        let id = TxnId::from_parts(1_700_000_000_123, &mut crate::rng::seeded(7));
        assert_eq!(id.start_ms(), 1_700_000_000_123);
        assert_eq!(id.to_string().parse::<TxnId>().unwrap(), id);
        assert_eq!(TxnId::try_from(<[u8; 16]>::from(id)).unwrap(), id);
        assert_eq!(TxnId::try_from([0; 16]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn the_window_start_sorts_before_every_id_of_its_millisecond() {
        let mut rng = crate::rng::seeded(7);
        for _ in 0..100 {
            let id = TxnId::from_parts(5_000, &mut rng);
            assert!(TxnId::window_start(5_000) < id);
            assert!(id < TxnId::window_start(5_001));
        }
    }

    #[test]
    fn an_event_always_makes_the_same_id() {
        let at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let id = TxnId::for_request(at, b"event");
        assert_eq!(id.start_ms(), 1_700_000_000_123);
        // For ever: other versions of aft handle the same event.
        assert_eq!(id.to_string(), "018bcfe5-687b-77f2-b4fc-6e52ecf268c7");
        assert_ne!(id, TxnId::for_request(at + Duration::from_millis(1), b"event"));
        assert_eq!(id.to_string().parse::<TxnId>().unwrap(), id);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "x", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "0198f3f4-0000-7000-8000-00000000000"] {
            assert_eq!(text.parse::<TxnId>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
