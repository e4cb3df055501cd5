//! `aft adopt`.

use aft_core::Unpublished;

use crate::args::{Adopt, UnpublishedAs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, count, thousands, time};
use crate::store::Store;

pub(crate) async fn run(args: Adopt, store: &Store, output: &Output) -> Result<(), Failure> {
    let unpublished = match args.unpublished {
        None => Unpublished::Refuse,
        Some(UnpublishedAs::Commit) => Unpublished::Commit,
        Some(UnpublishedAs::Abort) => Unpublished::Abort,
    };
    if let Some(as_what) = args.unpublished {
        let become_what =
            if as_what == UnpublishedAs::Commit { "count as committed" } else { "are made aborts" };
        let what = format!(
            "Decisions in {} that no process published {become_what}, which cannot be undone.",
            store.shown()
        );
        output.confirm(what).await?;
    }
    let report = store.adopt(unpublished).await?;
    let document = serde_json::to_value(&report).map_err(|cause| Failure::stdout(cause.into()))?;
    let number =
        usize::try_from(report.unpublished.len() as u64 + report.more_unpublished).unwrap_or(usize::MAX);
    if !report.adopted {
        if output.is_json() {
            output.json(&document)?;
        }
        let more =
            (report.more_unpublished > 0).then(|| format!("and {} more", thousands(report.more_unpublished)));
        let what =
            format_args!("{} that no process published; nothing was changed", count(number, "decision"));
        return Err(Failure::new(Exit::BadStore, what)
            .items(report.unpublished.iter().map(ToString::to_string).chain(more))
            .advice(
                "say what they are: --unpublished commit, where processes were stopped well before the copy; --unpublished abort, where \
                 whoever made them runs its work again",
            ));
    }
    let until = report.adopted_until.map_or_else(String::new, time);
    let mut line = format!(
        "adopted {}, dated up to {until}; {} not in the index yet",
        count(usize::try_from(report.objects).unwrap_or(usize::MAX), "object"),
        count(usize::try_from(report.commits).unwrap_or(usize::MAX), "commit")
    );
    match args.unpublished {
        Some(as_what) if number > 0 => {
            let what = if as_what == UnpublishedAs::Commit { "committed" } else { "aborted" };
            line.push_str(&format!("; {} that nobody published: {what}", count(number, "decision")));
        }
        _ => {}
    }
    output.done(&document, line)?;
    output.note("now run `aft check`: a copy may lack objects");
    Ok(())
}
