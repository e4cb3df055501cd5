//! The HTTP client of every store in the network.
//!
//! It is built here and not by object_store, whose own follows a redirect to any host with the token of the credentials in
//! its headers, reads the body of an error however long it is, and tells why it could not connect only to a debugger
//! (`docs/decisions/0060`).

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, Error};
use reqwest::redirect::Policy;
use reqwest::{Certificate, NoProxy, Proxy};

use crate::failure::chain;
use crate::ranges;

/// How much of an error's body is read. S3's own have less than a kilobyte.
const MOST_OF_AN_ERROR: usize = 64 << 10;
const AGENT: &str = concat!("aft/", env!("CARGO_PKG_VERSION"));

/// Makes the clients.
#[derive(Clone, Default)]
pub(crate) struct Connector {
    /// Whom to trust in place of the system's certificates.
    roots: Option<Arc<[Certificate]>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = self.roots.as_ref().map(|roots| roots.len());
        f.debug_struct("Connector").field("roots", &roots).finish()
    }
}

impl Connector {
    /// A connector that trusts the certificates of this bundle of PEM and no others.
    #[cfg(feature = "aws")]
    pub(crate) fn trusting(pem: &[u8]) -> Result<Self, String> {
        let roots = Certificate::from_pem_bundle(pem).map_err(|error| chain(&error))?;
        if roots.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        Ok(Self { roots: Some(roots.into()) })
    }

    fn client(&self, options: &ClientOptions) -> Result<reqwest::Client, Error> {
        use ClientConfigKey as Key;
        let settings = Settings(options);
        let mut builder = reqwest::Client::builder()
            // What is signed is signed for one host.
            .redirect(Policy::none())
            .http1_only()
            .user_agent(settings.text(Key::UserAgent).unwrap_or_else(|| AGENT.to_owned()))
            .https_only(!settings.flag(Key::AllowHttp)?)
            .danger_accept_invalid_certs(settings.flag(Key::AllowInvalidCertificates)?)
            // Compression would hide how long an object is.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if let Some(roots) = &self.roots {
            builder = builder.tls_certs_only(roots.iter().cloned());
        } else if settings.flag(Key::NoSystemCertificates)? {
            builder = builder.tls_certs_only(Vec::new());
        }
        if let Some(proxy) = settings.proxy()? {
            builder = builder.proxy(proxy);
        }
        if let Some(pem) = settings.text(Key::ProxyCaCertificate) {
            let roots = Certificate::from_pem_bundle(pem.as_bytes());
            builder = builder.tls_certs_merge(roots.map_err(|error| wrong(Key::ProxyCaCertificate, error))?);
        }
        if let Some(time) = settings.time(Key::Timeout)? {
            builder = builder.timeout(time);
        }
        if let Some(time) = settings.time(Key::ConnectTimeout)? {
            builder = builder.connect_timeout(time);
        }
        if let Some(time) = settings.time(Key::ReadTimeout)? {
            builder = builder.read_timeout(time);
        }
        builder.build().map_err(|error| Error::Generic { store: "HTTP client", source: chain(&error).into() })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        Ok(HttpClient::new(Guarded(HttpClient::new(self.client(options)?))))
    }
}

/// What object_store was told of its client.
struct Settings<'a>(&'a ClientOptions);

impl Settings<'_> {
    fn text(&self, key: ClientConfigKey) -> Option<String> {
        self.0.get_config_value(&key).filter(|value| !value.is_empty())
    }

    fn flag(&self, key: ClientConfigKey) -> Result<bool, Error> {
        match self.text(key).unwrap_or_default().to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" | "y" => Ok(true),
            "" | "false" | "0" | "off" | "no" | "n" => Ok(false),
            _ => Err(wrong(key, "it is neither true nor false")),
        }
    }

    fn time(&self, key: ClientConfigKey) -> Result<Option<Duration>, Error> {
        let time = self.text(key).map(|text| humantime::parse_duration(&text));
        time.transpose().map_err(|error| wrong(key, error))
    }

    fn proxy(&self) -> Result<Option<Proxy>, Error> {
        let Some(url) = self.text(ClientConfigKey::ProxyUrl) else { return Ok(None) };
        // It may hold a password, so that it is not shown.
        let proxy = Proxy::all(url).map_err(|_| wrong(ClientConfigKey::ProxyUrl, "it is no URL"))?;
        let excluded = self.text(ClientConfigKey::ProxyExcludes);
        Ok(Some(proxy.no_proxy(excluded.and_then(|hosts| NoProxy::from_string(&hosts)))))
    }
}

fn wrong(key: ClientConfigKey, why: impl fmt::Display) -> Error {
    let source = format!("the setting {} cannot be used: {why}", key.as_ref()).into();
    Error::Generic { store: "HTTP client", source }
}

/// Why no connection will ever come about, as long as nobody changes anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoTrust {
    why: String,
    pub(crate) hint: &'static str,
}

impl fmt::Display for NoTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl StdError for NoTrust {}

impl NoTrust {
    /// `None` where a connection may come about the next time. rustls is not named here, so its texts are read.
    fn of(error: &HttpError) -> Option<Self> {
        let why = chain(error);
        let hint = if why.contains("invalid peer certificate") {
            "the server's certificate is not trusted: is the endpoint right, and is it the server's own certificate authority? \
             then name its certificates in AWS_CA_BUNDLE"
        } else if why.contains("received corrupt message") {
            "the server does not speak TLS: is its endpoint http:// and not https://?"
        } else {
            return None;
        };
        Some(Self { why, hint })
    }
}

#[derive(Debug)]
struct Guarded(HttpClient);

#[async_trait]
impl HttpService for Guarded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let range = ranges::asked(&request);
        let answer = self.0.execute(request).await.map_err(|error| match NoTrust::of(&error) {
            // Of this kind nothing is tried again.
            Some(lasting) => HttpError::new(HttpErrorKind::Unknown, lasting),
            None => error,
        })?;
        if answer.status().is_success() {
            return match range {
                Some(range) => ranges::cut(range, answer).await,
                None => Ok(answer),
            };
        }
        let (mut head, body) = answer.into_parts();
        head.headers.remove("content-length");
        let body = beginning(body).await;
        Ok(HttpResponse::from_parts(head, body.into()))
    }
}

/// As much of the body of an error as is worth reading. Where it stops early, its status says enough.
async fn beginning(body: HttpResponseBody) -> Bytes {
    let mut parts = body.bytes_stream();
    let mut text = Vec::new();
    while let Ok(Some(part)) = parts.try_next().await {
        let room = MOST_OF_AN_ERROR - text.len();
        text.extend_from_slice(&part[..part.len().min(room)]);
        if text.len() == MOST_OF_AN_ERROR {
            break;
        }
    }
    text.into()
}
