//! Which request what happens to.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::proxy::fault::{Fault, Seen};

/// Decides what happens to each request, in the order in which they arrive.
pub type Plan = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;

/// The longest that a request of a seeded plan is held back, in milliseconds.
const LONGEST_WAIT_MS: u64 = 1_500;

/// Nothing happens.
#[must_use]
pub fn nothing() -> Plan {
    Box::new(|_| None)
}

/// The fault happens to the first request that fits, and nothing before and after.
#[must_use]
pub fn once(fault: Fault, mut fits: impl FnMut(&Seen) -> bool + Send + 'static) -> Plan {
    let mut waiting = Some(fault);
    Box::new(move |seen| waiting.take_if(|_| fits(seen)))
}

/// One request in `one_in` meets a fault, of any kind that fits it. The same seed decides alike for the same requests in the same
/// order; how requests of several clients mix is up to the machine.
#[must_use]
pub fn seeded(seed: u64, one_in: u64) -> Plan {
    let mut rng = StdRng::seed_from_u64(seed);
    Box::new(move |seen| {
        // Always as many numbers for each request, so that one request more does not change what happens to the others.
        let (hit, kind, wait) = (rng.next_u64(), rng.next_u64(), rng.next_u64());
        let wait = Duration::from_millis(wait % LONGEST_WAIT_MS);
        hit.is_multiple_of(one_in.max(1)).then(|| {
            let fitting: Vec<_> = Fault::KINDS.into_iter().filter(|fault| fault.fits(seen)).collect();
            match fitting[usize::try_from(kind % fitting.len() as u64).unwrap_or_default()] {
                Fault::Late(_) => Fault::Late(wait),
                // Long enough to be overtaken by others.
                Fault::Delay(_) => Fault::Delay(wait / 4),
                other => other,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(number: u64) -> Seen {
        let creates = number.is_multiple_of(2);
        let method = if creates { "PUT" } else { "GET" };
        let target = if number.is_multiple_of(3) { "/b?list-type=2" } else { "/b/k" };
        Seen { number, method: method.into(), target: target.into(), creates }
    }

    #[test]
    fn a_seed_decides_alike_and_meets_its_share_with_every_kind() {
        let faults = |seed| {
            let mut plan = seeded(seed, 5);
            (0..10_000).map(|number| plan(&seen(number))).collect::<Vec<_>>()
        };
        let first = faults(1);
        assert_eq!(first, faults(1));
        assert_ne!(first, faults(2));
        let share = first.iter().flatten().count();
        assert!((1_800..2_200).contains(&share), "{share} of 10,000");
        for kind in Fault::KINDS {
            assert!(first.iter().flatten().any(|fault| fault.name() == kind.name()), "{}", kind.name());
        }
        for (number, fault) in first.iter().enumerate() {
            assert!(fault.is_none_or(|fault| fault.fits(&seen(number as u64))), "{fault:?}");
        }
    }
}
