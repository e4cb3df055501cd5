//! What a [`RecordingStorage`](crate::RecordingStorage) remembers of a request.

use crate::fault::ErrorKind;

/// One of the five operations of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `Storage::get`.
    Get,
    /// `Storage::get_range`.
    GetRange,
    /// `Storage::create`.
    Create,
    /// `Storage::list`.
    List,
    /// `Storage::delete`.
    Delete,
}

/// One request, in the order in which requests began.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use aft_core::Storage;
/// use aft_memory::{MemoryStorage, Operation, RecordingStorage};
///
/// let storage = RecordingStorage::new(Arc::new(MemoryStorage::new()));
/// storage.create("a", "xyz".into()).await.unwrap();
/// let request = &storage.requests()[0];
/// assert_eq!((request.operation, &*request.path, request.bytes), (Operation::Create, "a", 3));
/// assert_eq!((storage.counts().creates, storage.counts().requests()), (1, 1));
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What was asked.
    pub operation: Operation,
    /// The path; for a list its prefix, for a delete the first path (empty when there is none).
    pub path: String,
    /// Bytes of payload that went either way: sent by a create, received by a get.
    pub bytes: u64,
    /// How many objects it was about: 1, or the objects that a list returned, or the paths that a delete named.
    pub objects: u64,
    /// How it ended; `None` while it is under way, or when its caller dropped it.
    pub result: Option<Result<(), ErrorKind>>,
}

/// How many objects S3 shows in one page of a list.
const PAGE: u64 = 1000;

/// How many requests of each kind were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// `get` requests.
    pub gets: u64,
    /// `get_range` requests.
    pub range_gets: u64,
    /// `create` requests.
    pub creates: u64,
    /// `list` calls: one for a whole listing, however many pages it takes.
    pub lists: u64,
    /// Pages that these lists took, of 1,000 objects each, as S3 has them: what is paid for.
    pub pages: u64,
    /// `delete` calls, however many paths each names.
    pub deletes: u64,
    /// Bytes sent by creates.
    pub bytes_written: u64,
    /// Bytes received by gets.
    pub bytes_read: u64,
}

impl Counts {
    /// All requests together, each page of a list as one.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.gets + self.range_gets + self.creates + self.pages + self.deletes
    }

    pub(crate) fn of(log: &[Request]) -> Self {
        let mut counts = Self::default();
        for request in log {
            counts.add(request.operation, request.bytes);
            if request.operation == Operation::List {
                counts.pages += request.objects.saturating_sub(1) / PAGE;
            }
        }
        counts
    }

    pub(crate) fn add(&mut self, operation: Operation, bytes: u64) {
        let (kind, sum) = match operation {
            Operation::Get => (&mut self.gets, &mut self.bytes_read),
            Operation::GetRange => (&mut self.range_gets, &mut self.bytes_read),
            Operation::Create => (&mut self.creates, &mut self.bytes_written),
            Operation::List => (&mut self.lists, &mut self.bytes_read),
            Operation::Delete => (&mut self.deletes, &mut self.bytes_written),
        };
        *kind += 1;
        *sum += bytes;
        self.pages += u64::from(operation == Operation::List);
    }
}
