//! What goes to stdout: values byte for byte, lines and tables for people, one JSON document for programs.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::{colour, confirm};

/// The standard streams of one command.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    asks: bool,
}

impl Output {
    /// That of a command which asks nothing.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, asks: false }
    }

    /// The same, of a command that asks before it deletes, or does not.
    pub(crate) fn asking(self, asks: bool) -> Self {
        Self { asks, ..self }
    }

    /// Goes on where the user says so, or nobody can be asked. `what` says what is about to be deleted.
    pub(crate) async fn confirm(&self, what: impl Display) -> Result<(), Failure> {
        if self.asks { confirm::ask(what).await } else { Ok(()) }
    }

    /// Whether the caller wants JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Exactly these bytes, and nothing after them.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::stdout)
    }

    /// One JSON document.
    pub(crate) fn json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(document).map_err(|error| Failure::stdout(error.into()))?;
        text.push(b'\n');
        self.bytes(&text)
    }

    /// Lines of text, each ended by a newline.
    pub(crate) fn lines(&self, lines: impl IntoIterator<Item = impl Display>) -> Result<(), Failure> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.to_string());
            text.push('\n');
        }
        self.bytes(text.as_bytes())
    }

    /// What a command did: `document` for programs, or else one line for people.
    pub(crate) fn done(&self, document: &impl Serialize, line: impl Display) -> Result<(), Failure> {
        if self.json { self.json(document) } else { self.lines([line]) }
    }

    /// A note beside the output, on stderr: a stderr that is gone does not stop a command.
    pub(crate) fn note(&self, note: impl Display) {
        let _ = writeln!(anstream::stderr(), "{}", colour::led(&note.to_string()));
    }
}

/// Puts bytes into a document: as text under `name` where they are UTF-8, else under `name_base64`.
pub(crate) fn put_bytes(document: &mut Value, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => document[name] = text.into(),
        Err(_) => document[format!("{name}_base64")] = STANDARD.encode(bytes).into(),
    }
}

/// An empty table in the one style of all commands: columns without lines between rows, as wide as the terminal at
/// most; as wide as its content where there is no terminal.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(colour::headings(header));
    if colour::on(&io::stdout()) {
        table.enforce_styling();
    }
    let arrangement =
        if io::stdout().is_terminal() { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
    table.set_content_arrangement(arrangement);
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table
}

/// `bytes` for people: `317 B`, `1.20 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A count with its noun: `1 key`, `2,345 keys`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number as u64))
}

/// A number with its digits in groups of three.
pub(crate) fn thousands(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `text` in lines of at most `width` characters, as far as its words allow.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let word_length = word.chars().count();
        match length {
            0 => {}
            _ if length + 1 + word_length > width => {
                lines.push('\n');
                length = 0;
            }
            _ => {
                lines.push(' ');
                length += 1;
            }
        }
        lines.push_str(word);
        length += word_length;
    }
    lines
}

/// A moment, as in RFC 3339, in UTC, to the millisecond; as milliseconds since 1970 where a damaged or forged object says a year past 9999.
pub(crate) fn time(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = String::new();
    match write!(text, "{}", humantime::format_rfc3339_millis(UNIX_EPOCH + since)) {
        Ok(()) => text,
        Err(_) => format!("{} ms since 1970", since.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrapped("one two  three four-five-six x", 9), "one two\nthree\nfour-five-six\nx");
        assert_eq!(wrapped("", 9), "");
    }

    #[test]
    fn every_moment_can_be_shown() {
        let shown = |ms| time(UNIX_EPOCH + std::time::Duration::from_millis(ms));
        assert_eq!(shown(1_800_000_000_437), "2027-01-15T08:00:00.437Z");
        // The greatest clock that a version can have.
        assert_eq!(shown((1 << 48) - 1), "281474976710655 ms since 1970");
        assert_eq!(time(UNIX_EPOCH - std::time::Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([count(1, "key"), count(2000, "key")], ["1 key", "2,000 keys"]);
        assert_eq!(
            [0, 1023, 1024, 1_048_575, 5 << 30].map(size),
            ["0 B", "1023 B", "1.00 KiB", "1024.00 KiB", "5.00 GiB"]
        );
    }
}
