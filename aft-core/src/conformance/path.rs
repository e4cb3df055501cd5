//! Every legal path works, however odd; every illegal one is refused before anything happens.

use bytes::Bytes;

use super::report::Failure;
use super::scope::Scope;
use crate::storage::StorageError;

pub(super) async fn odd_paths(scope: &Scope) -> Result<(), Failure> {
    let long = "l".repeat(200);
    let names = [
        "...",
        ".hidden",
        "a..b",
        "dots.in.a.name",
        "trailing.",
        ".a/.b/.c",
        "..a/b..",
        "a/b",
        "a-b",
        "a.b",
        "a_b",
        "-",
        "--",
        "_",
        "-rf/-",
        "0/0",
        "upper",
        "UPPER",
        "Upper",
        "tmp/x.tmp",
        "lost-found/x",
        "CON",
        "nul.txt",
        "x.part",
        "d/e/e/p/l/y/n/e/s/t/e/d/f/o/l/d/e/r/s",
    ];
    let mut paths: Vec<String> = names.iter().map(|name| scope.path(name)).collect();
    paths.push(scope.path(&long));
    paths.push(scope.path(&format!("{}/{long}", "m".repeat(200))));
    scope.create_all(&paths).await?;
    for path in &paths {
        let seen = scope.get(path).await?;
        scope.ensure(
            seen == path.as_bytes(),
            || format!("the object of {path:?}"),
            || format!("{seen:?}"),
        )?;
        scope.expect_already_exists(scope.storage.create(path, Bytes::new()).await, path)?;
    }
    scope.expect_list(&scope.path(""), None, &paths).await?;
    for path in &paths {
        scope.expect_list(path, None, paths.iter().filter(|other| other.starts_with(path.as_str()))).await?;
    }
    let deleted = scope.storage.delete(&paths).await;
    scope.expect(deleted, || "a delete of odd paths to succeed".to_owned())?;
    scope.expect_list(&scope.path(""), None, []).await
}

pub(super) async fn illegal_paths(scope: &Scope) -> Result<(), Failure> {
    let too_long = "l".repeat(201);
    let names = [
        "a//b",
        "a/",
        "/a",
        "a/./b",
        "./a",
        "a/../b",
        "../a",
        "a/..",
        "a b",
        "a\\b",
        "a\u{0}",
        "a\n",
        "\u{e4}",
        "a%2fb",
        "a~",
        "a*",
        "a?",
        "a:b",
        "a+b",
        "a#b",
        "a@b",
        too_long.as_str(),
    ];
    let mut paths: Vec<String> = names.iter().map(|name| scope.path(name)).collect();
    paths.extend(["", "/", ".", "..", "../outside"].map(str::to_owned));
    paths.push(format!("/{}", scope.path("absolute")));
    for path in &paths {
        invalid(scope, scope.storage.create(path, Bytes::from_static(b"x")).await, path)?;
        invalid(scope, scope.storage.get(path).await.map(|_| ()), path)?;
        invalid(scope, scope.storage.get_range(path, 0..1).await.map(|_| ()), path)?;
        invalid(scope, scope.storage.delete(std::slice::from_ref(path)).await, path)?;
    }
    scope.expect_list(&scope.path(""), None, []).await
}

fn invalid(scope: &Scope, answer: Result<(), StorageError>, path: &str) -> Result<(), Failure> {
    scope.expect_error(answer, path, "Invalid", |error| matches!(error, StorageError::Invalid { .. }))
}
