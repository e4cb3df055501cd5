//! Ctrl-C, and the system's wish that a command ends.

use crate::exit::Exit;
use crate::failure::Failure;

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
