//! What the server refuses is told as what it is.

use std::error::Error;

use aft_core::StorageError;
use aft_s3::{Credentials, Options, open};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::Failure;
use crate::bucket::Bucket;

/// Every error is of the kind; `Ok` where the server did what was asked.
fn all_are(
    outcomes: Vec<Result<(), StorageError>>,
    kind: &str,
    is_kind: impl Fn(&StorageError) -> bool,
) -> Result<(), Failure> {
    for outcome in outcomes {
        match outcome {
            Ok(()) => return Err(Failure::Differs(format!("done, in place of {kind}"))),
            Err(error) if is_kind(&error) => assert!(!format!("{error:?}").contains("hush"), "{error:?}"),
            Err(error @ (StorageError::Unavailable { .. } | StorageError::Unknown { .. })) => {
                return Err(Failure::Broken(format!("{error}: {:?}", error.source())));
            }
            Err(error) => return Err(Failure::Differs(format!("{error:?}, in place of {kind}"))),
        }
    }
    Ok(())
}

pub async fn a_wrong_bucket_is_invalid(bucket: Bucket) -> Result<(), Failure> {
    let rest = bucket.url().strip_prefix("s3://").expect("a URL of S3");
    let (name, prefix) = rest.split_once('/').unwrap();
    // A bucket's name has 63 characters at most.
    let wrong = format!("s3://no-such-{}/{prefix}", name.chars().take(50).collect::<String>());
    let storage = open(&wrong, Options::default()).unwrap();
    let outcomes = vec![
        storage.create("a", Bytes::new()).await,
        storage.get("a").await.map(drop),
        storage.list("", None).try_next().await.map(drop),
        storage.delete(&["a".to_owned()]).await,
    ];
    all_are(outcomes, "Invalid", |error| matches!(error, StorageError::Invalid { .. }))
}

pub async fn wrong_credentials_are_denied(bucket: Bucket) -> Result<(), Failure> {
    let key = Credentials {
        access_key_id: "nobody".into(),
        secret_access_key: "hush-hush".into(),
        session_token: None,
    };
    let storage = open(bucket.url(), Options { credentials: Some(key), ..Options::default() }).unwrap();
    let outcomes = vec![
        storage.create("a", Bytes::new()).await,
        storage.get("a").await.map(drop),
        storage.list("", None).try_next().await.map(drop),
    ];
    all_are(outcomes, "Denied", |error| matches!(error, StorageError::Denied { .. }))
}
