//! The environment, read in one place; and `.env`, read when a variable is not set.
//!
//! It must not show values: what it reads may be keys.

use cofferdam::UserDirs;
use cofferdam::core::limits;
use cofferdam::llm::provider::{KNOWN, Known};
use cofferdam::llm::select::{Settings, Variables};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the wrapper that everything else goes through")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// A variable that names a directory or file.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A variable as it is, for a program that is started.
pub(crate) fn raw(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// Where compiled plugins are kept, and the key that they are authenticated with; nowhere without a home directory.
pub(crate) fn user_dirs() -> Option<UserDirs> {
    let directory = |name: &str, default: &str| {
        // A relative path is to be ignored, and would lead into a folder of somebody else.
        let set = path(name).filter(|path| path.is_absolute());
        let home = || path("HOME").filter(|home| home.is_absolute()).map(|home| home.join(default));
        set.or_else(home).map(|base| base.join("cofferdam"))
    };
    Some(UserDirs {
        cache: directory("XDG_CACHE_HOME", ".cache")?,
        state: directory("XDG_STATE_HOME", ".local/state")?,
    })
}

/// Whether this runs for a machine that builds software: nobody watches, whatever the terminal says.
pub(crate) fn is_ci() -> bool {
    variable("CI").is_some_and(|value| value != "false" && value != "0")
}

/// The variables that providers of models are configured by: the environment, else `.env` in this directory. The file
/// is read when the first variable is missing, and never changes one that is set.
pub(crate) fn provider_variables(dotenv: Option<PathBuf>, settings: &Settings) -> Variables {
    let keys = key_variables(settings);
    let headed: Vec<&'static str> = urls_with_headers(settings).collect();
    let file: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    Arc::new(move |name| {
        let own = || {
            file.get_or_init(|| {
                let read = dotenv.as_deref().map(read).unwrap_or_default();
                let mut kept = without_redirections(read, &keys, |name| variable(name).is_some());
                for url in headed.iter().filter(|url| variable(url).is_none()) {
                    if kept.remove(*url).is_some() {
                        tracing::warn!("{url} of `.env` is ignored: the settings send headers to its provider, which go nowhere that a file leads");
                    }
                }
                kept
            })
        };
        variable(name).or_else(|| own().get(name).cloned())
    })
}

/// The variable of each provider's base URL, with each of those that its key may be in.
fn key_variables(settings: &Settings) -> Vec<(&'static str, String)> {
    let keys = |known: &Known| {
        let own = settings.providers.get(known.name).and_then(|own| own.key_variable.clone());
        let others = known.other_key_variables.iter().copied().chain([known.key_variable]);
        own.into_iter().chain(others.map(str::to_owned)).collect::<Vec<_>>()
    };
    let placed = KNOWN.iter().filter_map(|known| Some((known.url_variable?, keys(known))));
    placed.flat_map(|(url, keys)| keys.into_iter().map(move |key| (url, key))).collect()
}

/// The variables of base URLs of providers to which the settings send headers: those are the user's, too.
fn urls_with_headers(settings: &Settings) -> impl Iterator<Item = &'static str> {
    KNOWN.iter().filter_map(|known| {
        let has_headers = settings.providers.get(known.name).is_some_and(|own| !own.headers.is_empty());
        known.url_variable.filter(|_| has_headers)
    })
}

/// Leaves out the base URL of a provider whose key comes from elsewhere: `.env` belongs to the document's folder, which
/// may be somebody else's, and must not send the user's key to a place that it names.
fn without_redirections(
    mut file: BTreeMap<String, String>,
    keys: &[(&str, String)],
    is_set: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    for (url, key) in keys {
        if is_set(key) && !is_set(url) && file.remove(*url).is_some() {
            tracing::warn!(
                "{url} of `.env` is ignored: {key} comes from the environment and is not sent where a file leads; set {url} in the environment too"
            );
        }
    }
    file
}

fn read(directory: &Path) -> BTreeMap<String, String> {
    let path = directory.join(".env");
    let Ok(metadata) = std::fs::metadata(&path) else { return BTreeMap::new() };
    if !metadata.is_file() || metadata.len() > limits::DOTENV_BYTES as u64 {
        tracing::warn!(path = %path.display(), "not read: it is not a regular file, or larger than 64 KiB");
        return BTreeMap::new();
    }
    warn_if_exposed(&path, &metadata);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot be read");
            BTreeMap::new()
        }
    }
}

#[cfg(unix)]
fn warn_if_exposed(path: &Path, metadata: &std::fs::Metadata) {
    use std::os::unix::fs::PermissionsExt as _;
    if metadata.permissions().mode() & 0o004 != 0 {
        tracing::warn!("{} can be read by every user of this machine; `chmod 600` would change that", path.display());
    }
}

#[cfg(not(unix))]
fn warn_if_exposed(_: &Path, _: &std::fs::Metadata) {}

/// `NAME=value` lines; `export` before and quotes around are not part of it.
fn parse(text: &str) -> BTreeMap<String, String> {
    text.trim_start_matches('\u{feff}').lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let quoted =
        ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.split_once(quote).map(|(inner, _)| inner));
    let plain = || value.split(" #").next().unwrap_or_default().trim_end();
    is_name.then(|| (name.to_owned(), quoted.unwrap_or_else(plain).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_does_not_lead_a_key_of_the_environment_elsewhere() {
        let text = "OPENAI_BASE_URL=http://thief.test/v1\nOPENAI_API_KEY=theirs\nOLLAMA_HOST=box\n";
        let kept = |set: &'static [&str]| {
            without_redirections(parse(text), &key_variables(&Settings::default()), move |name| set.contains(&name))
        };
        assert_eq!(kept(&[]).len(), 3);
        assert!(!kept(&["OPENAI_API_KEY"]).contains_key("OPENAI_BASE_URL"));
        assert!(kept(&["OPENAI_API_KEY"]).contains_key("OLLAMA_HOST"));
        assert!(!kept(&["OLLAMA_API_KEY"]).contains_key("OLLAMA_HOST"));
    }

    #[test]
    fn nor_does_it_lead_keys_elsewhere_that_have_another_variable() {
        let text = "ANTHROPIC_BASE_URL=http://thief.test\nGOOGLE_GEMINI_BASE_URL=http://thief.test\n";
        for (set, url) in [("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"), ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL")]
        {
            let kept = without_redirections(parse(text), &key_variables(&Settings::default()), |name| name == set);
            assert!(!kept.contains_key(url) && kept.len() == 1, "{set}");
        }
    }

    #[test]
    fn a_dotenv_is_read_as_shells_write_it() {
        let text =
            "# keys\nA=1\nexport B=\"two # not a comment\"\nC = 'three' # comment\nD=four # comment\nbad line\n=x\n";
        let read: Vec<(String, String)> = parse(text).into_iter().collect();
        let expected = [("A", "1"), ("B", "two # not a comment"), ("C", "three"), ("D", "four")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
