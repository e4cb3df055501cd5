//! A faulty network between a client and an HTTP server: a proxy that forwards requests and does to some of them what networks,
//! load balancers and servers do on bad days.
//!
//! No store within the process shows what a client library makes of a lost answer: its connection pool, its own retries, the
//! words in which it tells an error. This does, since the client is the real one and so is the server.
//!
//! - `fault` is what can happen to a request, and how often it did.
//! - `plan` is which request it happens to: by a seed, or by the rule of a test.
//! - `exchange` forwards one request, and does it.
//! - `wire` is the client's connection, which can be reset.
//!
//! Requests are forwarded as they came, `Host` included, so that the signature of an S3 client holds although it signed the proxy's
//! address. Bodies are held in memory as a whole, up to [`MOST_BYTES`]; no request takes longer than [`LONGEST`].

mod exchange;
mod fault;
mod plan;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use exchange::Exchange;
pub use fault::{Counts, Fault, PORTAL, Seen};
pub use plan::{Plan, nothing, once, seeded};
use wire::Wire;

/// The longest body of a request or an answer.
pub const MOST_BYTES: usize = 64 << 20;
/// The longest time between a request and the server's answer.
pub const LONGEST: Duration = Duration::from_secs(30);

/// A running proxy. Dropped, it ends with all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    exchange: Arc<Exchange>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of `upstream` on a free port of this machine.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(upstream: SocketAddr, plan: Plan) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let exchange = Arc::new(Exchange::new(upstream, plan));
        let listening = tokio::spawn(listen(listener, Arc::clone(&exchange)));
        Ok(Self { address, exchange, listening })
    }

    /// Where it listens, as an S3 client wants it: `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards to another server from now on.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        self.exchange.set_upstream(upstream);
    }

    /// Decides by another plan from now on; with [`nothing`] the network is good.
    pub fn set_plan(&self, plan: Plan) {
        self.exchange.set_plan(plan);
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.exchange.counts()
    }

    /// Waits until nothing is on its way any more that was held back ([`Fault::Late`]).
    pub async fn settled(&self) {
        self.exchange.settled().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, exchange: Arc<Exchange>) {
    // Dropped with this task, and with it all connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        // What fails here is one connection of a client that went away, or a lack of sockets that passes.
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // A network that delays nothing: Nagle's algorithm would.
        let _ = socket.set_nodelay(true);
        let exchange = Arc::clone(&exchange);
        connections.spawn(async move {
            let (wire, reset) = Wire::new(socket);
            let service = service_fn(|request| exchange.serve(request, &reset));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(2 * LONGEST);
            // An error is a connection that was cut, by either side.
            let _ = server.serve_connection(TokioIo::new(wire), service).await;
        });
    }
}
