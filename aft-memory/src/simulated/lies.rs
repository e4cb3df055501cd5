//! Listings that do not show what is there: those of a proxy with a page of its own, of a gateway that is behind, of a connection that
//! ends early.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use aft_core::ObjectInfo;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;

/// How a listing lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It shows nothing.
    Empty,
    /// It ends early, about every other time.
    CutShort,
    /// It lacks one object in four, the same ones all the while.
    Lacks,
}

impl Lie {
    fn name(self) -> &'static str {
        match self {
            Self::Empty => "listing that showed nothing",
            Self::CutShort => "listing cut short",
            Self::Lacks => "listing that lacked objects",
        }
    }
}

/// A lie that is told for a while.
#[derive(Debug)]
struct Told {
    lie: Lie,
    /// Below which folder objects are not shown; empty for all.
    folder: String,
    /// To which process; to all where there is none.
    process: Option<String>,
    until: Instant,
    salt: u32,
}

/// The lies that are told.
#[derive(Debug, Default)]
pub(super) struct Lies(Vec<Told>);

impl Lies {
    pub(super) fn tell(&mut self, lie: Lie, folder: &str, process: Option<&str>, lasts: Duration, salt: u32) {
        let (folder, process) = (folder.to_owned(), process.map(str::to_owned));
        self.0.push(Told { lie, folder, process, until: Instant::now() + lasts, salt });
    }

    pub(super) fn stop(&mut self) {
        self.0.clear();
    }

    /// What a process is shown of a page, and whether the listing ends with it although there is more.
    pub(super) fn deceive(
        &mut self,
        process: &str,
        rng: &mut StdRng,
        injected: &mut BTreeMap<&'static str, u64>,
        mut page: Vec<ObjectInfo>,
    ) -> (Vec<ObjectInfo>, bool) {
        let now = Instant::now();
        self.0.retain(|told| told.until > now);
        let mut ends = false;
        for told in &self.0 {
            if told.process.as_deref().is_some_and(|it| it != process) {
                continue;
            }
            let before = page.len();
            let concerned = |object: &ObjectInfo| object.path.starts_with(&told.folder);
            match told.lie {
                Lie::Empty => page.retain(|object| !concerned(object)),
                Lie::CutShort if page.iter().any(concerned) && rng.next_u32().is_multiple_of(2) => {
                    page.truncate(rng.next_u32() as usize % page.len());
                    ends = true;
                }
                Lie::CutShort => {}
                Lie::Lacks => page.retain(|object| {
                    let mut hasher = DefaultHasher::new();
                    (told.salt, &object.path).hash(&mut hasher);
                    !concerned(object) || !hasher.finish().is_multiple_of(4)
                }),
            }
            if page.len() < before {
                *injected.entry(told.lie.name()).or_default() += 1;
            }
        }
        (page, ends)
    }
}
