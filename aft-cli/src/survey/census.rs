//! Every object of a store, counted by what it is and by how old it is.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aft_core::Clock as _;
use aft_core::{ObjectInfo, SystemClock};
use futures::TryStreamExt;
use serde::Serialize;

use crate::failure::Failure;
use crate::store::Store;
use crate::survey::since;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
/// Up to which age objects are counted together, and what these ages are called.
pub(crate) const AGES: [(&str, Duration); 5] = [
    ("under an hour", Duration::from_secs(HOUR)),
    ("under a day", Duration::from_secs(DAY)),
    ("under a week", Duration::from_secs(7 * DAY)),
    ("under 30 days", Duration::from_secs(30 * DAY)),
    ("older", Duration::MAX),
];

/// So many objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The objects of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// By what they are.
    pub(crate) classes: BTreeMap<&'static str, Tally>,
    /// By their age, as [`AGES`] has it.
    pub(crate) ages: [Tally; AGES.len()],
    pub(crate) all: Tally,
}

impl Census {
    /// Lists the whole store: a request per thousand objects.
    pub(crate) async fn of(store: &Store) -> Result<Self, Failure> {
        let storage = store.storage()?;
        let (now, mut census) = (SystemClock::new().now(), Self::default());
        let mut objects = storage.list("", None);
        let failed = |cause| Failure::storage(format!("cannot list the store {}", store.shown()), cause);
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            census.add(&object, now);
        }
        Ok(census)
    }

    fn add(&mut self, object: &ObjectInfo, now: SystemTime) {
        self.classes.entry(class(&object.path)).or_default().add(object.size);
        let age = since(now, object.last_modified);
        if let Some(at) = AGES.iter().position(|(_, most)| age < *most || *most == Duration::MAX) {
            self.ages[at].add(object.size);
        }
        self.all.add(object.size);
    }
}

/// What an object is, by its path.
fn class(path: &str) -> &'static str {
    let (folder, rest) = path.split_once('/').unwrap_or((path, ""));
    match folder {
        "aft.json" | "adopt.json" | "clone.json" => "marker",
        "commits" => "decisions",
        // Of a decision in the feed the running number has its top bit set.
        "feed"
            if rest
                .rsplit('-')
                .next()
                .is_some_and(|seq| seq.starts_with(['8', '9', 'a', 'b', 'c', 'd', 'e', 'f'])) =>
        {
            "decisions in the feed"
        }
        "feed" => "feed objects",
        "bundles" => "bundles",
        "values" => "values",
        "requests" => "claims",
        "guards" => "guards",
        "checkpoints" if rest.ends_with(".sealed") => "seals",
        "checkpoints" => "manifests",
        "index" => "run files",
        "recent" => "recent files",
        "garbage" => "garbage lists",
        "outcomes" => "outcome lists",
        "epochs" => "epochs",
        _ => "none of aft's",
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn objects_are_counted_by_what_they_are_and_by_their_age() {
        let now = UNIX_EPOCH + Duration::from_secs(400 * DAY);
        let mut census = Census::default();
        let paths = [
            ("aft.json", 400 * DAY, 100),
            ("feed/0198f3f40000-00000000000000aa-80000001", 0, 7),
            ("feed/0198f3f40000-00000000000000aa-00000001", HOUR, 5),
            ("checkpoints/000000000001.json", 2 * DAY, 1),
            ("checkpoints/000000000001.sealed", 2 * DAY, 0),
            ("values/a/x/1-1", 29 * DAY, 1 << 40),
            ("what/is/this", 30 * DAY, 1),
        ];
        for (path, age, size) in paths {
            let last_modified = now - Duration::from_secs(age);
            census.add(&ObjectInfo { path: path.into(), size, last_modified }, now);
        }
        // From a clock that is ahead.
        let ahead =
            ObjectInfo { path: "values/b".into(), size: 1, last_modified: now + Duration::from_secs(9) };
        census.add(&ahead, now);
        let names: Vec<_> = census.classes.keys().copied().collect();
        assert_eq!(
            names,
            [
                "decisions in the feed",
                "feed objects",
                "manifests",
                "marker",
                "none of aft's",
                "seals",
                "values"
            ]
        );
        assert_eq!(census.classes["values"], Tally { objects: 2, bytes: (1 << 40) + 1 });
        assert_eq!(census.ages.map(|age| age.objects), [2, 1, 2, 1, 2]);
        assert_eq!(census.all, Tally { objects: 8, bytes: (1 << 40) + 115 });
    }
}
