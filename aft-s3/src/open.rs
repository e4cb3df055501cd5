//! A URL becomes a store.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use aft_core::{Storage, StorageError};
use aft_memory::MemoryStorage;
use parking_lot::Mutex;
use url::Url;

use crate::options::Options;

/// The stores `memory://name` of this process.
static NAMED: LazyLock<Mutex<HashMap<String, MemoryStorage>>> = LazyLock::new(Mutex::default);

/// Opens the store at `url`.
///
/// | URL | store |
/// |---|---|
/// | `s3://bucket/prefix` | S3, or with [`Options::endpoint`] any server that speaks it |
/// | `file:///absolute/path` | [`FileStorage`](crate::FileStorage) |
/// | `memory://` | a new, empty store in memory, gone with the last handle to it |
/// | `memory://name` | the store in memory of that name: one for the whole process, until it ends |
/// | `az://container/prefix` | Azure Blob Storage, with the feature `azure`; set up by `AZURE_…` variables |
/// | `gs://bucket/prefix` | Google Cloud Storage, with the feature `gcp`; set up by `GOOGLE_…` variables |
///
/// Nothing is sent and nothing is written: whether the store is there and lets us in shows with the first request.
///
/// # Examples
///
/// ```
/// let storage = aft_s3::open("memory://", aft_s3::Options::default())?;
/// # Ok::<(), aft_core::StorageError>(())
/// ```
///
/// # Errors
/// [`StorageError::Invalid`] with a source that says what is wrong with the URL, the options or the environment, or
/// which feature is missing.
pub fn open(url: &str, options: Options) -> Result<Arc<dyn Storage>, StorageError> {
    let parsed = Url::parse(url).map_err(|error| match url.contains("://") {
        true => StorageError::invalid(shown(url)).with_source(error),
        false => invalid(url, "not a URL: a folder is file:///absolute/path, a bucket is s3://bucket/prefix"),
    })?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(invalid(
            url,
            "credentials do not belong into the URL; put them into the environment or a profile",
        ));
    }
    match parsed.scheme() {
        "memory" => Ok(Arc::new(memory(&parsed))),
        "file" => file(&parsed, &options),
        "s3" | "s3a" => s3(&parsed, &options),
        "az" | "abfs" | "abfss" => azure(&parsed, &options),
        "gs" => gcp(&parsed, &options),
        _ => Err(invalid(url, "no store of this kind; there are s3://, file://, memory://, az:// and gs://")),
    }
}

/// `url` without what may be a secret.
fn shown(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &url[..scheme], &url[at..]),
        _ => url.to_owned(),
    }
}

pub(crate) fn invalid(url: impl AsRef<str>, text: &'static str) -> StorageError {
    StorageError::invalid(shown(url.as_ref())).with_source(text)
}

fn memory(url: &Url) -> MemoryStorage {
    let name = format!("{}{}", url.host_str().unwrap_or_default(), url.path().trim_end_matches('/'));
    if name.is_empty() { MemoryStorage::new() } else { NAMED.lock().entry(name).or_default().clone() }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "ios"))]
fn file(url: &Url, options: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    let path = url.to_file_path();
    let path = path.map_err(|()| invalid(url, "a folder is file:///absolute/path, with three slashes"))?;
    Ok(Arc::new(crate::FileStorage::open(path)?.with_sync(options.sync)))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "ios")))]
fn file(url: &Url, _: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    Err(invalid(url, "files cannot be a store on this system: it cannot move without replacing"))
}

#[cfg(feature = "aws")]
fn s3(url: &Url, options: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    Ok(Arc::new(crate::s3::open(url, options)?))
}

#[cfg(not(feature = "aws"))]
fn s3(url: &Url, _: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    Err(invalid(url, UNSUPPORTED))
}

#[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp")))]
const UNSUPPORTED: &str = "this build has no support for it: see the features of aft-s3";

/// The part of the bucket that `url` names.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
pub(crate) fn prefix_of(url: &Url) -> Result<String, StorageError> {
    let path = object_store::path::Path::from_url_path(url.path());
    path.map(Into::into).map_err(|error| StorageError::invalid(url.as_str()).with_source(error))
}

/// How reads are retried inside the client: little, since the core repeats what it must.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
pub(crate) fn retries(max_retries: usize, options: &Options) -> object_store::RetryConfig {
    object_store::RetryConfig { max_retries, retry_timeout: options.request_timeout, ..Default::default() }
}

#[cfg(any(feature = "azure", feature = "gcp"))]
fn client(options: &Options) -> object_store::ClientOptions {
    let client = object_store::ClientOptions::new().with_timeout(options.request_timeout);
    client.with_connect_timeout(options.connect_timeout).with_allow_http(options.allow_http)
}

#[cfg(feature = "azure")]
fn azure(url: &Url, options: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    use object_store::azure::MicrosoftAzureBuilder;
    let build = |tries| -> Result<Arc<dyn object_store::ObjectStore>, StorageError> {
        let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str());
        let builder = builder.with_client_options(client(options)).with_retry(retries(tries, options));
        let built =
            builder.build().map_err(|error| StorageError::invalid(url.as_str()).with_source(error))?;
        Ok(Arc::new(built))
    };
    let storage = crate::ObjectStorage::new(build(options.read_retries)?, prefix_of(url)?);
    Ok(Arc::new(storage.with_creates(build(0)?)))
}

#[cfg(feature = "gcp")]
fn gcp(url: &Url, options: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
    let build = |tries| -> Result<Arc<GoogleCloudStorage>, StorageError> {
        let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str());
        let builder = builder.with_http_connector(crate::checked::CheckedConnector::default());
        let builder = builder.with_client_options(client(options)).with_retry(retries(tries, options));
        let built =
            builder.build().map_err(|error| StorageError::invalid(url.as_str()).with_source(error))?;
        Ok(Arc::new(built))
    };
    let reads = build(options.read_retries)?;
    let storage = crate::ObjectStorage::new(Arc::<GoogleCloudStorage>::clone(&reads), prefix_of(url)?);
    Ok(Arc::new(storage.with_creates(build(0)?).with_lister(reads)))
}

#[cfg(not(feature = "azure"))]
fn azure(url: &Url, _: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    Err(invalid(url, UNSUPPORTED))
}

#[cfg(not(feature = "gcp"))]
fn gcp(url: &Url, _: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    Err(invalid(url, UNSUPPORTED))
}
