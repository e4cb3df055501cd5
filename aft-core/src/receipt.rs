//! Receipts: what a commit hands to whoever must see it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::text::serde_as_text;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// Proof of a commit, a few dozen bytes long: [`Begin::after`](crate::Begin::after) a receipt, on any node, sees that
/// commit at once.
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
}

/// How the receipt of a transaction that read and wrote nothing prints.
const NOTHING_TEXT: &str = "aft1.none";

impl Receipt {
    /// Of a transaction that read and wrote nothing: whoever begins after it need know nothing.
    pub(crate) const NOTHING: Self = Self { version: Version::ABSENT, decided_by: Version::ABSENT.txn };

    pub(crate) fn new(version: Version, decided_by: TxnId) -> Self {
        Self { version, decided_by }
    }

    /// The transaction that committed.
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

    /// The version of everything it wrote.
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
        if *self == Self::NOTHING {
            return f.write_str(NOTHING_TEXT);
        }
        write!(f, "aft1.{}", self.version)?;
        if self.decided_by != self.version.txn {
            write!(f, ".{}", self.decided_by)?;
        }
        Ok(())
    }
}

impl FromStr for Receipt {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == NOTHING_TEXT {
            return Ok(Self::NOTHING);
        }
        let parse = || {
            let mut parts = text.strip_prefix("aft1.")?.split('.');
            let (clock, txn) = parts.next()?.split_at_checked(16)?;
            if !clock.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            let clock = Timestamp::from_bits(u64::from_str_radix(clock, 16).ok()?);
            let txn: TxnId = txn.strip_prefix('-')?.parse().ok()?;
            let decided_by = parts.next().map_or(Some(txn), |group| group.parse().ok())?;
            parts.next().is_none().then_some(Self { version: Version::new(clock, txn), decided_by })
        };
        parse().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{text:?} is no receipt; expected what Receipt prints"),
            )
        })
    }
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
                if cut != "aft1.".len() + 16 + 1 + 36 {
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
}
