//! A dump as JSON lines.

use std::io::{self, BufRead, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::format::{End, Head, Item, PIECE_BYTES, Refusal};
use crate::key::Key;

/// The longest line: a piece in which every byte is an escape of JSON, and the longest key in the same way, and more.
const LINE_BYTES: u64 = 8 << 20;

/// One line: a head, an end, or a key with a value or a part of one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    aft_dump: Option<Head>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// Writes a dump.
#[derive(Debug)]
pub(crate) struct LineWriter<W> {
    to: W,
    key: String,
    /// The number of the next part, from 1.
    part: u64,
    of: u64,
    piece: Vec<u8>,
}

impl<W: Write> LineWriter<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, key: String::new(), part: 1, of: 1, piece: Vec::new() }
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }

    pub(crate) fn head(&mut self, head: Head) -> io::Result<()> {
        self.line(&Line { aft_dump: Some(head), ..Line::default() })
    }

    /// Begins a key whose value has `len` bytes.
    pub(crate) fn key(&mut self, key: &[u8], len: u64) {
        self.key = Key::from_bytes(key).escaped().to_string();
        (self.part, self.of) = (1, len.div_ceil(PIECE_BYTES as u64).max(1));
    }

    pub(crate) fn value(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.piece.len() == PIECE_BYTES {
                self.write_part()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    pub(crate) fn end_of_value(&mut self) -> io::Result<()> {
        self.write_part()
    }

    fn write_part(&mut self) -> io::Result<()> {
        let several = (self.of > 1).then_some(());
        let mut line = Line {
            key: Some(self.key.clone()),
            part: several.map(|()| self.part),
            of: several.map(|()| self.of),
            ..Line::default()
        };
        match String::from_utf8(std::mem::take(&mut self.piece)) {
            Ok(text) => line.value = Some(text),
            Err(error) => line.value_base64 = Some(STANDARD.encode(error.as_bytes())),
        }
        self.part += 1;
        self.line(&line)
    }

    pub(crate) fn end(&mut self, end: End) -> io::Result<()> {
        self.line(&Line { end: Some(end), ..Line::default() })
    }

    pub(crate) fn into_inner(self) -> W {
        self.to
    }
}

/// Hands every item of the dump to `take`, with its place. Returns where the lines end, whole or not.
pub(crate) fn read(
    mut from: impl BufRead,
    mut take: impl FnMut(Item, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    // The key of a value that is not over, and the part of it that must come next.
    let mut open: Option<(Vec<u8>, u64, u64)> = None;
    for number in 1.. {
        let place = format!("line {number}");
        let mut text = Vec::new();
        from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut text)?;
        let line = match serde_json::from_slice::<Line>(&text) {
            Ok(line) => line,
            Err(_) if !text.ends_with(b"\n") && (text.len() as u64) < LINE_BYTES => break,
            Err(cause) => return Err(Refusal::damaged(place, cause)),
        };
        let item = line.item().map_err(|why| Refusal::damaged(&place, why))?;
        let (key, part, of, bytes) = match item {
            Content::Other(_) if open.is_some() => {
                return Err(Refusal::damaged(place, "the value before it has parts that are not there"));
            }
            Content::Other(item) => {
                take(item, &place)?;
                continue;
            }
            Content::Part { key, part, of, bytes } => (key, part, of, bytes),
        };
        let fits = match &open {
            None => part == 1 && of >= 1,
            Some((open, next, last)) => *open == key && (part, of) == (*next, *last),
        };
        if !fits {
            let why = format!("part {part} of {of} of a value does not follow what is before it");
            return Err(Refusal::damaged(place, why));
        }
        if open.is_none() {
            take(Item::Key(key.clone()), &place)?;
        }
        open = (part < of).then_some((key, part + 1, of));
        take(Item::Piece { bytes, last: part == of }, &place)?;
    }
    Ok(())
}

/// What a line says.
enum Content {
    Other(Item),
    Part { key: Vec<u8>, part: u64, of: u64, bytes: Bytes },
}

impl Line {
    fn item(self) -> Result<Content, String> {
        let Self { aft_dump, key, part, of, value, value_base64, end } = self;
        let plain = part.is_none() && of.is_none() && value.is_none() && value_base64.is_none();
        match (aft_dump, key, end) {
            (Some(head), None, None) if plain => Ok(Content::Other(Item::Head(head))),
            (None, None, Some(end)) if plain => Ok(Content::Other(Item::End(end))),
            (None, Some(key), None) => {
                let key = Key::parse(&key).map_err(|cause| cause.to_string())?;
                let bytes = match (value, value_base64) {
                    (Some(text), None) => text.into_bytes(),
                    (None, Some(text)) => STANDARD.decode(text).map_err(|cause| cause.to_string())?,
                    _ => return Err("a key has either `value` or `value_base64`".to_owned()),
                };
                let (part, of) = (part.unwrap_or(1), of.unwrap_or(1));
                Ok(Content::Part { key: key.as_ref().to_vec(), part, of, bytes: bytes.into() })
            }
            _ => Err("neither a key with its value nor the head or end of a dump".to_owned()),
        }
    }
}
