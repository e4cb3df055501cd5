//! `aft demo`: what goes wrong on plain keys, and does not on aft.

mod atomic;
mod checker;
mod history;
mod order;
mod plain;
mod reader;
mod report;
mod requests;
mod run;
mod subject;
mod worker;

use std::sync::Arc;

use aft_core::TxnId;
use object_store::path::Path;
use url::Url;

use crate::args::Demo;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;
use crate::store::Store;

use atomic::Atomic;
use plain::Plain;
use report::Report;
use run::Plan;

/// Runs the demo in `store`, or in a temporary directory.
pub(crate) async fn run(args: Demo, store: Option<Store>, output: &Output) -> Result<(), Failure> {
    let plan = Plan { seed: args.seed, orders: args.orders };
    let mut temporary = None;
    let (aft_store, plain_url) = match store {
        Some(store) => {
            let url = store.url().to_owned();
            (store, url)
        }
        None => {
            let dir = tempfile::tempdir()
                .map_err(|cause| Failure::io("cannot make a temporary directory", cause))?;
            let dir = temporary.insert(dir);
            let at = |name: &str| Store::parse(&dir.path().join(name).to_string_lossy());
            (at("aft")?, at("plain")?.url().to_owned())
        }
    };
    let name = TxnId::new();
    let progress = Progress::new(output.is_json(), "orders", 2 * u64::from(args.orders));
    let mut plain = open_plain(&plain_url, &format!("aft-demo-plain-{name}"))?;
    let plain_run = run::run(plan, &mut plain, || progress.advance(1)).await;
    plain.clean().await?;
    let (plain_outcome, _) = plain_run?;
    let mut atomic = Atomic::open(aft_store.storage()?, format!("aft-demo/{name}/")).await?;
    let aft_run = run::run(plan, &mut atomic, || progress.advance(1)).await;
    atomic.clean().await?;
    let (aft_outcome, _) = aft_run?;
    drop(progress);
    let report = Report::new(plan, plain_outcome, aft_outcome);
    report.print(output)?;
    if report.aft_anomalies() > 0 {
        return Err(Failure::new(
            Exit::Error,
            "the run on aft was not free of anomalies; please report this",
        ));
    }
    Ok(())
}

/// Plain objects below `folder` of the place that `url` names.
fn open_plain(url: &str, folder: &str) -> Result<Plain, Failure> {
    let failed = || Failure::new(Exit::Unavailable, format!("cannot use {url} for plain objects"));
    let parsed = Url::parse(url).map_err(|cause| failed().because(cause))?;
    let options = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let (store, root) =
        object_store::parse_url_opts(&parsed, options).map_err(|cause| failed().because(cause))?;
    let root = Path::parse(format!("{root}/{folder}")).map_err(|cause| failed().because(cause))?;
    Ok(Plain::new(Arc::from(store), root))
}
