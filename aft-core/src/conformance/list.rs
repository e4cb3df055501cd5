//! `list` yields every object below a plain string prefix and after a path, once, and at once after a change.

use super::report::Failure;
use super::scope::Scope;

/// Paths in folders of a few hundred objects, so that pages end within and between folders.
fn many(scope: &Scope, folders: [&str; 5]) -> Vec<String> {
    let folder = |number: usize| folders[number / 400 % 5];
    (0..scope.options.objects).map(|number| scope.path(&format!("{}/{number:08}", folder(number)))).collect()
}

/// Folders as aft names them: all of one width, and of letters and digits.
const PLAIN: [&str; 5] = ["0a", "0b", "a0", "ab", "zz"];

/// Folders in whose order `/` takes part. Some stores sort it before everything, also before `-` and `.`.
const MARKS: [&str; 5] = ["a", "b-c", "b.c", "b/c", "z"];

pub(super) async fn list_complete(scope: &Scope) -> Result<(), Failure> {
    let paths = many(scope, MARKS);
    scope.create_all(&paths).await?;
    scope.expect_list(&scope.path(""), None, &paths).await?;
    for info in scope.list(&scope.path("a/"), None).await? {
        let size = info.path.len() as u64;
        let expected = || format!("{:?} to be listed with its {size} bytes", info.path);
        scope.ensure(info.size == size, expected, || format!("{} bytes", info.size))?;
    }
    Ok(())
}

pub(super) async fn list_start_after(scope: &Scope) -> Result<(), Failure> {
    let absent = ["0a/", "0a/000", "0b0", "0b/9", "ab/00001", "zz/", "zz/9", "~"];
    start_after(scope, many(scope, PLAIN), &["", "0", "0b", "a0/", "zz/0"], &absent).await
}

/// The order of paths is that of their bytes, also of the marks: `a-b`, `a.b`, `a/b`, `a0`.
///
/// Also a `start_after` that is a folder's name does not leave out the folder. aft's own names do not depend on either;
/// a store that fails here alone (SeaweedFS does) still serves aft.
pub(super) async fn list_order_of_marks(scope: &Scope) -> Result<(), Failure> {
    let absent = ["a", "a/", "b", "b-", "b-c/9", "b.", "b/", "b/c", "b/c/", "b0", "z/0-"];
    start_after(scope, many(scope, MARKS), &["", "b"], &absent).await
}

/// Lists after paths that exist and after others, in the middle of a name, of a folder, before and after everything.
async fn start_after(
    scope: &Scope,
    mut paths: Vec<String>,
    prefixes: &[&str],
    absent: &[&str],
) -> Result<(), Failure> {
    scope.create_all(&paths).await?;
    paths.sort_unstable();
    let root = scope.path("");
    let last = paths.len().saturating_sub(1);
    let existing = [0, 1, last / 3, last / 2, last.saturating_sub(1), last].map(|at| paths.get(at).cloned());
    let mut starts: Vec<String> = existing.into_iter().flatten().collect();
    starts.extend(absent.iter().map(|name| scope.path(name)));
    starts.extend(["!".to_owned(), "~".to_owned(), root.trim_end_matches('/').to_owned(), root]);
    for start in &starts {
        for prefix in prefixes.iter().map(|name| scope.path(name)) {
            let expected = paths.iter().filter(|path| *path > start && path.starts_with(&prefix));
            scope.expect_list(&prefix, Some(start), expected).await?;
        }
    }
    Ok(())
}

pub(super) async fn list_prefix(scope: &Scope) -> Result<(), Failure> {
    let names = [
        "a/b", "a/bc", "a/b-c", "a/b.c", "a/bcd/e", "a-b", "a.b", "a0", "ab/c", "abc", "ab-/x", "b/a", "0",
        "0-/1", "A/b", "_", "-/-", "x/y/z/1", "x/y/z1", "x/yz/1",
    ];
    let paths = names.map(|name| scope.path(name));
    scope.create_all(&paths).await?;
    let prefixes = [
        "", "a", "a/", "a/b", "a/bc", "a/bcd", "a/bcd/", "a/b-", "a/b.", "a-", "a.", "ab", "ab/", "ab-",
        "abc", "abcd", "b", "b/a", "A", "_", "-", "-/", "0", "0-", "x", "x/", "x/y", "x/y/", "x/y/z",
        "x/y/z/", "x/y/z1", "x/yz",
        // Prefixes of nothing, among them such that are no paths.
        "nothing", "a/x", "a/b/", "a/b/c", "0/", "//", "a//", "a/../a", "..", "./", "a/b\u{0}", "a~", "%",
        "\u{e4}", "a b",
    ];
    for prefix in prefixes.map(|name| scope.path(name)) {
        scope.expect_list(&prefix, None, paths.iter().filter(|path| path.starts_with(&prefix))).await?;
    }
    let folder = scope.path("");
    let partial = &folder[..folder.len() - 2];
    scope.expect_list(partial, None, &paths).await
}

pub(super) async fn list_after_changes(scope: &Scope) -> Result<(), Failure> {
    let prefix = scope.path("folder/");
    let rounds = scope.options.rounds.max(2);
    let paths: Vec<String> = (0..rounds).map(|round| format!("{prefix}{round:06}")).collect();
    scope.expect_list(&prefix, None, []).await?;
    for there in 1..=paths.len() {
        scope.create(&paths[there - 1], "x").await?;
        scope.expect_list(&prefix, None, &paths[..there]).await?;
    }
    for gone in 1..=paths.len() {
        let deleted = scope.storage.delete(&paths[gone - 1..gone]).await;
        scope.expect(deleted, || "a delete to succeed".to_owned())?;
        scope.expect_list(&prefix, None, &paths[gone..]).await?;
    }
    Ok(())
}
