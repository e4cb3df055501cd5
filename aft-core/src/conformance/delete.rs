//! `delete` is idempotent, takes any number of paths, and leaves the others alone.

use super::report::Failure;
use super::scope::Scope;

/// More than any interface deletes in one request.
const MANY: usize = 1001;

async fn delete(scope: &Scope, paths: &[String]) -> Result<(), Failure> {
    let deleted = scope.storage.delete(paths).await;
    scope.expect(deleted, || format!("a delete of {} paths to succeed", paths.len()))
}

pub(super) async fn delete_absent(scope: &Scope) -> Result<(), Failure> {
    let (there, absent) = (scope.path("there"), scope.path("absent"));
    delete(scope, &[]).await?;
    delete(scope, std::slice::from_ref(&absent)).await?;
    delete(scope, &[scope.path("no/such/folder"), absent.clone()]).await?;

    scope.create(&there, "x").await?;
    delete(scope, &[absent.clone(), there.clone(), there.clone()]).await?;
    scope.expect_not_found(scope.storage.get(&there).await, &there)?;
    delete(scope, &[there.clone(), absent]).await?;

    // What looks like a folder of objects is none of them.
    let inside = scope.path("folder/inside");
    scope.create(&inside, "x").await?;
    delete(scope, &[scope.path("folder")]).await?;
    scope.get(&inside).await.map(|_| ())
}

pub(super) async fn delete_many(scope: &Scope) -> Result<(), Failure> {
    let count = scope.options.objects.max(MANY);
    let paths: Vec<String> =
        (0..count).map(|number| scope.path(&format!("{}/{number:08}", number % 3))).collect();
    scope.create_all(&paths).await?;
    let (gone, kept) = paths.split_at(count - 1);
    delete(scope, gone).await?;
    scope.expect_list(&scope.path(""), None, kept).await?;
    let (first, last) = (&gone[0], &gone[gone.len() - 1]);
    scope.expect_not_found(scope.storage.get(first).await, first)?;
    scope.expect_not_found(scope.storage.get(last).await, last)?;
    delete(scope, &paths).await?;
    scope.expect_list(&scope.path(""), None, []).await
}

pub(super) async fn create_after_delete(scope: &Scope) -> Result<(), Failure> {
    let path = scope.path("folder/object");
    for round in 0..scope.options.rounds.max(2) {
        let bytes = format!("round {round}");
        scope.create(&path, bytes.clone()).await?;
        let seen = scope.get(&path).await?;
        scope.ensure(seen == bytes, || format!("the bytes {bytes:?}"), || format!("{seen:?}"))?;
        scope.expect_already_exists(scope.storage.create(&path, "other".into()).await, &path)?;
        delete(scope, std::slice::from_ref(&path)).await?;
        scope.expect_not_found(scope.storage.get(&path).await, &path)?;
    }
    Ok(())
}
