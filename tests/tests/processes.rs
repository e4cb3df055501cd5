//! Processes that share a file store ([`aft_tests::processes`]): this test starts itself again as another process.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use aft_core::Aft;
use aft_tests::processes;
use futures::FutureExt;
use futures::future::BoxFuture;

fn open(url: String) -> BoxFuture<'static, Aft> {
    async move {
        let storage = aft_s3::open(&url, aft_s3::Options::default()).unwrap();
        Aft::open(storage, processes::config()).await.unwrap()
    }
    .boxed()
}

#[tokio::test]
async fn two_processes_see_each_others_commits_and_a_dead_ones_last_one_is_swept() {
    if let Some(other) = processes::other(open) {
        return other.await;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let name = "two_processes_see_each_others_commits_and_a_dead_ones_last_one_is_swept";
    processes::meet(&url, &["--exact", name], open).await;
}
