//! Scans: one read of every key in a range.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use tracing::field::Empty;

use crate::error::Error;
use crate::key_range::KeyRange;
use crate::node::index::fetch::Answer;
use crate::node::spans::{OK, noted};
use crate::node::transaction::Transaction;
use crate::node::transaction::read::Page;
use crate::protocol::view::Found;
use crate::protocol::write_buffer::Own;
use crate::version::Version;

/// A key, and where its value is.
type Row = (Bytes, Answer);

/// What a scan knows of one key without its value; from [`Transaction::scan_entries`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The version of the commit that wrote it; `None` where this transaction did, and has no version yet.
    pub version: Option<Version>,
    /// The length of the value in bytes.
    pub len: u64,
}

impl Entry {
    /// When the value was committed, to the millisecond, by the clock of the node that did: as right as that clock was, within
    /// [`Config::max_clock_skew`](crate::Config::max_clock_skew) of the store's, or later where what was read before
    /// was (versions only grow). `None` for the transaction's own writes.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("k", "12345")?;
    /// assert_eq!(tx.scan_entries(..).await?[0].written(), None);
    /// tx.commit().await?;
    /// let entry = &aft.begin().await?.scan_entries(..).await?[0];
    /// assert!(entry.len == 5 && entry.written().unwrap() <= std::time::SystemTime::now());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn written(&self) -> Option<SystemTime> {
        self.version.map(|version| UNIX_EPOCH + Duration::from_millis(version.clock_ms()))
    }
}

/// What the row of a key is made of.
enum RowOf<'a> {
    /// The transaction's own write.
    Own(&'a Transaction, Own<'a>),
    /// What was read.
    Read(&'a Page, Found),
}

impl RowOf<'_> {
    fn value(key: Bytes, of: RowOf<'_>) -> Row {
        let answer = match of {
            RowOf::Own(transaction, own) => transaction.own_answer(own),
            RowOf::Read(page, found) => page.answer(&key, found),
        };
        (key, answer)
    }

    fn entry(key: Bytes, of: RowOf<'_>) -> Entry {
        match of {
            RowOf::Own(_, own) => Entry { key, version: None, len: own.value_len() },
            RowOf::Read(_, found) => Entry { key, version: Some(found.version()), len: found.value_len() },
        }
    }
}

/// The pages of a scan.
#[derive(Debug, Clone, Copy)]
struct Pages {
    /// How many keys a page has at most.
    keys: usize,
    /// How many were read.
    read: u32,
}

impl Pages {
    /// One page of everything.
    const ALL: Self = Self { keys: usize::MAX, read: 0 };

    /// How many rows of the index are read ahead: twice as many with each page, since who went on so far goes on further.
    fn ahead(self) -> usize {
        self.keys.saturating_mul(1 << self.read.min(10))
    }
}

/// How many keys a page of a stream covers.
const STREAM_PAGE_KEYS: usize = 1024;

impl Transaction {
    /// Every key of the range with its value, sorted: one atomic read, absent keys included, so that no commit can tear it
    /// and no later read can contradict it. Own writes are merged in, deleted keys left out. For ranges larger than memory use
    /// [`scan_pages`](Self::scan_pages) or [`scan_stream`](Self::scan_stream).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// for (key, value) in tx.scan("order/2026-01".."order/2026-02").await? {
    ///     println!("{} = {} bytes", key.escape_ascii(), value.len());
    /// }
    /// let everything = tx.scan(..).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self, range: impl Into<KeyRange>) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, Error>> {
        let range = range.into();
        async move {
            let (rows, _) = self.scan_rows(range, Pages::ALL, RowOf::value).await?;
            self.row_values(rows).await
        }
        .boxed()
    }

    /// [`scan`](Self::scan) of every key that begins with `prefix`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let orders = tx.scan_prefix("order/").await?;
    /// println!("{} orders", orders.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, Error>> {
        self.scan(KeyRange::prefix(prefix))
    }

    /// The keys of the range, sorted, without their values: the same read as [`scan`](Self::scan), and no requests but those of the
    /// index.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let customers = tx.scan_keys(aft_core::KeyRange::prefix("customer/")).await?;
    /// println!("{} customers", customers.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_keys(&self, range: impl Into<KeyRange>) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        let range = range.into();
        async move {
            let (keys, _) = self.scan_rows(range, Pages::ALL, |key, _| key).await?;
            Ok(keys)
        }
        .boxed()
    }

    /// The keys of the range, sorted, each with its version, and the length and age of its value, and without the value: the same read as
    /// [`scan`](Self::scan), with the requests of [`scan_keys`](Self::scan_keys). Values may be of any length. For ranges larger than memory
    /// use [`scan_entries_stream`](Self::scan_entries_stream) or [`ScanPages::next_entries`].
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let tx = aft.begin().await?;
    /// let entries = tx.scan_entries("picture/"..).await?;
    /// println!("{} pictures of {} bytes", entries.len(), entries.iter().map(|entry| entry.len).sum::<u64>());
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_entries(&self, range: impl Into<KeyRange>) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        let range = range.into();
        async move { Ok(self.scan_rows(range, Pages::ALL, RowOf::entry).await?.0) }.boxed()
    }

    /// [`scan_entries`](Self::scan_entries) of every key that begins with `prefix`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let tx = aft.begin().await?;
    /// for entry in tx.scan_prefix_entries("order/").await? {
    ///     println!("{} since {:?}", entry.key.escape_ascii(), entry.written());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_prefix_entries(&self, prefix: impl AsRef<[u8]>) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        self.scan_entries(KeyRange::prefix(prefix))
    }

    /// The range in pages of at most `page_keys` keys (own writes beside). Each page is one more read of the same
    /// transaction, so that all of them together are atomic too, but later pages may be newer than earlier ones.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let mut pages = tx.scan_pages(.., 1_000);
    /// while let Some(page) = pages.next_page().await? {
    ///     println!("{} keys more", page.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_pages(&self, range: impl Into<KeyRange>, page_keys: usize) -> ScanPages<'_> {
        ScanPages {
            rest: Some(range.into()),
            pages: Pages { keys: page_keys.max(1), read: 0 },
            transaction: self,
        }
    }

    /// The range as a stream of rows, in pages of 1,024 keys; see [`scan_pages`](Self::scan_pages).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// use futures::TryStreamExt;
    ///
    /// let mut rows = std::pin::pin!(tx.scan_stream("log/"..));
    /// while let Some((key, value)) = rows.try_next().await? {
    ///     println!("{}: {} bytes", key.escape_ascii(), value.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_stream(
        &self,
        range: impl Into<KeyRange>,
    ) -> impl Stream<Item = Result<(Bytes, Bytes), Error>> + Send + '_ {
        in_pages(self.scan_pages(range, STREAM_PAGE_KEYS), |pages| pages.next_page().boxed())
    }

    /// [`scan_entries`](Self::scan_entries) as a stream, in pages of 1,024 keys; see [`scan_pages`](Self::scan_pages).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// use futures::TryStreamExt;
    ///
    /// let mut entries = std::pin::pin!(tx.scan_entries_stream(..));
    /// while let Some(entry) = entries.try_next().await? {
    ///     println!("{}: {} bytes", entry.key.escape_ascii(), entry.len);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_entries_stream(
        &self,
        range: impl Into<KeyRange>,
    ) -> impl Stream<Item = Result<Entry, Error>> + Send + '_ {
        in_pages(self.scan_pages(range, STREAM_PAGE_KEYS), |pages| pages.next_entries().boxed())
    }

    /// Chooses the versions of a page, and merges the own writes in.
    async fn scan_rows<R>(
        &self,
        range: KeyRange,
        pages: Pages,
        row: impl Fn(Bytes, RowOf<'_>) -> R,
    ) -> Result<(Vec<R>, Option<KeyRange>), Error> {
        let span = tracing::debug_span!("aft.scan", txn = %self.id, keys = Empty, outcome = Empty);
        let scanned = noted(span, self.scan_now(range, pages, row), |span, (rows, _)| {
            span.record("keys", rows.len());
            OK
        });
        scanned.await
    }

    async fn scan_now<R>(
        &self,
        range: KeyRange,
        pages: Pages,
        row: impl Fn(Bytes, RowOf<'_>) -> R,
    ) -> Result<(Vec<R>, Option<KeyRange>), Error> {
        self.check_alive()?;
        let mut read =
            self.read_page(range, pages.keys, pages.ahead()).await.map_err(|error| self.named(error))?;
        // A key that the transaction deleted is no row.
        let own_row = |(key, own): (&Bytes, Own<'_>)| {
            (own != Own::Deleted).then(|| row(key.clone(), RowOf::Own(self, own)))
        };
        let found = std::mem::take(&mut read.page.rows);
        let mut own = self.buffer.range(&read.page.covered).peekable();
        let mut rows = Vec::with_capacity(found.len());
        for (key, found) in found {
            while let Some(before) = own.next_if(|(own_key, _)| **own_key < key) {
                rows.extend(own_row(before));
            }
            match own.next_if(|(own_key, _)| **own_key == key) {
                Some(same) => rows.extend(own_row(same)),
                None => rows.push(row(key, RowOf::Read(&read, found))),
            }
        }
        rows.extend(own.filter_map(own_row));
        Ok((rows, read.page.rest))
    }

    async fn row_values(&self, rows: Vec<Row>) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let (keys, answers): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let values = self.node.answers(&self.store, answers).await.map_err(|error| self.named(error))?;
        Ok(keys.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect())
    }
}

/// A scan in pages; from [`Transaction::scan_pages`].
#[derive(Debug)]
pub struct ScanPages<'a> {
    transaction: &'a Transaction,
    rest: Option<KeyRange>,
    pages: Pages,
}

impl ScanPages<'_> {
    /// Lets the pages from the next one on have at most `page_keys` keys: a small first page comes soon, and larger ones behind it cost fewer reads.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// for n in 0..5 {
    ///     tx.put(format!("k{n}"), "v")?;
    /// }
    /// tx.commit().await?;
    /// let tx = aft.begin().await?;
    /// let mut pages = tx.scan_pages(.., 1);
    /// assert_eq!(pages.next_entries().await?.unwrap().len(), 1);
    /// pages.resize(1_000);
    /// assert_eq!(pages.next_entries().await?.unwrap().len(), 4);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn resize(&mut self, page_keys: usize) {
        self.pages.keys = page_keys.max(1);
    }

    /// The next page; `None` after the last. A page can be empty while more follow: its keys were deleted.
    ///
    /// # Errors
    /// As [`Transaction::get`]; the same page can be asked for again.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// for n in 0..5 {
    ///     tx.put(format!("k{n}"), "v")?;
    /// }
    /// tx.commit().await?;
    /// let tx = aft.begin().await?;
    /// let (mut pages, mut lens) = (tx.scan_pages(.., 2), Vec::new());
    /// while let Some(page) = pages.next_page().await? {
    ///     lens.push(page.len());
    /// }
    /// assert_eq!(lens, [2, 2, 1]);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn next_page(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>, Error> {
        let Some(range) = self.rest.clone() else { return Ok(None) };
        let (rows, rest) = self.transaction.scan_rows(range, self.pages, RowOf::value).await?;
        let page = self.transaction.row_values(rows).await?;
        self.rest = rest;
        self.pages.read = self.pages.read.saturating_add(1);
        Ok(Some(page))
    }

    /// The next page as [entries](Transaction::scan_entries), without values; `None` after the last.
    ///
    /// # Errors
    /// As [`Transaction::get`]; the same page can be asked for again.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// for n in 0..5 {
    ///     tx.put(format!("k{n}"), "v")?;
    /// }
    /// tx.commit().await?;
    /// let tx = aft.begin().await?;
    /// let (mut pages, mut lens) = (tx.scan_pages(.., 2), Vec::new());
    /// while let Some(page) = pages.next_entries().await? {
    ///     lens.push(page.len());
    /// }
    /// assert_eq!(lens, [2, 2, 1]);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn next_entries(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        let Some(range) = self.rest.clone() else { return Ok(None) };
        let (page, rest) = self.transaction.scan_rows(range, self.pages, RowOf::entry).await?;
        self.rest = rest;
        self.pages.read = self.pages.read.saturating_add(1);
        Ok(Some(page))
    }
}

/// A page on its way; `None` after the last.
type NextPage<'p, T> = BoxFuture<'p, Result<Option<Vec<T>>, Error>>;

/// The items of all pages. It ends after an error.
fn in_pages<'a, T: Send + 'a>(
    pages: ScanPages<'a>,
    next: for<'p> fn(&'p mut ScanPages<'a>) -> NextPage<'p, T>,
) -> impl Stream<Item = Result<T, Error>> + Send + 'a {
    futures::stream::unfold((pages, Vec::new().into_iter()), move |(mut pages, mut items)| async move {
        loop {
            if let Some(item) = items.next() {
                return Some((Ok(item), (pages, items)));
            }
            match next(&mut pages).await {
                Ok(None) => return None,
                Ok(Some(page)) => items = page.into_iter(),
                Err(error) => {
                    pages.rest = None;
                    return Some((Err(error), (pages, items)));
                }
            }
        }
    })
}
