//! Large values as streams: cut into value objects of bounded size, which go up and come down side by side, so that neither side holds
//! more than a few of them, and no store needs multipart uploads.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::envelope::{Checksum, checksum};
use crate::format::name::ValueName;
use crate::format::record::{PART_BYTES, Part, StoredValue};
use crate::node::Node;
use crate::node::background::Task;
use crate::node::index::fetch::Answer;
use crate::node::store::Store;
use crate::node::transaction::begin::expired;
use crate::node::transaction::upload::stopped;
use crate::node::transaction::{Transaction, checked_key};
use crate::planted::{Planted, planted};
use crate::storage::BoxError;
use crate::txn_id::TxnId;

/// How many parts of one stream are under way at once.
const PARALLEL_PARTS: usize = 4;
/// Values up to this size are fetched before their stream is polled.
pub(crate) const AT_ONCE: u64 = 1 << 20;

/// The value of a key, part by part: from [`Transaction::get_stream`]. Every part is verified before it is handed out, and the value
/// as a whole before the last one. It can be read on while the transaction that it came from goes on, or has ended; but only
/// within [`Config::transaction_lifetime`](crate::Config::transaction_lifetime) is it sure that no part of it is collected.
///
/// An item is an error where a part is damaged ([`ErrorKind::Corrupt`]), gone ([`VersionUnavailable`](ErrorKind::VersionUnavailable))
/// or cannot be had ([`Unavailable`](ErrorKind::Unavailable)); the stream ends after it.
pub struct ValueStream {
    len: u64,
    parts: BoxStream<'static, Result<Bytes, Error>>,
    failed: bool,
}

impl ValueStream {
    /// The length of the whole value in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for ValueStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueStream").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Stream for ValueStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let polled = self.parts.poll_next_unpin(cx);
        self.failed = matches!(polled, Poll::Ready(Some(Err(_))));
        polled
    }
}

impl Transaction {
    /// Writes what a stream brings under `key` (1 to 4096 bytes), and returns its length in bytes. The value goes up while it comes
    /// in, in parts of [`Config::stream_part_bytes`](crate::Config::stream_part_bytes), four at a time; when this
    /// returns it is in the store, and nothing is visible to anyone before [`commit`](Self::commit). One create for each part. A value of at
    /// most [`Config::inline_value_bytes`](crate::Config::inline_value_bytes) travels in the commit record, as with [`put`](Self::put).
    ///
    /// Where it fails, or is dropped before it is done, nothing was written under the key, and the transaction can go on without it;
    /// what went up is collected as garbage later.
    ///
    /// # Errors
    /// [`ErrorKind::Application`] with the error that the stream brought; [`InvalidInput`](ErrorKind::InvalidInput) where the value is
    /// longer than [`Config::max_stream_bytes`](crate::Config::max_stream_bytes); [`Expired`](ErrorKind::Expired) where it took longer
    /// than a transaction may; else as [`put`](Self::put), and [`Unavailable`](ErrorKind::Unavailable) or
    /// [`Denied`](ErrorKind::Denied) from the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn upload(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// use bytes::Bytes;
    ///
    /// let chunks = (0..1_000).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[7; 64 << 10])));
    /// let mut tx = aft.begin().await?;
    /// tx.put_stream("video", futures::stream::iter(chunks)).await?;
    /// tx.put("title", "holidays")?;
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_stream<'a, S, E>(
        &'a mut self,
        key: impl AsRef<[u8]>,
        stream: S,
    ) -> BoxFuture<'a, Result<u64, Error>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'a,
        E: Into<BoxError>,
    {
        let key = checked_key(key.as_ref());
        let stream = stream.map(|chunk| chunk.map_err(foreign)).boxed();
        async move {
            let key = key?;
            // A source that brings nothing any more must not hold the caller for ever.
            let lifetime_ms = self.node.limits.lifetime_ms;
            let left = Duration::from_millis(lifetime_ms.saturating_sub(self.age_ms()) + 1);
            match tokio::time::timeout(left, self.put_chunks(key, stream)).await {
                Ok(put) => put.map_err(|error| self.named(error)),
                Err(_) => Err(expired(self.id(), lifetime_ms)),
            }
        }
        .boxed()
    }

    async fn put_chunks(
        &mut self,
        key: Bytes,
        mut chunks: BoxStream<'_, Result<Bytes, Error>>,
    ) -> Result<u64, Error> {
        self.node.check_writable()?;
        self.check_alive()?;
        let inline = self.node.config.inline_value_bytes;
        let mut head = BytesMut::new();
        while head.len() as u64 <= inline {
            match chunks.try_next().await? {
                Some(chunk) => head.extend_from_slice(&chunk),
                None => {
                    let len = head.len() as u64;
                    return self.put(&key, head.freeze()).map(|()| len);
                }
            }
        }
        let chunks = futures::stream::iter([Ok(head.freeze())]).chain(chunks).boxed();
        let value = self.upload_chunks(chunks).await?;
        self.check_alive()?;
        let len = value.len;
        self.buffer_stored(key, value)?;
        Ok(len)
    }

    /// Makes a stream durable, part by part.
    async fn upload_chunks(
        &mut self,
        chunks: BoxStream<'_, Result<Bytes, Error>>,
    ) -> Result<StoredValue, Error> {
        // Under a request key the id is certain only once the claim is settled (HAZARDS 8).
        self.settle_claim().await?;
        let (node, store, txn, attempt) = (Arc::clone(&self.node), self.store.clone(), self.id, self.attempt);
        let config = &node.config;
        let (mut len, mut count, mut whole) = (0, 0, Checksum::default());
        let mut parts: Vec<Part> = cut(chunks, config.stream_part_bytes)
            .map(|part| {
                let part = part?;
                (len, count) = (len + part.len() as u64, count + 1);
                check_len(len, count, config.max_stream_bytes, config.max_record_bytes)?;
                self.check_alive()?;
                whole.update(&part);
                let name = ValueName { attempt, n: self.next_object() };
                Ok((name, part))
            })
            .map_ok(|(name, part)| node.upload_part(&store, txn, name, part).boxed())
            .try_buffered(PARALLEL_PARTS.min(config.parallel_requests))
            .try_collect()
            .await?;
        if planted(Planted::PartsOutOfOrder) {
            parts.reverse();
        }
        Ok(StoredValue { len, checksum: whole.finish(), parts })
    }

    /// The value of `key` as a stream; `None` where the key is absent or deleted. Reads the key as [`get`](Self::get) does, and fetches
    /// nothing of a large value before the stream is polled; then four parts at a time, one request for each.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn download(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// use futures::TryStreamExt;
    ///
    /// let tx = aft.begin().await?;
    /// if let Some(mut video) = tx.get_stream("video").await? {
    ///     while let Some(part) = video.try_next().await? {
    ///         println!("{} of {} bytes", part.len(), video.len());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_stream(&self, key: impl AsRef<[u8]>) -> BoxFuture<'_, Result<Option<ValueStream>, Error>> {
        let streams = self.get_streams([key]);
        async move { Ok(streams.await?.pop().flatten()) }.boxed()
    }

    /// The values of many keys as streams, in the order of the keys. Values of up to 1 MiB are fetched at once, side by side, as by
    /// [`get_many`](Self::get_many); of larger ones nothing, as by [`get_stream`](Self::get_stream).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// for value in tx.get_streams(["video/1", "video/2"]).await?.into_iter().flatten() {
    ///     println!("{} bytes, of which none need be read", value.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_streams<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BoxFuture<'_, Result<Vec<Option<ValueStream>>, Error>> {
        let keys: Result<Vec<_>, _> = keys.into_iter().map(|key| checked_key(key.as_ref())).collect();
        async move {
            let sources = self.sources(&keys?, AT_ONCE).await?;
            let stream = |source| self.node.stream_of(&self.store, source);
            Ok(sources.into_iter().map(|source| source.map(stream)).collect())
        }
        .boxed()
    }

    /// The bytes `range` of the value of `key`; `None` where the key is absent or deleted. What lies behind the end of the value is left
    /// out. Fetches only the parts of a stream that hold some of it, each whole, since each is verified; a value that was
    /// [`put`](Self::put) is one part.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`InvalidInput`](ErrorKind::InvalidInput) where the range ends before it begins, or is longer than
    /// [`Config::max_value_bytes`](crate::Config::max_value_bytes).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let header = tx.get_range("video", 0..64).await?;
    /// println!("{header:?}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_range(
        &self,
        key: impl AsRef<[u8]>,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Option<Bytes>, Error>> {
        let key = checked_key(key.as_ref());
        async move {
            let key = key?;
            if range.start > range.end {
                let message = format!("the range {range:?} ends before it begins");
                return Err(Error::invalid(message).with_txn(self.id()));
            }
            let Some(source) = self.sources(&[key], u64::MAX).await?.pop().flatten() else { return Ok(None) };
            let value = match source {
                Source::Held(value) => slice(&value, &range, 0),
                Source::Stored(txn, stored) => {
                    let loaded = self.node.load_range(&self.store, txn, &stored, range).await;
                    loaded.map_err(|error| self.named(error))?
                }
            };
            Ok(Some(value))
        }
        .boxed()
    }

    async fn sources(&self, keys: &[Bytes], at_once: u64) -> Result<Vec<Option<Source>>, Error> {
        self.check_alive()?;
        if self.begin.serializable {
            self.guard(keys).await?;
        }
        let answers = self.read(keys).await.map_err(|error| self.named(error))?;
        let (node, store) = (&self.node, &self.store);
        // Boxed: see `Node::answers`.
        let source = |answer| -> BoxFuture<'_, _> { node.source(store, answer, at_once).boxed() };
        futures::stream::iter(answers)
            .map(source)
            .buffered(node.config.parallel_requests)
            .try_collect()
            .await
            .map_err(|error| self.named(error))
    }
}

/// Where the bytes of a value come from.
pub(crate) enum Source {
    /// They are here.
    Held(Bytes),
    /// Value objects of this transaction.
    Stored(TxnId, StoredValue),
}

impl Node {
    /// Where the bytes of what was read come from; values of one part that are not too large come at once, through the cache.
    pub(crate) async fn source(
        self: &Arc<Self>,
        store: &Store,
        answer: Answer,
        at_once: u64,
    ) -> Result<Option<Source>, Error> {
        let found = match answer {
            Answer::Absent => return Ok(None),
            Answer::Held(value) => return Ok(Some(Source::Held(value))),
            Answer::OwnStored(txn, stored) => return Ok(Some(Source::Stored(txn, stored))),
            Answer::Found(found) => found,
        };
        if let Some(stored) = found.stored()
            && (stored.parts.len() > 1 || stored.len > at_once.min(self.config.max_value_bytes))
        {
            return Ok(Some(Source::Stored(found.version().txn, stored.clone())));
        }
        Ok(self.value(store, &found).await?.map(Source::Held))
    }

    /// A value as a stream.
    pub(crate) fn stream_of(self: &Arc<Self>, store: &Store, source: Source) -> ValueStream {
        let (len, parts) = match source {
            Source::Held(value) => {
                let len = value.len() as u64;
                (len, futures::stream::iter((!value.is_empty()).then_some(Ok(value))).boxed())
            }
            Source::Stored(txn, stored) => {
                (stored.len, self.stream_stored(store, txn, &stored, PARALLEL_PARTS))
            }
        };
        ValueStream { len, parts, failed: false }
    }

    async fn upload_part(
        self: &Arc<Self>,
        store: &Store,
        txn: TxnId,
        name: ValueName,
        bytes: Bytes,
    ) -> Result<Part, Error> {
        let part = Part {
            attempt: name.attempt,
            n: name.n,
            offset: 0,
            len: bytes.len() as u64,
            checksum: checksum(&bytes),
        };
        if planted(Planted::StreamBeforeUpload) {
            let (node, store) = (Arc::clone(self), store.clone());
            std::mem::forget(Task::spawn(async move { node.upload(&store, txn, name, bytes).await }));
            return Ok(part);
        }
        let (node, store) = (Arc::clone(self), store.clone());
        if planted(Planted::PermitsOfCallers) {
            node.upload_permitted(&store, txn, name, bytes).await?;
            return Ok(part);
        }
        // In a task: what a caller keeps without polling it must not hold a permit that others wait for.
        let upload = Task::spawn(async move { node.upload_permitted(&store, txn, name, bytes).await });
        upload.ended().await.map_err(stopped)??;
        Ok(part)
    }

    /// The parts of a stored value, in order, each verified, and the whole before the last one.
    pub(crate) fn stream_stored(
        self: &Arc<Self>,
        store: &Store,
        txn: TxnId,
        stored: &StoredValue,
        parallel: usize,
    ) -> BoxStream<'static, Result<Bytes, Error>> {
        let (node, store) = (Arc::clone(self), store.clone());
        let (mut left, expected, mut whole) = (stored.parts.len(), stored.checksum, Checksum::default());
        let first = stored.parts.first().map(|part| part.object());
        futures::stream::iter(stored.parts.clone())
            .map(move |part| {
                let (node, store) = (Arc::clone(&node), store.clone());
                async move {
                    node.check_open()?;
                    node.load_part(&store, txn, part).await
                }
                .boxed()
            })
            .buffered(parallel)
            .map(move |part| {
                let part = part?;
                left -= 1;
                whole.update(&part);
                if left > 0 || whole.finish() == expected {
                    return Ok(part);
                }
                let message = format!(
                    "the value of the transaction {txn} that begins with the object {first:?} is damaged: its parts are whole, and together they are another value; it was left as it is"
                );
                Err(Error::new(ErrorKind::Corrupt, message))
            })
            .boxed()
    }

    async fn load_range(
        &self,
        store: &Store,
        txn: TxnId,
        stored: &StoredValue,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let range = range.start.min(stored.len)..range.end.min(stored.len);
        let most = self.config.max_value_bytes;
        if range.end - range.start > most {
            let message = format!(
                "the range has {} bytes, and max_value_bytes is {most}; read it with get_stream",
                range.end - range.start
            );
            return Err(Error::invalid(message));
        }
        let mut start = 0;
        let mut needed = Vec::new();
        for part in &stored.parts {
            let end = start + part.len;
            if start < range.end && end > range.start && !range.is_empty() {
                needed.push((start, *part));
            }
            start = end;
        }
        let mut parts = futures::stream::iter(needed)
            .map(|(start, part)| {
                let range = &range;
                async move { Ok::<_, Error>(slice(&self.load_part(store, txn, part).await?, range, start)) }
                    .boxed()
            })
            .buffered(PARALLEL_PARTS);
        let mut value = BytesMut::new();
        while let Some(part) = parts.try_next().await? {
            value.extend_from_slice(&part);
        }
        Ok(value.freeze())
    }
}

/// What a range has of bytes that begin at `start`.
fn slice(bytes: &Bytes, range: &Range<u64>, start: u64) -> Bytes {
    let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(within(range.start)..within(range.end))
}

/// Refuses a stream that is too long before all of it went up.
fn check_len(len: u64, parts: u64, most: u64, max_record_bytes: u64) -> Result<(), Error> {
    if len > most {
        return Err(Error::invalid(format!("the stream brings more than max_stream_bytes, {most} bytes")));
    }
    if parts * PART_BYTES > max_record_bytes {
        let message = format!(
            "the stream has more parts than a record can name; max_record_bytes is {max_record_bytes}, and larger stream_part_bytes make fewer parts"
        );
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// The chunks of a stream as parts of `size` bytes, the last one of what is left.
fn cut(
    chunks: BoxStream<'_, Result<Bytes, Error>>,
    size: u64,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    futures::stream::try_unfold((chunks, BytesMut::new()), move |(mut chunks, mut buffer)| async move {
        while buffer.len() < size {
            match chunks.try_next().await? {
                Some(chunk) => buffer.extend_from_slice(&chunk),
                None if buffer.is_empty() => return Ok(None),
                None => break,
            }
        }
        let part = buffer.split_to(size.min(buffer.len())).freeze();
        Ok(Some((part, (chunks, buffer))))
    })
}

fn foreign(cause: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Application, "the stream of a value failed; nothing was written under its key")
        .with_source(cause)
}
