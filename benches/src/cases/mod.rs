//! The operations that are measured, each on both sides.

mod commit;
mod index;
mod memory;
mod open;
mod read;
mod throughput;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::sync::OnceCell;

use crate::data::Shape;
use crate::place::Backend;
use crate::stopwatch::Stopwatch;

/// Runs one side so many times, and says how long that took. What it needs is made at the first call, off the clock.
pub type Run = Box<dyn Fn(u64) -> LocalBoxFuture<'static, Duration>>;

/// An operation, on both sides.
pub struct Case {
    /// What is done.
    pub group: &'static str,
    /// To how much of it.
    pub what: Shape,
    /// The sides: first what it is compared with, mostly named `plain`, then aft's, in one or more circumstances.
    pub sides: Vec<(&'static str, Run)>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.sides.iter().map(|(name, _)| name).collect();
        f.debug_struct("Case")
            .field("group", &self.group)
            .field("what", &self.what)
            .field("sides", &names)
            .finish()
    }
}

/// Every case, on one backend.
#[must_use]
pub fn all(backend: &Backend) -> Vec<Case> {
    let mut cases = commit::cases(backend);
    cases.extend(throughput::cases(backend));
    cases.extend(read::cases(backend));
    cases.extend(open::cases(backend));
    if matches!(backend, Backend::Memory) {
        cases.push(memory::case());
    }
    if !backend.waits() {
        cases.extend(index::cases());
    }
    cases
}

/// What the sides of a case share, made when the first of them runs.
struct Shared<T> {
    cell: OnceCell<T>,
    make: Box<dyn Fn() -> LocalBoxFuture<'static, T>>,
}

impl<T: 'static> Shared<T> {
    fn new<F: Future<Output = T> + 'static>(make: impl Fn() -> F + 'static) -> Rc<Self> {
        Rc::new(Self { cell: OnceCell::new(), make: Box::new(move || make().boxed_local()) })
    }

    /// What is shared.
    async fn made(&self) -> &T {
        self.cell.get_or_init(&self.make).await
    }

    /// A side that does this.
    fn side(self: &Rc<Self>, operation: impl AsyncFn(&T) + Copy + 'static) -> Run {
        let shared = Rc::clone(self);
        Box::new(move |rounds| {
            let shared = Rc::clone(&shared);
            async move {
                let made = shared.made().await;
                let watch = Stopwatch::start();
                for _ in 0..rounds {
                    operation(made).await;
                }
                watch.elapsed()
            }
            .boxed_local()
        })
    }
}
