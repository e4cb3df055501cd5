//! The example does what it says: it asserts its own outcome.

use std::process::Command;

#[test]
fn the_workflow_ends_well() {
    // Cargo puts examples beside the folder of tests, and builds them with `cargo test`, though not with `--test examples` alone.
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples/workflow");
    let output = Command::new(example).output();
    let output = output.unwrap_or_else(|error| panic!("build it with `cargo build --examples`: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
