//! Every world of three commits over three keys, every order of versions and every moment of arrival: what random
//! worlds may miss, small ones do not.

use super::*;

/// What the transaction does: each entry is one step.
const PROGRAMS: [&[Act]; 4] = [
    &[Act::Read(0), Act::Read(1), Act::Read(2)],
    &[Act::Scan(0, 0), Act::Read(1), Act::Read(2)],
    &[Act::Read(0), Act::Scan(1, 2), Act::Read(1)],
    &[Act::Scan(0, 1), Act::Read(2), Act::Read(0)],
];

#[derive(Clone, Copy)]
enum Act {
    Read(usize),
    /// The keys from one ordinal to another, included.
    Scan(usize, usize),
}

/// The write set that the bits of `set` name; the second commit deletes.
fn writes(set: u8, written: Written) -> Writes {
    (0..3).filter(|key| set >> key & 1 == 1).map(|key| (key, written)).collect()
}

fn run(arrivals: &[(Number, Writes); 3], moments: [usize; 3], program: &[Act]) {
    let known = arrivals.iter().zip(moments).filter(|(_, moment)| *moment == 0);
    let mut reader = Reader::begin(known.map(|((number, writes), _)| (*number, writes)));
    for (now, act) in program.iter().enumerate() {
        for ((number, writes), _) in
            arrivals.iter().zip(moments).filter(|(_, moment)| *moment == now && now > 0)
        {
            reader.arrive(*number, writes);
        }
        match *act {
            Act::Read(key) => {
                reader.read(key);
            }
            Act::Scan(from, to) => {
                let (_, rest) = reader.page(&KeyRange::from(KEYS[from]..=KEYS[to]), 1);
                if let Some(rest) = rest {
                    reader.page(&rest, 1);
                }
            }
        }
    }
}

#[test]
fn every_small_world_reads_atomically() {
    const ORDERS: [[Number; 3]; 6] = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    let sets = (1..8u8).flat_map(|a| (1..8u8).flat_map(move |b| (1..8u8).map(move |c| [a, b, c])));
    // A commit arrives before the program (0), or before its second or third step. Arrivals are in order.
    let moments = [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 1], [0, 1, 2], [0, 2, 2], [1, 1, 2], [1, 2, 2]];
    for [a, b, c] in sets {
        for order in ORDERS {
            let written =
                |set, tombstone| writes(set, if tombstone { Written::Tombstone } else { Written::Inline });
            let arrivals = [
                (order[0], written(a, false)),
                (order[1], written(b, order[1] == 2)),
                (order[2], written(c, order[2] == 2)),
            ];
            for moments in moments {
                for program in PROGRAMS {
                    run(&arrivals, moments, program);
                }
            }
        }
    }
}
