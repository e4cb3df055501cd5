//! The page: words, tables and charts, without anything from elsewhere.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::chart::{Bar, bars};
use super::{KEYS, Report};
use crate::cost::dollars;
use crate::gc;
use crate::key::Key;
use crate::output::{count, size, thousands, time};
use crate::survey::census::AGES;
use crate::survey::{about, ahead, since};

const STYLE: &str = include_str!("style.css");
/// How many bars a chart over time has at most, and how many seconds one may stand for.
const BARS: u64 = 60;
const STEPS: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 300, 900, 3600, 21_600, 86_400];
/// The longest key that is shown whole, in characters.
const LONG: usize = 120;

/// `text` in HTML, between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(char),
        }
    }
    html
}

/// A page as it grows.
struct Page(String);

impl Page {
    fn put(&mut self, html: impl Display) {
        let _ = writeln!(self.0, "{html}");
    }

    fn section(&mut self, title: &str, note: &str) {
        self.put(format_args!("<h2>{}</h2>", escaped(title)));
        if !note.is_empty() {
            self.put(format_args!("<p class=\"note\">{}</p>", escaped(note)));
        }
    }

    /// A table of text; the columns from `numbers` on are set to the right.
    fn table(
        &mut self,
        header: &[&str],
        numbers: std::ops::Range<usize>,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) {
        self.put("<div class=\"wide\"><table><thead><tr>");
        let class = |at: usize| if numbers.contains(&at) { " class=\"n\"" } else { "" };
        for (at, name) in header.iter().enumerate() {
            self.put(format_args!("<th{}>{}</th>", class(at), escaped(name)));
        }
        self.put("</tr></thead><tbody>");
        for row in rows {
            let cells: String = row
                .iter()
                .enumerate()
                .map(|(at, cell)| format!("<td{}>{}</td>", class(at), escaped(cell)))
                .collect();
            self.put(format_args!("<tr>{cells}</tr>"));
        }
        self.put("</tbody></table></div>");
    }

    /// Names with numbers, and a bar for each.
    fn ranked(&mut self, header: [&str; 2], rows: &[(String, u64, String)]) {
        let most = rows.iter().map(|row| row.1).max().unwrap_or(0).max(1);
        let [name, number] = header.map(escaped);
        self.put(format_args!(
            "<div class=\"wide\"><table class=\"ranked\"><thead><tr><th>{name}</th><th class=\"n\">{number}</th><th></th></tr></thead><tbody>"
        ));
        for (name, number, shown) in rows {
            #[allow(clippy::cast_precision_loss, reason = "a bar of some pixels")]
            let share = 100.0 * *number as f64 / most as f64;
            let bar = if *number > 0 {
                format!("<span style=\"width:{share:.1}%\"></span>")
            } else {
                String::new()
            };
            self.put(format_args!(
                "<tr><td class=\"key\">{}</td><td class=\"n\">{}</td><td class=\"track\">{bar}</td></tr>",
                escaped(name),
                escaped(shown)
            ));
        }
        self.put("</tbody></table></div>");
    }
}

/// The whole page.
pub(super) fn html(report: &Report) -> String {
    let title = escaped(&format!("aft: {}", report.store));
    let mut page = Page(String::new());
    page.put("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>");
    page.put("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>");
    page.put("<meta name=\"color-scheme\" content=\"light dark\"/>");
    page.put(format_args!("<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>"));
    top(&mut page, report);
    commits(&mut page, report);
    checkpoints(&mut page, report);
    nodes(&mut page, report);
    keys(&mut page, report);
    objects(&mut page, report);
    garbage(&mut page, report);
    cost(&mut page, report);
    page.put("</main>\n</body>\n</html>");
    page.0
}

fn top(page: &mut Page, report: &Report) {
    let (survey, scan) = (&report.survey, &report.scan);
    page.put(format_args!("<h1>{}</h1>", escaped(&report.store)));
    let (id, now) = (escaped(&survey.info.store_id), escaped(&time(survey.now)));
    page.put(format_args!("<p class=\"note\">store {id}, as it was at {now}</p>\n<div class=\"tiles\">"));
    let rate = survey.rates().into_iter().flatten().last();
    let tiles = [
        ("keys", thousands(scan.keys)),
        ("bytes of their values", size(scan.value_bytes)),
        ("objects", thousands(scan.census.all.objects)),
        ("bytes stored", size(scan.census.all.bytes)),
        ("commits a minute", rate.map_or("?".to_owned(), |rate| format!("{rate:.1}"))),
        ("lag of the index", survey.lag().map_or("no checkpoint".to_owned(), about)),
    ];
    for (name, value) in tiles {
        page.put(format_args!("<div><b>{}</b><span>{name}</span></div>", escaped(&value)));
    }
    page.put("</div>");
    for warning in &report.warnings {
        let (what, advice) = (escaped(&warning.what), escaped(&warning.advice));
        page.put(format_args!("<p class=\"warning\"><b>{what}.</b> To do: {advice}.</p>"));
    }
    if report.warnings.is_empty() {
        page.put("<p class=\"fine\">No warnings.</p>");
    }
}

fn commits(page: &mut Page, report: &Report) {
    let (first, last) = (report.commits.first(), report.commits.last());
    let Some((first, last)) = first.zip(last) else {
        page.section("Commits", "None is known that is not folded into the index.");
        return;
    };
    let step = step(last.duration_since(*first).unwrap_or_default());
    let counts = by_time(&report.commits, *first, step);
    let each = about(Duration::from_secs(step));
    page.section(
        "Commits",
        &format!(
            "{} that are not folded into the index yet; each bar is {each}. By the clocks of the nodes.",
            count(report.commits.len(), "commit")
        ),
    );
    let bar = |(at, commits): (u64, &u64)| Bar {
        #[allow(clippy::cast_precision_loss, reason = "a bar of some pixels")]
        value: *commits as f64,
        title: format!("{} from {}", thousands(*commits), time(*first + Duration::from_secs(at * step))),
        other: false,
    };
    let shown: Vec<_> = (0..).zip(&counts).map(bar).collect();
    page.put(bars("commits over time", &shown, [&time(*first), &time(*last)], |value| format!("{value:.0}")));
}

/// How many seconds a bar stands for, where all of them stand for this time.
fn step(span: Duration) -> u64 {
    let least = span.as_secs() / BARS + 1;
    STEPS.into_iter().find(|step| *step >= least).unwrap_or(least)
}

/// How many of these moments, oldest first, are in each step since the first.
fn by_time(moments: &[SystemTime], first: SystemTime, step: u64) -> Vec<u64> {
    let mut counts = Vec::new();
    for moment in moments {
        let at = usize::try_from(since(*moment, first).as_secs() / step).unwrap_or(usize::MAX);
        // Of a span that `step` was made for there are a few more than BARS.
        if at <= 2 * BARS as usize {
            counts.resize(counts.len().max(at + 1), 0);
            counts[at] += 1;
        }
    }
    counts
}

fn checkpoints(page: &mut Page, report: &Report) {
    let Some((first, last)) = report.checkpoints.first().zip(report.checkpoints.last()) else {
        page.section("Checkpoints", "None was made yet: whoever opens the store reads every commit.");
        return;
    };
    page.section(
        "Lag of the checkpoints",
        "How old the newest commits in the index were when each checkpoint that is still there was made: with the default settings 17 \
         minutes at least. Light ones, which fold nothing, are paler.",
    );
    let bar = |checkpoint: &aft_core::CheckpointInfo| {
        let lag = since(checkpoint.made, checkpoint.horizon);
        let kind = if checkpoint.light { "light" } else { "full" };
        let (number, runs) = (checkpoint.number, count_of(checkpoint.runs, "run"));
        let title = format!(
            "checkpoint {number} ({kind}) of {}: {} behind, {} in {runs}",
            time(checkpoint.made),
            about(lag),
            count_of(checkpoint.rows, "row")
        );
        Bar { value: lag.as_secs_f64() / 60.0, title, other: checkpoint.light }
    };
    let shown: Vec<_> = report.checkpoints.iter().map(bar).collect();
    let mut names = [first, last].map(|it| format!("{}: {}", it.number, time(it.made)));
    if first.number == last.number {
        names[1].clear();
    }
    page.put(bars("lag of the checkpoints", &shown, [&names[0], &names[1]], |minutes| {
        format!("{minutes:.0} min")
    }));
}

fn nodes(page: &mut Page, report: &Report) {
    let nodes = &report.survey.nodes;
    let shown = nodes.len().min(50);
    page.section(
        "Nodes",
        &format!(
            "{} published in the last 15 minutes; the last {shown} are shown.",
            count(nodes.len(), "node")
        ),
    );
    let rows = nodes.iter().take(shown).map(|node| {
        vec![
            node.node.clone(),
            format!("{} ago", about(since(report.survey.now, node.last))),
            thousands(node.objects),
            thousands(node.commits),
            node.clock_ahead_ms.map_or("not known".to_owned(), ahead),
        ]
    });
    if shown > 0 {
        page.table(&["node", "last heard of", "published", "commits", "clock"], 1..5, rows);
    }
}

/// A key as the command line spells it, shortened where it is long.
fn shown(key: &Bytes) -> String {
    let text = Key::from_bytes(key.to_vec()).to_string();
    match text.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn keys(page: &mut Page, report: &Report) {
    page.section(
        "Keys written most",
        &format!("Versions that are not folded into the index yet, of the {KEYS} keys that have the most."),
    );
    let rows: Vec<_> =
        report.busiest.iter().map(|it| (shown(&it.key), it.versions, thousands(it.versions))).collect();
    if !rows.is_empty() {
        page.ranked(["key", "versions"], &rows);
    }
    page.section(
        "Largest keys",
        &format!("By the size of their values, of {}.", count_of(report.scan.keys, "key")),
    );
    let rows: Vec<_> = report.largest.iter().map(|(bytes, key)| (shown(key), *bytes, size(*bytes))).collect();
    if !rows.is_empty() {
        page.ranked(["key", "size"], &rows);
    }
}

fn objects(page: &mut Page, report: &Report) {
    let census = &report.scan.census;
    page.section("Objects", "Everything that lies in the store, by what it is and by its age.");
    let rows = census.classes.iter().map(|(class, tally)| {
        (format!("{class}: {}", thousands(tally.objects)), tally.bytes, size(tally.bytes))
    });
    page.ranked(["objects", "bytes"], &rows.collect::<Vec<_>>());
    let rows = AGES.iter().zip(census.ages).map(|((age, _), tally)| {
        (format!("{age}: {}", thousands(tally.objects)), tally.bytes, size(tally.bytes))
    });
    page.ranked(["age", "bytes"], &rows.collect::<Vec<_>>());
}

fn garbage(page: &mut Page, report: &Report) {
    let garbage = &report.scan.garbage;
    let judged = garbage.settled_checkpoint.map_or(
        "No checkpoint is older yet than any running transaction, so most things stay.".to_owned(),
        |number| format!("Judged by checkpoint {number}."),
    );
    let what = format!("What `aft gc` would delete now: {}. {judged}", count_of(garbage.objects(), "object"));
    page.section("Garbage", &what);
    let rows = garbage.classes.iter().map(|(kind, class)| {
        let why = if class.objects > 0 { kind.why() } else { "" };
        vec![
            gc::name(*kind),
            thousands(class.objects),
            size(class.bytes),
            thousands(class.kept),
            why.to_owned(),
        ]
    });
    page.table(&["class", "would go", "bytes", "stay", "why"], 1..4, rows);
    for left_out in &garbage.left_out {
        page.put(format_args!("<p class=\"warning\">Left out: {}</p>", escaped(left_out)));
    }
}

fn cost(page: &mut Page, report: &Report) {
    let Some((workload, estimate)) = &report.cost else {
        page.section("Cost", "Nothing was committed lately, so there is nothing to estimate a month from.");
        return;
    };
    page.section(
        "Cost of a month, estimated",
        &format!(
            "As if all month went on like the last minutes: {} of {} of {} each (the mean of what is stored), {}, {} stored. Reads and starts of \
             processes are not in it, since nothing in the store tells of them. Requests are counted by doing each thing once, as `aft cost` does; \
             in US dollars, list prices.",
            count_of(workload.commits, "commit"),
            count_of(workload.keys, "key"),
            size(workload.bytes),
            count_of(workload.nodes, "node"),
            size(report.scan.census.all.bytes),
        ),
    );
    let header: Vec<&str> =
        ["a month", "times"].into_iter().chain(estimate.stores.iter().map(String::as_str)).collect();
    let numbers = 1..header.len();
    let rows = estimate.lines.iter().map(|(name, times, amounts)| {
        let amounts = amounts.iter().map(|amount| dollars(*amount));
        [name.clone(), times.clone()].into_iter().chain(amounts).collect()
    });
    page.table(&header, numbers, rows);
}

fn count_of(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn no_text_is_ever_markup() {
        assert_eq!(escaped("<script a='b'>\"&"), "&lt;script a=&#39;b&#39;&gt;&quot;&amp;");
        let key = Bytes::from_static(b"<b>\xff\n");
        assert_eq!(escaped(&shown(&key)), "&lt;b&gt;\\xff\\x0a");
        assert_eq!(shown(&Bytes::from(vec![b'k'; 4096])).chars().count(), LONG + 1);
    }

    #[test]
    fn commits_are_counted_by_steps_of_time() {
        let moment = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let moments = [10, 11, 29, 75].map(moment);
        assert_eq!(by_time(&moments, moments[0], 15), [2, 1, 0, 0, 1]);
        assert_eq!(
            [0, 59, 60, 1_800, 10_000_000].map(|span| step(Duration::from_secs(span))),
            [1, 1, 2, 60, 166_667]
        );
    }
}
