//! The example does what it says: it asserts its own outcome. Without the test harness, since it starts itself again.

#[path = "../examples/workflow.rs"]
mod workflow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    workflow::main()
}
