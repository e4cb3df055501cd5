//! Credentials from the service beside a container (ECS, EKS Pod Identity, Greengrass).
//!
//! object_store asks it too, but not with a token from the environment, and it panics where the token's file ends with a
//! line break.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aft_core::{Clock, SystemClock};
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key, AwsCredential};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody};
use object_store::{ClientOptions, CredentialProvider, Error};
use parking_lot::Mutex;
use serde::Deserialize;
use url::{Host, Url};

use crate::connector::Connector;
use crate::settings::{SettingError, token_file, variable, word};

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/// How long before they expire new credentials are got.
const EARLY: Duration = Duration::from_secs(300);
/// How long credentials are used at most, where they do not say when they expire.
const UNSAID: Duration = Duration::from_secs(300);
/// How long the service may take: it is on the same machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the token is that the service wants to see.
#[derive(Clone)]
enum Token {
    None,
    Text(String),
    File(PathBuf),
}

/// Credentials, and when they expire.
type Found = (SystemTime, Arc<AwsCredential>);

/// A request for them that is under way, for all who wait for it; or why there are none.
type Flight = Shared<BoxFuture<'static, Result<Found, Arc<str>>>>;

/// Gets the credentials of a container.
pub(crate) struct ContainerCredentials {
    service: Arc<Service>,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    found: Option<Found>,
    flight: Option<Flight>,
}

/// The service that has them.
struct Service {
    url: Url,
    token: Token,
    client: HttpClient,
    clock: SystemClock,
}

impl fmt::Debug for ContainerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerCredentials")
            .field("url", &self.service.url.as_str())
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl ContainerCredentials {
    /// The service that the environment names; `None` where it names none.
    pub(crate) fn find(
        builder: &AmazonS3Builder,
        connector: &Connector,
    ) -> Result<Option<Self>, SettingError> {
        let value = |key| builder.get_config_value(&key);
        let relative = value(Key::ContainerCredentialsRelativeUri);
        let (name, url) = match (relative, value(Key::ContainerCredentialsFullUri)) {
            (Some(path), _) if path.starts_with('/') => (RELATIVE, format!("http://169.254.170.2{path}")),
            (Some(_), _) => return Err(SettingError::new(RELATIVE, "it does not begin with a /")),
            (None, Some(url)) => (FULL, url),
            (None, None) => return Ok(None),
        };
        let url = Url::parse(&url).map_err(|error| SettingError::new(name, error))?;
        if !may_see_a_token(&url) {
            return Err(SettingError::new(
                name,
                "it is neither https:// nor on this machine, where the token could be read on the way",
            ));
        }
        let token = match (value(Key::ContainerAuthorizationTokenFile), variable(TOKEN)) {
            (Some(file), _) => Token::File(file.into()),
            (None, Some(token)) => Token::Text(word(TOKEN, &token)?),
            (None, None) => Token::None,
        };
        let options = ClientOptions::new().with_allow_http(true).with_timeout(PATIENCE);
        let client = connector.connect(&options.with_connect_timeout(Duration::from_secs(1)));
        let client = client.map_err(|error| SettingError::new(name, error))?;
        let service = Service { url, token, client, clock: SystemClock::new() };
        // Read again for each request, since it changes; looked at here so that what is wrong with it is said at once.
        service.token()?;
        Ok(Some(Self { service: Arc::new(service), cached: Mutex::default() }))
    }

    /// The credentials where they are young enough, else the request for them: one, however many want them.
    fn look(&self) -> Result<Arc<AwsCredential>, Flight> {
        let mut cached = self.cached.lock();
        let now = self.service.clock.now();
        if let Some((_, credential)) = cached.found.as_ref().filter(|(until, _)| now + EARLY < *until) {
            return Ok(Arc::clone(credential));
        }
        let service = Arc::clone(&self.service);
        let fetch = async move { service.fetch().await.map_err(|error| Arc::from(error.to_string())) };
        Err(cached.flight.get_or_insert_with(|| fetch.boxed().shared()).clone())
    }
}

impl Service {
    fn token(&self) -> Result<Option<String>, SettingError> {
        match &self.token {
            Token::None => Ok(None),
            Token::Text(token) => Ok(Some(token.clone())),
            Token::File(file) => token_file(TOKEN_FILE, file).map(Some),
        }
    }

    async fn fetch(&self) -> Result<Found, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = self.url.as_str().parse()?;
        if let Some(token) = self.token()? {
            request.headers_mut().insert("authorization", token.parse()?);
        }
        let answer = self.client.execute(request).await?;
        let status = answer.status();
        let body = answer.into_body().bytes().await?;
        if !status.is_success() {
            return Err(format!("it answers with status {status}").into());
        }
        // What is wrong with it is not shown: it may hold a key.
        let found: Answer = serde_json::from_slice(&body).map_err(|_| "its answer holds no credentials")?;
        let key_id = word("the access key", &found.access_key_id)?;
        let token = found.token.filter(|token| !token.is_empty());
        let token = token.map(|token| word("the session token", &token)).transpose()?;
        let expires = found.expiration.and_then(|text| humantime::parse_rfc3339_weak(text.trim()).ok());
        let expires = expires.unwrap_or_else(|| self.clock.now() + EARLY + UNSAID);
        Ok((expires, Arc::new(AwsCredential { key_id, secret_key: found.secret_access_key, token })))
    }
}

/// Over plain HTTP a token goes only where AWS's own services are, and to this machine.
fn may_see_a_token(url: &Url) -> bool {
    let near = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => {
            IpAddr::V4(address).is_loopback() || address.octets()[..3] == [169, 254, 170]
        }
        Some(Host::Ipv6(address)) => address.is_loopback() || address.to_string() == "fd00:ec2::23",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && near)
}

#[async_trait]
impl CredentialProvider for ContainerCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let flight = match self.look() {
            Ok(credential) => return Ok(credential),
            Err(flight) => flight,
        };
        let landed = flight.clone().await;
        let mut cached = self.cached.lock();
        // Of those who waited for it the first takes it off; another may be under way by then.
        if cached.flight.as_ref().is_some_and(|it| it.ptr_eq(&flight)) {
            cached.flight = None;
            cached.found = landed.clone().ok().or(cached.found.take());
        }
        let service = &self.service.url;
        landed.map(|(_, credential)| credential).map_err(|source| Error::Generic {
            store: "S3",
            source: format!("no credentials from {service}: {source}").into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_token_may_go() {
        for url in [
            "http://169.254.170.2/x",
            "http://169.254.170.23/v1",
            "http://[fd00:ec2::23]/v1",
            "http://127.0.0.1:9/x",
            "https://example.com",
        ] {
            assert!(may_see_a_token(&Url::parse(url).unwrap()), "{url}");
        }
        for url in ["http://example.com", "http://169.254.169.254/x", "http://10.0.0.1/", "ftp://127.0.0.1/"]
        {
            assert!(!may_see_a_token(&Url::parse(url).unwrap()), "{url}");
        }
    }
}
