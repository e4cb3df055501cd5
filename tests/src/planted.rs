//! Cases that prove themselves: with the rule broken that a case is about, it must fail.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aft_core::planted::{Planted, plant};

/// No case takes as long, of virtual time: one that does is stuck.
const STUCK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs a case as it is, when it must hold; and once with each of these bugs planted, when it must fail, and with these words, so
/// that it fails for the reason that it is about.
///
/// # Panics
/// Where the case fails, or does not fail with a bug planted, or fails for another reason.
#[allow(clippy::panic, reason = "an assertion")]
pub fn holds_unless<F: Future<Output = ()>>(case: impl Fn() -> F, bugs: &[(Planted, &str)]) {
    run(case());
    for (bug, words) in bugs {
        plant(Some(*bug));
        let failed = catch_unwind(AssertUnwindSafe(|| run(case())));
        plant(None);
        match failed {
            Ok(()) => panic!("the case does not notice {bug:?}"),
            Err(cause) => {
                let said = message(&*cause);
                assert!(said.contains(words), "with {bug:?} the case fails for another reason: {said}");
            }
        }
    }
}

/// Runs a case on a current-thread runtime of its own whose time is paused.
#[allow(clippy::expect_used, reason = "without a runtime there is no test")]
fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async { tokio::time::timeout(STUCK, case).await.expect("the case ends") });
}

/// What a panic said.
fn message(cause: &(dyn Any + Send)) -> &str {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or_default()
}
