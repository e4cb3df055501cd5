//! What a store must keep besides the races: the checks of aft's conformance suite that aft's own use depends on, through
//! all connections in turn.

use std::sync::Arc;

use aft_core::StorageError;
use aft_core::conformance::{self, Options};

use super::connections::Connections;
use super::plan::{Plan, Trouble};
use super::report::{Finding, Outcome};

/// Some checks of the suite under one name.
pub(crate) struct Group {
    /// What people call it.
    pub(crate) name: &'static str,
    checks: &'static [&'static str],
    /// Whether aft can live without it.
    harmless: bool,
}

const fn group(name: &'static str, checks: &'static [&'static str]) -> Group {
    Group { name, checks, harmless: false }
}

/// All of them, in the order in which they run. Left out of the suite: its races (a probe has its own, which count), and names
/// that aft does not use.
pub(crate) const GROUPS: &[Group] = &[
    group("read after write", &["read_after_create"]),
    group("create refuses what exists", &["create_over_existing", "create_after_delete"]),
    group("whole objects", &["empty_object", "large_object", "absent_object"]),
    group("range reads", &["range_edges"]),
    group("list after write and delete", &["list_after_changes"]),
    group("long listings", &["list_complete", "list_prefix"]),
    group("start_after", &["list_start_after"]),
    group("delete and bulk delete", &["delete_absent", "delete_many"]),
    group("dates of objects", &["last_modified_agrees", "last_modified_is_monotone"]),
    Group { name: "order of - . /", checks: &["list_order_of_marks"], harmless: true },
];

/// How often a check is run when errors of the store, which say nothing about its safety, end it.
const TRIES: usize = 3;

/// The most repetitions within one check: enough to see what is wrong always, and the races are what is run often.
const ROUNDS: usize = 20;

/// Runs the checks of a group.
///
/// # Errors
/// Where the store could not be asked.
pub(crate) async fn run(group: &Group, connections: &Connections, plan: &Plan) -> Result<Finding, Trouble> {
    let options = Options {
        prefix: format!("{}check/", plan.prefix),
        rounds: plan.rounds.min(ROUNDS),
        racers: plan.racers,
        objects: plan.objects,
        large_bytes: 1 << 20,
        // The probe as a whole is bounded: a check that is not over by then is an error, and not a broken one.
        check_deadline: plan.timeout * 2,
        ..Options::default()
    };
    for check in group.checks {
        if let Some(broken) = one(check, connections, options.clone()).await? {
            let broken = broken.replace(&plan.prefix, "…/");
            let outcome = if group.harmless { Outcome::Differs } else { Outcome::Broken };
            return Ok(Finding { name: group.name, outcome, detail: broken });
        }
    }
    let detail = match group.name {
        "long listings" | "start_after" => format!("{} objects", plan.objects),
        "delete and bulk delete" => format!("{} objects in one call", plan.objects.max(1001) - 1),
        _ => String::new(),
    };
    Ok(Finding { name: group.name, outcome: Outcome::Held, detail })
}

/// Runs one check: what is broken, where it found something.
async fn one(
    check: &str,
    connections: &Connections,
    mut options: Options,
) -> Result<Option<String>, Trouble> {
    let prefix = options.prefix;
    let mut attempt = 1;
    loop {
        // Each attempt in a folder of its own: what an earlier one sent may still land.
        options.prefix = format!("{prefix}{attempt}/");
        let Err(failure) = conformance::run_check(check, Arc::new(connections.clone()), &options).await
        else {
            return Ok(None);
        };
        let said = format!("expected {}, saw {}", failure.expected, failure.seen);
        match failure.source {
            None => return Ok(Some(said)),
            // The store answered, and otherwise than it must.
            Some(error @ (StorageError::NotFound { .. } | StorageError::AlreadyExists { .. })) => {
                return Ok(Some(format!("{said}: {error}")));
            }
            Some(error) if error.is_transient() && attempt < TRIES => attempt += 1,
            Some(cause) => return Err(Trouble::new(format!("the check {check}"), cause)),
        }
    }
}
