//! `aft demo`: what goes wrong on plain keys, and does not on aft.

mod checker;
mod history;
mod order;
mod plain;
mod reader;
mod report;
mod requests;
mod run;
mod subject;
mod worker;
