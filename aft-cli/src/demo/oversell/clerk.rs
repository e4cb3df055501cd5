//! Who takes the orders: the same three steps (read the stock, think, write the stock and the order) on plain keys and on aft.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aft_core::{Aft, Begin};
use bytes::Bytes;

use crate::demo::Place;
use crate::demo::atomic;
use crate::demo::plain::Plain;
use crate::demo::subject::Subject;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::requests::{Metered, Requests};

/// The key of what is left.
const STOCK: &str = "stock/apples";
/// Before the keys of accepted orders.
const ORDERS: &str = "order/";
const SOLD: &[u8] = b"sold";
const SOLD_OUT: &[u8] = b"sold out";

/// One of those who take orders at the same time.
pub(super) trait Clerk: Send + 'static {
    /// Takes an order; whether it is accepted.
    fn take(&mut self, order: u32) -> impl Future<Output = Result<bool, Failure>> + Send;
}

/// What stands in the store at the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// By the stock key.
    pub(super) left: u32,
    /// Accepted orders that have a key.
    pub(super) orders: u32,
}

fn order_key(order: u32) -> String {
    format!("{ORDERS}{order:06}")
}

/// What lies between reading the stock and writing it: a payment, say. Longer for some orders than for others.
async fn think(order: u32) {
    tokio::time::sleep(Duration::from_millis(4 + u64::from(order % 7))).await;
}

fn number(stock: Option<&Bytes>) -> Result<u32, Failure> {
    let number = stock.and_then(|stock| std::str::from_utf8(stock).ok()?.parse().ok());
    number.ok_or_else(|| Failure::new(Exit::Error, "the stock of the demo is not what it wrote"))
}

/// A clerk on plain keys, with a count of requests of its own.
#[derive(Debug)]
pub(super) struct PlainClerk(Plain);

impl PlainClerk {
    pub(super) fn new(plain: Plain) -> Self {
        Self(plain)
    }

    /// Puts so much on the shelf.
    pub(super) async fn deliver(&mut self, stock: u32) -> Result<(), Failure> {
        self.0.put(&mut (), STOCK, stock.to_string().into()).await.map(drop)
    }

    pub(super) fn requests(&self) -> Requests {
        self.0.requests()
    }

    pub(super) async fn counted(&mut self) -> Result<Counted, Failure> {
        let left = number(self.0.get(&mut (), STOCK).await?.as_ref())?;
        let orders = self.0.scan(&mut (), ORDERS.trim_end_matches('/')).await?;
        Ok(Counted { left, orders: orders.len() as u32 })
    }
}

impl Clerk for PlainClerk {
    async fn take(&mut self, order: u32) -> Result<bool, Failure> {
        let left = number(self.0.get(&mut (), STOCK).await?.as_ref())?;
        if left == 0 {
            return Ok(false);
        }
        think(order).await;
        self.0.put(&mut (), STOCK, (left - 1).to_string().into()).await?;
        self.0.put(&mut (), &order_key(order), Bytes::from_static(SOLD)).await?;
        Ok(true)
    }
}

/// The nodes of one sale on aft.
#[derive(Debug)]
pub(super) struct Shop {
    nodes: Vec<Aft>,
    storage: Metered,
    /// Before every key.
    root: String,
    guarded: bool,
    /// How often an order was run: more often than there are orders, where some met a conflict.
    runs: AtomicU32,
}

impl Shop {
    /// `nodes` nodes on the store, whose keys begin with `root`.
    pub(super) async fn open(
        place: &Place,
        nodes: usize,
        root: String,
        guarded: bool,
    ) -> Result<Arc<Self>, Failure> {
        let storage = Metered::new(Arc::clone(&place.aft));
        let nodes = atomic::open(&storage, nodes).await?;
        Ok(Arc::new(Self { nodes, storage, root, guarded, runs: AtomicU32::new(0) }))
    }

    /// As every transaction of a sale begins, guarded or not: with all that was told to anybody before. So what is oversold without guards was not
    /// oversold for want of news.
    fn begin() -> Begin {
        Begin::new().latest().publish_before_ack()
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// Puts so much on the shelf. Unguarded, as the key is deleted in the end: nobody else knows of it yet.
    pub(super) async fn deliver(&self, stock: u32) -> Result<(), Failure> {
        let mut tx = self.nodes[0].begin_with(Self::begin()).await?;
        tx.put(self.key(STOCK), stock.to_string())?;
        tx.commit().await?;
        Ok(())
    }

    pub(super) fn requests(&self) -> Requests {
        self.storage.requests()
    }

    pub(super) fn runs(&self) -> u32 {
        self.runs.load(Ordering::Relaxed)
    }

    pub(super) async fn counted(&self) -> Result<Counted, Failure> {
        let tx = self.nodes[0].begin_with(Self::begin()).await?;
        let left = number(tx.get(self.key(STOCK)).await?.as_ref())?;
        let orders = tx.scan_prefix(self.key(ORDERS)).await?;
        Ok(Counted { left, orders: orders.len() as u32 })
    }

    /// Deletes every key of the sale, and closes the nodes.
    pub(super) async fn clean(&self) -> Result<(), Failure> {
        atomic::clear(&self.nodes[0], &self.root).await?;
        atomic::close(self.nodes.clone()).await
    }
}

/// A clerk on one node of aft. Each order is a request, so that it counts once whoever delivers it again.
#[derive(Debug)]
pub(super) struct AftClerk {
    shop: Arc<Shop>,
    node: Aft,
}

impl AftClerk {
    pub(super) fn new(shop: &Arc<Shop>, node: usize) -> Self {
        Self { shop: Arc::clone(shop), node: shop.nodes[node].clone() }
    }
}

impl Clerk for AftClerk {
    async fn take(&mut self, order: u32) -> Result<bool, Failure> {
        let shop = &self.shop;
        let (stock, row) = (shop.key(STOCK), shop.key(&order_key(order)));
        let work = async |mut tx: aft_core::Attempt| {
            shop.runs.fetch_add(1, Ordering::Relaxed);
            let left = number(tx.get(&stock).await?.as_ref())?;
            if left == 0 {
                // Nothing is written, so nothing need be guarded: what was sold out once stays so here.
                return Ok::<_, Failure>(Bytes::from_static(SOLD_OUT));
            }
            if shop.guarded {
                tx.get_guarded(&stock).await?;
            }
            think(order).await;
            tx.put(&stock, (left - 1).to_string())?;
            tx.put(&row, SOLD)?;
            Ok(Bytes::from_static(SOLD))
        };
        let run = self.node.handle(Shop::begin().request(&row), work).await?;
        Ok(run.result == SOLD)
    }
}
