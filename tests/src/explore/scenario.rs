//! A scenario: what each actor does.

use std::fmt;
use std::pin::Pin;

use super::actor::Actor;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
type Program = Box<dyn Fn(Actor) -> Running + Send + Sync>;

/// A small program for each of a few nodes that share a store, and one for the node that looks after them.
///
/// Programs must learn of each other through the store alone: what they do may depend on nothing else, or the search would miss
/// orders.
pub struct Scenario {
    pub(crate) name: &'static str,
    /// Every key that it uses; those in `written` have a value when it begins.
    pub(crate) keys: &'static [&'static str],
    pub(crate) written: &'static [&'static str],
    /// Whether every transaction asks for the latest, and every commit is published before it is acknowledged: then a
    /// transaction sees whatever was acknowledged before it began.
    pub(crate) real_time: bool,
    pub(crate) actors: Vec<(&'static str, Program)>,
    pub(crate) recovery: Program,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Scenario {
    pub(crate) fn new(name: &'static str, keys: &'static [&'static str]) -> Self {
        let recovery: Program = Box::new(|_| Box::pin(std::future::ready(())));
        Self { name, keys, written: keys, real_time: false, actors: Vec::new(), recovery }
    }

    /// Only these keys have a value when it begins; all of them if this is not called.
    pub(crate) fn written(self, written: &'static [&'static str]) -> Self {
        Self { written, ..self }
    }

    pub(crate) fn real_time(self) -> Self {
        Self { real_time: true, ..self }
    }

    /// One more node, and what it does.
    pub(crate) fn actor<F>(
        mut self,
        name: &'static str,
        program: impl Fn(Actor) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.actors.push((name, Box::new(move |actor| Box::pin(program(actor)))));
        self
    }

    /// What another node does once all actors have ended or died, while what they sent may still be under way.
    pub(crate) fn recovery<F>(self, program: impl Fn(Actor) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { recovery: Box::new(move |actor| Box::pin(program(actor))), ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}
