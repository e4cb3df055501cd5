//! The contract of a store, check by check.

use aft_core::StorageError;
use aft_core::conformance::{self, Options};

use crate::bucket::Bucket;
use crate::{Failure, LIMIT};

/// Runs one check.
pub async fn check(bucket: Bucket, name: &'static str) -> Result<(), Failure> {
    let rounds = std::env::var("AFT_TEST_S3_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let options = Options { rounds, check_deadline: LIMIT, ..Options::default() };
    let Err(failure) = conformance::run_check(name, bucket.patient_storage(), &options).await else {
        return Ok(());
    };
    let why = format!("{failure} {:?}", failure.source);
    // A server that does not answer, or lets nobody in, has not shown what it lacks.
    Err(match failure.source {
        None | Some(StorageError::AlreadyExists { .. } | StorageError::NotFound { .. }) => {
            Failure::Differs(why)
        }
        Some(_) => Failure::Broken(why),
    })
}
