//! How a command fails: one message, each cause once, what to do, and an exit code.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io::{self, Write};

use aft_core::{BoxError, Error, ErrorKind, StorageError};
use serde_json::json;

use crate::colour;
use crate::exit::Exit;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    /// One line each: the files or keys that the message speaks of.
    items: Vec<String>,
    cause: Option<BoxError>,
    advice: Option<String>,
    silent: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        let message = message.to_string();
        Self { exit, message, items: Vec::new(), cause: None, advice: None, silent: false }
    }

    /// Bad arguments or input.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An error of the file system while doing `what`.
    pub(crate) fn io(what: impl Display, cause: io::Error) -> Self {
        Self::new(Exit::Error, what).because(cause)
    }

    /// An input file or directory that cannot be had: bad input, whichever command takes it.
    pub(crate) fn input(path: impl Display, cause: io::Error) -> Self {
        Self::usage(format!("cannot read {path}")).because(cause)
    }

    /// An error of writing to stdout. A reader that has gone away (`aft ls | head`) has what it wanted: no failure.
    pub(crate) fn stdout(cause: io::Error) -> Self {
        if cause.kind() == io::ErrorKind::BrokenPipe {
            return Self { silent: true, ..Self::new(Exit::Done, "the reader of stdout has gone away") };
        }
        Self::io("cannot write to stdout", cause)
    }

    /// An error of the store while doing `what`.
    pub(crate) fn storage(what: impl Display, cause: StorageError) -> Self {
        let exit = match &cause {
            StorageError::Unavailable { .. } | StorageError::Denied { .. } => Exit::Unavailable,
            StorageError::Unknown { .. } => Exit::OutcomeUnknown,
            StorageError::NotFound { .. } | StorageError::Invalid { .. } => Exit::BadStore,
            StorageError::AlreadyExists { .. } => Exit::Error,
        };
        Self::new(exit, what).because(cause)
    }

    /// The same failure, met while doing `what`.
    pub(crate) fn within(self, what: impl Display) -> Self {
        let Self { exit, message, cause, .. } = self;
        let cause = cause.unwrap_or_else(|| message.into());
        Self { exit, message: what.to_string(), cause: Some(cause), ..self }
    }

    pub(crate) fn because(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn items(mut self, items: impl IntoIterator<Item = impl Display>) -> Self {
        self.items.extend(items.into_iter().map(|item| item.to_string()));
        self
    }

    pub(crate) fn advice(mut self, advice: impl Display) -> Self {
        self.advice = Some(advice.to_string());
        self
    }

    /// The same failure of a command that leaves nothing in doubt: a request without an answer only means that the store could
    /// not be asked.
    pub(crate) fn or_unavailable(mut self) -> Self {
        if self.exit == Exit::OutcomeUnknown {
            self.exit = Exit::Unavailable;
        }
        self
    }

    /// What happened and why, in one line.
    pub(crate) fn line(&self) -> String {
        [self.message.clone()].into_iter().chain(self.causes()).collect::<Vec<_>>().join(": ")
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The texts of the causes, outermost first, none twice: nor one that is part of another (some libraries print
    /// their causes themselves).
    fn causes(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        let mut next: Option<&dyn StdError> = self.cause.as_ref().map(|cause| &**cause as _);
        while let Some(cause) = next {
            let text = cause.to_string();
            let said = texts.iter().chain([&self.message]).any(|said| said.contains(&text));
            if !said {
                texts.push(text);
            }
            next = cause.source();
        }
        texts
    }

    /// Writes the failure for people, in colours, which `to` takes out where they are not wanted; or with `json` for programs.
    pub(crate) fn report(&self, to: &mut dyn Write, json: bool) -> io::Result<()> {
        if self.silent {
            return Ok(());
        }
        if json {
            let error = json!({
                "error": self.message, "exit_code": self.exit as u8, "items": self.items,
                "causes": self.causes(), "advice": self.advice,
            });
            return writeln!(to, "{error}");
        }
        writeln!(to, "{}", colour::led(&format!("error: {}", self.message)))?;
        for item in &self.items {
            writeln!(to, "  {item}")?;
        }
        for cause in self.causes() {
            writeln!(to, "  caused by: {cause}")?;
        }
        self.advice
            .iter()
            .try_for_each(|advice| writeln!(to, "  {}", colour::led(&format!("hint: {advice}"))))
    }
}

impl From<Error> for Failure {
    fn from(cause: Error) -> Self {
        let exit = match cause.kind() {
            // An object that is not there will not be there the next time.
            ErrorKind::VersionUnavailable if lacks_object(&cause) => Exit::BadStore,
            ErrorKind::Aborted | ErrorKind::Expired | ErrorKind::Conflict | ErrorKind::VersionUnavailable => {
                Exit::Aborted
            }
            ErrorKind::OutcomeUnknown => Exit::OutcomeUnknown,
            ErrorKind::Unavailable | ErrorKind::Denied | ErrorKind::ClockSkew => Exit::Unavailable,
            ErrorKind::NoStore | ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::DatesChanged => {
                Exit::BadStore
            }
            ErrorKind::InvalidInput => Exit::Usage,
            _ => Exit::Error,
        };
        let advice = match (exit, cause.kind()) {
            (Exit::OutcomeUnknown, _) => Some("running the same command again is safe: it writes the same"),
            (Exit::Aborted, _) => Some("run the command again"),
            (_, ErrorKind::VersionUnavailable) => Some(
                "an object that the store needs is gone: `aft check` names all that are; running the command again does not help",
            ),
            (_, ErrorKind::Corrupt) => {
                Some("`aft check` names all that is damaged; running the command again does not help")
            }
            (_, ErrorKind::ClockSkew) => Some(
                "set this machine's clock right, or the store's; until then running the command again does not help",
            ),
            (_, ErrorKind::Denied) => Some(
                "the cause says whether it is the credentials, what they may do, or this machine's clock; until that is mended running the \
                 command again does not help",
            ),
            (_, ErrorKind::Unpublished) => Some(
                "it did commit: do not run the command again; the next sweep of any process tells the others",
            ),
            _ => None,
        };
        // The message is the first of the causes, which is then not printed again.
        let failure = Self::new(exit, &cause).because(cause);
        match advice {
            Some(advice) => failure.advice(advice),
            None => failure,
        }
    }
}

/// Whether an object that should be there is not: that is no version which another transaction would find.
fn lacks_object(error: &Error) -> bool {
    let mut next: Option<&dyn StdError> = Some(error);
    while let Some(cause) = next {
        if matches!(cause.downcast_ref(), Some(StorageError::NotFound { .. })) {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: &Failure, json: bool) -> String {
        let mut to = anstream::StripStream::new(Vec::new());
        failure.report(&mut to, json).unwrap();
        String::from_utf8(to.into_inner()).unwrap()
    }

    #[test]
    fn each_cause_is_printed_once() {
        let cause = StorageError::unavailable("aft.json").with_source("connection refused");
        let failure =
            Failure::new(Exit::Unavailable, "cannot open").because(cause).items(["a", "b"]).advice("wait");
        assert_eq!(
            text(&failure, false),
            "error: cannot open\n  a\n  b\n  caused by: the store is unavailable; nothing happened to \"aft.json\"\n  \
             caused by: connection refused\n  hint: wait\n"
        );
        let wordy = Failure::new(Exit::Error, "reading failed: timed out").because("timed out");
        assert_eq!(text(&wordy, false), "error: reading failed: timed out\n");
        let parsed: serde_json::Value = serde_json::from_str(&text(&failure, true)).unwrap();
        assert_eq!(parsed["exit_code"], 6);
        assert_eq!(parsed["causes"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::stdout(io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit(), text(&failure, false)), (Exit::Done, String::new()));
        let failure = Failure::stdout(io::ErrorKind::StorageFull.into());
        assert_eq!(failure.exit(), Exit::Error);
    }
}
