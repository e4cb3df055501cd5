//! One frame of `aft top`: from what is known to cells.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{CommitInfo, Cost, KeyActivity};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline};

use crate::key::Key;
use crate::output::{count, thousands, time};
use crate::survey::warnings::Warning;
use crate::survey::{Survey, about, ahead, since};

/// How many seconds of commits are shown at most: as many as the widest terminal has columns for.
pub(super) const SECONDS: u64 = 300;
/// How many keys of a commit are shown.
const KEYS: usize = 3;

/// What a frame shows.
#[derive(Debug)]
pub(super) struct View {
    pub(super) store: String,
    /// When it is drawn, and when the store was last asked.
    pub(super) now: SystemTime,
    pub(super) seen: SystemTime,
    pub(super) survey: Survey,
    /// When the commits of the last [`SECONDS`] happened, oldest first.
    pub(super) commits: Vec<SystemTime>,
    pub(super) newest: Vec<CommitInfo>,
    pub(super) busiest: Vec<KeyActivity>,
    pub(super) warnings: Vec<Warning>,
    /// Why the store could not be asked since.
    pub(super) failure: Option<String>,
}

impl View {
    /// Commits in each of the last seconds, the last one first.
    pub(super) fn by_second(&self) -> Vec<u64> {
        let mut counts = vec![0; SECONDS as usize];
        for moment in &self.commits {
            let at = usize::try_from(since(self.seen, *moment).as_secs()).unwrap_or(usize::MAX);
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
        counts
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let rows = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(5),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(1),
    ]);
    let [top, commits, upper, lower, bottom] = rows.areas(frame.area());
    frame.render_widget(Paragraph::new(head(view)), top);
    spark(frame, view, commits);
    let columns = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2);
    let [left, right] = columns.areas(upper);
    list(frame, left, "newest commits", view.newest.iter().map(|commit| commit_line(commit, view.now)));
    let nodes = &view.survey.nodes;
    let title = format!("nodes in 15 minutes: {}", thousands(nodes.len() as u64));
    let node = |node: &aft_core::NodeInfo| {
        let clock = node.clock_ahead_ms.map_or(String::new(), |ms| format!("  {}", ahead(ms)));
        // Enough to tell them apart, so that the clock fits beside it.
        Line::from(format!("{:.8}…  {} ago{clock}", node.node, about(since(view.now, node.last))))
    };
    list(frame, right, &title, nodes.iter().map(node));
    let [left, right] = columns.areas(lower);
    let key = |it: &KeyActivity| {
        Line::from(format!("{:>6}  {}", thousands(it.versions), Key::from_bytes(it.key.to_vec())))
    };
    list(frame, left, "versions of the keys written most", view.busiest.iter().map(key));
    requests(frame, view, right);
    frame.render_widget(Paragraph::new(foot(view)), bottom);
}

fn head(view: &View) -> Vec<Line<'_>> {
    let (survey, info) = (&view.survey, &view.survey.info);
    let checkpoint = match survey.lag() {
        None => "none, every start reads every commit".to_owned(),
        Some(lag) => {
            let kind = if survey.is_light() { "light" } else { "full" };
            format!("{} ({kind}), the index lags {} behind", info.checkpoint, about(lag))
        }
    };
    let commits = usize::try_from(survey.stats.recent_commits).unwrap_or(usize::MAX);
    let keys = usize::try_from(survey.stats.recent_keys).unwrap_or(usize::MAX);
    vec![
        Line::from(vec![Span::from("aft top  ").bold(), Span::from(view.store.as_str())]),
        Line::from(format!("checkpoint {checkpoint}")),
        Line::from(format!(
            "beyond it  {} of {}, {} rows in the index",
            count(commits, "commit"),
            count(keys, "key"),
            thousands(info.rows)
        )),
    ]
}

/// A list with a title above; what does not fit is cut off.
fn list<'a>(frame: &mut Frame<'_>, area: Rect, title: &str, lines: impl Iterator<Item = Line<'a>>) {
    let lines: Vec<_> = lines.take(usize::from(area.height)).collect();
    let empty = lines.is_empty();
    let text = if empty { vec![Line::from("none").dim()] } else { lines };
    frame.render_widget(Paragraph::new(text).block(titled(title)), area);
}

fn titled(title: &str) -> Block<'_> {
    Block::new()
        .borders(Borders::TOP)
        .border_style(Style::new().dim())
        .title(Span::from(format!("{title} ")).bold())
}

fn spark(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let seconds = view.by_second();
    let shown = seconds.len().min(usize::from(area.width));
    let most = seconds[..shown].iter().max().copied().unwrap_or(0);
    let rates = view.survey.rates().map(|rate| rate.map_or("?".to_owned(), |rate| format!("{rate:.0}")));
    let title = format!(
        "commits a second, at most {most}; a minute {} (in 5 minutes {}, in 15 {})",
        rates[0], rates[1], rates[2]
    );
    // The newest at the right.
    let data: Vec<u64> = seconds[..shown].iter().rev().copied().collect();
    frame.render_widget(Sparkline::default().data(&data).cyan().block(titled(&title)), area);
}

fn commit_line(commit: &CommitInfo, now: SystemTime) -> Line<'static> {
    let at = UNIX_EPOCH + Duration::from_millis(commit.version.clock_ms());
    let mut text = format!("{:>7}  ", about(since(now, at)));
    for (key, deleted) in commit.writes.iter().take(KEYS) {
        let sign = if *deleted { '-' } else { '+' };
        text.push_str(&format!("{sign}{}  ", Key::from_bytes(key.to_vec())));
    }
    match commit.writes.len().saturating_sub(KEYS) {
        0 => {}
        more => text.push_str(&format!("and {more} more")),
    }
    Line::from(text)
}

fn requests(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let Cost { gets, range_gets, lists, creates, bytes_read, .. } = view.survey.stats.requests;
    let line = |name: &str, value: String| Line::from(format!("{name:<8}{value}"));
    let lines = [
        line("list", thousands(lists)),
        line("get", format!("{}, ranges {}", thousands(gets), thousands(range_gets))),
        line("create", thousands(creates)),
        line("read", crate::output::size(bytes_read)),
    ];
    list(frame, area, "requests of this process", lines.into_iter());
}

/// What is wrong, or else how to leave.
fn foot(view: &View) -> Line<'_> {
    let quit = Span::from("q quits").dim();
    if let Some(failure) = &view.failure {
        let ago = about(since(view.now, view.seen));
        return Line::from(vec![quit, Span::from(format!("  as of {ago} ago: {failure}")).red()]);
    }
    match view.warnings.first() {
        Some(first) => {
            let number = view.warnings.len();
            let all = if number > 1 { format!("1 of {number} warnings") } else { "warning".to_owned() };
            Line::from(vec![quit, Span::from(format!("  {all}: {} (aft status)", first.what)).yellow()])
        }
        None => Line::from(vec![quit, Span::from(format!("  as of {}", time(view.seen))).dim()]),
    }
}
