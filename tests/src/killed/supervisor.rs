//! Keeps eight workers at work, and kills them.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aft_core::{Clock, SystemClock};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::queue::{Counts, Job, Queue};
use super::request::{Done, Request, Work};
use super::worker::{DONE, HALF};
use super::{Killed, PROCESSES, WORKER};

/// SIGKILL.
const KILLED: Option<i32> = Some(9);
/// A run that takes longer than this hangs, or than so much for each request. (Ids that callers made before expire after fifteen minutes.)
const LIMIT: Duration = Duration::from_secs(10 * 60);
const LIMIT_EACH: Duration = Duration::from_millis(400);

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub counts: Counts,
    requests: usize,
    work: Work,
    took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { deliveries, kills, retries, replays } = self.counts;
        let (requests, work, took) = (self.requests, self.work.word(), self.took);
        write!(
            f,
            "{requests} {work} by {PROCESSES} processes: {deliveries} deliveries, {kills} kills, {retries} retries \
             after a kill, {replays} replays, {:.1} s",
            took.as_secs_f64()
        )
    }
}

/// The worker of a slot. It is gone when this is dropped.
struct Process<'a> {
    child: &'a Mutex<Option<Child>>,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// Runs the requests; every request's answer.
pub fn run(killed: &Killed) -> Result<(Vec<(Request, Done)>, Report), String> {
    let requests = killed.requests;
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let queue = Queue::new(requests, killed.work, killed.seed);
    let children: Vec<Mutex<Option<Child>>> = (0..PROCESSES).map(|_| Mutex::new(None)).collect();
    let over = AtomicBool::new(false);
    let limit = LIMIT.max(LIMIT_EACH * u32::try_from(requests).unwrap_or(u32::MAX));
    std::thread::scope(|scope| {
        let slots = children.iter().enumerate().map(|(slot, child)| {
            let (queue, clock) = (&queue, &clock);
            scope.spawn(move || {
                serve(killed, slot, child, queue, clock).unwrap_or_else(|why| queue.fail(why));
            })
        });
        let slots: Vec<_> = slots.collect();
        let killer = scope.spawn(|| kill_at_random(&children, killed, &queue, &over));
        while !slots.iter().all(|slot| slot.is_finished()) {
            if clock.monotonic() - began > limit {
                queue.fail(format!("not done within {limit:?}"));
                children.iter().for_each(kill);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        killer.join().unwrap();
    });
    let (done, counts) = queue.finish()?;
    Ok((done, Report { counts, requests, work: killed.work, took: clock.monotonic() - began }))
}

/// Sends SIGKILL to the child, if there is one; it is waited for where it is served.
fn kill(child: &Mutex<Option<Child>>) {
    if let Some(child) = child.lock().unwrap().as_mut() {
        child.kill().unwrap();
    }
}

/// Of so many kills in a row one waits until something was answered: on a machine that is too busy to start a worker between two of
/// them nothing would ever be done.
fn kill_at_random(children: &[Mutex<Option<Child>>], killed: &Killed, queue: &Queue, over: &AtomicBool) {
    let mut answered = queue.answers();
    let mut in_a_row = 0;
    let mut rng = StdRng::seed_from_u64(!killed.seed);
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(rng.random_range(killed.pause_ms.clone())));
        let now = queue.answers();
        if now != answered {
            (answered, in_a_row) = (now, 0);
        }
        if in_a_row < PROCESSES {
            in_a_row += 1;
            kill(&children[rng.random_range(0..children.len())]);
        }
    }
}

/// Serves one slot: a worker at a time, as many as it takes.
fn serve(
    killed: &Killed,
    slot: usize,
    child: &Mutex<Option<Child>>,
    queue: &Queue,
    clock: &SystemClock,
) -> Result<(), String> {
    let now_ms = || clock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    loop {
        let mut process = Process::start(killed, slot, child);
        loop {
            let Some(job) = queue.take(slot, now_ms()) else { return process.end(queue) };
            match process.ask(job) {
                Some(answer) => queue.answered(slot, job, &answer)?,
                None => {
                    queue.give_back(job);
                    break;
                }
            }
        }
        process.end(queue)?;
    }
}

impl<'a> Process<'a> {
    fn start(killed: &Killed, slot: usize, place: &'a Mutex<Option<Child>>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(&killed.arguments)
            .env(WORKER, killed.of_worker(slot))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        *place.lock().unwrap() = Some(child);
        Self { child: place, stdin, stdout: BufReader::new(stdout) }
    }

    /// The worker's answer; `None` where it has died.
    fn ask(&mut self, job: Job) -> Option<String> {
        let Job { request, step, .. } = job;
        writeln!(self.stdin, "{step} {} {}", request.n, request.issued_ms).ok()?;
        let mut line = String::new();
        loop {
            line.clear();
            self.stdout.read_line(&mut line).ok()?;
            // What a kill cut short is no answer.
            let answer = line.strip_suffix('\n')?;
            if answer == HALF || answer.strip_prefix(DONE).is_some_and(|rest| rest.starts_with(' ')) {
                return Some(answer.to_owned());
            }
        }
    }

    /// Lets the worker end; it must have ended well, or by a kill.
    fn end(self, queue: &Queue) -> Result<(), String> {
        // It ends at the end of its input; its harness says goodbye on stdout.
        let Self { child, stdin, stdout: _stdout } = self;
        drop(stdin);
        // Not under the lock all the while: the killer must get at it.
        let status = loop {
            let mut child = child.lock().unwrap();
            if let Some(status) = child.as_mut().unwrap().try_wait().unwrap() {
                *child = None;
                break status;
            }
            drop(child);
            std::thread::sleep(Duration::from_millis(1));
        };
        match status.signal() {
            KILLED => queue.killed(),
            _ if status.success() => {}
            _ => return Err(format!("a worker ended with {status}")),
        }
        Ok(())
    }
}
