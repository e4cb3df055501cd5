//! Keys on the command line: text in which any byte can be said, and which says every byte.
//!
//! Keys are arbitrary bytes. What `aft` prints is what it takes: a backslash is `\\`, and a byte that is not part of
//! printable UTF-8 text is `\x` and two hexadecimal digits. With `--keys-as` they are hexadecimal digits or base64 instead, both ways.
//!
//! That is one setting of the process, made before the command line is read: a key is taken where its argument is, and `--keys-as` may stand behind
//! it. What is stored (dumps, results) has keys in the escaped form always: [`Key::parse`] and [`Key::escaped`].

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::OnceLock;

use aft_core::MAX_KEY_BYTES;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use serde::{Serialize, Serializer};

/// How the bytes of keys are shown and taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Form {
    /// Text, in which `\\` is a backslash and `\xNN` the byte NN
    #[default]
    Escaped,
    /// Two hexadecimal digits for each byte
    Hex,
    /// Base64, of the alphabet with `+` and `/`, padded
    Base64,
}

/// The form of this process.
static FORM: OnceLock<Form> = OnceLock::new();

impl Form {
    /// Sets the form of this process, once, before any key is taken or shown.
    pub(crate) fn set(self) {
        let _ = FORM.set(self);
    }

    /// The form of this process.
    pub(crate) fn of_process() -> Self {
        FORM.get().copied().unwrap_or_default()
    }

    /// The bytes that `text` says.
    fn decode(self, text: &str) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::Escaped => unescape(text),
            Self::Hex => unhex(text).ok_or(KeyError::Hex),
            Self::Base64 => STANDARD.decode(text).map_err(|_| KeyError::Base64),
        }
    }

    fn encode(self, bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escaped => escape(bytes, f),
            Self::Hex => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Base64 => f.write_str(&STANDARD.encode(bytes)),
        }
    }
}

/// Bytes, shown in this form.
struct Spelled<'a>(&'a [u8], Form);

impl fmt::Display for Spelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.encode(self.0, f)
    }
}

/// A key, or the prefix of keys, as the command line spells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(Vec<u8>);

/// Why some text is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyError {
    Empty,
    TooLong(usize),
    Escape(String),
    Hex,
    Base64,
}

impl Key {
    /// The key with exactly these bytes.
    pub(crate) fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The key that `text` spells in the escaped form, whatever the form of the process is.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        Self::parse_as(text, Form::Escaped)
    }

    fn parse_as(text: &str, form: Form) -> Result<Self, KeyError> {
        let bytes = form.decode(text)?;
        match bytes.len() {
            0 => Err(KeyError::Empty),
            length if length > MAX_KEY_BYTES => Err(KeyError::TooLong(length)),
            _ => Ok(Self(bytes)),
        }
    }

    /// The key in the escaped form, whatever the form of the process is.
    pub(crate) fn escaped(&self) -> impl fmt::Display {
        Spelled(&self.0, Form::Escaped)
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
        Self::parse_as(text, Form::of_process())
    }
}

/// A prefix of keys: like a key, but it may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(Vec<u8>);

impl Prefix {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The prefix in the escaped form, whatever the form of the process is.
    pub(crate) fn escaped(&self) -> impl fmt::Display {
        Spelled(&self.0, Form::Escaped)
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
        let bytes = Form::of_process().decode(text)?;
        if bytes.len() > MAX_KEY_BYTES { Err(KeyError::TooLong(bytes.len())) } else { Ok(Self(bytes)) }
    }
}

/// The bytes of hexadecimal digits, two for each.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
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
        Form::of_process().encode(&self.0, f)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Form::of_process().encode(&self.0, f)
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
            Self::Hex => f.write_str("not two hexadecimal digits for each byte (--keys-as hex)"),
            Self::Base64 => f.write_str("not base64 of the standard alphabet, padded (--keys-as base64)"),
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
    fn every_form_takes_what_it_prints_and_refuses_the_rest() {
        let bytes: Vec<u8> = (0..=255).collect();
        for form in [Form::Escaped, Form::Hex, Form::Base64] {
            let text = Spelled(&bytes, form).to_string();
            assert_eq!(Key::parse_as(&text, form).unwrap().as_bytes(), bytes, "{form:?}");
            assert_eq!(Key::parse_as("", form), Err(KeyError::Empty));
        }
        assert_eq!(Key::parse_as("00fF", Form::Hex).unwrap().as_bytes(), b"\0\xff");
        assert_eq!(Key::parse_as("AP8=", Form::Base64).unwrap().as_bytes(), b"\0\xff");
        for text in ["0", "0g", "+1", "é", "\\x00", "00 "] {
            assert_eq!(Key::parse_as(text, Form::Hex), Err(KeyError::Hex), "{text}");
        }
        for text in ["AP8", "AP8_", "=", "A P8="] {
            assert_eq!(Key::parse_as(text, Form::Base64), Err(KeyError::Base64), "{text}");
        }
        // Of its bytes, not of its digits.
        assert!(Key::parse_as(&"00".repeat(4096), Form::Hex).is_ok());
        assert_eq!(Key::parse_as(&"00".repeat(4097), Form::Hex), Err(KeyError::TooLong(4097)));
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
