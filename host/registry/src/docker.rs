//! The keys that docker keeps: the table `auths` of its `config.json`. Helper programs are named, never run.
//!
//! It must not read files: it gets their text. Messages never quote it, since it holds keys.

use crate::Credentials;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The keys of a file, by registry.
#[derive(Debug, Default)]
pub struct DockerKeys {
    keys: BTreeMap<String, Credentials>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// A file that is not docker's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not docker's configuration (line {line}, column {column})")]
pub struct DockerError {
    /// Counted from one.
    pub line: usize,
    /// Counted from one.
    pub column: usize,
}

/// What is read of the file; docker keeps more there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl DockerKeys {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// Where it stops to be docker's; never what stands there.
    pub fn parse(text: &str) -> Result<Self, DockerError> {
        let file: File =
            serde_json::from_str(text).map_err(|error| DockerError { line: error.line(), column: error.column() })?;
        let mut keys = BTreeMap::new();
        for (name, entry) in file.auths {
            let host = host_of(&name);
            let says_one = entry.auth.as_ref().is_some_and(|pair| !pair.is_empty());
            match entry.credentials() {
                Some(credentials) => drop(keys.insert(host.to_owned(), credentials)),
                None if says_one => {
                    tracing::warn!("docker's key for `{host}` is no name and password in base64: unused");
                }
                None => {}
            }
        }
        let helpers = file.cred_helpers.into_iter().map(|(name, program)| (host_of(&name).to_owned(), program));
        Ok(Self { keys, helpers: helpers.collect(), store: file.creds_store.filter(|name| !name.is_empty()) })
    }

    /// The key for a registry's host, as a reference writes it.
    #[must_use]
    pub fn get(&self, host: &str) -> Option<&Credentials> {
        self.keys.get(known_as(host))
    }

    /// The helper program that docker would ask for this host's key, when the file has none itself. It is not run here.
    #[must_use]
    pub fn helper(&self, host: &str) -> Option<String> {
        let host = known_as(host);
        if self.keys.contains_key(host) {
            return None;
        }
        let helper = self.helpers.get(host).or(self.store.as_ref())?;
        Some(format!("docker-credential-{helper}"))
    }
}

impl Entry {
    fn credentials(self) -> Option<Credentials> {
        if let (Some(username), Some(password)) = (self.username, self.password)
            && !username.is_empty()
        {
            return Some(Credentials { username, password: SecretString::from(password) });
        }
        Credentials::of_pair(&SecretString::from(self.auth.filter(|pair| !pair.is_empty())?))
    }
}

/// The host in a name of the table: some are written as URLs.
fn host_of(name: &str) -> &str {
    let bare = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    bare.split('/').next().unwrap_or(bare)
}

/// The name under which docker keeps the key of its own registry.
fn known_as(host: &str) -> &str {
    if matches!(host, "docker.io" | "registry-1.docker.io") { "index.docker.io" } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn keys_are_found_by_host_however_docker_writes_it() {
        let text = r#"{"auths": {"ghcr.io": {"auth": "YW5uOmNhbjphcnk="}, "https://index.docker.io/v1/": {"auth": "YjpjAA=="},
            "helped.io": {}, "plain.io": {"username": "u", "password": "p"}}, "credHelpers": {"gcr.io": "gcloud"},
            "credsStore": "desktop", "psFormat": "x"}"#;
        let keys = DockerKeys::parse(text).unwrap();
        let password = |host: &str| keys.get(host).map(|key| key.password.expose_secret().to_owned());
        assert_eq!(password("ghcr.io").as_deref(), Some("can:ary"));
        assert_eq!(password("docker.io").as_deref(), Some("c"));
        assert_eq!(password("plain.io").as_deref(), Some("p"));
        assert_eq!(password("helped.io"), None);
        assert_eq!(keys.helper("gcr.io").as_deref(), Some("docker-credential-gcloud"));
        assert_eq!(keys.helper("helped.io").as_deref(), Some("docker-credential-desktop"));
        assert_eq!(keys.helper("ghcr.io"), None);
    }

    #[test]
    fn a_broken_file_is_named_by_its_place_and_never_quoted() {
        let error = DockerKeys::parse("{\"auths\": {\"ghcr.io\": {\"auth\": 7canary}}}").unwrap_err();
        assert_eq!(error.line, 1);
        assert!(!error.to_string().contains("canary"));
    }
}
