//! One permission to send HTTP requests: where to, how, and with which credential added on the way.
//!
//! Compares normalised text; it must not parse URLs, resolve names or know a secret's value.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::{HostPattern, PathFault, PathPattern};

/// Requests that a plugin may send. Every field narrows; none widens another entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HttpGrant {
    /// The hosts.
    pub host: HostPattern,
    /// The scheme; absent in a document means `https`.
    #[serde(skip_serializing_if = "Scheme::is_https")]
    pub scheme: Scheme,
    /// The port; absent means the scheme's own, 443 or 80.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The methods; absent in a document means `GET` and `HEAD`. Never empty.
    pub methods: BTreeSet<Method>,
    /// Globs of which one must cover the path; empty means every path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathPattern>,
    /// Credentials that the egress adds; the plugin never sees them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inject: Vec<Injection>,
    /// Where the plugin's stand-ins for secrets are swapped for the values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub swap: Vec<Swap>,
    /// Blocks of addresses that may be reached although they are not public.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_texts")]
    pub cidrs: Vec<IpNet>,
}

impl HttpGrant {
    /// A grant of `GET` and `HEAD` over https for every path of a host.
    #[must_use]
    pub fn reading(host: HostPattern) -> Self {
        Self {
            host,
            scheme: Scheme::Https,
            port: None,
            methods: Method::reading(),
            paths: Vec::new(),
            inject: Vec::new(),
            swap: Vec::new(),
            cidrs: Vec::new(),
        }
    }

    /// The port that requests go to.
    #[must_use]
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Whether an origin is covered: the scheme, the normalised host and the port.
    #[must_use]
    pub fn covers_origin(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        self.scheme == scheme && self.effective_port() == port && self.host.matches(host)
    }

    /// Whether a path is covered, given what [`super::normal_path`] said of it. A path without a normal form
    /// is covered only where paths are not restricted, and never when it climbs by dot segments.
    #[must_use]
    pub fn covers_path(&self, normal_path: &Result<String, PathFault>) -> bool {
        match normal_path {
            Ok(path) => self.paths.is_empty() || self.paths.iter().any(|glob| glob.matches(path)),
            Err(PathFault::Slash | PathFault::Encoding | PathFault::TooLong) => self.paths.is_empty(),
            Err(PathFault::DotSegment | PathFault::Control | PathFault::Relative) => false,
        }
    }
}

fn as_texts<S: Serializer>(blocks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(blocks.iter().map(ToString::to_string))
}

/// A credential that the egress adds to a request that the grant covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Injection {
    /// The secret's name.
    pub secret: String,
    /// The header, in lower case.
    pub header: String,
    /// The header's value, with one `{}` for the secret.
    pub format: String,
}

/// A part of a request in which the stand-in for one secret is swapped for its value. Anywhere else it stays what it
/// is: a random text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Swap {
    /// The secret's name.
    pub secret: String,
    /// Where.
    #[serde(rename = "in")]
    pub part: RequestPart,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestPart {
    /// The values of the plugin's own headers.
    Header,
    /// The query of the URL.
    Query,
    /// The body.
    Body,
}

impl RequestPart {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::Header, Self::Query, Self::Body];

    /// The word used in documents and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Query => "query",
            Self::Body => "body",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == text)
    }
}

/// The schemes that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In clear text.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The word in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Reads the word in a URL, in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    /// The port when a URL names none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn is_https(&self) -> bool {
        *self == Self::Https
    }
}

/// The methods that can be granted. `CONNECT` and `TRACE` are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Read.
    Get,
    /// Read the headers.
    Head,
    /// Ask what is possible.
    Options,
    /// Create or act.
    Post,
    /// Replace.
    Put,
    /// Change.
    Patch,
    /// Delete.
    Delete,
}

impl Method {
    /// Every method, in the order of their danger.
    pub const ALL: [Self; 7] = [Self::Get, Self::Head, Self::Options, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// What an entry without `methods` grants.
    #[must_use]
    pub fn reading() -> BTreeSet<Self> {
        BTreeSet::from([Self::Get, Self::Head])
    }

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Reads the word, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::normal_path;
    use super::*;

    fn grant(paths: &[&str]) -> HttpGrant {
        let mut grant = HttpGrant::reading(HostPattern::parse("api.example.com").unwrap());
        grant.paths = paths.iter().map(|text| PathPattern::parse(text).unwrap()).collect();
        grant
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let grant = grant(&[]);
        assert!(grant.covers_origin(Scheme::Https, "api.example.com", 443));
        assert!(!grant.covers_origin(Scheme::Http, "api.example.com", 443));
        assert!(!grant.covers_origin(Scheme::Http, "api.example.com", 80));
        assert!(!grant.covers_origin(Scheme::Https, "api.example.com", 8443));
        assert!(!grant.covers_origin(Scheme::Https, "example.com", 443));
    }

    #[test]
    fn a_path_in_doubt_is_covered_only_where_paths_are_free() {
        assert!(grant(&[]).covers_path(&normal_path("/projects/a%2Fb")));
        assert!(!grant(&["/projects/**"]).covers_path(&normal_path("/projects/a%2Fb")));
        assert!(!grant(&[]).covers_path(&normal_path("/a/%2e%2e/b")));
        assert!(grant(&["/a", "/projects/**"]).covers_path(&normal_path("/projects/x")));
    }
}
