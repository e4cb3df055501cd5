//! A journey booked by three functions side by side, in one transaction.
//!
//! The transaction is suspended into a token, every branch resumes that token on a machine of its own, and the tokens that the branches
//! give back are joined: what all of them wrote is committed at once. Two branches that write the same key are no one transaction,
//! and joining them fails before anything is written.
//!
//! ```console
//! $ cargo run -p aft-core --example fan_out
//! ```

#![allow(clippy::print_stdout, reason = "it tells a story")]

use std::error::Error;
use std::sync::Arc;

use aft_core::{Aft, Begin, Config, ErrorKind, Token};
use aft_memory::MemoryStorage;

/// One function: books `what`, if the budget allows it.
async fn book(store: MemoryStorage, fork: Token, what: &str, price: u32) -> Result<Token, aft_core::Error> {
    let aft = machine(&store).await?;
    let mut branch = aft.resume(&fork).await?;
    let budget = branch.get("budget").await?.unwrap_or_default();
    println!("  {what} for {price}, of {}", String::from_utf8_lossy(&budget));
    branch.put(format!("journey/{what}"), price.to_string())?;
    branch.suspend().await
}

/// A machine with a node of its own.
async fn machine(store: &MemoryStorage) -> Result<Aft, aft_core::Error> {
    Aft::open(Arc::new(store.clone()), Config::default()).await
}

/// The keys of the journey that everybody sees.
async fn booked(aft: &Aft) -> Result<Vec<String>, aft_core::Error> {
    let tx = aft.begin_with(Begin::new().latest()).await?;
    let found = tx.scan_prefix("journey/").await?;
    Ok(found.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect())
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let store = MemoryStorage::new();
    let aft = machine(&store).await?;
    let mut tx = aft.begin().await?;
    tx.put("budget", "900")?;
    let funded = tx.commit().await?.receipt;

    println!("three functions book side by side:");
    let fork = aft.begin_with(Begin::new().after(&funded)).await?.suspend().await?;
    let (train, hotel, museum) = tokio::try_join!(
        book(store.clone(), fork.clone(), "train", 120),
        book(store.clone(), fork.clone(), "hotel", 640),
        book(store.clone(), fork.clone(), "museum", 30),
    )?;
    assert!(booked(&aft).await?.is_empty(), "nobody sees a journey in parts");

    println!("a second hotel was booked by mistake:");
    let other_hotel = book(store.clone(), fork, "hotel", 580).await?;
    let conflict = Token::join([train.clone(), hotel.clone(), other_hotel]);
    let error = conflict.err().ok_or("two branches wrote one key and were joined")?;
    assert_eq!(error.kind(), ErrorKind::Conflict);
    println!("  {error}");
    println!("  because {}", error.source().ok_or("a conflict says where")?);

    let joined = Token::join([train, hotel, museum])?;
    let mut tx = aft.resume(&joined).await?;
    let total: u32 = tx
        .scan_prefix("journey/")
        .await?
        .iter()
        .filter_map(|(_, price)| std::str::from_utf8(price).ok()?.parse::<u32>().ok())
        .sum();
    tx.put("journey/total", total.to_string())?;
    tx.commit().await?;
    let booked = booked(&aft).await?;
    println!("joined and committed at once: {} for {total}", booked.join(", "));
    assert_eq!(booked, ["journey/hotel", "journey/museum", "journey/total", "journey/train"]);
    assert_eq!(total, 790);
    Ok(())
}
