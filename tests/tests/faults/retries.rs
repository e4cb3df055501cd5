//! What a client's own retries do to a create, which is why [`aft_s3::open`] turns them off.

use std::sync::Arc;

use aft_core::{CommitOutcome, Storage, StorageError};
use aft_s3::ObjectStorage;
use aft_tests::proxy::{Fault, nothing, once};
use bytes::Bytes;
use libtest_mimic::Trial;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{BackoffConfig, RetryConfig};

use crate::scripted::{objects, open};
use crate::server::{Kind, Server};
use crate::trial;

pub fn trials(kind: Kind) -> Vec<Trial> {
    vec![
        trial(kind, "a client that retries denies its own success", move || denies(kind)),
        trial(kind, "a client that retries does not fool a commit", move || is_settled(kind)),
    ]
}

/// The same server through a client with object_store's own retries.
pub fn retrying(server: &Server) -> Arc<dyn Storage> {
    let (bucket, prefix) = server.place();
    let backoff = BackoffConfig { init_backoff: std::time::Duration::from_millis(10), ..Default::default() };
    let builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_config(AmazonS3ConfigKey::S3Endpoint, server.proxy.url())
        .with_allow_http(true)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(RetryConfig { max_retries: 5, backoff, ..Default::default() });
    let builder = match server.credentials() {
        Some(key) => {
            builder.with_access_key_id(key.access_key_id).with_secret_access_key(key.secret_access_key)
        }
        None => builder,
    };
    Arc::new(ObjectStorage::new(Arc::new(builder.build().unwrap()), prefix))
}

const AFTER: [Fault; 3] =
    [Fault::Cut { applied: true }, Fault::Error { applied: true }, Fault::SlowDown { applied: true }];

async fn denies(kind: Kind) {
    let server = Server::start(kind, nothing()).await;
    let (plain, retries) = (server.storage(), retrying(&server));
    for (n, fault) in AFTER.into_iter().enumerate() {
        let plan = || once(fault, |seen| seen.creates);
        server.proxy.set_plan(plan());
        let unknown = plain.create(&format!("plain/{n}"), Bytes::new()).await.unwrap_err();
        assert!(matches!(unknown, StorageError::Unknown { .. }), "{fault:?}: {unknown:?}");
        server.proxy.set_plan(plan());
        let denied = retries.create(&format!("retried/{n}"), Bytes::new()).await.unwrap_err();
        assert!(matches!(denied, StorageError::AlreadyExists { .. }), "{fault:?}: {denied:?}");
    }
}

/// The decision is read back, whatever the client says of it.
async fn is_settled(kind: Kind) {
    for fault in AFTER {
        let server = Server::start(kind, nothing()).await;
        let aft = open(retrying(&server)).await;
        server.proxy.set_plan(once(fault, |seen| seen.creates));
        let mut tx = aft.begin().await.unwrap();
        tx.put("key", "value").unwrap();
        assert_eq!(tx.commit().await.unwrap().outcome, CommitOutcome::Fresh);
        assert_eq!(server.proxy.counts().of(fault), 1);
        // It lies in the feed.
        let decisions =
            objects(&*server.direct(), "commits/").await + objects(&*server.direct(), "feed/").await;
        assert_eq!(decisions, 1);
    }
}
