//! Scans: one read of every key in a range.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};

use crate::error::Error;
use crate::key_range::KeyRange;
use crate::node::fetch::Answer;
use crate::node::transaction::Transaction;
use crate::protocol::write_buffer::Own;

/// A key, and where its value is.
type Row = (Bytes, Answer);

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
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// for (key, value) in tx.scan("order/2026-01".."order/2026-02").await? {
    ///     println!("{} = {} bytes", key.escape_ascii(), value.len());
    /// }
    /// let everything = tx.scan(..).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&mut self, range: impl Into<KeyRange>) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, Error>> {
        let range = range.into();
        async move {
            let (rows, _) = self.scan_rows(range, usize::MAX).await?;
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
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let orders = tx.scan_prefix("order/").await?;
    /// println!("{} orders", orders.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_prefix(
        &mut self,
        prefix: impl AsRef<[u8]>,
    ) -> BoxFuture<'_, Result<Vec<(Bytes, Bytes)>, Error>> {
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
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let customers = tx.scan_keys(aft_core::KeyRange::prefix("customer/")).await?;
    /// println!("{} customers", customers.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_keys(&mut self, range: impl Into<KeyRange>) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        let range = range.into();
        async move {
            let (rows, _) = self.scan_rows(range, usize::MAX).await?;
            Ok(rows.into_iter().map(|(key, _)| key).collect())
        }
        .boxed()
    }

    /// The range in pages of at most `page_keys` keys (own writes beside). Each page is one more read of the same
    /// transaction, so that all of them together are atomic too, but later pages may be newer than earlier ones.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let mut pages = tx.scan_pages(.., 1_000);
    /// while let Some(page) = pages.next_page().await? {
    ///     println!("{} keys more", page.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan_pages(&mut self, range: impl Into<KeyRange>, page_keys: usize) -> ScanPages<'_> {
        ScanPages { rest: Some(range.into()), page_keys: page_keys.max(1), transaction: self }
    }

    /// The range as a stream of rows, in pages of 1,024 keys; see [`scan_pages`](Self::scan_pages).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
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
        &mut self,
        range: impl Into<KeyRange>,
    ) -> impl Stream<Item = Result<(Bytes, Bytes), Error>> + Send + '_ {
        let pages = self.scan_pages(range, STREAM_PAGE_KEYS);
        futures::stream::unfold((pages, Vec::new().into_iter()), |(mut pages, mut rows)| async move {
            loop {
                if let Some(row) = rows.next() {
                    return Some((Ok(row), (pages, rows)));
                }
                match pages.next_page().await {
                    Ok(None) => return None,
                    Ok(Some(page)) => rows = page.into_iter(),
                    Err(error) => {
                        pages.rest = None;
                        return Some((Err(error), (pages, rows)));
                    }
                }
            }
        })
    }

    /// Chooses the versions of a page, and merges the own writes in.
    async fn scan_rows(
        &mut self,
        range: KeyRange,
        limit: usize,
    ) -> Result<(Vec<Row>, Option<KeyRange>), Error> {
        self.check_alive()?;
        let mut read = self.read_page(range, limit).await.map_err(|error| self.named(error))?;
        // A key that the transaction deleted is no row.
        let row = |(key, own): (&Bytes, Own<'_>)| {
            (own != Own::Deleted).then(|| (key.clone(), self.own_answer(own)))
        };
        let found = std::mem::take(&mut read.page.rows);
        let mut own = self.buffer.range(&read.page.covered).peekable();
        let mut rows = Vec::with_capacity(found.len());
        for (key, found) in found {
            while let Some(before) = own.next_if(|(own_key, _)| **own_key < key) {
                rows.extend(row(before));
            }
            match own.next_if(|(own_key, _)| **own_key == key) {
                Some(same) => rows.extend(row(same)),
                None => {
                    let answer = read.answer(&key, found);
                    rows.push((key, answer));
                }
            }
        }
        rows.extend(own.filter_map(row));
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
    transaction: &'a mut Transaction,
    rest: Option<KeyRange>,
    page_keys: usize,
}

impl ScanPages<'_> {
    /// The next page; `None` after the last. A page can be empty while more follow: its keys were deleted.
    ///
    /// # Errors
    /// As [`Transaction::get`]; the same page can be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>, Error> {
        let Some(range) = self.rest.clone() else { return Ok(None) };
        let (rows, rest) = self.transaction.scan_rows(range, self.page_keys).await?;
        let page = self.transaction.row_values(rows).await?;
        self.rest = rest;
        Ok(Some(page))
    }
}
