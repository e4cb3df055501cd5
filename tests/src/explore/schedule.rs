//! Which orders of requests there are: a depth-first search over choices, each execution run anew.
//!
//! Two orders that differ only in requests that do not conflict are the same for everybody, so one of them is enough. This is
//! *source-DPOR* (Abdulla, Aronis, Jonsson, Sagonas, "Optimal Dynamic Partial Order Reduction", POPL 2014): after an execution,
//! each pair of conflicting requests, neither of which had to come first, is a race; where it began, the other order is noted to
//! be tried as well. *Sleep sets* keep what was tried from being tried again in an equivalent place.

use super::request::{Id, Request};

/// Where the search is. [`choose`](Self::choose) guides one execution; [`advance`](Self::advance) turns to the next.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    steps: Vec<Step>,
    /// How many steps of the execution under way were chosen.
    taken: usize,
    /// Whether requests of two actors are taken to conflict whatever they touch: no reduction, for tests of the reduction.
    unreduced: bool,
}

/// A state in which a request was chosen, and what is known of the alternatives.
#[derive(Debug)]
struct Step {
    waiting: Vec<Request>,
    chosen: Request,
    /// Requests that need not be chosen here: an execution that was explored already is equivalent.
    asleep: Vec<Request>,
    /// Requests to be chosen here, some of them already.
    wanted: Vec<Id>,
}

impl Schedule {
    /// A search that tries every order of the requests of different actors, equivalent ones too.
    pub(crate) fn unreduced() -> Self {
        Self { unreduced: true, ..Self::default() }
    }

    /// The request whose turn it is. `None` where every one would lead to an execution that was explored already.
    ///
    /// # Panics
    /// Where an execution does not repeat itself under the same choices.
    pub(crate) fn choose(&mut self, waiting: &[Request]) -> Option<Id> {
        let at = self.taken;
        if let Some(step) = self.steps.get(at) {
            assert!(
                waiting.contains(&step.chosen),
                "no determinism: step {at} was {:?}, now there is {waiting:#?}",
                step.chosen
            );
        } else {
            let asleep = self.asleep_after(at);
            let is_asleep = |request: &&Request| asleep.iter().any(|it| it.id == request.id);
            let chosen = waiting.iter().find(|request| !is_asleep(request))?.clone();
            let wanted = vec![chosen.id];
            self.steps.push(Step { waiting: waiting.to_vec(), chosen, asleep, wanted });
        }
        self.taken += 1;
        Some(self.steps[at].chosen.id)
    }

    /// What sleeps on in the state after `at` steps: all that slept before and does not conflict with what was chosen.
    fn asleep_after(&self, at: usize) -> Vec<Request> {
        let Some(before) = at.checked_sub(1).map(|last| &self.steps[last]) else { return Vec::new() };
        let sleeps_on = |request: &&Request| !self.conflict(request, &before.chosen);
        before.asleep.iter().filter(sleeps_on).cloned().collect()
    }

    /// Turns to the next execution; false when there is none.
    pub(crate) fn advance(&mut self) -> bool {
        self.note_races();
        self.taken = 0;
        while let Some(mut step) = self.steps.pop() {
            step.asleep.push(step.chosen.clone());
            let next = step.waiting.iter().find(|request| {
                step.wanted.contains(&request.id) && step.asleep.iter().all(|it| it.id != request.id)
            });
            if let Some(next) = next.cloned() {
                step.chosen = next;
                self.steps.push(step);
                return true;
            }
        }
        false
    }

    fn conflict(&self, one: &Request, other: &Request) -> bool {
        (self.unreduced && one.id.0 != other.id.0) || one.conflicts_with(other)
    }

    /// Finds the races of the execution that ended, and asks for their other order.
    fn note_races(&mut self) {
        let count = self.steps.len();
        // before[later][earlier]: whether every equivalent execution has them in this order.
        let mut before = vec![vec![false; count]; count];
        for later in 0..count {
            // From the last to the first, so that only immediate predecessors are ever looked at.
            for earlier in (0..later).rev() {
                if before[later][earlier] {
                    continue;
                }
                let (one, other) = (&self.steps[earlier].chosen, &self.steps[later].chosen);
                let caused = one.causes(earlier, other);
                if !caused && !self.conflict(one, other) {
                    continue;
                }
                if !caused {
                    self.want_reversed(earlier, later, &before);
                }
                let (seen, rest) = before.split_at_mut(later);
                rest[0][earlier] = true;
                rest[0].iter_mut().zip(&seen[earlier]).for_each(|(it, also)| *it |= also);
            }
        }
    }

    /// In the state where `earlier` was chosen, asks for a first step towards `later` that needs no `earlier`.
    fn want_reversed(&mut self, earlier: usize, later: usize, before: &[Vec<bool>]) {
        // What does not follow from `earlier`, up to `later`, could run before it.
        let mut freely: Vec<usize> = (earlier + 1..later).filter(|&at| !before[at][earlier]).collect();
        freely.push(later);
        let first: Vec<Id> = freely
            .iter()
            .filter(|&&at| !freely.iter().any(|&other| other < at && before[at][other]))
            .map(|&at| self.steps[at].chosen.id)
            .collect();
        let step = &mut self.steps[earlier];
        if first.iter().any(|id| step.wanted.contains(id)) {
            return;
        }
        let there = |id: &&Id| step.waiting.iter().any(|request| request.id == **id);
        match first.iter().find(there) {
            Some(id) => step.wanted.push(*id),
            // It came later by itself, after a pause: then anything may lead to it.
            None => step.wanted = step.waiting.iter().map(|request| request.id).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::request::Access;
    use super::*;

    /// Actors that each send these requests, one after the other; every order that is explored.
    fn orders(actors: &[&[Access]], mut schedule: Schedule) -> Vec<Vec<Id>> {
        let mut orders = Vec::new();
        loop {
            let (mut sent, mut arrived) = (vec![0; actors.len()], vec![0; actors.len()]);
            let mut order = Vec::new();
            let complete = loop {
                let waiting: Vec<Request> = (0..actors.len())
                    .filter_map(|actor| {
                        let access = actors[actor].get(sent[actor])?.clone();
                        let (id, arrived) = ((actor, sent[actor]), arrived[actor]);
                        Some(Request { id, access, arrived, unheard: false, recovers: false })
                    })
                    .collect();
                if waiting.is_empty() {
                    break true;
                }
                let Some(id) = schedule.choose(&waiting) else { break false };
                order.push(id);
                sent[id.0] += 1;
                arrived[id.0] = order.len();
            };
            if complete {
                orders.push(order);
            }
            if !schedule.advance() {
                return orders;
            }
        }
    }

    fn count(actors: &[&[Access]]) -> usize {
        let orders = orders(actors, Schedule::default());
        assert_eq!(orders.iter().collect::<BTreeSet<_>>().len(), orders.len(), "an order twice");
        orders.len()
    }

    fn write(path: &str) -> Access {
        Access::Write(vec![path.to_owned()])
    }

    fn read(path: &str) -> Access {
        Access::Read(path.to_owned())
    }

    #[test]
    fn requests_that_conflict_are_tried_in_every_order() {
        let three = [write("x"), write("x"), write("x")];
        assert_eq!(count(&[&three, &three]), 20);
        assert_eq!(count(&[&three, &three, &three]), 1680);
        assert_eq!(count(&[&[write("x")], &[read("x"), read("x"), read("x")]]), 4);
        assert_eq!(count(&[&[write("d/x")], &[Access::List("d/".into(), None)]]), 2);
    }

    #[test]
    fn requests_that_do_not_conflict_are_tried_once() {
        let reads = [read("x"), read("y"), Access::List("".into(), None)];
        assert_eq!(count(&[&reads, &reads, &reads]), 1);
        assert_eq!(count(&[&[write("x"), write("y")], &[write("z"), read("z")]]), 1);
        assert_eq!(count(&[&[write("d/x")], &[Access::List("d/".into(), Some("d/x".into()))]]), 1);
    }

    /// Every order of all is equivalent to one that was explored, and no two that were explored are equivalent: by brute force.
    #[test]
    fn one_order_of_each_equivalence_class_is_explored() {
        let kinds = [write("x"), write("y"), read("x"), read("y"), Access::List("".into(), None)];
        let pairs: Vec<[Access; 2]> =
            kinds.iter().flat_map(|a| kinds.iter().map(|b| [a.clone(), b.clone()])).collect();
        for first in &pairs {
            for second in &pairs {
                let actors: [&[Access]; 3] = [first, second, &[write("x"), read("y")]];
                let class = |order: &Vec<Id>| {
                    let access = |id: &Id| &actors[id.0][id.1];
                    let pairs = order
                        .iter()
                        .enumerate()
                        .flat_map(|(at, a)| order[at + 1..].iter().map(move |b| (*a, *b)));
                    pairs.filter(|(a, b)| access(a).conflicts_with(access(b))).collect::<BTreeSet<_>>()
                };
                let explored = orders(&actors, Schedule::default());
                let classes: BTreeSet<_> = explored.iter().map(class).collect();
                assert_eq!(classes.len(), explored.len(), "{actors:?}");
                let all = orders(&actors, Schedule::unreduced());
                assert_eq!(all.len(), 90);
                assert_eq!(classes, all.iter().map(class).collect(), "{actors:?}");
            }
        }
    }
}
