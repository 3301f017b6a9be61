//! How the commands speak to registries: with which keys, with TLS or without, and what is shown meanwhile.
//!
//! Keys never stand in files of settings, and are never shown. A key of the command line or the environment goes to the
//! registry that the user typed and to no other: a document names registries, too.

use crate::args::RegistryArgs;
use crate::environment;
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal;
use cofferdam::core::limits;
use cofferdam::core::oci::Reference;
use cofferdam::core::spec::duration;
use cofferdam::registry::{Access, Credentials, DockerKeys, Kind, Progress};
use cofferdam::{Error, FetchError, Registries};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use secrecy::SecretString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const USERNAME: &str = "COFFERDAM_REGISTRY_USERNAME";
const PASSWORD: &str = "COFFERDAM_REGISTRY_PASSWORD";

/// What a command knows about speaking to registries.
#[derive(Clone)]
pub(crate) struct Speech {
    typed: Option<(Reference, Option<Credentials>)>,
    docker: Arc<DockerKeys>,
    plain: Vec<(String, bool)>,
    insecure_http: bool,
    timeout: Option<Duration>,
}

impl Speech {
    /// For references that stand in documents: with the keys of docker alone.
    pub(crate) fn of_documents(session: &Session) -> Self {
        let files = session.settings.files.iter().rev();
        let plain = files.flat_map(|file| &file.registries).map(|(host, plain)| (host.clone(), *plain)).collect();
        Self { typed: None, docker: Arc::new(docker()), plain, insecure_http: false, timeout: None }
    }

    /// For a reference that was typed.
    pub(crate) fn typed(session: &Session, reference: &Reference, args: &RegistryArgs) -> Result<Self, Failure> {
        let timeout = args.timeout.as_deref().map(|text| {
            let wrong = || Failure::usage(format!("--timeout {text}: write a time such as `30s` or `5m`"));
            duration::parse(text).filter(|time| !time.is_zero()).ok_or_else(wrong)
        });
        let typed = Some((reference.clone(), credentials(args)?));
        let (insecure_http, timeout) = (args.insecure_http, timeout.transpose()?);
        Ok(Self { typed, insecure_http, timeout, ..Self::of_documents(session) })
    }

    /// What an orchestrator is given.
    pub(crate) fn registries(&self) -> Registries {
        let (speech, bar) = (self.clone(), Arc::new(bar()));
        Registries {
            access: Arc::new(move |reference| speech.access(reference)),
            report: Arc::new(move |reference, progress| report(&bar, reference, progress)),
        }
    }

    fn access(&self, reference: &Reference) -> Access {
        let host = reference.host();
        let typed = self.typed.as_ref().filter(|(typed, _)| typed.host() == host);
        let own = typed.and_then(|(_, credentials)| credentials.clone());
        let set = self.plain.iter().rfind(|(name, _)| name == host).map(|(_, plain)| *plain);
        Access {
            plain_http: if self.insecure_http && typed.is_some() { Some(true) } else { set },
            credentials: own.or_else(|| self.docker.get(host).cloned()),
            timeout: self.timeout,
        }
    }

    /// The failure of a command; it says so when docker would have had a key.
    pub(crate) fn failure(&self, error: Error) -> Failure {
        let helper = match &error {
            Error::Fetch(FetchError::Registry { reference, cause }) if cause.kind() == Kind::Access => {
                self.docker.helper(reference.host())
            }
            _ => None,
        };
        let failure = Failure::from(error);
        match helper {
            Some(helper) => {
                failure.and_hint(&format!("docker would ask `{helper}` for the key; helpers are not run here"))
            }
            None => failure,
        }
    }
}

/// The key of the flags, else of the environment.
fn credentials(args: &RegistryArgs) -> Result<Option<Credentials>, Failure> {
    let username = args.username.clone().or_else(|| environment::variable(USERNAME));
    let password = match args.password_stdin {
        true => Some(password_from_stdin()?),
        false => environment::variable(PASSWORD).map(SecretString::from),
    };
    match (username, password) {
        (Some(username), Some(_)) if username.contains(':') || username.chars().any(char::is_control) => {
            Err(Failure::usage("the name of the user contains a colon or a control character"))
        }
        (Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Failure::usage("there is a name for the registry and no password")
            .with_hint(format!("`--password-stdin`, or {PASSWORD}"))),
        (None, Some(_)) => Err(Failure::usage("there is a password for the registry and no name")
            .with_hint(format!("`--username NAME`, or {USERNAME}"))),
    }
}

/// The first line of standard input.
fn password_from_stdin() -> Result<SecretString, Failure> {
    let refuse = |reason: &str| Failure::usage(format!("--password-stdin: {reason}"));
    let mut line = String::new();
    let most = limits::EGRESS_SECRET_BYTES as u64;
    let read = BufReader::new(std::io::stdin().lock().take(most)).read_line(&mut line);
    read.map_err(|error| refuse(&format!("standard input cannot be read as text ({})", error.kind())))?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() { Err(refuse("standard input is empty")) } else { Ok(SecretString::from(password)) }
}

/// The keys that docker keeps for this user. A file that cannot be read has none, and is named.
fn docker() -> DockerKeys {
    let Some(path) = docker_path() else { return DockerKeys::default() };
    let Ok(metadata) = std::fs::metadata(&path) else { return DockerKeys::default() };
    let read = || -> Result<DockerKeys, String> {
        if !metadata.is_file() || metadata.len() > limits::REGISTRY_CREDENTIALS_BYTES as u64 {
            return Err("it is not a regular file, or too large".to_owned());
        }
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        DockerKeys::parse(&text).map_err(|error| error.to_string())
    };
    read().unwrap_or_else(|reason| {
        tracing::warn!(path = %path.display(), %reason, "the keys of docker are not used");
        DockerKeys::default()
    })
}

fn docker_path() -> Option<PathBuf> {
    let home = || environment::path("HOME").map(|home| home.join(".docker"));
    Some(environment::path("DOCKER_CONFIG").or_else(home)?.join(Path::new("config.json")))
}

/// A bar for a person who watches; nothing else.
fn bar() -> ProgressBar {
    let target = if terminal::is_watched() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("  {wide_bar} {binary_bytes} of {binary_total_bytes}");
    ProgressBar::with_draw_target(Some(0), target).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn report(bar: &ProgressBar, reference: &Reference, progress: Progress) {
    let Progress { done, total } = progress;
    if done == 0 {
        terminal::tell(&format!("{reference}: {}", cofferdam::sink::bytes(total)));
        bar.reset();
        bar.set_length(total);
    }
    bar.set_position(done);
    if done >= total {
        bar.finish_and_clear();
    }
}
