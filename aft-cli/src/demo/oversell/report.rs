//! What the three sales showed, for people and for programs.

use serde::Serialize;

use super::clerk::Counted;
use super::{CLERKS, NODES, Sale, Told};
use crate::demo::report::{Row, side_by_side};
use crate::failure::Failure;
use crate::output::{Output, thousands, wrapped};
use crate::requests::Requests;

/// The three sales side by side.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    orders: u32,
    stock: u32,
    clerks: usize,
    nodes: usize,
    plain: Side,
    read_atomic: Side,
    guarded: Side,
}

/// One sale.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Side {
    /// Orders whose customer was told that they are accepted.
    accepted: u32,
    refused: u32,
    /// Accepted orders that have a key in the store.
    recorded: u32,
    /// Accepted beyond what there was.
    oversold: u32,
    /// By the stock key.
    left: u32,
    /// Accepted orders that the stock key does not know of.
    lost_updates: u32,
    /// Runs of an order beside its first.
    retried: u32,
    requests: Requests,
    requests_total: u64,
}

impl Side {
    pub(super) fn new(sale: Sale, told: Told, counted: Counted, retried: u32, requests: Requests) -> Self {
        let Told { accepted, refused } = told;
        Self {
            accepted,
            refused,
            recorded: counted.orders,
            oversold: accepted.saturating_sub(sale.stock),
            left: counted.left,
            lost_updates: accepted.saturating_sub(sale.stock.saturating_sub(counted.left)),
            retried,
            requests,
            requests_total: requests.total(),
        }
    }
}

impl Report {
    pub(super) fn new(sale: Sale, [plain, read_atomic, guarded]: [Side; 3]) -> Self {
        let Sale { orders, stock } = sale;
        Self { orders, stock, clerks: CLERKS, nodes: NODES, plain, read_atomic, guarded }
    }

    /// What is wrong with the guarded sale, if anything is.
    pub(super) fn wrong(&self) -> Option<String> {
        let Side { accepted, refused, recorded, oversold, left, .. } = self.guarded;
        let (orders, stock) = (self.orders, self.stock);
        if oversold > 0 {
            return Some(format!("accepted {accepted} orders of {stock} pieces"));
        }
        if accepted + left != stock || recorded != accepted || accepted + refused != orders {
            return Some(format!(
                "accepted {accepted} of {orders} orders and refused {refused}, but the store has {recorded} of them and \
                 {left} of {stock} pieces left"
            ));
        }
        let unsold = orders.min(stock) - accepted;
        (unsold > 0).then(|| format!("refused orders while there was still stock: {unsold}"))
    }

    /// The rows of the table; None is a line between its parts.
    fn rows(&self) -> Vec<Row<3>> {
        let row = |name, value: fn(&Side) -> u64| {
            Some((name, [&self.plain, &self.read_atomic, &self.guarded].map(value)))
        };
        vec![
            Some(("orders", [self.orders.into(); 3])),
            Some(("pieces in stock", [self.stock.into(); 3])),
            None,
            row("orders accepted", |side| side.accepted.into()),
            row("orders refused", |side| side.refused.into()),
            row("sold but not there (oversold)", |side| side.oversold.into()),
            row("left, says the stock key", |side| side.left.into()),
            row("sales the stock key lost", |side| side.lost_updates.into()),
            row("conflicts, each retried", |side| side.retried.into()),
            None,
            row("store writes", |side| side.requests.writes),
            row("store reads", |side| side.requests.reads),
            row("store lists", |side| side.requests.lists),
            row("store requests in all", |side| side.requests_total),
        ]
    }

    /// Prints the table and what it means.
    pub(super) fn print(&self, output: &Output) -> Result<(), Failure> {
        if output.is_json() {
            return output.json(self);
        }
        let table = side_by_side(["", "plain keys", "aft, read atomic", "aft, guarded"], self.rows());
        output.lines([table.trim_fmt(), String::new(), self.meaning()])
    }

    fn meaning(&self) -> String {
        let number = |count: u32| thousands(count.into());
        let verdict = match self.wrong() {
            None => format!(
                "Guarded (get_guarded instead of get), whoever comes second is told so before anything is committed, and \
                 runs again: {} times here. Nothing was oversold, and the accepted orders are what is gone from the stock.",
                number(self.guarded.retried)
            ),
            Some(wrong) => format!("The guarded run {wrong}: that is a bug, please report it."),
        };
        let text = format!(
            "{} clerks take {} orders of a product of which there are {}, side by side: each reads the stock, thinks for some \
             milliseconds, and writes the stock and the order. On plain keys {} orders were sold of what was not there, and \
             in transactions of aft without guards {}: reading and writing atomically does not keep two from reading the same \
             stock. {verdict} It took {} requests to the store, without guards {}, on plain keys {}. The clerks race, so \
             counts differ from run to run.",
            self.clerks,
            number(self.orders),
            number(self.stock),
            number(self.plain.oversold),
            number(self.read_atomic.oversold),
            thousands(self.guarded.requests_total),
            thousands(self.read_atomic.requests_total),
            thousands(self.plain.requests_total),
        );
        wrapped(&text, 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(accepted: u32, left: u32, recorded: u32) -> Report {
        let sale = Sale { orders: 9, stock: 6 };
        let told = Told { accepted, refused: sale.orders - accepted };
        let side = Side::new(sale, told, Counted { left, orders: recorded }, 4, Requests::default());
        Report::new(sale, [side; 3])
    }

    #[test]
    fn what_is_wrong_with_a_guarded_sale_is_told() {
        assert_eq!(report(6, 0, 6).wrong(), None);
        let wrong = |report: Report, words: &str| {
            let told = report.wrong().unwrap();
            assert!(
                told.contains(words) && report.meaning().replace('\n', " ").contains("that is a bug"),
                "{told}"
            );
        };
        wrong(report(7, 0, 7), "accepted 7 orders of 6 pieces");
        wrong(report(6, 1, 6), "1 of 6 pieces left");
        wrong(report(6, 0, 5), "the store has 5 of them");
        wrong(report(5, 1, 5), "there was still stock: 1");
    }

    #[test]
    fn what_was_oversold_and_lost_is_counted() {
        let report = report(9, 4, 9);
        assert_eq!((report.plain.oversold, report.plain.lost_updates, report.plain.retried), (3, 7, 4));
        let rows = report.rows();
        assert!(rows.contains(&Some(("sold but not there (oversold)", [3; 3]))), "{rows:?}");
        assert!(rows.contains(&Some(("sales the stock key lost", [7; 3]))), "{rows:?}");
    }
}
