//! A dump as a tar archive. No key can be trusted to be a member's name: it may be `/etc/passwd`, or have any bytes. So members
//! have numbers, and a key is a member of its own, just before its value.

use std::cell::Cell;
use std::io::{self, Read, Write};

use aft_core::MAX_KEY_BYTES;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tar::{Archive, Entry, EntryType, Header};

use super::format::{End, Head, Item, PIECE_BYTES, Refusal};

/// The name of the first member.
pub(crate) const HEAD: &str = "aft-dump.json";
/// The name of the last member.
const END: &str = "aft-dump-end.json";
/// The longest head or end.
const JSON_BYTES: u64 = 4096;
const BLOCK: usize = 512;

fn key_name(number: u64) -> String {
    format!("{number:012}.key")
}

fn value_name(number: u64) -> String {
    format!("{number:012}.value")
}

/// Writes a dump.
#[derive(Debug)]
pub(crate) struct ArchiveWriter<W> {
    to: W,
    keys: u64,
    /// The length of the value that is being written.
    len: u64,
}

impl<W: Write> ArchiveWriter<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, keys: 0, len: 0 }
    }

    pub(crate) fn head(&mut self, head: &Head) -> io::Result<()> {
        self.json(HEAD, head)
    }

    pub(crate) fn key(&mut self, key: &[u8], len: u64) -> io::Result<()> {
        self.keys += 1;
        self.len = len;
        self.member(&key_name(self.keys), key)?;
        self.header(&value_name(self.keys), len)
    }

    pub(crate) fn value(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    pub(crate) fn end_of_value(&mut self) -> io::Result<()> {
        self.pad(self.len)
    }

    pub(crate) fn end(&mut self, end: &End) -> io::Result<()> {
        self.json(END, end)?;
        self.to.write_all(&[0; 2 * BLOCK])
    }

    pub(crate) fn into_inner(self) -> W {
        self.to
    }

    fn json(&mut self, name: &str, document: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(document)?;
        text.push(b'\n');
        self.member(name, &text)
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.header(name, bytes.len() as u64)?;
        self.to.write_all(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// Owners and dates are left out, so that equal keys and values make equal archives.
    fn header(&mut self, name: &str, len: u64) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_path(name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // Over 8 GiB in the way of GNU tar, which others read too.
        header.set_size(len);
        header.set_cksum();
        self.to.write_all(header.as_bytes())
    }

    fn pad(&mut self, len: u64) -> io::Result<()> {
        let over = (len % BLOCK as u64) as usize;
        if over == 0 { Ok(()) } else { self.to.write_all(&[0; BLOCK][over..]) }
    }
}

/// Hands every item of the archive to `take`, with its place. Returns where the archive ends, whole or not.
pub(crate) fn read(
    from: impl Read,
    mut take: impl FnMut(Item, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let source = Cell::new(Source::GoesOn);
    let mut archive = Archive::new(Watched { from, source: &source });
    let mut keys = 0;
    let mut value_next = false;
    // Raw: members are plain files with short names, and what a header says is what is read.
    for member in archive.entries()?.raw(true) {
        let mut member = match (member, source.get()) {
            (Ok(member), _) => member,
            (Err(_), Source::IsOver) => return Ok(()),
            (Err(cause), Source::Failed) => return Err(cause.into()),
            (Err(cause), Source::GoesOn) => {
                return Err(Refusal::damaged(format!("after {keys} keys"), cause));
            }
        };
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let place = format!("the member {name}");
        if value_next && name == value_name(keys) {
            value_next = false;
            if !read_value(&mut member, &place, &mut take)? {
                return Ok(());
            }
            continue;
        }
        let is_key = !value_next && name == key_name(keys + 1);
        if value_next || !(is_key || name == HEAD || name == END) {
            return Err(Refusal::damaged(place, "no member of a dump that could be here"));
        }
        let most = if is_key { MAX_KEY_BYTES as u64 } else { JSON_BYTES };
        let Some(bytes) = read_short(&mut member, most, &place)? else { return Ok(()) };
        let item = match &*name {
            HEAD => Item::Head(json(&bytes, &place)?),
            END => Item::End(json(&bytes, &place)?),
            _ => {
                keys += 1;
                value_next = true;
                Item::Key(bytes)
            }
        };
        take(item, &place)?;
    }
    nothing_follows(archive.into_inner())
}

/// An archive is filled up with zeros, and another one behind it must not go unnoticed.
fn nothing_follows(mut rest: impl Read) -> Result<(), Refusal> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) if buffer[..read].iter().all(|byte| *byte == 0) => {}
            Ok(_) => return Err(Refusal::damaged("after its end", "there is something else")),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// What became of the source of an archive: the crate's errors do not tell damage from an early end.
#[derive(Debug, Clone, Copy)]
enum Source {
    GoesOn,
    IsOver,
    Failed,
}

struct Watched<'a, R> {
    from: R,
    source: &'a Cell<Source>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into);
        match &read {
            Ok(0) if !into.is_empty() => self.source.set(Source::IsOver),
            Err(cause) if cause.kind() != io::ErrorKind::Interrupted => self.source.set(Source::Failed),
            _ => {}
        }
        read
    }
}

/// A short member; `None` where the archive ends in it.
fn read_short(member: &mut Entry<'_, impl Read>, most: u64, place: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let len = member.size();
    if len > most {
        return Err(Refusal::damaged(place, format!("it has {len} bytes; at most {most} are possible")));
    }
    let mut bytes = Vec::new();
    member.read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 == len).then_some(bytes))
}

/// Hands the pieces of a value on; false where the archive ends in it.
fn read_value(
    member: &mut Entry<'_, impl Read>,
    place: &str,
    take: &mut impl FnMut(Item, &str) -> Result<(), Refusal>,
) -> Result<bool, Refusal> {
    let mut left = member.size();
    loop {
        let mut bytes = Vec::with_capacity(left.min(PIECE_BYTES as u64) as usize);
        member.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut bytes)?;
        if bytes.is_empty() && left > 0 {
            return Ok(false);
        }
        left -= bytes.len() as u64;
        take(Item::Piece { bytes: Bytes::from(bytes), last: left == 0 }, place)?;
        if left == 0 {
            return Ok(true);
        }
    }
}

fn json<T: DeserializeOwned>(text: &[u8], place: &str) -> Result<T, Refusal> {
    serde_json::from_slice(text).map_err(|cause| Refusal::damaged(place, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_over_8_gib_has_its_length_in_the_header() {
        let mut archive = ArchiveWriter::new(Vec::new());
        archive.key(b"k", 9 << 30).unwrap();
        let bytes = archive.into_inner();
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&bytes[2 * BLOCK..]);
        assert_eq!(header.entry_size().unwrap(), 9 << 30);
        assert_eq!(&*header.path_bytes(), b"000000000001.value");
    }
}
