//! `get_range` at its edges: cut off at the end, empty past it, and never an error.

use std::ops::Range;

use super::report::Failure;
use super::scope::Scope;

const BYTES: &[u8] = b"0123456789";

pub(super) async fn range_edges(scope: &Scope) -> Result<(), Failure> {
    let path = scope.path("digits");
    scope.create(&path, BYTES).await?;
    let len = BYTES.len() as u64;
    let backwards = Range { start: 7, end: 3 };
    let ranges = [
        0..len,
        0..1,
        len - 1..len,
        3..7,
        3..4,
        // over the end
        0..len + 1,
        5..1000,
        len - 1..u64::MAX,
        0..u64::MAX,
        // at and past the end
        len..len + 1,
        len..u64::MAX,
        len + 1..len + 2,
        1 << 40..(1 << 40) + 1,
        u64::MAX - 1..u64::MAX,
        // empty
        0..0,
        5..5,
        len..len,
        1000..1000,
        u64::MAX..u64::MAX,
        backwards,
    ];
    for range in ranges {
        let cut = |at: u64| usize::try_from(at.min(len)).unwrap_or(BYTES.len());
        let expected = BYTES.get(cut(range.start)..cut(range.end)).unwrap_or_default();
        let what = || {
            format!("get_range({range:?}) of {len} bytes to yield {:?}", expected.escape_ascii().to_string())
        };
        let seen = scope.expect(scope.storage.get_range(&path, range.clone()).await, what)?;
        scope.ensure(seen == expected, what, || format!("{:?}", seen.escape_ascii().to_string()))?;
    }
    Ok(())
}
