//! `aft cost`: what a month costs at each store, from requests that are counted and not estimated.

mod lab;
mod prices;
mod workload;

use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::args::Cost as Args;
use crate::failure::Failure;
use crate::output::{Output, count, thousands, wrapped};

use prices::{Price, Prices, Usage};
pub(crate) use workload::Workload;
use workload::{Line, Month};

/// The most that one transaction of the experiments may hold.
const MAX_TRANSACTION: u64 = 64 << 20;

pub(crate) async fn run(args: Args, output: &Output) -> Result<(), Failure> {
    if args.keys.saturating_mul(args.bytes) > MAX_TRANSACTION {
        return Err(Failure::usage(format!(
            "a transaction of {} keys of {} bytes is more than the 64 MiB that are tried out here",
            args.keys, args.bytes
        )));
    }
    let prices = Prices::load(args.prices.as_deref())?;
    let workload = Workload {
        commits: args.commits,
        keys: args.keys,
        bytes: args.bytes,
        reads: args.reads,
        nodes: args.nodes,
        opens: args.opens,
        stored_gb: args.stored_gb,
    };
    let month = workload.month().await?;
    if output.is_json() {
        return output.json(&document(&workload, &month, &prices, args.internet));
    }
    output.lines([text(&workload, &month, &prices, args.internet)])
}

/// What a month costs at each store, with the price list that comes with `aft`.
#[derive(Debug)]
pub(crate) struct Estimate {
    /// Their names.
    pub(crate) stores: Vec<String>,
    /// What happens, how often, and what that costs at each store, in dollars. The last two are what is stored, and all of it.
    pub(crate) lines: Vec<(String, String, Vec<f64>)>,
}

/// Prices a month of this workload.
pub(crate) async fn estimate(workload: &Workload) -> Result<Estimate, Failure> {
    let (prices, month) = (Prices::load(None)?, workload.month().await?);
    let at_each = |of: &dyn Fn(&Price) -> f64| prices.stores.iter().map(of).collect::<Vec<_>>();
    let happens = month.aft.iter().filter(|line| line.times > 0.0);
    let mut lines: Vec<_> = happens
        .map(|line| {
            let monthly = line.monthly();
            (line.name.to_owned(), amount(line.times), at_each(&|price| monthly.dollars(price, false)))
        })
        .collect();
    let stored = at_each(&|price| workload.stored_gb * price.stored_per_gb_month);
    lines.push(("what is stored".to_owned(), String::new(), stored));
    lines.push((
        "all of it".to_owned(),
        String::new(),
        at_each(&|price| bill(&month.aft, workload, price, false)),
    ));
    Ok(Estimate { stores: prices.stores.iter().map(|price| price.name.clone()).collect(), lines })
}

fn total(lines: &[Line]) -> Usage {
    lines.iter().fold(Usage::default(), |sum, line| sum + line.monthly())
}

/// A month at this store: of these lines and what is stored.
fn bill(lines: &[Line], workload: &Workload, price: &Price, internet: bool) -> f64 {
    total(lines).dollars(price, internet) + workload.stored_gb * price.stored_per_gb_month
}

fn document(workload: &Workload, month: &Month, prices: &Prices, internet: bool) -> Value {
    let lines = |lines: &[Line]| -> Vec<Value> {
        let line = |line: &Line| {
            let dollars = prices.stores.iter().map(|price| line.monthly().dollars(price, internet));
            json!({
                "name": line.name, "times": line.times, "each": line.each, "dollars": dollars.collect::<Vec<_>>(),
            })
        };
        lines.iter().map(line).collect()
    };
    let stores: Vec<Value> = prices
        .stores
        .iter()
        .map(|price| {
            json!({
                "price": price, "aft_dollars": bill(&month.aft, workload, price, internet),
                "plain_dollars": bill(&month.plain, workload, price, internet),
            })
        })
        .collect();
    json!({
        "workload": workload, "internet": internet, "aft": lines(&month.aft), "plain": lines(&month.plain),
        "aft_total": total(&month.aft), "plain_total": total(&month.plain), "stores": stores,
        "prices_note": prices.note,
    })
}

/// `$1,234.57`; of less than a cent as many digits as say something.
pub(crate) fn dollars(amount: f64) -> String {
    if amount == 0.0 {
        return "-".to_owned();
    }
    if amount < 0.01 {
        return format!("{amount:.4}");
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "far from the limits, and positive"
    )]
    let cents = (amount * 100.0).round() as u64;
    format!("{}.{:02}", thousands(cents / 100), cents % 100)
}

/// A count that may have a fraction.
fn amount(count: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "far from the limits, and positive"
    )]
    let whole = count.round() as u64;
    if (count - count.round()).abs() < 0.005 { thousands(whole) } else { format!("{count:.2}") }
}

fn many(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

fn text(workload: &Workload, month: &Month, prices: &Prices, internet: bool) -> String {
    let mut parts = vec![table(workload, month, prices, internet).trim_fmt()];
    let meaning = format!(
        "A month of {} of {} of {} each, {} that no cache helps and {}; in US dollars. \
         How many requests each thing takes was counted just now by doing it, with aft's default settings, on a store in \
         memory. Reads that a cache answers cost nothing. Key by key, without aft, nothing is atomic.{}",
        many(workload.commits, "commit"),
        many(workload.keys, "key"),
        many(workload.bytes, "byte"),
        many(workload.reads, "read"),
        many(workload.nodes, "node"),
        if internet {
            " What is read leaves for the internet."
        } else {
            " Traffic within the store's region is free."
        },
    );
    parts.push(wrapped(&meaning, 100));
    let sources = prices.stores.iter().map(|price| {
        format!("{} ({}), {}: {} {}", price.name, price.region, price.as_of, price.source, price.note)
    });
    parts.push(sources.map(|source| wrapped(&source, 100)).collect::<Vec<_>>().join("\n"));
    parts.push(wrapped(&prices.note, 100));
    parts.join("\n\n")
}

fn table(workload: &Workload, month: &Month, prices: &Prices, internet: bool) -> Table {
    let mut table = crate::output::table(["a month", "times", "create", "get", "list", "delete"]);
    let mut header: Vec<String> =
        ["a month", "times", "create", "get", "list", "delete"].map(str::to_owned).into();
    header.extend(prices.stores.iter().map(|price| price.name.clone()));
    table.set_header(header);
    let row = |line: &Line| {
        let mut cells = vec![line.name.to_owned(), amount(line.times)];
        cells.extend([line.each.creates, line.each.gets, line.each.lists, line.each.deletes].map(amount));
        cells.extend(prices.stores.iter().map(|price| dollars(line.monthly().dollars(price, internet))));
        cells
    };
    let sum = |name: &str, lines: &[Line]| {
        let mut cells = vec![name.to_owned()];
        cells.resize(6, String::new());
        cells.extend(prices.stores.iter().map(|price| dollars(bill(lines, workload, price, internet))));
        cells
    };
    for line in &month.aft {
        table.add_row(row(line));
    }
    if workload.stored_gb > 0.0 {
        let mut cells = vec![format!("{} GB stored", workload.stored_gb)];
        cells.resize(6, String::new());
        cells.extend(
            prices.stores.iter().map(|price| dollars(workload.stored_gb * price.stored_per_gb_month)),
        );
        table.add_row(cells);
    }
    table.add_row(sum("all of aft", &month.aft));
    table.add_row([""]);
    for line in &month.plain {
        table.add_row(row(line));
    }
    table.add_row(sum("all of plain keys", &month.plain));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_readable() {
        assert_eq!([0.0, 0.00123, 0.014, 1234.567].map(dollars), ["-", "0.0012", "0.01", "1,234.57"]);
        assert_eq!([0.0, 2.0, 2.5, 1e6].map(amount), ["0", "2", "2.50", "1,000,000"]);
    }
}
