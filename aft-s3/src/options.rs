//! What can be set when a store is opened.

use std::fmt;
use std::time::Duration;

/// Settings of [`open`](crate::open). The defaults are for a store as it comes; each kind of store reads what concerns it.
///
/// # Examples
///
/// ```
/// use aft_s3::Options;
///
/// let local = Options { endpoint: Some("http://127.0.0.1:9000".into()), ..Options::default() };
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// S3: the server, for everything that is not AWS. Default: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the
    /// profile's `endpoint_url`, else AWS.
    pub endpoint: Option<String>,
    /// S3: the region. Default: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's `region`, else `us-east-1`.
    pub region: Option<String>,
    /// S3: whether the bucket is part of the host name, in place of the path. Default: the path, which every server
    /// understands. With `true` an `endpoint` has to name the bucket.
    pub virtual_hosted_style: bool,
    /// S3: the key to sign with. Default: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` with `AWS_SESSION_TOKEN`, a
    /// web identity, the profile, the container's or the machine's role: the first of these that there is.
    pub credentials: Option<Credentials>,
    /// S3: which profile of `~/.aws/credentials` and `~/.aws/config` to use. Default: `AWS_PROFILE`, else `default`.
    pub profile: Option<String>,
    /// Whether plain HTTP is allowed to a server that is not this machine. Default `false`: keys and data would be
    /// readable on the way. Servers on this machine may always speak it.
    pub allow_http: bool,
    /// How long one request may take, connecting and the body included. Default 25 s. It must stay below the
    /// `visibility_delay` of the store's configuration (default 30 s), and be enough for the largest value.
    pub request_timeout: Duration,
    /// How long connecting may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How often a get, list or delete is tried again inside the client, at most. Default 2. A create never is: the
    /// client would report `AlreadyExists` for its own success, and aft's core repeats what it must.
    pub read_retries: usize,
    /// Files: whether a create is on the disk before it returns. Default `true`; without it a power failure loses
    /// acknowledged objects.
    pub sync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            virtual_hosted_style: false,
            credentials: None,
            profile: None,
            allow_http: false,
            request_timeout: Duration::from_secs(25),
            connect_timeout: Duration::from_secs(5),
            read_retries: 2,
            sync: true,
        }
    }
}

/// A key for S3. `Debug` shows neither the secret nor the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The secret key.
    pub secret_access_key: String,
    /// The token of a temporary key.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials {
            access_key_id: "AKIA".into(),
            secret_access_key: "hush".into(),
            session_token: Some("whisper".into()),
        };
        let options = Options { credentials: Some(credentials), ..Options::default() };
        let shown = format!("{options:?}");
        assert!(shown.contains("AKIA") && !shown.contains("hush") && !shown.contains("whisper"), "{shown}");
    }
}
