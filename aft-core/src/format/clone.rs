//! The note `clone.json`: that a place is a clone, and of which store.
//!
//! It is made first of all, and a clone's marker last. So a place with the note and without a marker is a clone that is not finished,
//! which whoever cloned may go on with and nobody takes for a store.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::envelope::{FORMAT_VERSION, FormatError, checksum};
use crate::format::marker::SharedSettings;

/// The content of the note. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneNote {
    /// Format version of everything in the clone.
    pub format: u16,
    /// The id of the store that it is a clone of. (The clone has another one, a new one each time.)
    pub source: String,
    /// What all nodes share, as in the marker: without which nothing in an unfinished clone could be understood.
    pub settings: SharedSettings,
    /// Checksum of the fields above; hexadecimal.
    pub checksum: String,
}

impl CloneNote {
    /// The note of a clone of this store.
    #[must_use]
    pub fn new(source: String, settings: SharedSettings) -> Self {
        let mut note = Self { format: FORMAT_VERSION, source, settings, checksum: String::new() };
        note.checksum = note.sum();
        note
    }

    /// The object: JSON, one field a line, so that people can read it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json.into()
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`FormatError`]: another format version, or damage.
    pub fn decode(object: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Format {
            format: u16,
        }
        let Format { format } =
            serde_json::from_slice(object).map_err(|_| FormatError::Malformed("no note of a clone"))?;
        if format != FORMAT_VERSION {
            return Err(FormatError::UnsupportedVersion(format));
        }
        let note: Self = serde_json::from_slice(object)
            .map_err(|_| FormatError::Malformed("a note of a clone with other fields"))?;
        if note.checksum != note.sum() {
            return Err(FormatError::Checksum);
        }
        Ok(note)
    }

    fn sum(&self) -> String {
        let fields = (self.format, &self.source, &self.settings);
        format!("{:016x}", checksum(&serde_json::to_vec(&fields).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_round_trips_and_damage_is_found() {
        let note = CloneNote::new("0198f3f4".to_owned(), crate::Config::default().shared());
        let bytes = note.encode();
        assert_eq!(CloneNote::decode(&bytes), Ok(note));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            CloneNote::decode(text.replace("0198f3f4", "0198f3f5").as_bytes()),
            Err(FormatError::Checksum)
        );
        let newer = text.replace("\"format\": 1", "\"format\": 2");
        assert_eq!(CloneNote::decode(newer.as_bytes()), Err(FormatError::UnsupportedVersion(2)));
        assert!(CloneNote::decode(b"").is_err() && CloneNote::decode(b"{\"format\": 1}").is_err());
    }
}
