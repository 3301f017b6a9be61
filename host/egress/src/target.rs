//! Where a request goes: a URL read once into the parts that grants speak of, and the match with the grants.
//!
//! One URL library reads every URL, and what it would quietly repair is refused instead. It must not resolve.

use std::net::IpAddr;

use cofferdam_core::limits::EGRESS_URL_BYTES;
use cofferdam_core::policy::{
    HostPattern, HttpGrant, Injection, Method, PathFault, PathPattern, Scheme, Swap, normal_path,
};
use ipnet::IpNet;
use url::{Host, Url};

use crate::EgressError;

/// A URL without user info and fragment, its host in lower case without a final dot.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) scheme: Scheme,
    /// As grants write it: IPv6 in brackets.
    pub(crate) host: String,
    /// The address, when the host is one.
    pub(crate) literal: Option<IpAddr>,
    pub(crate) port: u16,
    normal_path: Result<String, PathFault>,
}

/// What the covering grants add up to for one request.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) blocks: Vec<IpNet>,
    pub(crate) inject: Vec<Injection>,
    pub(crate) swap: Vec<Swap>,
    /// The request in the words of a grant, for an address that is refused later.
    pub(crate) grant: Option<HttpGrant>,
}

impl Target {
    /// Reads a URL that a guest or a document wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, EgressError> {
        if text.len() > EGRESS_URL_BYTES {
            return Err(EgressError::TooLarge { what: "the URL", limit: EGRESS_URL_BYTES as u64 });
        }
        // The library strips white space and control characters, and reads a backslash as a slash.
        if text.chars().any(|letter| letter.is_control() || letter.is_whitespace() || letter == '\\') {
            return Err(EgressError::invalid("the URL contains white space, a control character or a backslash"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
        if Scheme::parse(&scheme.to_ascii_lowercase()).is_none() {
            return Err(EgressError::invalid("the URL does not start with `https://` or `http://`"));
        }
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(authority_end);
        // The library ignores surplus slashes before a host: `https:///a.com` would be read as `https://a.com`.
        if authority.is_empty() {
            return Err(EgressError::invalid("the URL has no host"));
        }
        if authority.contains('@') {
            return Err(EgressError::invalid("the URL contains user information"));
        }
        let path = after.split(['?', '#']).next().unwrap_or_default();
        // The library would resolve these; a URL that needs it is no honest one.
        if !path.is_empty() && normal_path(path) == Err(PathFault::DotSegment) {
            return Err(EgressError::invalid(format!("the URL is refused: {}", PathFault::DotSegment)));
        }
        let url = Url::parse(text).map_err(|error| EgressError::invalid(format!("not a URL: {error}")))?;
        Self::from_url(url)
    }

    /// Takes a URL that the library has read already.
    pub(crate) fn from_url(mut url: Url) -> Result<Self, EgressError> {
        let Some(scheme) = Scheme::parse(url.scheme()) else {
            return Err(EgressError::invalid(format!("`{}` is not a scheme that can be granted", url.scheme())));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::invalid("the URL contains user information"));
        }
        url.set_fragment(None);
        let (host, literal) = match url.host() {
            Some(Host::Domain(name)) => (name.strip_suffix('.').unwrap_or(name).to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => (format!("[{address}]"), Some(IpAddr::V6(address))),
            None => return Err(EgressError::invalid("the URL has no host")),
        };
        // The name that was matched is the name that is connected to, and the one in the certificate.
        if literal.is_none() && (host.is_empty() || host.ends_with('.') || url.set_host(Some(&host)).is_err()) {
            return Err(EgressError::invalid("the URL has no valid host"));
        }
        let port = url.port_or_known_default().filter(|port| *port > 0);
        let Some(port) = port else {
            return Err(EgressError::invalid("the URL has no valid port"));
        };
        let normal_path = normal_path(url.path());
        if let Err(fault @ (PathFault::DotSegment | PathFault::Control)) = normal_path {
            return Err(EgressError::invalid(format!("the URL is refused: {fault}")));
        }
        Ok(Self { url, scheme, host, literal, port, normal_path })
    }

    /// Scheme, host and port; a default port is left out.
    pub(crate) fn origin(&self) -> String {
        if self.port == self.scheme.default_port() {
            format!("{}://{}", self.scheme.as_str(), self.host)
        } else {
            format!("{}://{}:{}", self.scheme.as_str(), self.host, self.port)
        }
    }

    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host && self.port == other.port
    }

    /// What the grants say to a request with this method.
    pub(crate) fn admit(&self, method: Method, grants: &[HttpGrant]) -> Result<Admitted, EgressError> {
        let at_origin: Vec<&HttpGrant> =
            grants.iter().filter(|grant| grant.covers_origin(self.scheme, &self.host, self.port)).collect();
        let covering: Vec<&&HttpGrant> = at_origin
            .iter()
            .filter(|grant| grant.methods.contains(&method) && grant.covers_path(&self.normal_path))
            .collect();
        if covering.is_empty() {
            return Err(EgressError::Denied {
                method,
                origin: self.origin(),
                path: self.url.path().to_owned(),
                grant: self.as_grant(method, at_origin.iter().any(|grant| !grant.paths.is_empty())).map(Box::new),
            });
        }
        let mut inject: Vec<Injection> = Vec::new();
        for rule in covering.iter().flat_map(|grant| &grant.inject) {
            if !inject.iter().any(|other| other.header == rule.header) {
                inject.push(rule.clone());
            }
        }
        let blocks = covering.iter().flat_map(|grant| &grant.cidrs).copied().collect();
        let swap = covering.iter().flat_map(|grant| &grant.swap).cloned().collect();
        Ok(Admitted { blocks, inject, swap, grant: self.as_grant(method, false) })
    }

    /// The least grant for this request: reading methods together, and the path only where the host's other
    /// grants restrict paths too.
    fn as_grant(&self, method: Method, with_path: bool) -> Option<HttpGrant> {
        let mut grant = HttpGrant::reading(HostPattern::parse(&self.host).ok()?);
        grant.scheme = self.scheme;
        grant.port = Some(self.port).filter(|port| *port != self.scheme.default_port());
        if !grant.methods.contains(&method) {
            grant.methods = [method].into();
        }
        if with_path {
            // A star in the path is text, and stands encoded in the normal form.
            grant.paths = vec![PathPattern::parse(self.normal_path.as_ref().ok()?).ok()?];
        }
        Some(grant)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grants(texts: &[&str]) -> Vec<HttpGrant> {
        let parse =
            |text: &&str| cofferdam_core::policy::parse_flag(&format!("web:http={text}")).unwrap().1.http.remove(0);
        texts.iter().map(parse).collect()
    }

    fn admits(url: &str, method: Method, given: &[&str]) -> bool {
        Target::parse(url).unwrap().admit(method, &grants(given)).is_ok()
    }

    #[test]
    fn a_request_matches_on_scheme_host_port_method_and_path() {
        let given = ["https://api.example.com/repos/**", "POST@http://b.example.com:8080", "*.wild.example"];
        for (url, method) in [
            ("https://api.example.com/repos/x?q=1#f", Method::Get),
            ("https://API.Example.COM./repos/x", Method::Head),
            ("https://api.example.com:443/%72epos/x", Method::Get),
            ("http://b.example.com:8080", Method::Post),
            ("https://a.b.wild.example/any/%2Fthing", Method::Get),
        ] {
            assert!(admits(url, method, &given), "{url}");
        }
        for (url, method) in [
            ("https://api.example.com/users", Method::Get),
            ("https://api.example.com/repos/x", Method::Post),
            ("http://api.example.com/repos/x", Method::Get),
            ("https://api.example.com:8443/repos/x", Method::Get),
            ("https://api.example.com/repos/a%2f..%2fb", Method::Get),
            ("https://wild.example", Method::Get),
            ("https://api.example.com.evil.net/repos/x", Method::Get),
            ("https://api-example.com/repos/x", Method::Get),
            ("https://api.example.com/repos%2Fx", Method::Get),
            ("https://api.example.com/REPOS/x", Method::Get),
        ] {
            let admitted = Target::parse(url).and_then(|target| target.admit(method, &grants(&given)));
            assert!(admitted.is_err(), "{url}");
        }
    }

    #[test]
    fn a_denial_names_the_least_grant_that_would_allow_it() {
        let denied = |url: &str, method, given: &[&str]| {
            let error = Target::parse(url).unwrap().admit(method, &grants(given)).unwrap_err();
            let alias = cofferdam_core::id::Alias::parse("web").unwrap();
            error.would_allow().unwrap().to_flags(&alias).remove(0)
        };
        assert_eq!(denied("https://a.com/x", Method::Get, &[]), "web:http=https://a.com");
        assert_eq!(denied("http://a.com:81/x", Method::Put, &[]), "web:http=PUT@http://a.com:81");
        let flag = denied("https://a.com/x%2A", Method::Post, &["a.com/y"]);
        assert_eq!(flag, "web:http=POST@https://a.com/x%2A");
        assert!(admits("https://a.com/x*", Method::Post, &[flag.strip_prefix("web:http=").unwrap()]));
    }

    #[test]
    fn rules_of_all_covering_grants_apply_once_for_each_header() {
        let given =
            grants(&["a.com,inject=A:x-key:{}", "a.com/x,inject=B:x-key:{},cidr=10.0.0.0/8", "a.com/y,inject=C:z:{}"]);
        let admitted = Target::parse("https://a.com/x").unwrap().admit(Method::Get, &given).unwrap();
        let secrets: Vec<&str> = admitted.inject.iter().map(|rule| rule.secret.as_str()).collect();
        assert_eq!(secrets, ["A"]);
        assert_eq!(admitted.blocks.len(), 1);
    }

    proptest! {
        #[test]
        fn what_was_matched_is_what_is_connected_to(text in "(https?://)?[a-z0-9.@:%\\[\\]\\\\/?#é。\t -]{0,24}") {
            if let Ok(target) = Target::parse(&text) {
                // An address has more than one spelling; it is compared as an address.
                prop_assert!(target.literal.is_some() || target.url.host_str() == Some(target.host.as_str()));
                prop_assert_eq!(target.url.port_or_known_default(), Some(target.port));
                prop_assert!(target.url.username().is_empty() && target.url.password().is_none());
                let again = Target::parse(target.url.as_str()).unwrap();
                prop_assert_eq!(again.url, target.url);
            }
        }
    }
}
