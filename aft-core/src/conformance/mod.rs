//! The suite that every storage adapter runs, also those that others write.
//!
//! One line proves an adapter, or says what is wrong with it:
//!
//! ```ignore
//! let report = aft_core::conformance::run(storage, &Options::default()).await?;
//! ```
//!
//! Every object is made below [`Options::prefix`], and everything below it is deleted before and after: so a suite may
//! run in a bucket that holds other things, but two suites need two prefixes. The suite needs a Tokio runtime with its
//! timer; a runtime of several threads makes the races sharper.
//!
//! [`CHECKS`] lists what is checked, and [`run_check`] runs one of them. A store that passes today proves little about
//! what its maker does under load: create races are repeated for [`Options::rounds`] rounds, and more rounds say more.

mod content;
mod create;
mod delete;
mod list;
mod path;
mod range;
mod report;
mod scope;
mod time;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

pub use report::{Failure, Report};

use crate::storage::Storage;
use scope::Scope;

/// How hard the suite tries.
///
/// # Examples
///
/// ```
/// use aft_core::conformance::Options;
///
/// let quick = Options { rounds: 2, objects: 100, prefix: "ci-4711/".into(), ..Options::default() };
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything happens below this prefix, which is deleted before and after. Not empty, and ends with `/`.
    pub prefix: String,
    /// How often each race is run. Default 20.
    pub rounds: usize,
    /// How many tasks race for one path. Default 32.
    pub racers: usize,
    /// How many objects the long listings and the large deletes have. More than two of the store's pages is best;
    /// below 1001 the page of most stores is never turned. Default 2500.
    pub objects: usize,
    /// How large the large object is, in bytes. Default 8 MiB.
    pub large_bytes: usize,
    /// How many requests are under way at once while objects are prepared. Default 32.
    pub concurrency: usize,
    /// By how much `last_modified` may lie before the moment an object became visible. Default 30 s.
    pub visibility_delay: Duration,
    /// How long one check may take before the store counts as one that does not answer. Default 5 min.
    pub check_deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "aft-conformance/".to_owned(),
            rounds: 20,
            racers: 32,
            objects: 2500,
            large_bytes: 8 << 20,
            concurrency: 32,
            visibility_delay: Duration::from_secs(30),
            check_deadline: Duration::from_secs(300),
        }
    }
}

type Check = for<'a> fn(&'a Scope) -> BoxFuture<'a, Result<(), Failure>>;

macro_rules! checks {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// The names of all checks, in the order in which [`run`] runs them.
        pub const CHECKS: &[&str] = &[$(stringify!($name)),*];

        fn find(name: &str) -> Option<(&'static str, Check)> {
            match name {
                $(stringify!($name) => Some((stringify!($name), |scope| $module::$name(scope).boxed())),)*
                _ => None,
            }
        }
    };
}

checks![
    create::read_after_create,
    create::create_over_existing,
    create::create_race,
    create::create_race_reads,
    create::create_race_large,
    content::empty_object,
    content::large_object,
    content::absent_object,
    range::range_edges,
    list::list_complete,
    list::list_start_after,
    list::list_order_of_marks,
    list::list_prefix,
    list::list_after_changes,
    delete::delete_absent,
    delete::delete_many,
    delete::create_after_delete,
    path::odd_paths,
    path::illegal_paths,
    time::last_modified_agrees,
    time::last_modified_is_monotone,
];

/// Those of the [`CHECKS`] that aft itself does not depend on: a store that fails these alone still serves aft.
pub const NOT_NEEDED: &[&str] = &["list_order_of_marks"];

/// Runs every check.
///
/// # Errors
/// The first [`Failure`], after its objects were deleted.
pub async fn run(storage: Arc<dyn Storage>, options: &Options) -> Result<Report, Failure> {
    for name in CHECKS {
        run_check(name, Arc::clone(&storage), options).await?;
    }
    Ok(Report { passed: CHECKS.to_vec() })
}

/// Runs the check called `name`, one of [`CHECKS`].
///
/// # Errors
/// The [`Failure`], after the check's objects were deleted; also where there is no such check.
pub async fn run_check(name: &str, storage: Arc<dyn Storage>, options: &Options) -> Result<(), Failure> {
    let Some((name, check)) = find(name) else {
        return Err(Failure::new("run_check", "the name of a check", name));
    };
    let scope = Scope::new(name, storage, options)?;
    scope.clear().await?;
    let outcome = match tokio::time::timeout(options.check_deadline, check(&scope)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let limit = options.check_deadline;
            Err(Failure::new(
                name,
                format!("an end within {limit:?}"),
                "requests that are still not answered",
            ))
        }
    };
    let cleared = scope.clear().await;
    outcome.and(cleared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_is_checked() {
        assert!(NOT_NEEDED.iter().all(|name| find(name).is_some()));
    }
}
