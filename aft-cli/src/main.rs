//! `aft`: the command line of aft stores.

mod args;
mod demo;
mod exit;
mod failure;
mod key;
mod logging;
mod output;
mod progress;
mod tree;

fn main() {}
