//! A workflow of two functions in two processes: one transaction, which travels through a queue as a token.
//!
//! The first function takes an order and queues the open transaction. The second one, another process, resumes it, adds the
//! shipment and commits both steps at once. The queue delivers *at least* once, and here its workers die at the two worst moments:
//! before the commit, and after it but before the message was removed. The order is shipped once all the same.
//!
//! The store is a folder of files; every `aft_s3::open` URL would do.
//!
//! ```console
//! $ cargo run -p aft-s3 --example workflow
//! ```

#![allow(clippy::print_stdout, reason = "it tells a story")]

use std::error::Error;
use std::path::Path;
use std::process::{Command, exit};
use std::{env, fs};

use aft_core::{Aft, Begin, CommitOutcome, Config, Token};

/// The first argument of the second function's process.
const SHIP: &str = "ship";

/// How the process of a worker ends: the first two die without a word.
const DEATHS: [&str; 3] = ["dies before the commit", "dies before the message is removed", "lives"];

async fn open(url: &str) -> Result<Aft, Box<dyn Error>> {
    Ok(Aft::open(aft_s3::open(url, aft_s3::Options::default())?, Config::default()).await?)
}

/// The first function: reserves the goods, and queues the transaction as it is. Nobody sees anything yet.
async fn reserve(aft: &Aft, message: &Path) -> Result<(), Box<dyn Error>> {
    let mut tx = aft.begin_with(Begin::new().request("order/4711")).await?;
    let stock = number(tx.get("stock/apples").await?.as_deref());
    tx.put("stock/apples", (stock - 1).to_string())?;
    tx.put("order/4711", "1 apple")?;
    let token = tx.suspend().await?.to_string();
    println!("reserve: the order is queued, as a token of {} characters", token.len());
    Ok(fs::write(message, token)?)
}

/// The second function: resumes what the message holds, adds the shipment, and commits both steps.
async fn ship(url: &str, message: &Path, death: &str) -> Result<(), Box<dyn Error>> {
    let aft = open(url).await?;
    let token: Token = fs::read_to_string(message)?.parse()?;
    let mut tx = aft.resume(&token).await?;
    let order = tx.get("order/4711").await?.ok_or("the token holds the first function's writes")?;
    let commit = match tx.replay().await? {
        Some(finished) => finished,
        None => {
            tx.put("shipment/4711", format!("{} by parcel", String::from_utf8_lossy(&order)))?;
            tx.set_result(format!("parcel of process {}", std::process::id()))?;
            if death == DEATHS[0] {
                println!("ship:    this worker {death}");
                exit(1);
            }
            tx.commit().await?
        }
    };
    let result = commit.result.unwrap_or_default();
    let fresh = commit.outcome == CommitOutcome::Fresh;
    println!(
        "ship:    {} {}",
        if fresh { "sent" } else { "was sent before:" },
        String::from_utf8_lossy(&result)
    );
    if death == DEATHS[1] {
        println!("ship:    this worker {death}");
        exit(1);
    }
    fs::remove_file(message)?;
    Ok(aft.close().await?)
}

fn number(value: Option<&[u8]>) -> i64 {
    value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [step, url, message, death] = &arguments[..]
        && step == SHIP
    {
        return ship(url, Path::new(message), death).await;
    }
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().join("store").display());
    let message = folder.path().join("message");
    let aft = open(&url).await?;
    let mut tx = aft.begin().await?;
    tx.put("stock/apples", "100")?;
    tx.commit().await?;

    reserve(&aft, &message).await?;
    let tx = aft.begin().await?;
    assert_eq!(tx.get("order/4711").await?, None, "half a workflow is seen by nobody");

    for death in DEATHS {
        assert!(message.exists(), "the message is delivered until a worker removes it");
        let worker = Command::new(env::current_exe()?)
            .args([SHIP, &url, message.to_str().ok_or("UTF-8")?, death])
            .status()?;
        assert_eq!(worker.success(), death == "lives", "the worker that {death}");
    }
    assert!(!message.exists());

    // What the dead worker committed, the next sweep tells everybody.
    aft.sweep().await?;
    let tx = aft.begin_with(Begin::new().latest()).await?;
    let keys = ["stock/apples", "order/4711", "shipment/4711"];
    let values = tx.get_many(keys).await?;
    for (key, value) in keys.iter().zip(&values) {
        println!("{key} = {}", String::from_utf8_lossy(value.as_deref().unwrap_or(b"nothing")));
    }
    assert_eq!(number(values[0].as_deref()), 99, "reserved once");
    assert_eq!(values[1].as_deref(), Some(&b"1 apple"[..]));
    assert_eq!(values[2].as_deref(), Some(&b"1 apple by parcel"[..]), "shipped once");
    Ok(())
}
