//! `aft log --follow`.

use std::collections::BTreeSet;
use std::time::Duration;

use aft_core::{Aft, Error, ErrorKind, RecentCommit, Version};

use super::{Entry, Wanted};
use crate::failure::Failure;
use crate::output::Output;

/// Prints the newest commits that are wanted, so many at most and oldest first, and then each that becomes known. Ends with a failure only.
pub(super) async fn run(
    aft: &Aft,
    wanted: &Wanted,
    mut limit: usize,
    interval: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let (mut told, mut silent) = (BTreeSet::new(), false);
    loop {
        match news(aft, wanted, &told, limit).await {
            Ok((entries, known)) => {
                if std::mem::take(&mut silent) {
                    output.note("the store answers again");
                }
                entries.iter().rev().try_for_each(|entry| print(entry, output))?;
                (told, limit) = (known, usize::MAX);
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                if !std::mem::replace(&mut silent, true) {
                    let cause = Failure::from(error).line();
                    output.note(format!("warning: the store does not answer, and is asked again: {cause}"));
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(interval).await;
    }
}

/// The commits that are wanted and were not told, newest first; and the versions of all that are known now: what is folded since is not
/// told again, and need not be remembered.
async fn news(
    aft: &Aft,
    wanted: &Wanted,
    told: &BTreeSet<Version>,
    limit: usize,
) -> Result<(Vec<Entry>, BTreeSet<Version>), Error> {
    aft.refresh().await?;
    let all: Vec<_> = aft.recent().collect();
    let known = all.iter().map(RecentCommit::version).collect();
    let new = all.into_iter().filter(|commit| !told.contains(&commit.version()));
    Ok((wanted.of(aft, new, limit).await?, known))
}

fn print(entry: &Entry, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        let line = serde_json::to_string(entry).map_err(|cause| Failure::stdout(cause.into()))?;
        return output.lines([line]);
    }
    let Entry { time, txn_id, .. } = entry;
    output.lines([format!("{time}  {txn_id}  {}", entry.keys())])
}
