//! The example of guards comes out right: it counts that itself. Without the test harness, since it starts itself again.

#[path = "../examples/guarded.rs"]
mod guarded;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A filter of tests is one word.
    if std::env::args().len() > 2 && std::env::args().nth(1).as_deref() == Some(guarded::WORKER) {
        return guarded::main();
    }
    guarded::play_all()
}
