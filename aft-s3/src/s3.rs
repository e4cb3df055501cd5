//! The clients of an S3 server.

use std::net::IpAddr;
use std::sync::Arc;

use aft_core::StorageError;
use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use url::{Host, Url};

use crate::ObjectStorage;
use crate::open::{invalid, retries};
use crate::options::Options;
use crate::profile::Profile;

/// Two clients for one bucket: reads are retried inside, creates are not. They share their credentials.
pub(crate) fn open(url: &Url, options: &Options) -> Result<ObjectStorage, StorageError> {
    let builder = configured(url, options)?;
    let build = |builder: AmazonS3Builder| -> Result<Arc<AmazonS3>, StorageError> {
        let built =
            builder.build().map_err(|error| StorageError::invalid(url.as_str()).with_source(error))?;
        Ok(Arc::new(built))
    };
    let reads = build(builder.clone().with_retry(retries(options.read_retries, options)))?;
    let credentials = Arc::clone(reads.credentials());
    let creates = build(builder.with_credentials(credentials).with_retry(retries(0, options)))?;
    let storage = ObjectStorage::new(Arc::<AmazonS3>::clone(&reads), url.path());
    Ok(storage.with_creates(creates).with_lister(reads))
}

fn configured(url: &Url, options: &Options) -> Result<AmazonS3Builder, StorageError> {
    let Some(bucket) = url.host_str().filter(|bucket| !bucket.is_empty()) else {
        return Err(invalid(url, "the bucket is missing: s3://bucket/prefix"));
    };
    let seconds = |time: std::time::Duration| format!("{}ms", time.as_millis());
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), seconds(options.request_timeout))
        .with_config(
            AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout),
            seconds(options.connect_timeout),
        );
    if options.virtual_hosted_style {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    builder = with_profile(builder, url, options)?;
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(key) = &options.credentials {
        builder =
            builder.with_access_key_id(&key.access_key_id).with_secret_access_key(&key.secret_access_key);
        if let Some(token) = &key.session_token {
            builder = builder.with_token(token);
        }
    }
    check_endpoint(builder, url, options)
}

/// Fills what neither the options nor the environment say from the profile.
fn with_profile(
    mut builder: AmazonS3Builder,
    url: &Url,
    options: &Options,
) -> Result<AmazonS3Builder, StorageError> {
    let has = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some();
    // A profile that was asked for by name comes before the keys of the environment; the default one after them.
    let signed = options.credentials.is_some()
        || has(&builder, AmazonS3ConfigKey::SkipSignature)
        || (options.profile.is_none()
            && (has(&builder, AmazonS3ConfigKey::AccessKeyId)
                || has(&builder, AmazonS3ConfigKey::WebIdentityTokenFile)
                || has(&builder, AmazonS3ConfigKey::ContainerCredentialsRelativeUri)
                || has(&builder, AmazonS3ConfigKey::ContainerCredentialsFullUri)));
    let profile = Profile::load(options.profile.as_deref())
        .map_err(|error| StorageError::invalid(url.as_str()).with_source(error))?;
    let Some(profile) = profile else { return Ok(builder) };
    let has_region =
        has(&builder, AmazonS3ConfigKey::Region) || has(&builder, AmazonS3ConfigKey::DefaultRegion);
    if let Some(region) = profile.region.as_ref().filter(|_| !has_region) {
        builder = builder.with_region(region);
    }
    let has_endpoint =
        has(&builder, AmazonS3ConfigKey::Endpoint) || has(&builder, AmazonS3ConfigKey::S3Endpoint);
    if let Some(endpoint) = profile.endpoint_url.as_ref().filter(|_| !has_endpoint) {
        builder = builder.with_endpoint(endpoint);
    }
    if signed {
        return Ok(builder);
    }
    let credentials =
        profile.credentials().map_err(|error| StorageError::invalid(url.as_str()).with_source(error))?;
    Ok(match credentials {
        Some(credentials) => builder.with_credentials(Arc::new(credentials)),
        None => builder,
    })
}

/// Plain HTTP only to this machine, unless it was asked for.
fn check_endpoint(
    builder: AmazonS3Builder,
    url: &Url,
    options: &Options,
) -> Result<AmazonS3Builder, StorageError> {
    let value = |key| builder.get_config_value(&key);
    let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint));
    let Some(endpoint) = endpoint else { return Ok(builder) };
    let parsed =
        Url::parse(&endpoint).map_err(|error| StorageError::invalid(url.as_str()).with_source(error))?;
    match parsed.scheme() {
        "https" => Ok(builder),
        "http" if options.allow_http || is_local(&parsed) => Ok(builder.with_allow_http(true)),
        "http" if value(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)).as_deref() == Some("true") => {
            Ok(builder)
        }
        "http" => Err(invalid(
            url,
            "the endpoint is plain http:// on another machine, where keys and data could be read on the way; \
             use https://, or allow it (Options::allow_http, AWS_ALLOW_HTTP=true)",
        )),
        _ => Err(invalid(url, "the endpoint is neither http:// nor https://")),
    }
}

fn is_local(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_endpoints_are_local() {
        for local in [
            "http://localhost:1",
            "http://127.0.0.1",
            "http://127.9.9.9:80/x",
            "http://[::1]:9",
            "http://b.localhost",
        ] {
            assert!(is_local(&Url::parse(local).unwrap()), "{local}");
        }
        for other in ["http://example.com", "http://10.0.0.1", "http://localhost.example.com", "http://[::2]"]
        {
            assert!(!is_local(&Url::parse(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn plain_http_needs_permission() {
        let url = Url::parse("s3://bucket/prefix").unwrap();
        let endpoint = Some("http://example.com".to_owned());
        let options = Options { endpoint, ..Options::default() };
        assert!(open(&url, &options).is_err());
        assert!(open(&url, &Options { allow_http: true, ..options }).is_ok());
    }
}
