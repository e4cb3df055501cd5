//! Progress of long commands: a bar on stderr, only where somebody watches.

use std::io::{IsTerminal, stderr};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};

/// How far a command has come. Shows nothing where stderr is no terminal or the caller wants JSON.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar of `length` steps with `label` before it.
    pub(crate) fn new(json: bool, label: &'static str, length: u64) -> Self {
        if json || !stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(length).with_message(label);
        if let Ok(style) =
            ProgressStyle::with_template("{msg:>12} {bar:40} {human_pos}/{human_len}, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// What came so far and how fast, where nobody knows how many there are.
    pub(crate) fn counting(json: bool, label: &'static str, noun: &'static str) -> Self {
        if json || !stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::no_length().with_message(label).with_prefix(noun);
        if let Ok(style) = ProgressStyle::with_template("{msg:>12} {human_pos} {prefix}, {per_sec}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// So far.
    pub(crate) fn reach(&self, done: u64) {
        self.0.set_position(done);
    }

    /// So far of so many, where it turns out on the way how many there are.
    pub(crate) fn reach_of(&self, done: u64, length: u64) {
        self.0.set_length(length);
        self.reach(done);
    }

    /// A bar of bytes. Where nobody knows how many there are (a pipe), only what came so far and how fast.
    pub(crate) fn of_bytes(json: bool, label: &'static str, length: Option<u64>) -> Self {
        if json || !stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let (bar, template) = match length {
            Some(length) => (
                ProgressBar::new(length),
                "{msg:>12} {bar:40} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
            ),
            None => (ProgressBar::no_length(), "{msg:>12} {binary_bytes} {binary_bytes_per_sec}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar.with_message(label))
    }

    /// The same pieces, counted as they come.
    pub(crate) fn counted<E>(
        &self,
        pieces: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> impl Stream<Item = Result<Bytes, E>> + Send {
        let bar = self.0.clone();
        pieces.inspect_ok(move |piece| bar.inc(piece.len() as u64))
    }

    pub(crate) fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn bytes_are_counted_as_they_come() {
        let progress = Progress(ProgressBar::hidden());
        let pieces = stream::iter([Ok::<_, ()>(Bytes::from_static(b"abc")), Ok(Bytes::from_static(b"de"))]);
        let all: Vec<Bytes> = progress.counted(pieces).try_collect().await.unwrap();
        assert_eq!((all.concat().as_slice(), progress.0.position()), (&b"abcde"[..], 5));
    }
}
