//! Which store a command works on, and how it is opened.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aft_core::{
    AdoptReport, Aft, CheckReport, Commit, CommitOutcome, Config, Error, ErrorKind, Storage, SweepAllReport,
    Unpublished,
};
use serde::Serialize;
use url::Url;

use crate::failure::Failure;
use crate::output::Output;
use crate::place;
use crate::progress::Progress;
use crate::watch::Watch;

/// The environment variable that names the store.
const VARIABLE: &str = "AFT_STORE";

/// The store of a command.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    url: String,
    watch: Option<Watch>,
}

impl Store {
    /// The store that `flag` names, or else the environment, or else the user's own.
    pub(crate) fn find(flag: Option<&str>) -> Result<Self, Failure> {
        Self::choose(flag, |name| std::env::var_os(name))
    }

    fn choose(flag: Option<&str>, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = set("HOME").map(PathBuf::from);
        let parse = |text: &str| place::url(text, home.clone()).map(|url| Self { url, watch: None });
        if let Some(flag) = flag {
            return parse(flag);
        }
        if let Some(value) = set(VARIABLE) {
            let text =
                value.into_string().map_err(|_| Failure::usage(format!("{VARIABLE} is not UTF-8 text")))?;
            return parse(&text);
        }
        let data = set("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let data = data.or_else(|| Some(home?.join(".local/share")));
        let data = data.ok_or_else(|| {
            Failure::usage("no store is named, and there is no home directory for one")
                .advice(format!("name a store with --store or {VARIABLE}"))
        })?;
        Self::at(&data.join("aft/store"))
    }

    /// The store in the directory `path`.
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        Ok(Self { url: place::of_path(path)?, watch: None })
    }

    /// The same store, whose requests `watch` looks at.
    pub(crate) fn watched(self, watch: &Watch) -> Self {
        Self { watch: Some(watch.clone()), ..self }
    }

    /// The URL as it may be printed: without secrets.
    pub(crate) fn shown(&self) -> String {
        aft_s3::shown(&self.url)
    }

    /// Whether it is gone with the command.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.url.starts_with("memory:")
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The directory of a store of files.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        Url::parse(&self.url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
    }

    /// The storage below the store.
    pub(crate) fn storage(&self) -> Result<Arc<dyn Storage>, Failure> {
        self.storage_with(aft_s3::Options::default())
    }

    /// The storage below the store, with settings of its own.
    pub(crate) fn storage_with(&self, options: aft_s3::Options) -> Result<Arc<dyn Storage>, Failure> {
        let storage = aft_s3::open(&self.url, options)
            .map_err(|cause| Failure::storage(format!("cannot use the store {}", self.shown()), cause))?;
        Ok(match &self.watch {
            Some(watch) => watch.over(storage),
            None => storage,
        })
    }

    /// Shows how many requests the store got, until `work` has ended: for what takes long and knows no end.
    pub(crate) async fn showing<T>(
        &self,
        output: &Output,
        label: &'static str,
        work: impl Future<Output = T>,
    ) -> T {
        match &self.watch {
            Some(watch) => {
                watch.shown_by(Progress::counting(output.is_json(), label, "requests"), work).await
            }
            None => work.await,
        }
    }

    /// Opens the store to read from it, without writing a byte to it.
    pub(crate) async fn open_to_read(&self) -> Result<Aft, Failure> {
        let storage = self.storage()?;
        Aft::builder(storage).config(config()).read_only().open().await.map_err(|error| self.failed(error))
    }

    /// Opens the store to write to it; makes it where there is none.
    pub(crate) async fn open_to_write(&self) -> Result<Aft, Failure> {
        let storage = self.storage()?;
        Aft::builder(storage).config(config()).open().await.map_err(|error| self.failed(error))
    }

    /// Opens a store that must be there already to write to it.
    pub(crate) async fn open_existing(&self) -> Result<Aft, Failure> {
        let storage = self.storage()?;
        Aft::builder(storage).config(config()).must_exist().open().await.map_err(|error| self.failed(error))
    }

    /// Verifies the store without writing a byte to it, and without opening it: it may be too damaged for that.
    pub(crate) async fn check(&self) -> Result<CheckReport, Failure> {
        let storage = self.storage()?;
        Aft::builder(storage).config(config()).check().await.map_err(|error| self.failed(error))
    }

    /// Adopts the store.
    pub(crate) async fn adopt(&self, unpublished: Unpublished) -> Result<AdoptReport, Failure> {
        let storage = self.storage()?;
        let adopted = Aft::builder(storage).config(config()).adopt(unpublished).await;
        adopted
            .map_err(|error| Failure::from(error).within(format!("cannot adopt the store {}", self.shown())))
    }

    /// Looks over every decision of the store, also where it cannot be opened.
    pub(crate) async fn sweep_all(&self) -> Result<SweepAllReport, Failure> {
        let storage = self.storage()?;
        Aft::builder(storage).config(config()).sweep_all().await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: Error) -> Failure {
        let advice = (error.kind() == ErrorKind::NoStore).then_some(
            "name another place with --store or AFT_STORE, or make a store with `aft put` or `aft import`",
        );
        let failure = Failure::from(error).within(format!("cannot open the store {}", self.shown()));
        match advice {
            Some(advice) => failure.advice(advice),
            None => failure,
        }
    }
}

/// A command is one short process: it publishes when it closes the store, not from a background task.
fn config() -> Config {
    Config { background: false, ..Config::default() }
}

/// Closes the store, which publishes what the command committed. A commit that could not be published is one still.
pub(crate) async fn close(aft: Aft, output: &Output) {
    if let Err(error) = aft.close().await {
        output.note(format!(
            "warning: committed, but other processes are not told yet; the next sweep tells them ({error})"
        ));
    }
}

/// What a commit was, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Committed {
    txn_id: String,
    version: String,
    receipt: String,
    replayed: bool,
}

impl From<&Commit> for Committed {
    fn from(commit: &Commit) -> Self {
        let receipt = &commit.receipt;
        Self {
            txn_id: receipt.txn_id().to_string(),
            version: receipt.version().to_string(),
            receipt: receipt.to_string(),
            replayed: commit.outcome == CommitOutcome::Replayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(flag: Option<&str>, variables: &[(&str, &str)]) -> String {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        Store::choose(flag, find).unwrap().url
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_home_directory() {
        let all = [("AFT_STORE", "s3://b/e"), ("XDG_DATA_HOME", "/data"), ("HOME", "/home/me")];
        assert_eq!(url(Some("s3://b/f"), &all), "s3://b/f");
        assert_eq!(url(None, &all), "s3://b/e");
        assert_eq!(url(None, &all[1..]), "file:///data/aft/store");
        assert_eq!(url(None, &all[2..]), "file:///home/me/.local/share/aft/store");
        assert_eq!(
            url(None, &[("AFT_STORE", ""), ("XDG_DATA_HOME", "rel"), all[2]]),
            "file:///home/me/.local/share/aft/store"
        );
        assert!(Store::choose(None, |_| None).is_err() && Store::choose(Some(""), |_| None).is_err());
    }

    #[test]
    fn a_path_is_a_store_of_files() {
        assert_eq!(url(Some("/a b/c"), &[]), "file:///a%20b/c");
        assert_eq!(url(Some("~/x"), &[("HOME", "/home/me")]), "file:///home/me/x");
        let relative = Store::choose(Some("./some/where"), |_| None).unwrap();
        assert_eq!(relative.directory().unwrap(), std::env::current_dir().unwrap().join("some/where"));
        assert_eq!(Store::choose(Some("s3://b/p"), |_| None).unwrap().directory(), None);
    }
}
