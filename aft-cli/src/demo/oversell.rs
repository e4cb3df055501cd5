//! `aft demo --guarded`: orders of one product race, and there are more of them than pieces.
//!
//! Unlike in the other demo the workers really run side by side, as tasks: what a race does cannot be drawn from a seed. So counts differ from run to
//! run; what is sold without guards is too much in all of them, since everybody thinks between reading the stock and writing it.

mod clerk;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aft_core::TxnId;
use tokio::task::JoinSet;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

use super::Place;
use super::plain::Plain;
use clerk::{AftClerk, Clerk, PlainClerk, Shop};
use report::{Report, Side};

/// Orders, where nobody says how many.
const ORDERS: u32 = 60;
/// Who takes orders at the same time.
const CLERKS: usize = 8;
/// The nodes on which they work, on aft.
const NODES: usize = 4;

/// What the three runs have in common.
#[derive(Debug, Clone, Copy)]
struct Sale {
    orders: u32,
    stock: u32,
}

/// What came of the orders of one run.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    accepted: u32,
    refused: u32,
}

/// Runs the three sales one after another.
pub(super) async fn run(
    orders: Option<u32>,
    place: &Place,
    name: TxnId,
    output: &Output,
) -> Result<(), Failure> {
    let orders = orders.unwrap_or(ORDERS);
    let sale = Sale { orders, stock: (orders * 2 / 3).max(1) };
    let progress = Arc::new(Progress::new(output.is_json(), "orders", 3 * u64::from(orders)));
    let plain = plain_sale(sale, place, &progress).await?;
    let mut on_aft = Vec::new();
    for (guarded, folder) in [(false, "read-atomic"), (true, "guarded")] {
        let shop = Shop::open(place, NODES, format!("aft-demo/{name}/{folder}/"), guarded).await?;
        let sold = aft_sale(sale, &shop, &progress).await;
        let cleaned = shop.clean().await;
        on_aft.push(sold?);
        cleaned?;
    }
    drop(progress);
    let report = Report::new(sale, [plain, on_aft[0], on_aft[1]]);
    report.print(output)?;
    match report.wrong() {
        None => Ok(()),
        Some(wrong) => Err(Failure::new(Exit::Error, format!("the guarded run {wrong}; please report this"))),
    }
}

async fn plain_sale(sale: Sale, place: &Place, progress: &Arc<Progress>) -> Result<Side, Failure> {
    let one = || Plain::new(Arc::clone(&place.plain), place.plain_root.clone());
    let sold = async {
        let mut first = PlainClerk::new(one());
        first.deliver(sale.stock).await?;
        let clerks = (0..CLERKS).map(|_| PlainClerk::new(one())).collect();
        let (told, clerks) = race(sale, clerks, progress).await?;
        let requests = clerks.iter().fold(first.requests(), |sum, clerk| sum + clerk.requests());
        Ok::<_, Failure>(Side::new(sale, told, first.counted().await?, 0, requests))
    };
    let sold = sold.await;
    let cleaned = one().clean().await;
    let sold = sold?;
    cleaned.map(|()| sold)
}

async fn aft_sale(sale: Sale, shop: &Arc<Shop>, progress: &Arc<Progress>) -> Result<Side, Failure> {
    shop.deliver(sale.stock).await?;
    let clerks = (0..CLERKS).map(|clerk| AftClerk::new(shop, clerk % NODES)).collect();
    let (told, _) = race(sale, clerks, progress).await?;
    let (requests, runs) = (shop.requests(), shop.runs());
    Ok(Side::new(sale, told, shop.counted().await?, runs.saturating_sub(sale.orders), requests))
}

/// All orders, each taken by whichever clerk is free, all clerks at the same time; gives the clerks back.
async fn race<C: Clerk>(
    sale: Sale,
    clerks: Vec<C>,
    progress: &Arc<Progress>,
) -> Result<(Told, Vec<C>), Failure> {
    let next = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for mut clerk in clerks {
        let (next, progress) = (Arc::clone(&next), Arc::clone(progress));
        tasks.spawn(async move {
            let mut told = Told::default();
            loop {
                let order = next.fetch_add(1, Ordering::Relaxed);
                if order >= sale.orders {
                    return Ok::<_, Failure>((told, clerk));
                }
                match clerk.take(order).await? {
                    true => told.accepted += 1,
                    false => told.refused += 1,
                }
                progress.advance(1);
            }
        });
    }
    let (mut all, mut clerks) = (Told::default(), Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (told, clerk) =
            ended.map_err(|cause| Failure::new(Exit::Error, "a clerk of the demo died").because(cause))??;
        all.accepted += told.accepted;
        all.refused += told.refused;
        clerks.push(clerk);
    }
    Ok((all, clerks))
}
