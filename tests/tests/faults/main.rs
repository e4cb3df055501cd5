//! aft's real client behind a faulty network: [`aft_tests::proxy`] stands between it and a server.
//!
//! Each case runs in front of the small server within the process ([`aft_tests::origin`]), and in front of a real one where the
//! environment names it; without one those cases are reported as ignored. [`scripted`] has one fault in one place each, [`soak`] a share
//! of all requests under load, with a server that is killed.
//!
//! | variable | what it says |
//! |---|---|
//! | `AFT_TEST_S3_URL` | `s3://bucket/prefix` of a real server; endpoint and keys as ever (`AWS_ENDPOINT_URL_S3`, …). The endpoint must be plain `http://` |
//! | `AFT_TEST_S3_KILL`, `AFT_TEST_S3_RESTART` | shell commands that kill this server, and start it again and return |
//! | `AFT_FAULTS_TRANSACTIONS`, `AFT_FAULTS_SEED` | the size of the soak (300), and another run (1) |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test's own helpers"
)]

mod listings;
mod refusals;
mod retries;
mod scripted;
mod server;
mod soak;

use std::future::Future;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use parking_lot::RwLock;

use server::Kind;

/// No case takes as long: one that does is stuck. The soak has a limit of its own.
const STUCK: Duration = Duration::from_secs(180);

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for kind in [Kind::Origin, Kind::Real] {
        trials.extend(scripted::trials(kind));
        trials.extend(retries::trials(kind));
        trials.extend(listings::trials(kind));
        trials.extend(refusals::trials(kind));
        trials.extend(soak::trials(kind));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// The real server: used by cases side by side, or by one that kills it.
static USED: RwLock<()> = RwLock::new(());

/// What kills the real server, when nobody else uses it.
fn alone<T>(kind: Kind, work: impl FnOnce() -> T) -> T {
    let _guard = (kind == Kind::Real).then(|| USED.write());
    work()
}

/// A case on a runtime of its own, with one thread: so that a planted bug is planted for all of it.
fn trial<F: Future<Output = ()>>(kind: Kind, name: &str, case: impl FnOnce() -> F + Send + 'static) -> Trial {
    let run = move || {
        let _guard = (kind == Kind::Real).then(|| USED.read());
        run(STUCK, case());
        Ok(())
    };
    Trial::test(format!("{kind}::{name}"), run).with_ignored_flag(!kind.is_there())
}

fn run<T>(limit: Duration, case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(limit, case).await.expect("the case ends") })
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}
