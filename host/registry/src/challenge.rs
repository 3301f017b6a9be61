//! What a registry wants before it answers: the header `www-authenticate` (RFC 9110, 11.6.1) in the two forms that
//! registries use. It must not send anything.

use cofferdam_egress::HeaderMap;
use url::Url;

/// How a registry wants to be told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token of another server.
    Bearer {
        /// Where tokens are given.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
        /// What may be done with the token.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The challenge of an answer; a token is preferred to a password.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let mut found: Vec<Self> = texts.filter_map(Self::parse).collect();
        let bearer = found.iter().position(|challenge| matches!(challenge, Self::Bearer { .. }));
        bearer.map(|index| found.swap_remove(index)).or_else(|| found.pop())
    }

    /// One challenge of one header.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }

    /// Where the token is asked for. What the registry says of the scope holds, else what is needed.
    pub(crate) fn token_url(&self, needed: &str) -> Option<Url> {
        let Self::Bearer { realm, service, scope } = self else { return None };
        let mut url = Url::parse(realm).ok()?;
        let scope = scope.as_deref().filter(|scope| !scope.is_empty()).unwrap_or(needed);
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for part in scope.split(' ') {
                query.append_pair("scope", part);
            }
        }
        Some(url)
    }
}

/// `name="value"` or `name=value`, separated by commas.
fn parameters(text: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), text.trim_start_matches([' ', ',']));
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        found.push((name.trim().to_owned(), value));
        rest = after.trim_start_matches([' ', ',']);
    }
    found
}

/// The value up to its closing quote, and what follows.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_challenge_names_the_token_server() {
        let text = "Bearer realm=\"https://auth.example/token?x=1\",service=\"registry.example\",scope=\"repository:a/b:pull\"";
        let url = Challenge::parse(text).unwrap().token_url("none").unwrap();
        assert_eq!(
            url.as_str(),
            "https://auth.example/token?x=1&service=registry.example&scope=repository%3Aa%2Fb%3Apull"
        );
        let bare = Challenge::parse("bearer  realm=https://a.example/t, error=\"x, y=\\\"z\\\"\"").unwrap();
        assert_eq!(bare.token_url("s:t").unwrap().as_str(), "https://a.example/t?scope=s%3At");
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        for text in ["", "Digest realm=x", "Bearer", "Bearer service=\"x\"", "Negotiate"] {
            assert_eq!(Challenge::parse(text), None, "{text}");
        }
        assert!(Challenge::parse("Bearer realm=\"not a url\"").unwrap().token_url("s").is_none());
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let mut headers = HeaderMap::new();
        headers.append("www-authenticate", "Bearer realm=\"https://a.example\"".parse().unwrap());
        headers.append("www-authenticate", "Basic realm=\"x\"".parse().unwrap());
        assert!(matches!(Challenge::of(&headers), Some(Challenge::Bearer { .. })));
        assert_eq!(Challenge::of(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn no_header_is_too_odd_to_be_read(text in "(Bearer )?[a-z=\",\\\\ ]{0,60}") {
            let _ = Challenge::parse(&text);
        }
    }
}
