//! `aft top`: a store as it goes on, in a terminal.

mod frame;

use std::io::{self, IsTerminal};
use std::time::Duration;

use aft_core::{Aft, Clock, SystemClock};
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Terminal};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use self::frame::{SECONDS, View, draw};
use crate::args::Top as Args;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, time};
use crate::signals::interrupted;
use crate::store::Store;
use crate::survey::{MINUTES, Survey, warnings};

/// The size of a frame that goes to no terminal.
const SIZE: (u16, u16) = (80, 24);
/// How many commits and keys are kept to be shown: more than fit any terminal are not needed.
const SHOWN: usize = 50;
/// How often the feed is listed a second time, for the nodes: it is what costs most.
const NODES_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody pressed a key, and whether that matters to anyone.
const POLL: Duration = Duration::from_millis(100);
/// How often a frame is drawn anew while the store does not answer.
const REDRAW: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: Args, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let live = !args.once && !output.is_json() && io::stdout().is_terminal() && io::stdin().is_terminal();
    let mut view = view(&aft, store, None).await?;
    if output.is_json() {
        return output.json(&document(&view));
    }
    if !live {
        return output.lines([text(&mut view)?]);
    }
    let screen = Screen::open().map_err(|cause| Failure::io("cannot use the terminal", cause))?;
    tokio::select! {
        ended = watch(screen, view, &aft, store, Duration::from(args.interval).max(POLL)) => ended,
        () = interrupted() => Ok(()),
    }
}

/// The terminal, which is as it was when this is dropped, also by a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| ratatui::restore())
    }

    fn draw(&mut self, view: &mut View) -> Result<(), Failure> {
        view.now = SystemClock::new().now();
        self.0.draw(|frame| draw(frame, view)).map_err(Failure::stdout)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Draws frames until somebody quits.
async fn watch(
    mut screen: Screen,
    mut view: View,
    aft: &Aft,
    store: &Store,
    interval: Duration,
) -> Result<(), Failure> {
    let mut events = events();
    loop {
        screen.draw(&mut view)?;
        let known = view.survey.clone();
        let next = async {
            tokio::time::sleep(interval).await;
            self::view(aft, store, Some(known)).await
        };
        let mut next = std::pin::pin!(next);
        let next = loop {
            tokio::select! {
                next = &mut next => break next,
                event = events.recv() => match event {
                    Some(event) if !quits(&event) => {}
                    _ => return Ok(()),
                },
                () = tokio::time::sleep(REDRAW) => {}
            }
            screen.draw(&mut view)?;
        };
        match next {
            Ok(next) => view = next,
            Err(failure) => view.failure = Some(failure.line()),
        }
    }
}

/// What is pressed, and that the terminal has another size; read by a thread of its own, which ends when nobody listens any more.
fn events() -> UnboundedReceiver<Event> {
    let (to, from) = unbounded_channel();
    std::thread::spawn(move || {
        while !to.is_closed() {
            let event = match event::poll(POLL) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            // Without a terminal to read from nobody could quit: that ends it, too.
            let Ok(event) = event else { return };
            if to.send(event).is_err() {
                return;
            }
        }
    });
    from
}

fn quits(event: &Event) -> bool {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return false };
    let control = modifiers.contains(KeyModifiers::CONTROL);
    *kind != KeyEventKind::Release
        && (matches!(code, KeyCode::Char('q' | 'Q') | KeyCode::Esc)
            || (*code == KeyCode::Char('c') && control))
}

/// The store as it is now; the nodes as `known` has them, where that is young.
async fn view(aft: &Aft, store: &Store, known: Option<Survey>) -> Result<View, Failure> {
    let survey = match known {
        None => Survey::of(aft).await?,
        Some(known) => {
            aft.refresh().await?;
            known.anew(aft, NODES_EVERY).await?
        }
    };
    let now = SystemClock::new().now();
    let since = now.checked_sub(Duration::from_secs(SECONDS)).unwrap_or(now);
    Ok(View {
        store: store.shown(),
        now,
        seen: now,
        commits: aft.commit_times(since),
        newest: aft.recent_commits(SHOWN),
        busiest: aft.busiest_keys(SHOWN),
        warnings: warnings::of(&survey, None),
        failure: None,
        survey,
    })
}

/// One frame as text.
fn text(view: &mut View) -> Result<String, Failure> {
    let size =
        if io::stdout().is_terminal() { ratatui::crossterm::terminal::size().unwrap_or(SIZE) } else { SIZE };
    let Ok(mut terminal) = Terminal::new(TestBackend::new(size.0, size.1));
    let Ok(_) = terminal.draw(|frame| draw(frame, view));
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width).max(1);
    let rows = buffer.content.chunks(width).map(|row| {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    });
    Ok(rows.collect::<Vec<_>>().join("\n"))
}

/// One frame for programs.
fn document(view: &View) -> serde_json::Value {
    let survey = &view.survey;
    let at = |commit: &aft_core::CommitInfo| {
        std::time::UNIX_EPOCH + Duration::from_millis(commit.version.clock_ms())
    };
    let commit = |commit: &aft_core::CommitInfo| json!({ "time": time(at(commit)), "txn_id": commit.txn_id.to_string(), "keys": commit.writes.len() });
    let key = |key: &aft_core::KeyActivity| json!({ "key": Key::from_bytes(key.key.to_vec()), "versions": key.versions });
    let node = |node: &aft_core::NodeInfo| json!({ "node": node.node, "last": time(node.last), "objects": node.objects, "clock_ahead_ms": node.clock_ahead_ms });
    json!({
        "store": view.store, "time": time(view.now), "commits_by_second": view.by_second(),
        "commits_a_minute": MINUTES.iter().map(ToString::to_string).zip(survey.rates().map(|rate| json!(rate))).collect::<serde_json::Map<_, _>>(),
        "recent_commits": survey.stats.recent_commits, "recent_keys": survey.stats.recent_keys,
        "checkpoint": survey.info.checkpoint, "lag_seconds": survey.lag().map(|lag| lag.as_secs()),
        "nodes": survey.nodes.iter().take(SHOWN).map(node).collect::<Vec<_>>(),
        "newest": view.newest.iter().map(commit).collect::<Vec<_>>(), "busiest": view.busiest.iter().map(key).collect::<Vec<_>>(),
        "requests": survey.stats.requests, "warnings": view.warnings,
    })
}
