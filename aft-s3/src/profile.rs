//! Credentials from the files of the AWS command line. object_store does not read them; `docs/decisions/0012` says why
//! this does.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Clock, SystemClock};
use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::Mutex;

use crate::settings::{self, SettingError};

/// How long a key is used before the file is looked at again: tools put fresh temporary keys into it.
const REREAD: Duration = Duration::from_secs(60);

/// How a profile can get credentials in ways that only AWS's own tools know.
const FOREIGN: [&str; 5] =
    ["sso_session", "sso_start_url", "credential_process", "source_profile", "login_session"];

type Section = HashMap<String, String>;

/// A profile of `~/.aws/credentials` and `~/.aws/config`.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) region: Option<String>,
    pub(crate) endpoint_url: Option<String>,
    /// The file of certificates to trust.
    pub(crate) ca_bundle: Option<String>,
    name: String,
    /// The file that holds its key.
    file: Option<PathBuf>,
    foreign: bool,
}

/// What is wrong with a profile.
#[derive(Debug)]
pub(crate) struct ProfileError(String);

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProfileError {}

impl From<SettingError> for ProfileError {
    fn from(error: SettingError) -> Self {
        Self(error.to_string())
    }
}

impl Profile {
    /// The profile called `name`, else that of `AWS_PROFILE`, else `default`. `None` where nobody asked for one and
    /// there is none.
    pub(crate) fn load(name: Option<&str>) -> Result<Option<Self>, ProfileError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let file = |variable_name, name: &str| {
            let set = variable(variable_name).map(PathBuf::from);
            set.or_else(|| home.as_ref().map(|home| home.join(".aws").join(name)))
        };
        let asked = name.map(str::to_owned).or_else(|| variable("AWS_PROFILE"));
        let files = (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), file("AWS_CONFIG_FILE", "config"));
        Self::from_files(asked.as_deref(), files.0.as_deref(), files.1.as_deref())
    }

    pub(crate) fn from_files(
        asked: Option<&str>,
        credentials: Option<&Path>,
        config: Option<&Path>,
    ) -> Result<Option<Self>, ProfileError> {
        let name = asked.unwrap_or("default").to_owned();
        let key = credentials.map(|file| section(file, &name)).transpose()?.flatten();
        let settings = config.map(|file| section(file, &name)).transpose()?.flatten();
        if key.is_none() && settings.is_none() {
            return match asked {
                Some(_) => Err(ProfileError(format!("there is no AWS profile {name:?}"))),
                None => Ok(None),
            };
        }
        let holds_key =
            |section: &Option<Section>| section.as_ref().is_some_and(|s| s.contains_key("aws_access_key_id"));
        let file = match (holds_key(&key), holds_key(&settings)) {
            (true, _) => credentials,
            (false, true) => config,
            (false, false) => None,
        };
        let setting = |name: &str| {
            [&settings, &key].into_iter().flatten().find_map(|section| section.get(name).cloned())
        };
        let foreign = FOREIGN.iter().any(|name| setting(name).is_some());
        let setting = |key: &str| setting(key).filter(|value| !value.is_empty());
        let of_profile = |key| format!("{key} of the AWS profile {name:?}");
        let region = setting("region").map(|region| settings::region(of_profile("region"), &region));
        let endpoint_url =
            setting("endpoint_url").map(|url| settings::server(of_profile("endpoint_url"), &url));
        let (region, endpoint_url) = (region.transpose()?, endpoint_url.transpose()?);
        let (ca_bundle, file) = (setting("ca_bundle"), file.map(Path::to_owned));
        Ok(Some(Self { region, endpoint_url, ca_bundle, file, foreign, name }))
    }

    /// The provider of its key; `None` where it has none.
    pub(crate) fn credentials(&self) -> Result<Option<ProfileCredentials>, ProfileError> {
        let Some(file) = &self.file else {
            return match self.foreign {
                false => Ok(None),
                true => Err(ProfileError(format!(
                    "the AWS profile {:?} gets its key through another tool (SSO, a process, another profile); put it \
                     into the environment with: eval \"$(aws configure export-credentials --profile {} --format env)\"",
                    self.name, self.name
                ))),
            };
        };
        let provider = ProfileCredentials {
            file: file.clone(),
            name: self.name.clone(),
            clock: SystemClock::new(),
            cached: Mutex::default(),
        };
        provider.read()?;
        Ok(Some(provider))
    }
}

/// The section of the profile `name`: `[name]`, in the config file `[profile name]`. `None` where there is no such
/// file or section.
fn section(file: &Path, name: &str) -> Result<Option<Section>, ProfileError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ProfileError(format!("cannot read {}: {error}", file.display()))),
    };
    Ok(parse(&text, name))
}

fn parse(text: &str, name: &str) -> Option<Section> {
    let mut found: Option<Section> = None;
    // Some editors begin a file with a mark of their own.
    let text = text.trim_start_matches('\u{feff}');
    let mut inside = false;
    for line in text.lines() {
        // An indented line belongs to a nested setting.
        let nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let header = header.trim();
            let header = header.strip_prefix("profile ").map_or(header, str::trim);
            inside = header == name;
            if inside {
                found.get_or_insert_default();
            }
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside && !nested) {
            let value = value.split(" #").next().unwrap_or_default().trim();
            found.get_or_insert_default().insert(key.trim().to_lowercase(), value.to_owned());
        }
    }
    found
}

/// Reads the key of a profile, and again from time to time.
pub(crate) struct ProfileCredentials {
    file: PathBuf,
    name: String,
    clock: SystemClock,
    cached: Mutex<Option<(Duration, Arc<AwsCredential>)>>,
}

impl ProfileCredentials {
    fn read(&self) -> Result<Arc<AwsCredential>, ProfileError> {
        let missing = |what| {
            ProfileError(format!("the AWS profile {:?} in {} has no {what}", self.name, self.file.display()))
        };
        let mut section = section(&self.file, &self.name)?.unwrap_or_default();
        let mut take = |name: &'static str| section.remove(name).filter(|value| !value.is_empty());
        let key_id = take("aws_access_key_id").ok_or_else(|| missing("aws_access_key_id"))?;
        let secret_key = take("aws_secret_access_key").ok_or_else(|| missing("aws_secret_access_key"))?;
        let token = take("aws_session_token");
        let of_file = |key| format!("{key} of the AWS profile {:?} in {}", self.name, self.file.display());
        let key_id = settings::word(of_file("aws_access_key_id"), &key_id)?;
        let secret_key = settings::text(of_file("aws_secret_access_key"), &secret_key)?;
        let token = token.map(|token| settings::word(of_file("aws_session_token"), &token)).transpose()?;
        Ok(Arc::new(AwsCredential { key_id, secret_key, token }))
    }
}

impl fmt::Debug for ProfileCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileCredentials")
            .field("file", &self.file)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for ProfileCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let now = self.clock.monotonic();
        let mut cached = self.cached.lock();
        if let Some((_, credential)) = cached.as_ref().filter(|(read, _)| now.saturating_sub(*read) < REREAD)
        {
            return Ok(Arc::clone(credential));
        }
        let unauthenticated = |error: ProfileError| object_store::Error::Unauthenticated {
            path: self.file.display().to_string(),
            source: Box::new(error),
        };
        let credential = self.read().map_err(unauthenticated)?;
        *cached = Some((now, Arc::clone(&credential)));
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "# comment\n[default]\naws_access_key_id = AKIA1\naws_secret_access_key=s=cret/1 # old\n\n\
        [ other ]\nAWS_ACCESS_KEY_ID=AKIA2\naws_secret_access_key = two\naws_session_token = tok\n[half]\naws_access_key_id = x\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\ns3 =\n  region = nested\n[profile other]\nregion=us-west-2\n\
        endpoint_url = http://localhost:1\n[profile sso]\nsso_session = x\n";

    fn files() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (credentials, config) = (folder.path().join("credentials"), folder.path().join("config"));
        fs::write(&credentials, CREDENTIALS).unwrap();
        fs::write(&config, CONFIG).unwrap();
        (folder, credentials, config)
    }

    #[test]
    fn keys_regions_and_endpoints_are_read() {
        let (_folder, credentials, config) = files();
        let load = |name| Profile::from_files(name, Some(&credentials), Some(&config)).unwrap().unwrap();
        let default = load(None);
        assert_eq!(
            (default.region.as_deref(), default.endpoint_url.as_deref()),
            (Some("eu-central-1"), None)
        );
        let key = default.credentials().unwrap().unwrap().read().unwrap();
        assert_eq!((key.key_id.as_str(), key.secret_key.as_str(), &key.token), ("AKIA1", "s=cret/1", &None));
        let other = load(Some("other"));
        assert_eq!(other.endpoint_url.as_deref(), Some("http://localhost:1"));
        let key = other.credentials().unwrap().unwrap().read().unwrap();
        assert_eq!((key.key_id.as_str(), key.token.as_deref()), ("AKIA2", Some("tok")));
    }

    #[test]
    fn files_are_read_as_editors_save_them() {
        let (_folder, credentials, _) = files();
        let load = |text: &str| {
            fs::write(&credentials, text).unwrap();
            Profile::from_files(None, Some(&credentials), None)
        };
        let text = "\u{feff}[default]\r\naws_access_key_id = AKIA\r\naws_secret_access_key = s\r\naws_session_token = t\u{a0}\r\n\
                    ca_bundle = /ca.pem\r\nendpoint_url = \r\n";
        let profile = load(text).unwrap().unwrap();
        assert_eq!((profile.ca_bundle.as_deref(), &profile.endpoint_url), (Some("/ca.pem"), &None));
        let key = profile.credentials().unwrap().unwrap().read().unwrap();
        assert_eq!((key.key_id.as_str(), key.token.as_deref()), ("AKIA", Some("t")));
        let key = "[default]\naws_access_key_id = AKIA\naws_secret_access_key = s\n";
        for wrong in [
            "aws_session_token = hu\u{200b}sh",
            "aws_access_key_id = hu sh",
            "aws_secret_access_key = hu\x01sh",
        ] {
            let error =
                load(&format!("{key}{wrong}\n")).unwrap().unwrap().credentials().unwrap_err().to_string();
            assert!(error.contains(wrong.split(' ').next().unwrap()) && !error.contains("hu"), "{error}");
        }
        for wrong in ["region = a/b", "endpoint_url = nowhere", "endpoint_url = http://key:hush@host"] {
            let error = load(&format!("{key}{wrong}\n")).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_secrets_are_not_shown() {
        let (_folder, credentials, config) = files();
        let load = |name| Profile::from_files(Some(name), Some(&credentials), Some(&config));
        assert!(load("none").unwrap_err().to_string().contains("none"));
        assert!(
            load("half")
                .unwrap()
                .unwrap()
                .credentials()
                .unwrap_err()
                .to_string()
                .contains("aws_secret_access_key")
        );
        assert!(
            load("sso")
                .unwrap()
                .unwrap()
                .credentials()
                .unwrap_err()
                .to_string()
                .contains("export-credentials")
        );
        assert!(Profile::from_files(None, None, None).unwrap().is_none());
        let shown = format!("{:?}", load("other").unwrap().unwrap().credentials().unwrap());
        assert!(!shown.contains("two") && !shown.contains("tok"), "{shown}");
    }
}
