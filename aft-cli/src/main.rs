//! The command line of aft.
fn main() {}
