//! A host in a grant: one name, one address, or every name below a domain. Matches text; resolves nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};

/// Longest host name, in bytes (RFC 1035).
const LONGEST_NAME: usize = 253;
/// Longest label of a host name, in bytes (RFC 1035).
const LONGEST_LABEL: usize = 63;

/// The hosts that a grant covers. `*.example.com` covers names of any depth below `example.com`,
/// but not `example.com` itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One host: a lower-case ASCII name without a final dot, or an address (IPv6 in brackets).
    Exact(String),
    /// Every name that ends in `.` and this domain.
    Below(String),
}

impl HostPattern {
    /// Reads a pattern. Names are lower-cased and lose one final dot; addresses take their usual form.
    ///
    /// # Errors
    /// A message (and a hint) when the text is not a host: a URL, a port, a numeric spelling of an
    /// address, a name outside ASCII, a star in any other place.
    pub fn parse(text: &str) -> Result<Self, (String, Option<String>)> {
        if text.contains("://") {
            return refuse(
                text,
                "is a URL, not a host",
                "write the host alone, and `scheme`, `port` and `paths` beside it",
            );
        }
        if let Some(address) = address(text) {
            return Ok(Self::Exact(address));
        }
        if let Some((name, port)) = text.rsplit_once(':')
            && !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return refuse(text, "contains a port", &format!("write `host: {name}` and `port: {port}`"));
        }
        if !text.is_ascii() {
            return refuse(text, "is not ASCII", "write the form that starts with `xn--`");
        }
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        if let Some(domain) = name.strip_prefix("*.") {
            check_name(text, domain)?;
            if !domain.contains('.') {
                return refuse(
                    text,
                    "covers a whole top-level domain",
                    "name a domain with at least two parts: `*.example.com`",
                );
            }
            return Ok(Self::Below(domain.to_owned()));
        }
        check_name(text, name)?;
        Ok(Self::Exact(name.to_owned()))
    }

    /// Whether a normalised host (lower case, no final dot, IPv6 in brackets) is covered.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(domain) => below(host, domain),
        }
    }

    /// Whether every host of `other` is covered.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(mine), Self::Exact(theirs)) => mine == theirs,
            (Self::Exact(_), Self::Below(_)) => false,
            (Self::Below(domain), Self::Exact(name)) => below(name, domain),
            (Self::Below(mine), Self::Below(theirs)) => mine == theirs || below(theirs, mine),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(domain) => write!(f, "*.{domain}"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn refuse<T>(text: &str, fault: &str, hint: &str) -> Result<T, (String, Option<String>)> {
    Err((format!("`{text}` {fault}"), Some(hint.to_owned())))
}

fn below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// The usual spelling of an address, when the text is one.
fn address(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = bare {
        return inner.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    match text.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => Some(address.to_string()),
        IpAddr::V6(address) => Some(format!("[{address}]")),
    }
}

fn check_name(text: &str, name: &str) -> Result<(), (String, Option<String>)> {
    let good = |label: &str| {
        !label.is_empty()
            && label.len() <= LONGEST_LABEL
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.is_empty() || name.len() > LONGEST_NAME || !name.split('.').all(good) {
        let hint = "write a name such as `api.example.com`, `*.example.com` or an address";
        return refuse(text, "is not a host", hint);
    }
    // URL libraries read `0x7f.1`, `2130706433` and `127.1` as addresses; a grant must not.
    if name.rsplit('.').next().is_some_and(looks_numeric) {
        let hint = format!("write the address with four decimal parts, such as `{}`", Ipv4Addr::LOCALHOST);
        return refuse(text, "is a number, not a host", &hint);
    }
    Ok(())
}

fn looks_numeric(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
        || label.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_normalised() {
        assert_eq!(host("API.Example.com."), HostPattern::Exact("api.example.com".into()));
        assert_eq!(host("::1").to_string(), "[::1]");
        assert_eq!(host("[0:0::1]").to_string(), "[::1]");
        assert_eq!(host("127.0.0.1").to_string(), "127.0.0.1");
    }

    #[test]
    fn a_star_covers_names_below_but_not_the_domain() {
        let pattern = host("*.example.com");
        assert!(pattern.matches("a.example.com"));
        assert!(pattern.matches("a.b.example.com"));
        for other in ["example.com", ".example.com", "badexample.com", "example.com.evil.net", "aexample.com"] {
            assert!(!pattern.matches(other), "{other}");
        }
        assert!(pattern.covers(&host("*.a.example.com")));
        assert!(!host("*.a.example.com").covers(&pattern));
        assert!(!host("a.example.com").covers(&pattern));
    }

    #[test]
    fn what_is_not_a_host_is_refused_with_a_hint() {
        let bad = [
            "",
            "*",
            "*.com",
            "a.*.com",
            "a b",
            "https://a.com",
            "a.com:443",
            "exämple.com",
            "2130706433",
            "0x7f.1",
            "127.1",
            "a..b",
            "-a.com",
            "user@a.com",
            "a.com/x",
            "[::1",
            "1.2.3.4.5",
        ];
        for text in bad {
            let (message, hint) = HostPattern::parse(text).unwrap_err();
            assert!(message.contains(&format!("`{text}`")), "{message}");
            assert!(hint.is_some(), "{text}");
        }
    }
}
