//! Files and pipes as streams of bytes.

use std::io::{self, Read};

use bytes::Bytes;
use futures::stream::{self, Stream};

const CHUNK_BYTES: usize = 1 << 20;

/// What `from` has, up to a mebibyte at a time. It is read on a thread for things that block, so that uploads go on meanwhile.
pub(crate) fn chunks(from: impl Read + Send + 'static) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(from, |mut from| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            from.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
            Ok::<_, io::Error>((chunk, from))
        });
        let (chunk, from) = read.await.map_err(io::Error::other)??;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), from)))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn everything_comes_in_order() {
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n / 1000) as u8).collect();
        let read: Vec<Bytes> = chunks(io::Cursor::new(bytes.clone())).try_collect().await.unwrap();
        assert!(read.len() == 5 && read.concat() == bytes);
        assert_eq!(chunks(io::empty()).try_collect::<Vec<_>>().await.unwrap(), Vec::<Bytes>::new());
    }
}
