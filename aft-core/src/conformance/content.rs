//! An object comes back as it went in, whatever its size; where none is, the store says so.

use bytes::Bytes;

use super::report::Failure;
use super::scope::Scope;

pub(super) async fn empty_object(scope: &Scope) -> Result<(), Failure> {
    let path = scope.path("empty");
    scope.create(&path, Bytes::new()).await?;
    let seen = scope.get(&path).await?;
    scope.ensure(seen.is_empty(), || "an empty object".to_owned(), || format!("{} bytes", seen.len()))?;
    let range = scope.storage.get_range(&path, 0..10).await;
    let range = scope.expect(range, || "a range of an empty object to be empty".to_owned())?;
    scope.ensure(
        range.is_empty(),
        || "a range of an empty object to be empty".to_owned(),
        || format!("{} bytes", range.len()),
    )?;
    let listed = scope.list(&path, None).await?;
    let sizes: Vec<u64> = listed.iter().map(|info| info.size).collect();
    scope.ensure(sizes == [0], || "one listed object of size 0".to_owned(), || format!("sizes {sizes:?}"))
}

pub(super) async fn large_object(scope: &Scope) -> Result<(), Failure> {
    let path = scope.path("large");
    let bytes = pattern(scope.options.large_bytes);
    scope.create(&path, bytes.clone()).await?;
    let seen = scope.get(&path).await?;
    let expected = || format!("the {} bytes that were created", bytes.len());
    scope.ensure(seen == bytes, expected, || format!("{} bytes that differ", seen.len()))?;
    let size = bytes.len() as u64;
    let listed: Vec<u64> = scope.list(&path, None).await?.iter().map(|info| info.size).collect();
    scope.ensure(listed == [size], || format!("a listed size of {size}"), || format!("sizes {listed:?}"))?;

    let seen = scope.storage.get_at_most(&path, size).await;
    let seen =
        scope.expect(seen, || format!("all of an object of {size} bytes where it may have so many"))?;
    scope.ensure(seen.bytes == bytes, expected, || format!("{} bytes that differ", seen.bytes.len()))?;
    let refused = scope.storage.get_at_most(&path, size - 1).await;
    scope.ensure(
        refused.as_ref().is_err_and(|error| error.is_too_large().is_some()),
        || format!("an object of {size} bytes refused where it may have one less"),
        || {
            refused
                .as_ref()
                .map_or_else(ToString::to_string, |object| format!("{} bytes", object.bytes.len()))
        },
    )?;

    let middle = bytes.len() / 2;
    for range in [0..bytes.len(), middle..bytes.len(), middle..middle + bytes.len().min(7) / 2] {
        let asked = range.start as u64..range.end as u64;
        let seen = scope.storage.get_range(&path, asked.clone()).await;
        let seen = scope.expect(seen, || format!("the bytes {asked:?}"))?;
        let expected = || format!("the bytes {asked:?} of the object");
        scope.ensure(seen == bytes.slice(range), expected, || format!("{} bytes that differ", seen.len()))?;
    }
    Ok(())
}

pub(super) async fn absent_object(scope: &Scope) -> Result<(), Failure> {
    scope.create(&scope.path("there"), "x").await?;
    for name in ["absent", "ther", "there2", "folder/absent", "there.x"] {
        let path = scope.path(name);
        scope.expect_not_found(scope.storage.get(&path).await, &path)?;
        scope.expect_not_found(scope.storage.get_range(&path, 0..1).await, &path)?;
        scope.expect_not_found(scope.storage.get_range(&path, 0..0).await, &path)?;
    }
    // A folder is no object, in stores that have folders.
    scope.create(&scope.path("folder/there"), "x").await?;
    let folder = scope.path("folder");
    scope.expect_not_found(scope.storage.get(&folder).await, &folder)?;
    scope.expect_not_found(scope.storage.get_range(&folder, 0..1).await, &folder)
}

/// Bytes of which no two places look alike.
fn pattern(len: usize) -> Bytes {
    let words =
        (0..len.div_ceil(8) as u64).flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    words.take(len).collect()
}
