//! A webhook that is delivered three times, twice at once, and charges once.
//!
//! Senders of webhooks repeat an event until they are answered, and do not wait for one delivery to end before they send the next.
//! The handler here runs under the event's id as request key: whichever delivery commits first is the one that counts, and all of
//! them give the same answer. The second half does the same without a claim, for events that carry the time they were issued at.
//!
//! **One customer's events one after the other, please.** Two *different* events at the same moment read the same balance, and the later commit
//! overwrites what the earlier one added: of nine charges at once, one or two would be in the balance. `get_guarded` in place of `get` prevents that
//! (the example `guarded` of aft-s3 shows how), and then they wait for each other. What cannot be lost in any case are the rows of the charges, one for each
//! event: a service whose events race all the time keeps those alone, and adds them up where the balance is asked for.
//!
//! ```console
//! $ cargo run -p aft-core --example webhook
//! ```

#![allow(clippy::print_stdout, reason = "it tells a story")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use aft_core::{Aft, Begin, Clock, CommitOutcome, Config, SystemClock, Transaction, TxnId};
use aft_memory::MemoryStorage;
use bytes::Bytes;

/// What the sender posts.
#[derive(Debug, Clone)]
struct Event {
    id: &'static str,
    issued_at: SystemTime,
    cents: u64,
}

/// How often the handler's body ran: more often than it charged, where deliveries race.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// Charges the customer and says under which number.
async fn charge(tx: &mut Transaction, event: &Event) -> Result<Bytes, aft_core::Error> {
    RUNS.fetch_add(1, Ordering::Relaxed);
    // Loses updates where different events of one customer race: see above.
    let balance = cents(tx.get("balance/ada").await?);
    tx.put("balance/ada", (balance + event.cents).to_string())?;
    // Stands for the call of a payment service, with the transaction's id as idempotency key: every delivery passes the same.
    tokio::time::sleep(Duration::from_millis(20)).await;
    // One row for each charge that happened.
    let receipt = format!("charge/{}/{}", event.id, tx.id());
    tx.put(&receipt, event.cents.to_string())?;
    Ok(receipt.into())
}

/// The handler, with a request key: works for every event that has an id.
async fn handle(aft: Aft, event: Event) -> Result<(Bytes, CommitOutcome), aft_core::Error> {
    let run = aft.run(event.id, async |tx| charge(tx, &event).await).await?;
    aft.close().await?; // tells the other nodes
    Ok((run.result, run.outcome))
}

/// The handler, under an id made of the event: no claim, and so one request to the store in all. The event must carry its time.
async fn handle_dated(aft: Aft, event: Event) -> Result<(Bytes, CommitOutcome), aft_core::Error> {
    let id = TxnId::for_request(event.issued_at, event.id.as_bytes());
    let mut tx = aft.begin_with(Begin::new().id(id)).await?;
    let commit = match tx.replay().await? {
        Some(finished) => finished,
        None => {
            let result = charge(&mut tx, &event).await?;
            tx.set_result(result)?;
            tx.commit().await?
        }
    };
    aft.close().await?;
    Ok((commit.result.unwrap_or_default(), commit.outcome))
}

/// Delivers the event to two instances at once and then to a third, and returns their one answer.
async fn deliver<F>(store: &MemoryStorage, event: &Event, handler: F) -> Result<Bytes, Box<dyn Error>>
where
    F: AsyncFn(Aft, Event) -> Result<(Bytes, CommitOutcome), aft_core::Error>,
{
    println!("{} over {} cents:", event.id, event.cents);
    let (one, two, three) = (instance(store).await?, instance(store).await?, instance(store).await?);
    let (first, second) = tokio::join!(handler(one, event.clone()), handler(two, event.clone()));
    let third = handler(three, event.clone()).await?;
    let answers = [first?, second?, third];
    for (delivery, (answer, outcome)) in (1..).zip(&answers) {
        println!("  delivery {delivery}: {outcome:?}, answered {}", String::from_utf8_lossy(answer));
    }
    assert!(answers.iter().all(|(answer, _)| *answer == answers[0].0), "every delivery gets one answer");
    let fresh = answers.iter().filter(|(_, outcome)| *outcome == CommitOutcome::Fresh).count();
    assert_eq!(fresh, 1, "one delivery charged");
    Ok(answers[0].0.clone())
}

/// An instance of the function, with a node of its own.
async fn instance(store: &MemoryStorage) -> Result<Aft, aft_core::Error> {
    Aft::open(Arc::new(store.clone()), Config::default()).await
}

fn cents(value: Option<Bytes>) -> u64 {
    value.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok()).unwrap_or(0)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let store = MemoryStorage::new();
    let issued_at = SystemClock::new().now();
    let paid = deliver(&store, &Event { id: "evt_1", issued_at, cents: 500 }, handle).await?;
    let dated = deliver(&store, &Event { id: "evt_2", issued_at, cents: 250 }, handle_dated).await?;

    let aft = instance(&store).await?;
    let tx = aft.begin().await?;
    let charges: Vec<_> = tx.scan_prefix("charge/").await?.into_iter().map(|(key, _)| key).collect();
    let balance = cents(tx.get("balance/ada").await?);
    println!(
        "the handler ran {} times and made {} charges, {balance} cents in all",
        RUNS.load(Ordering::Relaxed),
        charges.len()
    );
    assert_eq!(charges, [paid, dated]);
    assert_eq!(balance, 750);
    Ok(())
}
