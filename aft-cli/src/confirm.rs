//! The question before something is deleted that was not named key by key.
//!
//! Only where somebody can answer: scripts, which have no terminal, go on as they always did.

use std::fmt::Display;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stderr, stdin};

use crate::exit::Exit;
use crate::failure::Failure;

/// The longest answer that is looked at.
const ANSWER_BYTES: u64 = 1024;

/// Asks whether to go on, where stdin and stderr are terminals. `what` says what is about to be deleted.
pub(crate) async fn ask(what: impl Display) -> Result<(), Failure> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Ok(());
    }
    let _ = write!(stderr(), "{what} Go on? [y/N] ");
    let (answered, answer) = tokio::sync::oneshot::channel();
    // A thread of its own: the process must be able to end while nobody answers.
    std::thread::spawn(move || answered.send(answer_of(stdin())));
    match answer.await {
        Ok(true) => Ok(()),
        _ => {
            Err(Failure::new(Exit::Error, "not confirmed; nothing was deleted").advice("--yes does not ask"))
        }
    }
}

/// Whether the first line says yes.
fn answer_of(from: impl Read) -> bool {
    let mut line = Vec::new();
    // What cannot be read says nothing, and so not yes.
    let _ = BufReader::new(from.take(ANSWER_BYTES)).read_until(b'\n', &mut line);
    matches!(line.trim_ascii().to_ascii_lowercase().as_slice(), b"y" | b"yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y", "Y\n", "yes\n", " Yes \r\nno"] {
            assert!(answer_of(yes.as_bytes()), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no", "yesterday", "\ny", &"y".repeat(5000)] {
            assert!(!answer_of(no.as_bytes()), "{no:?}");
        }
    }
}
