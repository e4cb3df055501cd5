//! Ctrl-C, and the system's wish that a command ends.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Whether a commit is under way, which no first signal stops: it is short, and stopped half-way nobody would know how it ended.
static COMMITTING: AtomicBool = AtomicBool::new(false);

/// Says that a commit begins, or that it has ended and another may come.
pub(crate) fn committing(begins: bool) {
    COMMITTING.store(begins, Ordering::SeqCst);
}

/// Ends when the user or the system wants the command to stop.
pub(crate) async fn interrupted() {
    let pressed = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = pressed => {}
        () = terminated() => {}
    }
}

/// Ends when the system wants the command to stop.
#[cfg(unix)]
async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

/// Runs a command that takes away what it has begun where it is dropped. `unchanged` says what is as it was then.
pub(crate) async fn unless_interrupted(
    command: impl Future<Output = Result<(), Failure>>,
    unchanged: &str,
) -> Result<(), Failure> {
    tokio::select! {
        ended = command => ended,
        () = interrupted() => Err(Failure::new(Exit::Error, "stopped by a signal").advice(unchanged)),
    }
}

/// Runs a command that writes nothing which counts before it [commits](committing). `unchanged` says what is true where it is stopped before that.
/// A commit under way is waited for; a second signal ends it, and leaves its outcome open.
pub(crate) async fn until_commit<T>(
    command: impl Future<Output = Result<T, Failure>>,
    unchanged: &str,
    output: &Output,
) -> Result<T, Failure> {
    let mut command = pin!(command);
    let mut again = false;
    loop {
        tokio::select! {
            ended = &mut command => return ended,
            () = interrupted() => {}
        }
        match (COMMITTING.load(Ordering::SeqCst), again) {
            (false, _) => return Err(Failure::new(Exit::Error, "stopped by a signal").advice(unchanged)),
            (true, false) if output.is_json() => {}
            (true, false) => {
                output.note("the commit is under way and is waited for; once more ends the command at once")
            }
            (true, true) => {
                return Err(Failure::new(Exit::OutcomeUnknown, "stopped by a signal while the commit was under way")
                    .advice("it may or may not have committed; running the same command again is safe: it writes the same"));
            }
        }
        again = true;
    }
}
