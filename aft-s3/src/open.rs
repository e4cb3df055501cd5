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
/// A URL is refused for what would be dropped from it (`?…`, `#…`, a port), and a prefix for what object_store would put
/// percent-encoded into the names of objects: `~`, `%`, `#`, `?`, `*`, `\`, `^`, `|`, quotes, every bracket but round ones,
/// control characters and everything outside ASCII.
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
/// which feature is missing. It holds no secret of the URL.
pub fn open(url: &str, options: Options) -> Result<Arc<dyn Storage>, StorageError> {
    let parsed = Url::parse(url).map_err(|error| match url.contains("://") {
        true => StorageError::invalid(shown(url)).with_source(error),
        false => invalid(url, "not a URL: a folder is file:///absolute/path, a bucket is s3://bucket/prefix"),
    })?;
    check(url, &parsed)?;
    match parsed.scheme() {
        "memory" => Ok(Arc::new(memory(&parsed))),
        "file" => file(&parsed, &options),
        "s3" | "s3a" => s3(&parsed, &options),
        "az" | "abfs" | "abfss" => azure(&parsed, &options),
        "gs" => gcp(&parsed, &options),
        _ => Err(invalid(url, "no store of this kind; there are s3://, file://, memory://, az:// and gs://")),
    }
}

/// Refuses what would be dropped from a URL: two stores must not become one.
fn check(text: &str, url: &Url) -> Result<(), StorageError> {
    let wrong = if !url.username().is_empty() || url.password().is_some() {
        "credentials do not belong into the URL; put them into the environment or a profile"
    } else if url.query().is_some() {
        "a store's URL has no ?…; settings go into the environment, and a ? in the path of a folder is %3F"
    } else if url.fragment().is_some() {
        "a store's URL has no #…; a # in the path of a folder is %23"
    } else if url.port().is_some() {
        "a store's URL has no port; the server is named by AWS_ENDPOINT_URL_S3 or Options::endpoint"
    } else if url.scheme() != "file" && !text.contains("://") {
        "two slashes are missing: s3://bucket/prefix, memory://name"
    } else {
        return Ok(());
    };
    Err(invalid(text, wrong))
}

/// `url` as it may be printed: without what may be a secret, whatever else may be wrong with it.
///
/// # Examples
///
/// ```
/// assert_eq!(aft_s3::shown("s3://KEY:SECRET@bucket/prefix"), "s3://…@bucket/prefix");
/// assert_eq!(aft_s3::shown("s3://bucket/prefix"), "s3://bucket/prefix");
/// ```
#[must_use]
pub fn shown(url: &str) -> String {
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    // A `?` or `#` may be part of a secret as well as begin one.
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let cut = if end < rest.len() { "?…" } else { "" };
    let harmless = match Url::parse(url) {
        Ok(url) => {
            !scheme.is_empty()
                && url.username().is_empty()
                && url.password().is_none()
                && url.port().is_none()
        }
        Err(_) => scheme.is_empty() && !rest.contains('@'),
    };
    if harmless {
        return format!("{scheme}{}{cut}", &rest[..end]);
    }
    // The secret may hold a `/`, so that the last `@` is its end. A text without a scheme and an `@` is a path, or near one.
    match rest[..end].rfind('@').filter(|_| !rest[end..].contains('@')) {
        Some(at) => format!("{scheme}…{}{cut}", &rest[at..end]),
        None if scheme.is_empty() && !rest.contains('@') => format!("{}{cut}", &rest[..end]),
        None => format!("{scheme}…"),
    }
}

pub(crate) fn invalid(url: impl AsRef<str>, text: &'static str) -> StorageError {
    StorageError::invalid(shown(url.as_ref())).with_source(text)
}

/// The store at `url` cannot be opened because of `error`.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
pub(crate) fn wrong(url: &Url, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StorageError {
    StorageError::invalid(shown(url.as_str())).with_source(error)
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
    Err(invalid(url, "this build has no S3: it is the feature aws of aft-s3"))
}

/// The part of the bucket that `url` names.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
pub(crate) fn prefix_of(url: &Url) -> Result<String, StorageError> {
    use object_store::path::Path;
    let path = Path::from_url_path(url.path())
        .map_err(|error| wrong(url, format!("the prefix cannot stand in the names of objects: {error}")))?;
    // object_store's escapes would be in the names of all objects, where no other tool and no access rule expects them.
    let is_encoded = |mark: &char| {
        let text = mark.to_string();
        !matches!(mark, '/' | '.') && Path::from(text.as_str()).as_ref() != text
    };
    match path.as_ref().chars().find(is_encoded) {
        None => Ok(path.into()),
        Some(mark) => Err(wrong(
            url,
            format!(
                "the prefix holds {mark:?}, which cannot stand in the names of objects as it is: use letters, digits and \
                 any of / - _ . = + , : ; @ & $ ! ' ( )"
            ),
        )),
    }
}

/// The bucket that `url` names, or the container. It becomes part of addresses and of what is signed.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
pub(crate) fn bucket_of(url: &Url) -> Result<&str, StorageError> {
    let bucket = url.host_str().filter(|bucket| !bucket.is_empty());
    let bucket = bucket.ok_or_else(|| invalid(url, "the bucket is missing, behind ://"))?;
    let fits = |mark: char| mark.is_ascii_alphanumeric() || matches!(mark, '-' | '_' | '.');
    match bucket.chars().all(fits) {
        true => Ok(bucket),
        false => {
            Err(invalid(url, "the name of a bucket has letters, digits and any of - _ . and nothing else"))
        }
    }
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

/// The settings that the environment has under names with this beginning, as people have them: with white space around, or empty. What
/// no request can hold is refused by name, and not shown: object_store would put it into URLs and headers as it is.
#[cfg(any(feature = "azure", feature = "gcp"))]
fn variables<K: std::str::FromStr>(url: &Url, prefix: &str) -> Result<Vec<(K, String)>, StorageError> {
    let mut settings = Vec::new();
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else { continue };
        if let (Ok(key), Some(value)) = (name.to_ascii_lowercase().parse(), variable(url, name)?) {
            settings.push((key, value));
        }
    }
    Ok(settings)
}

#[cfg(any(feature = "azure", feature = "gcp"))]
fn variable(url: &Url, name: &str) -> Result<Option<String>, StorageError> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let value =
        value.into_string().map_err(|_| wrong(url, format!("{name} cannot be used: it is no text")))?;
    let value = value.trim().trim_start_matches('\u{feff}');
    // A key of Google's is a JSON document of several lines.
    if value.contains(char::is_control) && !value.starts_with('{') {
        return Err(wrong(
            url,
            format!("{name} cannot be used: a line break or another control character is in it"),
        ));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

#[cfg(feature = "azure")]
fn azure(url: &Url, options: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    use object_store::azure::MicrosoftAzureBuilder;
    bucket_of(url)?;
    let build = |tries| -> Result<Arc<dyn object_store::ObjectStore>, StorageError> {
        let mut builder = MicrosoftAzureBuilder::new().with_client_options(client(options));
        for (key, value) in variables(url, "AZURE_")? {
            builder = builder.with_config(key, value);
        }
        if let Some(endpoint) = variable(url, "IDENTITY_ENDPOINT")? {
            builder = builder.with_msi_endpoint(endpoint);
        }
        let builder = builder.with_url(url.as_str()).with_retry(retries(tries, options));
        let builder = builder.with_http_connector(crate::connector::Connector::default());
        let built = builder.build().map_err(|error| wrong(url, error))?;
        Ok(Arc::new(built))
    };
    let storage = crate::ObjectStorage::new(build(options.read_retries)?, prefix_of(url)?);
    Ok(Arc::new(storage.with_creates(build(0)?)))
}

#[cfg(feature = "gcp")]
fn gcp(url: &Url, options: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
    bucket_of(url)?;
    let build = |tries| -> Result<Arc<GoogleCloudStorage>, StorageError> {
        let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client(options));
        if let Some(path) = variable(url, "SERVICE_ACCOUNT")? {
            builder = builder.with_service_account_path(path);
        }
        for (key, value) in variables(url, "GOOGLE_")? {
            builder = builder.with_config(key, value);
        }
        let builder = builder.with_url(url.as_str()).with_retry(retries(tries, options));
        let builder = builder.with_http_connector(crate::checked::CheckedConnector::default());
        let built = builder.build().map_err(|error| wrong(url, error))?;
        Ok(Arc::new(built))
    };
    let reads = build(options.read_retries)?;
    let storage = crate::ObjectStorage::new(Arc::<GoogleCloudStorage>::clone(&reads), prefix_of(url)?);
    Ok(Arc::new(storage.with_creates(build(0)?).with_lister(reads)))
}

#[cfg(not(feature = "azure"))]
fn azure(url: &Url, _: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    Err(invalid(url, "this build has no Azure: it is the feature azure of aft-s3, and of aft-cli"))
}

#[cfg(not(feature = "gcp"))]
fn gcp(url: &Url, _: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    Err(invalid(
        url,
        "this build has no Google Cloud Storage: it is the feature gcp of aft-s3, and gcs of aft-cli",
    ))
}
