//! The marker `aft.json`: what makes a prefix a store, and the settings that all its nodes share.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::{DAY_MS, HOUR_MS};
use crate::format::envelope::{FORMAT_VERSION, FormatError, checksum};
use crate::format::name::Shards;

/// The content of the marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Format version of everything in the store.
    pub format: u16,
    /// Random id of the store: a UUID.
    pub store_id: String,
    /// When it was made, by its maker's clock: milliseconds since 1970. A marker that the store dates otherwise was copied, or its date
    /// was changed, and so were those of everything else.
    pub made_ms: u64,
    /// What the store dates up to then (seconds since 1970) was copied or dated anew, and counts as in time, whatever its date: set by
    /// whoever adopted the store.
    pub adopted_until: Option<u64>,
    /// What all nodes share.
    pub settings: SharedSettings,
    /// Checksum of the fields above; hexadecimal.
    pub checksum: String,
}

/// The settings that safety depends on; see [`Config`](crate::Config) for each. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is documented at Config")]
pub struct SharedSettings {
    pub max_staleness_ms: u64,
    pub transaction_lifetime_ms: u64,
    pub commit_deadline_ms: u64,
    pub max_clock_skew_ms: u64,
    pub publish_deadline_ms: u64,
    pub visibility_delay_ms: u64,
    pub outcome_retention_ms: u64,
    pub shards: u32,
}

impl Marker {
    /// A marker of this format version.
    #[must_use]
    pub fn new(store_id: String, made_ms: u64, adopted_until: Option<u64>, settings: SharedSettings) -> Self {
        let checksum = String::new();
        let mut marker =
            Self { format: FORMAT_VERSION, store_id, made_ms, adopted_until, settings, checksum };
        marker.checksum = marker.sum();
        marker
    }

    /// The object: JSON, one field a line, so that people can read it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json.into()
    }

    /// Reads a marker.
    ///
    /// # Errors
    /// [`FormatError`]: another format version, damage, or settings no store can have.
    pub fn decode(object: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Format {
            format: u16,
        }
        let Format { format } =
            serde_json::from_slice(object).map_err(|_| FormatError::Malformed("no aft marker"))?;
        if format != FORMAT_VERSION {
            return Err(FormatError::UnsupportedVersion(format));
        }
        let marker: Self = serde_json::from_slice(object)
            .map_err(|_| FormatError::Malformed("a marker with other fields"))?;
        if marker.checksum != marker.sum() {
            return Err(FormatError::Checksum);
        }
        marker.settings.validate().map_err(|_| FormatError::Malformed("settings out of their limits"))?;
        Ok(marker)
    }

    fn sum(&self) -> String {
        let fields = (self.format, &self.store_id, self.made_ms, self.adopted_until, &self.settings);
        format!("{:016x}", checksum(&serde_json::to_vec(&fields).unwrap_or_default()))
    }
}

impl SharedSettings {
    /// Whether every setting is within its limits, and they fit each other.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        let limits = [
            ("max_staleness", self.max_staleness_ms, 0, HOUR_MS),
            ("transaction_lifetime", self.transaction_lifetime_ms, 1_000, DAY_MS),
            ("commit_deadline", self.commit_deadline_ms, 2_000, HOUR_MS),
            ("max_clock_skew", self.max_clock_skew_ms, 2_000, HOUR_MS),
            ("publish_deadline", self.publish_deadline_ms, 2_000, HOUR_MS),
            ("visibility_delay", self.visibility_delay_ms, 1_000, HOUR_MS),
            ("outcome_retention", self.outcome_retention_ms, 0, 3_650 * DAY_MS),
        ];
        for (setting, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                return Err(format!("{setting} is {value} ms; it must be from {least} to {most}"));
            }
        }
        match Shards::new(self.shards) {
            Some(_) => Ok(()),
            None => Err(format!("shards is {}; it must be 16, 256 or 4096", self.shards)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_marker_round_trips_and_damage_or_another_version_is_named() {
        let id = "0198f3f4-0000-7000-8000-000000000000".into();
        let marker = Marker::new(id, 1_756_000_000_000, Some(1_756_000_000), Config::default().shared());
        let object = marker.encode();
        assert_eq!(Marker::decode(&object).unwrap(), marker);
        for at in 0..object.len() {
            let mut damaged = object.to_vec();
            damaged[at] ^= 1;
            // Damage to white space may go unseen; damage to what the marker says may not.
            let harmless = object[at].is_ascii_whitespace();
            assert!(Marker::decode(&damaged).map_or(true, |read| harmless && read == marker), "byte {at}");
            assert!(
                Marker::decode(&object[..at]).map_or(true, |read| at + 1 == object.len() && read == marker)
            );
        }
        let other = String::from_utf8(object.to_vec()).unwrap().replace("\"format\": 1", "\"format\": 2");
        assert_eq!(Marker::decode(other.as_bytes()), Err(FormatError::UnsupportedVersion(2)));
        let other = String::from_utf8(object.to_vec()).unwrap().replace("\"shards\": 16", "\"shards\": 256");
        assert_eq!(Marker::decode(other.as_bytes()), Err(FormatError::Checksum));
    }
}
