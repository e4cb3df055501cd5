//! What a create that settles something may meet: every way in which its sender cannot tell what happened.

use aft_memory::Fault::{After, Before};
use aft_memory::{ErrorKind as Stored, Fault, Operation, RecordingStorage};

/// What a create meets, and what its read-back meets. It must be settled all the same, and happen once.
#[derive(Debug)]
pub struct Doubt {
    /// What happens, in words.
    pub story: &'static str,
    creates: &'static [Fault],
    gets: &'static [Fault],
}

const fn doubt(story: &'static str, creates: &'static [Fault], gets: &'static [Fault]) -> Doubt {
    Doubt { story, creates, gets }
}

/// Every doubt.
pub const DOUBTS: [Doubt; 8] = [
    doubt("an answer lost after the effect", &[After(Stored::Unknown)], &[]),
    doubt("an answer lost before the effect", &[Before(Stored::Unknown)], &[]),
    doubt(
        "the client's own retry reports its success as AlreadyExists",
        &[After(Stored::AlreadyExists)],
        &[],
    ),
    doubt("a conflict without effect", &[Before(Stored::AlreadyExists)], &[]),
    doubt("unavailable, twice", &[Before(Stored::Unavailable), Before(Stored::Unavailable)], &[]),
    doubt("lost, and the read-back fails", &[After(Stored::Unknown)], &[Before(Stored::Unavailable)]),
    doubt("lost, twice", &[After(Stored::Unknown), After(Stored::Unknown)], &[Before(Stored::Unavailable)]),
    doubt("lost before, and the read-back fails", &[Before(Stored::Unknown)], &[Before(Stored::Unavailable)]),
];

impl Doubt {
    /// Lets the next creates, and gets, of objects whose path begins with `prefix` meet it.
    pub fn script(&self, storage: &RecordingStorage, prefix: &str) {
        for (operation, faults) in [(Operation::Create, self.creates), (Operation::Get, self.gets)] {
            for (nth, fault) in (1..).zip(faults) {
                storage.fail(operation, prefix, nth, *fault);
            }
        }
    }
}
