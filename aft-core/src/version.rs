//! Versions of keys, and the hybrid logical clock that they come from.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::text::serde_as_text;
use crate::txn_id::TxnId;

/// A reading of the hybrid logical clock: 48 bits of milliseconds since 1970 and 16 bits of counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The reading with these raw bits.
    ///
    /// # Examples
    ///
    /// ```
    /// use aft_core::Timestamp;
    ///
    /// assert_eq!(Timestamp::from_bits(Timestamp::from_ms(17).bits()), Timestamp::from_ms(17));
    /// ```
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The first reading of the millisecond `ms`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(aft_core::Timestamp::from_ms(17).ms(), 17);
    /// ```
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(if ms < 1 << 48 { ms << 16 } else { u64::MAX })
    }

    /// The raw bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 >> 16
    }

    const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.ms(), self.0 & 0xffff)
    }
}

/// The version of a key: which commit wrote it, and where that commit stands in the order of all commits.
///
/// Versions are ordered by a hybrid logical clock and then by transaction id, so a commit's version is greater than
/// every version its transaction read, whatever the clocks of the machines say (I5). AFT (section 3.1) orders by wall
/// clock and id alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub(crate) clock: Timestamp,
    pub(crate) txn: TxnId,
}

impl Version {
    /// The version of a key that was never written: below every other.
    pub(crate) const ABSENT: Self = Self { clock: Timestamp(0), txn: TxnId::from_bytes([0; 16]) };

    pub(crate) const fn new(clock: Timestamp, txn: TxnId) -> Self {
        Self { clock, txn }
    }

    /// The transaction that wrote this version.
    #[must_use]
    pub const fn txn_id(&self) -> TxnId {
        self.txn
    }

    /// The reading of the hybrid logical clock at commit.
    #[must_use]
    pub const fn clock(&self) -> Timestamp {
        self.clock
    }

    /// The reading of the hybrid logical clock at commit, in milliseconds since 1970.
    #[must_use]
    pub const fn clock_ms(&self) -> u64 {
        self.clock.ms()
    }

    pub(crate) fn is_absent(&self) -> bool {
        *self == Self::ABSENT
    }

    /// The version that prints as `text`, absent included; `None` where none does.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (clock, txn) = text.split_once('-')?;
        let clock = Timestamp::from_bits(u64::from_str_radix(clock, 16).ok()?);
        let version = Self { clock, txn: TxnId::parse(txn)? };
        (version.to_string() == text).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.clock.bits(), self.txn)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let message = || format!("{text:?} is no version; expected what Version prints");
        Self::parse(text).ok_or_else(|| Error::invalid(message()))
    }
}

serde_as_text!(Version);

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_absent() { f.write_str("absent") } else { write!(f, "{:?}@{}", self.clock, self.txn) }
    }
}

/// A hybrid logical clock (Kulkarni et al., 2014), as a pure value: the wall clock is handed in.
#[derive(Debug, Clone, Copy, Default)]
pub struct HybridClock {
    /// The greatest reading among the commits that are known to be in time.
    greatest: Timestamp,
}

impl HybridClock {
    /// A reading that is at least the wall clock and the transaction's start, and greater than everything the clock has observed, and
    /// than `floor` (the greatest version the transaction read).
    ///
    /// It leaves no trace: only what was committed in time does. A wall clock that was set wrong for a while, or an id from the near
    /// future, must not push the readings of anyone else ahead (`HAZARDS` 14).
    #[must_use]
    pub fn reading(&self, wall_ms: u64, start_ms: u64, floor: Timestamp) -> Timestamp {
        Timestamp::from_ms(wall_ms.max(start_ms)).max(self.greatest.next()).max(floor.next())
    }

    /// Notes a reading of another node. Only readings of commits that are in time may be noted: one void decision of
    /// a node whose clock is an hour fast would drag every clock along (`HAZARDS` 14).
    pub fn observe(&mut self, other: Timestamp) {
        self.greatest = self.greatest.max(other);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_version_round_trips_as_text_and_no_other_text_is_one(
            bits in any::<u64>(), txn in any::<[u8; 16]>(), other in ".*", cut in any::<prop::sample::Index>(),
        ) {
            for version in [Version::ABSENT, Version::new(Timestamp::from_bits(bits), TxnId::from_bytes(txn))] {
                let text = version.to_string();
                prop_assert_eq!(Version::parse(&text), Some(version));
                prop_assert_eq!(Version::parse(&text[..cut.index(text.len())]), None);
                let shouted = text.to_uppercase();
                prop_assert_eq!(Version::parse(&shouted).is_some(), shouted == text);
                prop_assert_eq!(Version::parse(&format!("+{}", &text[1..])), None);
            }
            let _ = Version::parse(&other);
        }

        /// Whatever the wall clock does, readings exceed all that was observed or read (I5); and they are no further ahead than that, the
        /// wall clock and the start ask for, whatever was read and came to nothing before.
        #[test]
        fn readings_exceed_what_counts_with_clocks_that_jump_both_ways(
            steps in prop::collection::vec((0u64..1 << 47, 0u64..1 << 47, any::<u64>(), 0u8..3), 1..200),
        ) {
            let mut clock = HybridClock::default();
            let mut greatest = Timestamp::default();
            for (wall, start, other, step) in steps {
                let other = Timestamp::from_bits(other >> 2);
                if step == 0 {
                    clock.observe(other);
                    greatest = greatest.max(other);
                    continue;
                }
                let reading = clock.reading(wall, start, other);
                prop_assert!(reading > greatest && reading > other);
                prop_assert!(reading.ms() >= wall && reading.ms() >= start);
                let asked = [Timestamp::from_ms(wall), Timestamp::from_ms(start), greatest.next(), other.next()];
                prop_assert_eq!(Some(reading), asked.into_iter().max());
                if step == 1 {
                    // It was committed.
                    clock.observe(reading);
                    greatest = reading;
                }
            }
        }
    }

    #[test]
    fn a_burst_in_one_millisecond_counts_up_and_spills_over() {
        let mut clock = HybridClock::default();
        let first = clock.reading(1_000, 0, Timestamp::default());
        assert_eq!(first, Timestamp::from_ms(1_000));
        assert_eq!(
            clock.reading(1_000, 0, Timestamp::default()),
            first,
            "what came to nothing left no trace"
        );
        for _ in 0..=0xffff {
            clock.observe(clock.reading(1_000, 0, Timestamp::default()));
        }
        assert_eq!(clock.reading(1_000, 0, Timestamp::default()), Timestamp::from_ms(1_001));
        assert_eq!(clock.reading(900, 0, Timestamp::default()).ms(), 1_001, "a clock that went back");
    }

    #[test]
    fn versions_order_by_clock_then_id() {
        let id = |n| TxnId::from_bytes([n; 16]);
        let at = |ms, n| Version::new(Timestamp::from_ms(ms), id(n));
        assert!(at(1, 9) < at(2, 1) && at(2, 1) < at(2, 2) && Version::ABSENT < at(1, 0));
        assert_eq!(Timestamp::from_ms(u64::MAX).bits(), u64::MAX);
    }
}
