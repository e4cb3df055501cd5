//! The clients of an S3 server.

use std::net::IpAddr;
use std::sync::Arc;

use aft_core::StorageError;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::{ClientConfigKey, StaticCredentialProvider};
use url::{Host, Url};

use crate::ObjectStorage;
use crate::checked::CheckedConnector;
use crate::connector::Connector;
use crate::container::ContainerCredentials;
use crate::open::{bucket_of, invalid, prefix_of, retries, wrong};
use crate::options::{Credentials, Options};
use crate::profile::{Profile, ProfileError};
use crate::settings::{self, SettingError, from_variables, token_file, variable};
use crate::versions::Versions;

/// Clients for one bucket: reads are retried inside, creates are not; and one that deletes object by object, where the server cannot delete
/// many at once. They share their credentials.
pub(crate) fn open(url: &Url, options: &Options) -> Result<ObjectStorage, StorageError> {
    let versions = Versions::default();
    let builder = configured(url, options, &versions)?;
    let build = |builder: AmazonS3Builder| -> Result<Arc<AmazonS3>, StorageError> {
        let built = builder.build().map_err(|error| wrong(url, error))?;
        Ok(Arc::new(built))
    };
    let reads = build(builder.clone().with_retry(retries(options.read_retries, options)))?;
    let credentials = Arc::clone(reads.credentials());
    let builder = builder.with_credentials(credentials);
    let creates = build(builder.clone().with_retry(retries(0, options)))?;
    let singly = builder.with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
    let deletes = build(singly.with_retry(retries(options.read_retries, options)))?;
    let storage = ObjectStorage::new(Arc::<AmazonS3>::clone(&reads), prefix_of(url)?);
    Ok(storage.with_creates(creates).with_lister(reads).with_deletes(deletes).with_versions(versions))
}

fn configured(url: &Url, options: &Options, versions: &Versions) -> Result<AmazonS3Builder, StorageError> {
    let bucket = bucket_of(url)?;
    let milliseconds = |time: std::time::Duration| format!("{}ms", time.as_millis());
    let builder = from_variables(std::env::vars_os()).map_err(|error| wrong(url, error))?;
    let profile = Profile::load(options.profile.as_deref()).map_err(|error| wrong(url, error))?;
    let connector = connector(profile.as_ref()).map_err(|error| wrong(url, error))?;
    let container = with_role(builder, &connector).map_err(|error| wrong(url, error))?;
    let mut builder = container
        .with_http_connector(CheckedConnector::new(connector, versions.clone()))
        .with_bucket_name(bucket)
        .with_config(
            AmazonS3ConfigKey::Client(ClientConfigKey::Timeout),
            milliseconds(options.request_timeout),
        )
        .with_config(
            AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout),
            milliseconds(options.connect_timeout),
        );
    if options.virtual_hosted_style {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if let Some(profile) = &profile {
        builder = with_profile(builder, profile, options).map_err(|error| wrong(url, error))?;
    }
    let builder = with_options(builder, options).map_err(|error| wrong(url, error))?;
    check_endpoint(builder, url, options)
}

/// Whom to trust: what `AWS_CA_BUNDLE` or the profile's `ca_bundle` names, else the system's certificates.
fn connector(profile: Option<&Profile>) -> Result<Connector, SettingError> {
    let named = variable("AWS_CA_BUNDLE").map(|file| ("AWS_CA_BUNDLE", file));
    let of_profile = profile.and_then(|profile| profile.ca_bundle.clone()).map(|file| ("ca_bundle", file));
    let Some((name, file)) = named.or(of_profile) else { return Ok(Connector::default()) };
    let wrong = |why: String| SettingError::new(name, format!("{file}: {why}"));
    let pem = std::fs::read(&file).map_err(|error| wrong(error.to_string()))?;
    Connector::trusting(&pem).map_err(wrong)
}

/// The role of a container, where the environment names one and nothing that comes before it.
fn with_role(builder: AmazonS3Builder, connector: &Connector) -> Result<AmazonS3Builder, SettingError> {
    use AmazonS3ConfigKey as Key;
    let value = |key| builder.get_config_value(&key);
    if value(Key::AccessKeyId).is_some() || value(Key::SecretAccessKey).is_some() {
        return Ok(builder);
    }
    if let (Some(file), Some(_)) = (value(Key::WebIdentityTokenFile), value(Key::RoleArn)) {
        // object_store sends the file as it is: a line break in it would be part of the token.
        let name = "AWS_WEB_IDENTITY_TOKEN_FILE";
        let held = std::fs::read_to_string(&file).unwrap_or_default();
        if token_file(name, file.as_ref())? != held {
            return Err(SettingError::new(
                name,
                format!("{file}: a line break or a space is around the token; remove it"),
            ));
        }
        return Ok(builder);
    }
    Ok(match ContainerCredentials::find(&builder, connector)? {
        Some(credentials) => builder.with_credentials(Arc::new(credentials)),
        None => builder,
    })
}

/// What the options say comes before everything else.
fn with_options(mut builder: AmazonS3Builder, options: &Options) -> Result<AmazonS3Builder, SettingError> {
    if let Some(region) = &options.region {
        builder = builder.with_region(settings::region("Options::region", region)?);
    }
    if let Some(endpoint) = &options.endpoint {
        let endpoint = settings::server("Options::endpoint", endpoint)?;
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(Credentials { access_key_id, secret_access_key, session_token }) = &options.credentials {
        // As a whole, so that no token of the environment is mixed with a key of the options.
        let token = session_token.as_deref().map(|token| settings::word("Credentials::session_token", token));
        let key = AwsCredential {
            key_id: settings::word("Credentials::access_key_id", access_key_id)?,
            secret_key: settings::text("Credentials::secret_access_key", secret_access_key)?,
            token: token.transpose()?,
        };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(key)));
    }
    Ok(builder)
}

/// Fills what neither the options nor the environment say from the profile.
fn with_profile(
    mut builder: AmazonS3Builder,
    profile: &Profile,
    options: &Options,
) -> Result<AmazonS3Builder, ProfileError> {
    use AmazonS3ConfigKey as Key;
    let any = |builder: &AmazonS3Builder, keys: &[Key]| {
        keys.iter().any(|key| builder.get_config_value(key).is_some())
    };
    if let Some(region) =
        profile.region.as_ref().filter(|_| !any(&builder, &[Key::Region, Key::DefaultRegion]))
    {
        builder = builder.with_region(region);
    }
    let endpoint = profile.endpoint_url.as_ref();
    if let Some(endpoint) = endpoint.filter(|_| !any(&builder, &[Key::Endpoint, Key::S3Endpoint])) {
        builder = builder.with_endpoint(endpoint);
    }
    // A profile that was asked for by name comes before the keys of the environment; any other after them.
    let environment = [
        Key::AccessKeyId,
        Key::WebIdentityTokenFile,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
    ];
    let unsigned = builder.get_config_value(&Key::SkipSignature).as_deref() == Some("true");
    let found = options.profile.is_none() && any(&builder, &environment);
    if options.credentials.is_some() || unsigned || found {
        return Ok(builder);
    }
    Ok(match profile.credentials()? {
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
    let parsed = Url::parse(&endpoint).map_err(|error| wrong(url, error))?;
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
    fn a_profile_fills_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let text = "[p]\naws_access_key_id = id\naws_secret_access_key = key\nregion = r\nendpoint_url = http://[::1]:1";
        std::fs::write(&file, text).unwrap();
        let profile = Profile::from_files(Some("p"), Some(&file), None).unwrap().unwrap();
        let key_of = |builder: AmazonS3Builder, options: Options| {
            let builder = with_profile(builder.with_bucket_name("b"), &profile, &options).unwrap();
            let region = builder.get_config_value(&AmazonS3ConfigKey::Region).unwrap();
            let built = builder.with_allow_http(true).build().unwrap();
            let credentials = Arc::clone(built.credentials());
            (futures::executor::block_on(credentials.get_credential()).unwrap().key_id.clone(), region)
        };
        let environment = || {
            let builder = AmazonS3Builder::new().with_access_key_id("env").with_secret_access_key("x");
            builder.with_region("env")
        };
        let named = Options { profile: Some("p".into()), ..Options::default() };
        assert_eq!(key_of(AmazonS3Builder::new(), Options::default()), ("id".into(), "r".into()));
        assert_eq!(key_of(environment(), Options::default()), ("env".into(), "env".into()));
        assert_eq!(key_of(environment(), named), ("id".into(), "env".into()));
    }

    #[test]
    fn an_endpoint_holds_no_secret() {
        let url = Url::parse("s3://bucket/prefix").unwrap();
        let endpoint = Some("https://key:hush@example.com".to_owned());
        let error = open(&url, &Options { endpoint, ..Options::default() }).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
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
