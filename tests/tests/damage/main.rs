//! The matrix of damage: every damage, to every kind of object, before every verb, repaired and read again. It is judged by rules:
//!
//! - what is read is what was acknowledged, or an error that names an object or says what to do; never another value, and never nothing;
//! - once the object is back everything is there, whatever was done meanwhile, and stays;
//! - a check is never clean where something cannot be read rightly;
//! - a finished request never runs a second time;
//! - nothing panics, and every call ends, within a number of requests.
//!
//! A fifth of it, spread over all of it and always the same, is part of the tests. `AFT_DAMAGE=whole` runs all of it, `AFT_DAMAGE=all` damages
//! every object of each kind besides, and not only the oldest and the newest; `AFT_DAMAGE_ONLY=words` runs those whose names hold every word, and
//! prints what they find.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod harm;
mod judge;
mod steps;
mod store;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harm::{Damage, Harm, Kind};
use judge::Judge;
use steps::PROGRAMS;
use store::{Fixture, HOUR};

/// Runs something where time jumps to the next moment at which anything happens.
fn in_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

/// One in so many fields is tried by the tests of every day. It has no factor in common with the number of programs and of damages, so each
/// of these meets each kind of object.
const SAMPLED: usize = 5;

/// One field of the matrix.
struct Case<'a> {
    fixture: &'a Fixture,
    harm: Harm,
    program: usize,
    name: String,
}

impl Case<'_> {
    /// What is broken.
    async fn run(&self) -> Vec<String> {
        let world = self.fixture.world().await;
        let mut judge = Judge::new(&world, self.fixture.told.clone(), &self.harm);
        let (live, verbs) = PROGRAMS[self.program];
        if live {
            let node = judge.builder().open().await.unwrap();
            judge.read_keys(&node).await;
            judge.node = Some(node);
        }
        self.harm.apply(&world).await;
        // A node that begins now refreshes.
        tokio::time::sleep(Duration::from_secs(6)).await;
        for verb in verbs {
            judge.perform(*verb).await;
        }
        self.harm.repair(&world).await;
        judge.goes_on().await;
        judge.broken
    }

    fn judge(&self) -> Vec<String> {
        let run = catch_unwind(AssertUnwindSafe(|| in_virtual_time(self.run())));
        run.unwrap_or_else(|cause| {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            vec![format!("PANIC: {}", text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("?"))]
        })
    }
}

fn cases<'a>(name: &str, fixture: &'a Fixture, all: bool, cases: &mut Vec<Case<'a>>) {
    for kind in Kind::ALL {
        let many = kind.objects(&fixture.objects).len();
        assert!(many > 0, "there is no {kind:?}");
        let some = if all { (0..many).collect() } else { BTreeSet::from([0, many - 1]) };
        for at in some {
            for damage in Damage::ALL {
                if damage == Damage::Flip(2) && !all {
                    continue;
                }
                let Some(harm) = Harm::new(kind, damage, at, &fixture.objects) else { continue };
                for program in 0..PROGRAMS.len() {
                    let (harm, path) = (harm.clone(), &harm.path);
                    let which = if at == 0 {
                        "first"
                    } else if at + 1 == many {
                        "newest"
                    } else {
                        path
                    };
                    let name = format!("{name} {kind:?} {which} {damage:?} program{program}");
                    cases.push(Case { fixture, harm, program, name });
                }
            }
        }
    }
}

#[test]
fn what_one_copy_still_holds_is_never_lost() {
    let asked = std::env::var("AFT_DAMAGE").unwrap_or_default();
    let all = asked == "all";
    let only = std::env::var("AFT_DAMAGE_ONLY").unwrap_or_default();
    let loud = !only.is_empty();
    let young = in_virtual_time(Fixture::build(Duration::from_secs(20)));
    let old = in_virtual_time(Fixture::build(HOUR));
    let mut matrix = Vec::new();
    cases("young", &young, all, &mut matrix);
    cases("old", &old, all, &mut matrix);
    if asked.is_empty() && only.is_empty() {
        matrix = matrix.into_iter().step_by(SAMPLED).collect();
    }
    matrix.retain(|case| only.split_whitespace().all(|word| case.name.split(' ').any(|part| part == word)));
    let (next, broken) = (AtomicUsize::new(0), parking_lot::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = matrix.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = case.judge();
                    if !found.is_empty() {
                        let what = format!("{}:{}", case.name, found.join("\n    "));
                        if loud {
                            println!("{what}");
                        }
                        broken.lock().push(what);
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner();
    broken.sort();
    assert!(broken.is_empty(), "{} of {} are broken:\n{}", broken.len(), matrix.len(), broken.join("\n"));
}
