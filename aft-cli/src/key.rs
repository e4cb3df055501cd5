//! Keys on the command line: text in which any byte can be said, and which says every byte.
//!
//! Keys are arbitrary bytes. What `aft` prints is what it takes: a backslash is `\\`, and a byte that is not part of
//! printable UTF-8 text is `\x` and two hexadecimal digits.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use aft_core::MAX_KEY_BYTES;
use serde::{Serialize, Serializer};

/// A key, or the prefix of keys, as the command line spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(Vec<u8>);

/// Why some text is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyError {
    Empty,
    TooLong(usize),
    Escape(String),
}

impl Key {
    /// The key with exactly these bytes.
    pub(crate) fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The key that `text` spells.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = unescape(text)?;
        match bytes.len() {
            0 => Err(KeyError::Empty),
            length if length > MAX_KEY_BYTES => Err(KeyError::TooLong(length)),
            _ => Ok(Self(bytes)),
        }
    }

    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// A prefix of keys: like a key, but it may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(Vec<u8>);

impl Prefix {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The prefix as a folder: ended by `/` unless it is empty, so that `site` never takes in `site2/…`.
    #[cfg_attr(not(unix), allow(dead_code, reason = "for directories, which only a Unix has here"))]
    pub(crate) fn into_folder(self) -> Self {
        let mut bytes = self.0;
        if !bytes.is_empty() && !bytes.ends_with(b"/") {
            bytes.push(b'/');
        }
        Self(bytes)
    }

    /// The key under this prefix that ends with `rest`.
    #[cfg_attr(not(unix), allow(dead_code, reason = "for directories, which only a Unix has here"))]
    pub(crate) fn join(&self, rest: &[u8]) -> Key {
        Key([self.as_bytes(), rest].concat())
    }
}

impl FromStr for Prefix {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = unescape(text)?;
        if bytes.len() > MAX_KEY_BYTES { Err(KeyError::TooLong(bytes.len())) } else { Ok(Self(bytes)) }
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, KeyError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at..];
        if let Some(after) = escape.strip_prefix("\\\\") {
            bytes.push(b'\\');
            rest = after;
        } else {
            let digits = escape.strip_prefix("\\x").and_then(|hex| hex.get(..2));
            let byte = digits
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .ok_or_else(|| KeyError::Escape(escape.chars().take(4).collect()))?;
            bytes.push(byte);
            rest = &escape[4..];
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// Writes `bytes` so that they can be read back: see the module.
fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let hex =
        |f: &mut fmt::Formatter<'_>, bytes: &[u8]| bytes.iter().try_for_each(|b| write!(f, "\\x{b:02x}"));
    let last = bytes.len().saturating_sub(1);
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            let edge_space = char == ' ' && (at == 0 || at == last);
            let printable = matches!(char, '\'' | '"') || char.escape_debug().len() == 1;
            match char {
                '\\' => f.write_str("\\\\")?,
                _ if printable && !edge_space => f.write_char(char)?,
                _ => hex(f, char.encode_utf8(&mut [0; 4]).as_bytes())?,
            }
            at += char.len_utf8();
        }
        hex(f, chunk.invalid())?;
        at += chunk.invalid().len();
    }
    Ok(())
}

impl AsRef<[u8]> for Prefix {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&self.0, f)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&self.0, f)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a key has at least one byte"),
            Self::TooLong(length) => write!(f, "{length} bytes long; a key has at most {MAX_KEY_BYTES}"),
            Self::Escape(text) => {
                write!(f, "{text:?} is no escape; write \\\\ for a backslash and \\xNN for a byte")
            }
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_is_taken_for_every_byte() {
        let mut samples: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
        samples.extend((0..=255u8).map(|byte| vec![b'a', byte, b'z']));
        samples.push((0..=255).collect());
        samples.extend(
            [" a b ", "ä/ö", "a\\xff", "\u{202e}evil", "e\u{301}", "🦀", "it's \"so\"", "tab\there"]
                .map(Into::into),
        );
        for bytes in samples {
            let key = Key::from_bytes(bytes.clone());
            let text = key.to_string();
            assert_eq!(Key::parse(&text).unwrap(), key, "{text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn printing_leaves_plain_text_alone_and_nothing_ambiguous() {
        let shown = |bytes: &[u8]| Key::from_bytes(bytes).to_string();
        assert_eq!(shown("users/jürgen 1.txt".as_bytes()), "users/jürgen 1.txt");
        assert_eq!(shown(b"it's \"so\""), "it's \"so\"");
        assert_eq!(shown(b"a\\b"), "a\\\\b");
        assert_eq!(shown(b"a\nb\xff"), "a\\x0ab\\xff");
        assert_eq!(shown(b" edge "), "\\x20edge\\x20");
    }

    #[test]
    fn bad_keys_are_refused() {
        assert_eq!(Key::parse(""), Err(KeyError::Empty));
        assert_eq!(Key::parse(&"k".repeat(4097)), Err(KeyError::TooLong(4097)));
        assert!(Key::parse(&"k".repeat(4096)).is_ok());
        for text in ["\\", "a\\b", "\\x", "\\x1", "\\xg0", "\\x+1", "\\xé1"] {
            assert!(matches!(Key::parse(text), Err(KeyError::Escape(_))), "{text}");
        }
    }

    #[test]
    fn a_prefix_may_be_empty_and_becomes_a_folder() {
        let folder = |text: &str| text.parse::<Prefix>().unwrap().into_folder().to_string();
        assert_eq!([folder(""), folder("site"), folder("site/")], ["", "site/", "site/"]);
        assert_eq!("site/".parse::<Prefix>().unwrap().join(b"a").as_bytes(), b"site/a");
    }
}
