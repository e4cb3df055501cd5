//! The examples do what they say: each asserts its own outcome.

#[path = "../examples/fan_out.rs"]
mod fan_out;
#[path = "../examples/handler.rs"]
mod handler;
#[path = "../examples/webhook.rs"]
mod webhook;

#[test]
fn fan_out_ends_well() {
    fan_out::main().unwrap();
}

#[test]
fn handler_ends_well() {
    handler::main().unwrap();
}

#[test]
fn webhook_ends_well() {
    webhook::main().unwrap();
}
