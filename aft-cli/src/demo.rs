//! `aft demo`: what goes wrong on plain keys, and does not on aft.

mod atomic;
mod checker;
mod history;
mod order;
mod oversell;
mod plain;
mod reader;
mod report;
mod run;
mod subject;
mod worker;

use std::sync::Arc;

use aft_core::{Storage, TxnId};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tempfile::TempDir;
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

/// Orders of the workflow, where nobody says how many.
const ORDERS: u32 = 300;

/// Where the runs are made.
struct Place {
    aft: Arc<dyn Storage>,
    plain: Arc<dyn ObjectStore>,
    plain_root: Path,
    /// Removed when the demo is done.
    _temporary: Option<TempDir>,
}

impl Place {
    /// In `store`; the plain objects in a folder of their own beside it.
    fn of(store: &Store, folder: &str) -> Result<Self, Failure> {
        let (plain, root) = plain_store(store)?;
        let plain_root = root.join(folder);
        Ok(Self { aft: store.storage()?, plain, plain_root, _temporary: None })
    }

    /// In a temporary directory, with nothing synced on either side: it will not outlive the demo.
    fn temporary() -> Result<Self, Failure> {
        let dir =
            tempfile::tempdir().map_err(|cause| Failure::io("cannot make a temporary directory", cause))?;
        let at = |name: &str| Store::at(&dir.path().join(name));
        let (plain, _) = plain_store(&at("plain")?)?;
        let aft = at("aft")?.storage_with(aft_s3::Options { sync: false, ..aft_s3::Options::default() })?;
        Ok(Self { aft, plain, plain_root: Path::from("keys"), _temporary: Some(dir) })
    }
}

/// Runs the demo in `store`, or in a temporary directory.
pub(crate) async fn run(args: Demo, store: Option<Store>, output: &Output) -> Result<(), Failure> {
    let name = TxnId::new();
    let place = match &store {
        Some(store) => Place::of(store, &format!("aft-demo-plain-{name}"))?,
        None => Place::temporary()?,
    };
    if args.guarded {
        return oversell::run(args.orders, &place, name, output).await;
    }
    let plan = Plan { seed: args.seed, orders: args.orders.unwrap_or(ORDERS) };
    let progress = Progress::new(output.is_json(), "orders", 2 * u64::from(plan.orders));
    let mut plain = Plain::new(Arc::clone(&place.plain), place.plain_root.clone());
    let plain_run = run::run(plan, &mut plain, || progress.advance(1)).await;
    let cleaned = plain.clean().await;
    let (plain_outcome, _) = plain_run?;
    cleaned?;
    let mut atomic = Atomic::open(Arc::clone(&place.aft), format!("aft-demo/{name}/")).await?;
    let aft_run = run::run(plan, &mut atomic, || progress.advance(1)).await;
    let cleaned = atomic.clean().await;
    let (aft_outcome, _) = aft_run?;
    cleaned?;
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

/// The object store at `store`'s place, for plain objects.
fn plain_store(store: &Store) -> Result<(Arc<dyn ObjectStore>, Path), Failure> {
    let failed = |cause| unusable(store).because(cause);
    if let Some(dir) = store.directory() {
        std::fs::create_dir_all(&dir).map_err(|cause| unusable(store).because(cause))?;
        let files = LocalFileSystem::new_with_prefix(dir).map_err(failed)?.with_automatic_cleanup(true);
        return Ok((Arc::new(files), Path::default()));
    }
    // Refuses what aft refuses, before object_store takes it another way.
    store.storage()?;
    let url = Url::parse(store.url()).map_err(|cause| unusable(store).because(cause))?;
    let (plain, root) = object_store::parse_url_opts(&url, environment()).map_err(failed)?;
    Ok((Arc::from(plain), root))
}

/// The environment as object_store takes it. As with aft's own client, a server on this machine may speak plain HTTP.
fn environment() -> Vec<(String, String)> {
    let mut options: Vec<_> =
        std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let endpoint =
        ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().find_map(|name| std::env::var(name).ok());
    if let Some(endpoint) = endpoint {
        let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
            .iter()
            .any(|host| endpoint.starts_with(host));
        options.push(("aws_endpoint".to_owned(), endpoint));
        options.push(("aws_allow_http".to_owned(), local.to_string()));
    }
    options
}

fn unusable(store: &Store) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot use {} for plain objects", store.shown()))
}
