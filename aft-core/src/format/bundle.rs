//! A bundle: `bundles/<last>-<first>-<made>-<level>-<node>-<seq>`, copies of feed objects of several nodes.
//!
//! Whoever has read many feed objects one by one leaves them in one piece for the next. It is a copy and nothing more: what counts, and when it
//! was published, is told by the listing of the feed, and what a bundle lacks, or where it is damaged or gone, is read from the feed itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::envelope::{self, FormatError, Kind};
use crate::format::feed::WireFeedName;
use crate::format::name::FeedName;

/// The content of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    /// The feed objects, by name, each as it is.
    pub copies: Vec<(FeedName, Bytes)>,
}

#[derive(Serialize, Deserialize)]
struct WireBundle {
    copies: Vec<(WireFeedName, u64)>,
}

impl Bundle {
    /// The object.
    ///
    /// # Errors
    /// Where the list of names is over 4 GiB.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let copies = self.copies.iter().map(|(name, copy)| (WireFeedName::new(*name), copy.len() as u64));
        let wire = WireBundle { copies: copies.collect() };
        let meta = postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        let payload: Vec<_> = self.copies.iter().map(|(_, copy)| copy.clone()).collect();
        envelope::seal(Kind::Bundle, &meta, &payload)
    }

    /// Reads a bundle; the copies are slices of it, each with a checksum of its own, like any feed object.
    ///
    /// # Errors
    /// [`FormatError`], for any bytes that [`Bundle::encode`] did not make of copies in the order of their names.
    pub fn decode(object: &Bytes) -> Result<Self, FormatError> {
        let (meta, payload_start) = envelope::open(Kind::Bundle, object)?;
        let (wire, rest) = postcard::take_from_bytes::<WireBundle>(&meta)
            .map_err(|_| FormatError::Malformed("cannot be decoded"))?;
        if !rest.is_empty() {
            return Err(FormatError::Malformed("more meta than one bundle"));
        }
        let too_long = FormatError::Malformed("a payload that is not its copies");
        let mut payload = object.slice(payload_start..);
        let mut copies: Vec<(FeedName, Bytes)> = Vec::with_capacity(wire.copies.len());
        for (name, len) in wire.copies {
            let name = name.into_name()?;
            if copies.last().is_some_and(|(before, _)| *before >= name) {
                return Err(FormatError::Malformed("copies out of order"));
            }
            let Some(len) = usize::try_from(len).ok().filter(|len| *len <= payload.len()) else {
                return Err(too_long);
            };
            copies.push((name, payload.split_to(len)));
        }
        if payload.is_empty() { Ok(Self { copies }) } else { Err(too_long) }
    }
}
