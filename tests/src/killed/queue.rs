//! The queue between the processes: delivers every request at least once, some of them more often, and forgets nothing.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::request::{Done, Request, Way, Work};
use super::worker::{DONE, HALF};

/// A delivery.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub request: Request,
    pub step: u32,
    /// The slot that must not have it: its first half ran there.
    not: Option<usize>,
}

/// The requests, and what was answered so far.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    jobs: VecDeque<Job>,
    answers: u64,
    /// Deliveries that no answer came to yet.
    open: usize,
    /// When each event was issued: with its first delivery. Every other one repeats its date.
    issued_ms: Vec<Option<u64>>,
    /// What became of each request: the first answer.
    done: Vec<Option<(Request, Done)>>,
    counts: Counts,
    failed: Option<String>,
    rng: StdRng,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub deliveries: u64,
    pub kills: u64,
    pub retries: u64,
    pub replays: u64,
}

impl Queue {
    /// The requests 0 to `requests`; every eighth is delivered twice, side by side.
    pub fn new(requests: usize, work: Work, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut jobs = VecDeque::new();
        for n in 0..requests {
            let job = Job { request: Request { n, work, issued_ms: 0 }, step: 1, not: None };
            jobs.extend(std::iter::repeat_n(job, if rng.random_ratio(1, 8) { 2 } else { 1 }));
        }
        let done = vec![None; requests];
        let issued_ms = vec![None; requests];
        let state = State {
            jobs,
            answers: 0,
            open: 0,
            issued_ms,
            done,
            counts: Counts::default(),
            failed: None,
            rng,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next delivery for a slot; `None` where everything is done, or has failed.
    pub fn take(&self, slot: usize, now_ms: u64) -> Option<Job> {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.failed.is_some() || (state.jobs.is_empty() && state.open == 0) {
                self.changed.notify_all();
                return None;
            }
            let at = state.jobs.iter().take(64).position(|job| job.not != Some(slot));
            if let Some(mut job) = at.and_then(|at| state.jobs.remove(at)) {
                state.open += 1;
                state.counts.deliveries += 1;
                job.request.issued_ms = *state.issued_ms[job.request.n].get_or_insert(now_ms);
                return Some(job);
            }
            state = self.changed.wait_timeout(state, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// The worker died over this delivery: another gets it.
    pub fn give_back(&self, job: Job) {
        let mut state = self.state.lock().unwrap();
        state.open -= 1;
        state.counts.retries += 1;
        state.jobs.push_front(job);
        self.changed.notify_all();
    }

    /// What a worker answered. Some requests are then delivered again.
    pub fn answered(&self, slot: usize, job: Job, answer: &str) -> Result<(), String> {
        let mut state = self.state.lock().unwrap();
        state.open -= 1;
        state.answers += 1;
        let n = job.request.n;
        if answer == HALF {
            if job.request.way() != Way::Token || job.step != 1 {
                return Err(format!("request {n}: {answer:?} to step {}", job.step));
            }
            state.jobs.push_front(Job { step: 2, not: Some(slot), ..job });
        } else {
            let words: Vec<&str> = answer.split(' ').collect();
            let [DONE, outcome, result] = words[..] else { return Err(format!("no answer: {answer:?}")) };
            let result: Done = result.parse()?;
            state.counts.replays += u64::from(outcome == "replayed");
            match &state.done[n] {
                Some((_, first)) if *first != result => {
                    return Err(format!("request {n} was answered {first}, and then {result}"));
                }
                Some(_) => {}
                None => {
                    state.done[n] = Some((job.request, result));
                    if state.rng.random_ratio(1, 16) {
                        state.jobs.push_back(Job { step: 1, not: None, ..job });
                    }
                }
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    /// How many deliveries were answered so far.
    pub fn answers(&self) -> u64 {
        self.state.lock().unwrap().answers
    }

    /// A worker was killed.
    pub fn killed(&self) {
        self.state.lock().unwrap().counts.kills += 1;
    }

    pub fn fail(&self, why: String) {
        self.state.lock().unwrap().failed.get_or_insert(why);
        self.changed.notify_all();
    }

    /// Every request's answer.
    pub fn finish(self) -> Result<(Vec<(Request, Done)>, Counts), String> {
        let State { failed, done, counts, .. } = self.state.into_inner().unwrap();
        match failed {
            Some(why) => Err(why),
            None => Ok((done.into_iter().map(|done| done.unwrap()).collect(), counts)),
        }
    }
}
