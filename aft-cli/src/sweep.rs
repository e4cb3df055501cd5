//! `aft sweep`.

use aft_core::{LostCommit, SweepAllReport};
use serde_json::json;

use crate::args::Sweep;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, count, thousands, time};
use crate::store::{self, Store};

pub(crate) async fn run(store: &Store, args: &Sweep, output: &Output) -> Result<(), Failure> {
    if args.all {
        return all(store, output).await;
    }
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

async fn all(store: &Store, output: &Output) -> Result<(), Failure> {
    let report = store.sweep_all().await?;
    let doubtful = report.doubtful.iter().map(|LostCommit { txn_id, keys, missing }| {
        json!({ "txn": txn_id.to_string(), "keys": keys, "missing": missing })
    });
    let document = json!({
        "listed": report.listed, "read": report.read, "published": report.published, "restored": report.restored,
        "dead": report.dead, "doubtful": doubtful.collect::<Vec<_>>(), "more_doubtful": report.more_doubtful,
        "unreadable": report.unreadable, "more_unreadable": report.more_unreadable,
        "overtaken_by": report.overtaken_by, "clean": report.is_clean(),
    });
    let (listed, published) = (report.listed as usize, report.published as usize);
    let line = format!(
        "looked at {}, published {} that nothing carried, {} of them older than what checkpoints take for settled",
        count(listed, "decision"),
        count(published, "commit"),
        thousands(report.restored)
    );
    output.done(&document, line)?;
    if report.is_clean() { Ok(()) } else { Err(failure(&report)) }
}

fn failure(report: &SweepAllReport) -> Failure {
    let doubtful = report.doubtful.iter().map(|LostCommit { txn_id, keys, missing }| {
        format!("not published: {txn_id}: {missing} of its {keys} keys may have been deleted since; `aft txn {txn_id}` tells of it")
    });
    let unreadable =
        report.unreadable.iter().map(|path| format!("damaged: {path}: what it committed may be lost"));
    let overtaken = report.overtaken_by.map(|number| {
        format!("checkpoint {number} was made meanwhile: keys of the restored commits may be there again that were deleted; look at them")
    });
    let more = report.more_doubtful + report.more_unreadable;
    let more = (more > 0).then(|| format!("and {} more", thousands(more)));
    Failure::new(Exit::BadStore, "not every commit can be published again")
        .items(doubtful.chain(unreadable).chain(overtaken).chain(more))
        .advice("write the keys that are missing again, where they should be there")
}
