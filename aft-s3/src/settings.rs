//! Settings as people have them: with the line break of an editor, empty, or with marks that no request can hold.
//!
//! object_store puts them into URLs and headers as they are, and panics where they do not fit.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
use url::Url;

/// What is wrong with a setting. It never holds the setting itself, which may be a secret.
#[derive(Debug)]
pub(crate) struct SettingError(String);

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingError {}

impl SettingError {
    pub(crate) fn new(name: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{name} cannot be used: {why}"))
    }
}

/// What goes into a header: visible ASCII.
pub(crate) fn word(name: impl fmt::Display, value: &str) -> Result<String, SettingError> {
    let value = value.trim();
    match value.chars().find(|mark| !mark.is_ascii_graphic()) {
        None => Ok(value.to_owned()),
        Some(mark) => Err(SettingError::new(name, format!("{} is in it", described(mark)))),
    }
}

/// What is never sent: anything without control characters, such as the line breaks of two values in one.
pub(crate) fn text(name: impl fmt::Display, value: &str) -> Result<String, SettingError> {
    let value = value.trim();
    match value.chars().find(|mark| mark.is_control()) {
        None => Ok(value.to_owned()),
        Some(mark) => Err(SettingError::new(name, format!("{} is in it", described(mark)))),
    }
}

fn described(mark: char) -> String {
    match mark {
        '\n' | '\r' => "a line break".to_owned(),
        ' ' | '\t' => "a space".to_owned(),
        mark => format!("a mark that no request can hold (U+{:04X})", u32::from(mark)),
    }
}

/// A region: part of a host name and of what is signed.
pub(crate) fn region(name: impl fmt::Display, value: &str) -> Result<String, SettingError> {
    let value = value.trim();
    let fits = |mark: char| mark.is_ascii_alphanumeric() || matches!(mark, '-' | '_' | '.');
    match value.chars().all(fits) {
        true => Ok(value.to_owned()),
        false => Err(SettingError::new(name, "it is no region (such as us-east-1)")),
    }
}

/// The URL of a server.
pub(crate) fn server(name: impl fmt::Display, value: &str) -> Result<String, SettingError> {
    let value = value.trim();
    let wrong = |why: &str| Err(SettingError::new(&name, why));
    let visible = value.chars().all(|mark| !mark.is_control() && !mark.is_whitespace());
    let Some(url) = Url::parse(value).ok().filter(|url| visible && url.has_host()) else {
        return wrong("it is no URL of a server (such as https://example.com)");
    };
    // They would be part of every address, and so of every error.
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(
            "credentials do not belong into the endpoint; put them into the environment or a profile",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("a ? or # does not belong into it");
    }
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("it is neither http:// nor https://");
    }
    Ok(url.to_string().trim_end_matches('/').to_owned())
}

/// The variables `AWS_…` that object_store knows, checked; empty ones are left out, as AWS's own tools do.
pub(crate) fn from_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<AmazonS3Builder, SettingError> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("AWS_")) else { continue };
        let Ok(key) = name.to_ascii_lowercase().parse::<Key>() else { continue };
        let value = value.to_str().ok_or_else(|| SettingError::new(name, "it is not UTF-8 text"))?.trim();
        if value.is_empty() {
            continue;
        }
        let checked = match key {
            Key::Endpoint | Key::S3Endpoint | Key::StsEndpoint | Key::MetadataEndpoint => {
                server(name, value)?
            }
            Key::Region | Key::DefaultRegion => region(name, value)?,
            // A bundle of PEM.
            Key::Client(ClientConfigKey::ProxyCaCertificate) => value.to_owned(),
            Key::AccessKeyId
            | Key::Token
            | Key::ContainerCredentialsRelativeUri
            | Key::ContainerCredentialsFullUri
            | Key::RoleArn
            | Key::RoleSessionName
            | Key::Encryption(_) => word(name, value)?,
            _ => text(name, value)?,
        };
        builder = builder.with_config(key, checked);
    }
    Ok(builder)
}

/// A variable of the environment; `None` where it is empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The token in a file, without the line break that an editor puts behind it.
pub(crate) fn token_file(name: impl fmt::Display, file: &Path) -> Result<String, SettingError> {
    let held = std::fs::read_to_string(file);
    let held = held.map_err(|error| SettingError::new(&name, format!("{}: {error}", file.display())))?;
    match word(format_args!("{name}: the token in {}", file.display()), held.trim_start_matches('\u{feff}'))?
    {
        token if token.is_empty() => Err(SettingError::new(&name, format!("{} is empty", file.display()))),
        token => Ok(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(variables: &[(&str, &str)]) -> Result<AmazonS3Builder, SettingError> {
        from_variables(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn variables_are_trimmed_and_empty_ones_left_out() {
        let builder = built(&[
            ("AWS_ENDPOINT_URL_S3", " "),
            ("AWS_ENDPOINT_URL", "http://localhost:1/\n"),
            ("AWS_ACCESS_KEY_ID", "AKIA\r\n"),
            ("AWS_SECRET_ACCESS_KEY", "se/cr+et\n"),
            ("AWS_SESSION_TOKEN", ""),
            ("AWS_REGION", "eu-central-1 "),
            ("AWS_NOBODY_KNOWS", "\n"),
            ("PATH", "ä"),
        ]);
        let builder = builder.unwrap();
        let value = |key| builder.get_config_value(&key);
        assert_eq!(value(Key::S3Endpoint), None);
        assert_eq!(value(Key::Endpoint).as_deref(), Some("http://localhost:1"));
        assert_eq!(value(Key::AccessKeyId).as_deref(), Some("AKIA"));
        assert_eq!(value(Key::SecretAccessKey).as_deref(), Some("se/cr+et"));
        assert_eq!(value(Key::Token), None);
        assert_eq!(value(Key::Region).as_deref(), Some("eu-central-1"));
    }

    #[test]
    fn what_no_request_can_hold_is_refused_by_name_and_not_shown() {
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "hush\nhush"),
            ("AWS_ACCESS_KEY_ID", "hush hush"),
            ("AWS_ACCESS_KEY_ID", "hush\u{200b}"),
            ("AWS_SESSION_TOKEN", "hush\0"),
            ("AWS_SESSION_TOKEN", "hushä"),
            ("AWS_SECRET_ACCESS_KEY", "hush\nhush"),
            ("AWS_REGION", "hush/x"),
            ("AWS_REGION", "hush\nx"),
            ("AWS_ENDPOINT_URL", "hush"),
            ("AWS_ENDPOINT_URL", "http://ho\nst/hush"),
            ("AWS_ENDPOINT_URL", "http://key:hush@host"),
            ("AWS_ENDPOINT_URL_S3", "http://host/?hush"),
            ("AWS_ENDPOINT_URL_S3", "ftp://hush"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/hush hush"),
            ("AWS_SSE_KMS_KEY_ID", "hush\nhush"),
        ] {
            let error = built(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hush"), "{name} {value:?}: {error}");
        }
    }
}
