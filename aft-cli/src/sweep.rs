//! `aft sweep`.

use serde_json::json;

use crate::failure::Failure;
use crate::output::{Output, count, time};
use crate::store::{self, Store};

pub(crate) async fn run(store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_existing().await?;
    let report = aft.sweep().await?;
    store::close(aft, output).await;
    let (listed, published) = (report.listed as usize, report.published as usize);
    let through = report.swept_through.map(time);
    let document = json!({
        "listed": listed, "published": published, "dead": report.dead, "swept_through": through,
    });
    let mut line =
        format!("looked at {}, published {}", count(listed, "decision"), count(published, "commit"));
    if let Some(through) = through {
        line.push_str(&format!("; every commit decided before {through} is known to all"));
    }
    output.done(&document, line)
}
