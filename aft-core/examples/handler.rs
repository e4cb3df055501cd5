//! A service that handles each request in a task of its own, on a multi-threaded runtime, with an error type of its own.
//!
//! The closure is written as one writes it first: it borrows the order, writes borrowed text, and `?` works on the caller's own errors as on
//! those of aft. What the request asks for is kept with its key, so that another order under the same number is refused, and not
//! answered with the result of the first.
//!
//! ```console
//! $ cargo run -p aft-core --example handler
//! ```

#![allow(clippy::print_stdout, reason = "it tells a story")]

use std::error::Error;
use std::fmt;
use std::num::ParseIntError;
use std::sync::Arc;

use aft_core::{Aft, Begin, Config, ErrorKind};
use aft_memory::MemoryStorage;

/// What customers send: a number of their own, and how many apples.
#[derive(Debug, Clone)]
struct Order {
    number: String,
    apples: String,
}

/// Why an order was not taken.
#[derive(Debug)]
enum Refused {
    NotANumber(ParseIntError),
    SoldOut { left: u64 },
    Store(aft_core::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber(error) => write!(f, "how many? {error}"),
            Self::SoldOut { left } => write!(f, "only {left} are left"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for Refused {}

impl From<aft_core::Error> for Refused {
    fn from(error: aft_core::Error) -> Self {
        Self::Store(error)
    }
}

impl From<ParseIntError> for Refused {
    fn from(error: ParseIntError) -> Self {
        Self::NotANumber(error)
    }
}

/// Takes an order, once, however often it is sent.
async fn take(aft: Aft, order: Order) -> Result<String, Refused> {
    let begin = Begin::new().request(&order.number).input(&order.apples);
    let run = aft
        .handle(begin, async |mut tx| {
            let wanted: u64 = order.apples.parse()?;
            let left: u64 = match tx.get("apples").await? {
                Some(left) => String::from_utf8_lossy(&left).parse()?,
                None => 10,
            };
            let left = left.checked_sub(wanted).ok_or(Refused::SoldOut { left })?;
            tx.put("apples", left.to_string())?;
            tx.put(format!("order/{}", order.number), &order.apples)?;
            Ok::<_, Refused>(format!("{wanted} sold, {left} left").into())
        })
        .await?;
    Ok(String::from_utf8_lossy(&run.result).into_owned())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await?;
    let order = |number: &str, apples: &str| Order { number: number.to_owned(), apples: apples.to_owned() };
    let send = |order: Order| tokio::spawn(take(aft.clone(), order));

    // The same order, twice at once.
    let (first, second) = (send(order("4711", "3")), send(order("4711", "3")));
    let (first, second) = (first.await??, second.await??);
    println!("order 4711: {first}, and again: {second}");
    assert_eq!((first.as_str(), second.as_str()), ("3 sold, 7 left", "3 sold, 7 left"));

    // Another order by mistake under the same number.
    let other = send(order("4711", "5")).await?;
    println!("order 4711 for 5: {}", other.as_ref().err().ok_or("it was taken")?);
    assert!(matches!(other, Err(Refused::Store(error)) if error.kind() == ErrorKind::InputMismatch));

    // Errors of the handler's own come back as they are, and leave nothing behind: the number can be used again.
    let greedy = send(order("4712", "8")).await?;
    println!("order 4712 for 8: {}", greedy.as_ref().err().ok_or("it was taken")?);
    assert!(matches!(greedy, Err(Refused::SoldOut { left: 7 })));
    let unclear = send(order("4713", "many")).await?;
    println!("order 4713 for many: {}", unclear.as_ref().err().ok_or("it was taken")?);
    assert!(matches!(unclear, Err(Refused::NotANumber(_))));

    aft.close().await?;
    Ok(())
}
