//! Progress of long commands: a bar on stderr, only where somebody watches.

use std::io::{IsTerminal, stderr};

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
        if let Ok(style) = ProgressStyle::with_template("{msg:>12} {bar:40} {human_pos}/{human_len} {eta}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// A bar of bytes, of which it turns out on the way how many there are.
    pub(crate) fn of_bytes(json: bool, label: &'static str) -> Self {
        let bar = Self::new(json, label, 0);
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:>12} {bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}",
        ) {
            bar.0.set_style(style);
        }
        bar
    }

    /// So far of so many.
    pub(crate) fn reach(&self, done: u64, length: u64) {
        self.0.set_length(length);
        self.0.set_position(done);
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
