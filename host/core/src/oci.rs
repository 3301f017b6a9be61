//! The name of an artifact in a registry: `oci://HOST/REPOSITORY:TAG`, or `@sha256:...` in place of the tag.
//!
//! The grammar is that of the OCI distribution specification 1.1, "Pulling manifests". There is no default host and no
//! default tag: both would mean something else tomorrow. It must not fetch.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// What every reference begins with.
pub const SCHEME: &str = "oci://";
/// Longest host and repository together: what registries accept.
const NAME_CHARS: usize = 255;
/// Longest tag of the specification.
const TAG_CHARS: usize = 128;
const EXAMPLE: &str = "`oci://ghcr.io/acme/tools:1.0.0`";

/// An artifact in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    version: Version,
}

/// Which of a repository's artifacts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Version {
    /// What the tag points to at the moment.
    Tag(String),
    /// The manifest with this digest, for ever: `sha256:` and 64 hexadecimal digits.
    Digest(String),
}

/// Text that names no artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` names nothing in a registry: {reason}")]
pub struct ReferenceError {
    given: String,
    reason: String,
    /// What to write instead.
    pub hint: String,
}

/// A reason and a hint.
type Refusal = (String, String);

impl Reference {
    /// Reads `oci://HOST[:PORT]/REPOSITORY:TAG` or `...@sha256:DIGEST`.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parts(text).map_err(|(reason, hint)| ReferenceError {
            given: crate::text::clean_to(text, 200),
            reason: crate::text::clean_to(&reason, 300),
            hint: crate::text::clean_to(&hint, 300),
        })
    }

    /// Whether a text claims to be such a name, rightly or not.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("oci:"))
    }

    /// The registry's host, with its port when one is written. IPv6 stands in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository: `acme/tools`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The last part of the repository: `tools`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }

    /// The tag, or the digest of the manifest: what a registry is asked for.
    #[must_use]
    pub fn version(&self) -> &str {
        match &self.version {
            Version::Tag(version) | Version::Digest(version) => version,
        }
    }

    /// The digest of the manifest, when the reference names one.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(_) => None,
            Version::Digest(digest) => Some(digest),
        }
    }

    /// The same repository at this manifest; none when the text is no digest.
    #[must_use]
    pub fn at(&self, digest: &str) -> Option<Self> {
        let version = Version::Digest(read_digest(digest).ok()?);
        Some(Self { version, ..self.clone() })
    }

    /// Whether the host is this very machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let name = split_port(&self.host).0;
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        name == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.version {
            Version::Tag(_) => ':',
            Version::Digest(_) => '@',
        };
        write!(f, "{SCHEME}{}/{}{mark}{}", self.host, self.repository, self.version())
    }
}

fn parts(text: &str) -> Result<Reference, Refusal> {
    let refuse = |reason: &str, hint: &str| Err((reason.to_owned(), hint.to_owned()));
    let Some(rest) = text.strip_prefix(SCHEME) else {
        let bare = text.get(4..).unwrap_or_default().trim_start_matches('/');
        return refuse("it does not begin with `oci://`", &format!("write `{SCHEME}{bare}`"));
    };
    if let Some(odd) = rest.chars().find(|letter| !letter.is_ascii_graphic()) {
        let hint = "use letters, digits and `. _ - / : @`";
        return refuse(&format!("it contains `{}`", odd.escape_default()), hint);
    }
    let Some((host, rest)) = rest.split_once('/') else {
        return refuse("it has no repository", &format!("write a host and a repository, as in {EXAMPLE}"));
    };
    check_host(host)?;
    let (repository, version) = version_of(rest, host)?;
    check_repository(repository)?;
    if host.len() + repository.len() + 1 > NAME_CHARS {
        return refuse("it is too long", &format!("host and repository have at most {NAME_CHARS} characters together"));
    }
    Ok(Reference { host: host.to_owned(), repository: repository.to_owned(), version })
}

/// The repository and what stands behind it.
fn version_of<'t>(rest: &'t str, host: &str) -> Result<(&'t str, Version), Refusal> {
    if let Some((name, digest)) = rest.split_once('@') {
        if let Some((name, tag)) = name.split_once(':') {
            let hint = format!("write `{SCHEME}{host}/{name}:{tag}`, or `{SCHEME}{host}/{name}@{digest}`");
            return Err(("it has a tag and a digest".to_owned(), hint));
        }
        return Ok((name, Version::Digest(read_digest(digest)?)));
    }
    let Some((name, tag)) = rest.split_once(':') else {
        let hint = format!("name a version: `{SCHEME}{host}/{rest}:1.0.0`; there is no default");
        return Err(("it has no version".to_owned(), hint));
    };
    let begins = tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let goes_on = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if begins && goes_on && tag.len() <= TAG_CHARS {
        return Ok((name, Version::Tag(tag.to_owned())));
    }
    let plus = tag.replace('+', "_");
    let hint = if plus != tag && !plus.is_empty() {
        format!("registries know no `+`; by custom it becomes `_`: `{plus}`")
    } else {
        format!("a tag has letters, digits, `_`, `.` and `-`, and at most {TAG_CHARS} of them, as in {EXAMPLE}")
    };
    Err((format!("`{tag}` is not a tag"), hint))
}

fn read_digest(text: &str) -> Result<String, Refusal> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    let hint = "write `@sha256:` and 64 hexadecimal digits".to_owned();
    Err((format!("`{text}` is not a digest"), hint))
}

fn check_host(host: &str) -> Result<(), Refusal> {
    let refuse = |reason: String, hint: String| Err((reason, hint));
    if host.contains('@') {
        let hint = "keys come from `--username`, the environment or the configuration of docker".to_owned();
        return refuse("it contains user information".to_owned(), hint);
    }
    let (name, port) = split_port(host);
    if let Some(port) = port
        && !port.parse::<u16>().is_ok_and(|number| number > 0 && !port.starts_with(['+', '0']))
    {
        return refuse(format!("`{port}` is not a port"), "write a number from 1 to 65535".to_owned());
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return refuse(format!("the host `{host}` has upper case"), format!("write `{}`", host.to_ascii_lowercase()));
    }
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => refuse(format!("`{name}` is not an address"), "write IPv6 in brackets: `[::1]:5000`".to_owned()),
        };
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !name.split('.').all(is_label) {
        return refuse(format!("`{host}` is not a host"), format!("write a registry's host, as in {EXAMPLE}"));
    }
    if !name.contains('.') && name != "localhost" && port.is_none() {
        let hint = format!("the registry's host comes first, as in {EXAMPLE}; there is no default registry");
        return refuse(format!("`{host}` is not the host of a registry"), hint);
    }
    Ok(())
}

/// The host and, when one is written, the port.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// Parts of lower-case letters and digits, separated by `.`, `_`, `__` or any number of `-`; joined by `/`.
fn check_repository(repository: &str) -> Result<(), Refusal> {
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let hint = format!("write `{}`", repository.to_ascii_lowercase());
        return Err((format!("the repository `{repository}` has upper case"), hint));
    }
    let wrong = || {
        let hint = "each part has lower-case letters and digits, with single `.`, `_` or `-` between them".to_owned();
        (format!("`{repository}` is not a repository"), hint)
    };
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let mut separators = part.split(|letter: char| u8::try_from(letter).is_ok_and(is_word));
        let bounded = part.bytes().next().is_some_and(is_word) && part.bytes().last().is_some_and(is_word);
        bounded && separators.all(|mark| matches!(mark, "" | "." | "_" | "__") || mark.bytes().all(|one| one == b'-'))
    };
    if repository.split('/').all(is_part) { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_has_a_host_a_repository_and_a_version() {
        let tagged = Reference::parse("oci://ghcr.io/acme/github-tools:1.4.2").unwrap();
        assert_eq!((tagged.host(), tagged.repository()), ("ghcr.io", "acme/github-tools"));
        assert_eq!((tagged.name(), tagged.version(), tagged.digest()), ("github-tools", "1.4.2", None));
        let pinned = tagged.at(DIGEST).unwrap();
        assert_eq!(pinned.to_string(), format!("oci://ghcr.io/acme/github-tools@{DIGEST}"));
        assert_eq!(Reference::parse(&pinned.to_string()).unwrap().digest(), Some(DIGEST));
        assert!(tagged.at("sha256:1").is_none());
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for (host, local) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.8.8.8", true),
            ("[::1]:5000", true),
            ("ghcr.io", false),
            ("localhost.example.com", false),
            ("10.0.0.1", false),
        ] {
            let text = format!("oci://{host}/a:1");
            assert_eq!(Reference::parse(&text).unwrap().is_loopback(), local, "{host}");
        }
    }

    #[test]
    fn what_is_wrong_comes_with_what_to_write() {
        let long = format!("oci://ghcr.io/{}:1", "a".repeat(300));
        let tag = format!("oci://ghcr.io/a:{}", "x".repeat(129));
        for (text, reason, hint) in [
            ("oci:ghcr.io/a/b:1", "does not begin", "`oci://ghcr.io/a/b:1`"),
            ("OCI://ghcr.io/a/b:1", "does not begin", "`oci://ghcr.io/a/b:1`"),
            ("oci://ghcr.io", "no repository", "oci://ghcr.io/acme"),
            ("oci://acme/tools:1", "not the host of a registry", "host comes first"),
            ("oci://ghcr.io/acme/tools", "no version", "`oci://ghcr.io/acme/tools:1.0.0`"),
            ("oci://ghcr.io/acme/tools:", "not a tag", "letters"),
            ("oci://ghcr.io/acme/tools:1.0+build", "not a tag", "`1.0_build`"),
            ("oci://ghcr.io/acme/tools:a:b", "not a tag", "letters"),
            ("oci://ghcr.io/Acme/tools:1", "upper case", "`acme/tools`"),
            ("oci://GHCR.io/acme/tools:1", "upper case", "`ghcr.io`"),
            ("oci://ghcr.io/acme//tools:1", "not a repository", "each part"),
            ("oci://ghcr.io/../tools:1", "not a repository", "each part"),
            ("oci://ghcr.io/acme/to ols:1", "contains", "letters"),
            ("oci://ghcr.io/acme/tööls:1", "contains", "letters"),
            ("oci://u:p@ghcr.io/acme/tools:1", "user information", "--username"),
            ("oci://ghcr.io:99999/acme/tools:1", "not a port", "65535"),
            ("oci://ghcr.io:/acme/tools:1", "not a port", "65535"),
            ("oci://[::g]/acme/tools:1", "not an address", "brackets"),
            ("oci://-x.io/acme/tools:1", "not a host", "registry's host"),
            ("oci:///acme/tools:1", "not a host", "registry's host"),
            ("oci://ghcr.io/acme/tools@sha256:12", "not a digest", "64"),
            ("oci://ghcr.io/acme/tools:1@sha256:12", "a tag and a digest", "`oci://ghcr.io/acme/tools:1`"),
            (&long, "too long", "255"),
            (&tag, "not a tag", "128"),
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert!(error.hint.contains(hint), "{text}: {}", error.hint);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(
            host in "([a-z0-9]{1,8}\\.){1,3}[a-z]{2,5}(:[1-9][0-9]{0,3})?",
            repository in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,3}",
            tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}",
        ) {
            let text = format!("oci://{host}/{repository}:{tag}");
            let reference = Reference::parse(&text).unwrap();
            prop_assert_eq!(reference.to_string(), text);
            let pinned = reference.at(DIGEST).unwrap();
            prop_assert_eq!(Reference::parse(&pinned.to_string()).unwrap(), pinned);
        }

        #[test]
        fn no_text_is_read_as_another(text in "(oci://)?[a-zA-Z0-9.:/@_+ \\[\\]-]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
