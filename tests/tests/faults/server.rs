//! The servers behind the proxy.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Storage, TxnId};
use aft_memory::MemoryStorage;
use aft_s3::{Credentials, Options};
use aft_tests::origin::Origin;
use aft_tests::proxy::{Plan, Proxy};
use futures::TryStreamExt;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The one within the process.
    Origin,
    /// The one that the environment names.
    Real,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Origin { "origin" } else { "server" })
    }
}

impl Kind {
    pub fn is_there(self) -> bool {
        self == Self::Origin || std::env::var("AFT_TEST_S3_URL").is_ok_and(|url| !url.is_empty())
    }

    /// Whether it can be killed and started again.
    pub fn can_die(self) -> bool {
        self == Self::Origin || (std::env::var(KILL).is_ok() && std::env::var(RESTART).is_ok())
    }
}

const KILL: &str = "AFT_TEST_S3_KILL";
const RESTART: &str = "AFT_TEST_S3_RESTART";

/// How long a server may take to come back.
const COMES_BACK: Duration = Duration::from_secs(120);

/// A server with a proxy in front of it, and a prefix of its own.
pub struct Server {
    pub proxy: Proxy,
    url: String,
    behind: Behind,
}

enum Behind {
    Origin { memory: MemoryStorage, alive: Option<Origin> },
    Real { endpoint: String },
}

impl Server {
    pub async fn start(kind: Kind, plan: Plan) -> Self {
        match kind {
            Kind::Origin => {
                let memory = MemoryStorage::new();
                let origin = Origin::start(memory.clone()).await.unwrap();
                let proxy = Proxy::start(origin.address(), plan).await.unwrap();
                let behind = Behind::Origin { memory, alive: Some(origin) };
                Self { proxy, url: "s3://bucket/faults".into(), behind }
            }
            Kind::Real => {
                let variables = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
                let endpoint = variables.iter().find_map(|name| std::env::var(name).ok());
                let endpoint = endpoint.expect("the environment names the server's endpoint");
                let proxy = Proxy::start(address(&endpoint), plan).await.unwrap();
                let url = std::env::var("AFT_TEST_S3_URL").unwrap();
                let url = format!("{}/faults-{}", url.trim_end_matches('/'), TxnId::new());
                Self { proxy, url, behind: Behind::Real { endpoint } }
            }
        }
    }

    /// A client of its own that reaches the server through the proxy.
    pub fn storage(&self) -> Arc<dyn Storage> {
        self.open(self.proxy.url())
    }

    /// A client that the network does nothing to.
    pub fn direct(&self) -> Arc<dyn Storage> {
        match &self.behind {
            Behind::Origin { alive, .. } => {
                self.open(format!("http://{}", alive.as_ref().unwrap().address()))
            }
            Behind::Real { endpoint } => self.open(endpoint.clone()),
        }
    }

    fn open(&self, endpoint: String) -> Arc<dyn Storage> {
        let options = Options {
            endpoint: Some(endpoint),
            request_timeout: Duration::from_secs(10),
            credentials: self.credentials(),
            ..Options::default()
        };
        aft_s3::open(&self.url, options).unwrap()
    }

    /// The bucket and the prefix.
    pub fn place(&self) -> (&str, &str) {
        self.url.trim_start_matches("s3://").split_once('/').unwrap()
    }

    /// The keys for the server within the process, which checks none; a real one's are in the environment.
    pub fn credentials(&self) -> Option<Credentials> {
        matches!(self.behind, Behind::Origin { .. }).then(|| Credentials {
            access_key_id: "key".into(),
            secret_access_key: "secret".into(),
            session_token: None,
        })
    }

    /// Kills the server without a warning.
    pub async fn kill(&mut self) {
        match &mut self.behind {
            Behind::Origin { alive, .. } => drop(alive.take()),
            Behind::Real { .. } => shell(KILL).await,
        }
    }

    /// Starts it again, and waits until it answers.
    pub async fn restart(&mut self) {
        match &mut self.behind {
            Behind::Origin { memory, alive } => {
                let origin = Origin::start(memory.clone()).await.unwrap();
                self.proxy.set_upstream(origin.address());
                *alive = Some(origin);
            }
            Behind::Real { .. } => shell(RESTART).await,
        }
        let direct = self.direct();
        let answers = async {
            while direct.list("none/", None).try_next().await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(COMES_BACK, answers).await.expect("the server comes back");
    }
}

fn address(endpoint: &str) -> SocketAddr {
    let host = endpoint.strip_prefix("http://").expect("the proxy speaks plain http://");
    host.trim_end_matches('/').to_socket_addrs().unwrap().next().unwrap()
}

/// Runs the command that a variable holds.
async fn shell(variable: &'static str) {
    let command = std::env::var(variable).unwrap();
    let ran = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &command]).status());
    let ran = tokio::time::timeout(COMES_BACK, ran).await.expect("the command ends").unwrap().unwrap();
    assert!(ran.success(), "{variable} failed");
}
