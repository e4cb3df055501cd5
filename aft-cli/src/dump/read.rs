//! Reading a dump on a thread of its own, verified, while what was read goes into the store.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::format::{End, Head, Item, Refusal, Verifier};
use super::{archive, lines};
use crate::exit::Exit;
use crate::failure::Failure;

/// How many items wait to be taken: some mebibytes.
const WAITING: usize = 4;

/// Where a dump comes from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: Option<PathBuf>,
}

impl Source {
    /// The file, or stdin where there is none or it is `-`.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { path: path.filter(|path| path != Path::new("-")) }
    }

    pub(crate) fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "stdin".to_owned(), |path| path.display().to_string())
    }

    /// Whether it can be read twice.
    pub(crate) fn is_file(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.is_file())
    }

    /// Its bytes.
    pub(crate) fn reader(&self) -> Result<Box<dyn Read + Send>, Failure> {
        Ok(match &self.path {
            None => Box::new(io::stdin()),
            Some(path) => Box::new(File::open(path).map_err(|cause| Failure::input(self.name(), cause))?),
        })
    }

    /// Begins to read it.
    pub(crate) fn open(&self) -> Result<Incoming, Failure> {
        let from = self.reader()?;
        let (to, items) = mpsc::channel(WAITING);
        // A thread of its own: the process must be able to end while stdin brings nothing.
        std::thread::spawn(move || {
            let sender = to.clone();
            let mut send = |item| sender.blocking_send(Ok(item)).is_ok();
            if let Err(refusal) = read(BufReader::with_capacity(256 << 10, from), &mut send) {
                let _ = to.blocking_send(Err(refusal));
            }
        });
        Ok(Incoming { items, name: self.name(), refusal: None })
    }
}

/// Reads a whole dump and hands its items on, as long as `take` takes them. The end comes last, and only where all is proved.
fn read(mut from: impl BufRead, take: &mut dyn FnMut(Item) -> bool) -> Result<(), Refusal> {
    let beginning = from.fill_buf()?;
    let is_lines = beginning.first() == Some(&b'{');
    if !is_lines && !beginning.starts_with(archive::HEAD.as_bytes()) {
        return Err(no_dump(beginning));
    }
    let mut verifier = Verifier::default();
    let mut end = None;
    let mut gone = false;
    let each = |item: Item, place: &str| {
        if end.is_some() {
            return Err(Refusal::damaged(place, "it stands behind the end of the dump"));
        }
        verifier.item(&item, place)?;
        match item {
            Item::End(found) => end = Some(found),
            item => gone |= !gone && !take(item),
        }
        Ok(())
    };
    if is_lines { lines::read(from, each) } else { archive::read(from, each) }?;
    match end {
        Some(end) => {
            take(Item::End(end));
            Ok(())
        }
        None => Err(Refusal::CutOff(verifier.keys())),
    }
}

fn no_dump(beginning: &[u8]) -> Refusal {
    let packed: [(&[u8], &str); 4] =
        [(b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b", "gzip"), (b"\xfd7zXZ", "xz"), (b"BZh", "bzip2")];
    let how = packed.iter().find(|(magic, _)| beginning.starts_with(magic));
    Refusal::NoDump(match how {
        Some((_, tool)) => format!("it is compressed; unpack it first, with `{tool} -dc`"),
        None if beginning.is_empty() => "it is empty, and a dump never is".to_owned(),
        None => "it is no dump of aft: neither JSON lines nor a tar archive that `aft dump` made".to_owned(),
    })
}

/// A dump that is being read.
#[derive(Debug)]
pub(crate) struct Incoming {
    items: mpsc::Receiver<Result<Item, Refusal>>,
    name: String,
    /// Why reading a value ended early.
    refusal: Option<Refusal>,
}

impl Incoming {
    /// The next item; the last is the end.
    pub(crate) async fn next(&mut self) -> Result<Item, Refusal> {
        // Without an answer the thread has panicked.
        let stopped = || Err(Refusal::Io(io::Error::other("the thread that read it has ended")));
        self.items.recv().await.unwrap_or_else(stopped)
    }

    /// The head, which comes first.
    pub(crate) async fn head(&mut self) -> Result<Head, Refusal> {
        match self.next().await? {
            Item::Head(head) => Ok(head),
            // The verifier lets nothing else come first.
            _ => Err(Refusal::damaged("the head", "it must be here, and is not")),
        }
    }

    /// Reads to the end, which proves everything before it.
    pub(crate) async fn verify(&mut self) -> Result<End, Refusal> {
        loop {
            if let Item::End(end) = self.next().await? {
                return Ok(end);
            }
        }
    }

    /// The next piece of a value that is not over, and whether it is the last.
    pub(crate) async fn piece(&mut self) -> Result<(bytes::Bytes, bool), Refusal> {
        match self.next().await? {
            Item::Piece { bytes, last } => Ok((bytes, last)),
            _ => Err(Refusal::damaged("a value", "it has no end")),
        }
    }

    /// Keeps why a value ended early for [`refused`](Self::refused).
    pub(crate) fn keep(&mut self, refusal: Refusal) -> io::Error {
        let error = io::Error::other(refusal.to_string());
        self.refusal = Some(refusal);
        error
    }

    /// Why a value ended early, if it is the dump's fault.
    pub(crate) fn kept(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// The failure of a command that cannot load this dump, with what became of the store.
    pub(crate) fn refused(&self, refusal: Refusal, became: &str) -> Failure {
        let exit = if matches!(refusal, Refusal::Io(_)) { Exit::Error } else { Exit::Usage };
        let name = &self.name;
        let advice = match &refusal {
            Refusal::CutOff(_) | Refusal::Damaged { .. } => {
                Some("make the dump again, or take another copy of it")
            }
            _ => None,
        };
        let failure = Failure::new(exit, format!("cannot load {name}: {refusal}; {became}"));
        let failure = match refusal {
            Refusal::Io(cause) => failure.because(cause),
            _ => failure,
        };
        match advice {
            Some(advice) => failure.advice(advice),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::PIECE_BYTES;
    use super::*;
    use crate::args::DumpFormat::{Jsonl, Tar};
    use crate::dump::tests::dumped;

    /// Keys and their values.
    type Rows = Vec<(Vec<u8>, Vec<u8>)>;

    /// What a dump holds; where it is refused, why.
    fn rows(dump: &[u8]) -> Result<Rows, Refusal> {
        let (mut rows, mut ended) = (Rows::new(), false);
        read(dump, &mut |item| {
            match item {
                Item::Head(_) => {}
                Item::Key(key) => rows.push((key, Vec::new())),
                Item::Piece { bytes, .. } => rows.last_mut().unwrap().1.extend_from_slice(&bytes),
                Item::End(_) => ended = true,
            }
            true
        })?;
        assert!(ended);
        Ok(rows)
    }

    fn owned(rows: &[(&[u8], &[u8])]) -> Rows {
        rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    const SMALL: &[(&[u8], &[u8])] =
        &[(b"/etc/passwd", b"text"), (b"\0\xff\n", b"\xfe\0"), (b"a", b""), (b"k", &[b'v'; 600])];

    #[test]
    fn what_was_written_is_read_at_every_length_of_a_piece() {
        let bytes: Vec<u8> = (0..3_200_000_u32).map(|n| (n / 77) as u8).collect();
        let text = "äöü".repeat(400_000);
        let lengths = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES];
        let mut all: Vec<(&[u8], &[u8])> = lengths.iter().map(|len| (&b"key"[..], &bytes[..*len])).collect();
        all.push((b"text", text.as_bytes()));
        // Every byte is an escape of JSON, and every byte of the longest key one of JSON and of keys.
        let (controls, longest) = (vec![1; 2 * PIECE_BYTES], [b'\\'; 4096]);
        all.push((&longest, &controls));
        all.extend(SMALL);
        for format in [Jsonl, Tar] {
            assert!(rows(&dumped(format, &all)).unwrap() == owned(&all));
            assert_eq!(rows(&dumped(format, &[])).unwrap(), owned(&[]));
        }
    }

    #[test]
    fn a_dump_that_is_cut_off_anywhere_is_refused() {
        for format in [Jsonl, Tar] {
            let whole = dumped(format, SMALL);
            // The newline of the last line can be spared, and what fills an archive up.
            let last = if format == Jsonl { b'}' } else { b'\n' };
            let needed = whole.iter().rposition(|byte| *byte == last).unwrap() + 1;
            assert!(rows(&whole[..needed]).is_ok());
            for len in 0..needed {
                match rows(&whole[..len]).unwrap_err() {
                    Refusal::CutOff(keys) => assert!(keys <= SMALL.len() as u64),
                    Refusal::NoDump(_) => assert!(len < 14),
                    other => panic!("{format:?} cut at {len}: {other}"),
                }
            }
        }
    }

    #[test]
    fn a_bit_that_flips_is_noticed_or_changes_nothing() {
        for format in [Jsonl, Tar] {
            let whole = dumped(format, SMALL);
            let mut harmless = 0;
            for bit in (0..whole.len() * 8).step_by(5) {
                let mut damaged = whole.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                if let Ok(found) = rows(&damaged) {
                    assert_eq!(found, owned(SMALL), "{format:?}, bit {bit}");
                    harmless += 1;
                }
            }
            // The case of hexadecimal digits in a key, and what fills blocks up.
            assert!(harmless < if format == Jsonl { 20 } else { whole.len() }, "{format:?}: {harmless}");
        }
    }

    #[test]
    fn what_follows_or_is_mixed_up_is_refused() {
        for format in [Jsonl, Tar] {
            let whole = dumped(format, SMALL);
            let twice = [&whole[..], &whole[..]].concat();
            assert!(matches!(rows(&twice), Err(Refusal::Damaged { .. })), "{format:?}");
        }
        let parts =
            String::from_utf8(dumped(Jsonl, &[(b"k", &vec![b'x'; 3 * PIECE_BYTES]), (b"l", b"")])).unwrap();
        let lines: Vec<&str> = parts.split_inclusive('\n').collect();
        assert_eq!(lines.len(), 6);
        for order in [[0, 2, 1, 3, 4, 5], [0, 1, 1, 2, 3, 5], [0, 1, 2, 4, 3, 5], [0, 1, 2, 5, 3, 4]] {
            let mixed: String = order.iter().map(|at| lines[*at]).collect();
            let said = rows(mixed.as_bytes()).unwrap_err().to_string();
            assert!(said.contains("does not follow") || said.contains("parts that are not there"), "{said}");
        }
        let behind = format!("{parts}{{\"key\":\"m\",\"value\":\"late\"}}\n");
        let said = rows(behind.as_bytes()).unwrap_err().to_string();
        assert!(said.contains("line 7: it stands behind the end"), "{said}");
        let newer = dumped(Jsonl, SMALL);
        let newer = String::from_utf8(newer).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(
            rows(newer.as_bytes()).unwrap_err().to_string().contains("version 2; this aft reads version 1")
        );
        for (begin, word) in
            [(&b"\x1f\x8b"[..], "gzip -dc"), (b"", "empty"), (b"hello", "no dump"), (b"{}", "neither")]
        {
            let said = rows(begin).unwrap_err().to_string();
            assert!(said.contains(word) || begin == b"{}", "{said}");
        }
    }
}
