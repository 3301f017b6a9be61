//! The headers of a request to a provider.
//!
//! It must not send. What a request says never takes the place of what the settings, the protocol or the key say.

use crate::kind::Kind;
use crate::protocol::Framing;
use crate::provider::{Auth, Provider};
use cofferdam_core::fault::Fault;
use cofferdam_core::port::ModelSettings;
use cofferdam_egress::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

/// Headers of the connection, which nobody sets from outside.
const RESERVED: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "upgrade",
];

/// All headers, the key among them marked as sensitive.
pub(super) fn headers(provider: &Provider, settings: &ModelSettings) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    let accepted = match provider.api.wire().framing() {
        Framing::Events => "text/event-stream",
        Framing::Lines => "application/x-ndjson",
    };
    headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("accept"), HeaderValue::from_static(accepted));
    let own = provider.api.wire().headers(provider, settings);
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let further = provider.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret()));
    let said = settings.options.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in said.chain(own).chain(further) {
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            let fault =
                Kind::NotConfigured.fault(format!("header `{name}` of provider `{}` is the host's own", provider.name));
            return Err(fault.with_hint("leave it out of `headers`"));
        }
        let refuse =
            || Kind::NotConfigured.fault(format!("header `{name}` of provider `{}` cannot be sent", provider.name));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse())?;
        headers.insert(header, HeaderValue::from_str(value).map_err(|_| refuse())?);
    }
    if let Some((name, value)) = key(provider) {
        let mut value = HeaderValue::from_str(&value).map_err(|_| odd_key(provider))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

/// The header that carries the key, and its value.
fn key(provider: &Provider) -> Option<(&'static str, String)> {
    let key = provider.key.as_ref()?.expose_secret();
    Some(match provider.auth {
        Auth::Bearer => ("authorization", format!("Bearer {key}")),
        Auth::Header(name) => (name, key.to_owned()),
    })
}

/// Which headers of a request the settings or the protocol have already.
pub(super) fn taken<'a>(provider: &Provider, settings: &'a ModelSettings) -> Vec<&'a str> {
    let own = provider.api.wire().headers(provider, settings);
    let is_taken = |name: &str| {
        let own = own.iter().map(|(own, _)| *own);
        own.chain(provider.headers.iter().map(|(name, _)| name.as_str())).any(|own| own.eq_ignore_ascii_case(name))
    };
    settings.options.headers.keys().map(String::as_str).filter(|name| is_taken(name)).collect()
}

fn odd_key(provider: &Provider) -> Fault {
    let place = provider.key_variable.as_deref().unwrap_or("the key");
    Kind::Auth
        .fault(format!("the key of provider `{}` has characters that cannot be sent", provider.name))
        .with_hint(format!("look for a line break or a quotation mark in {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use serde_json::json;
    use std::sync::Arc;

    fn settings(headers: &serde_json::Value) -> ModelSettings {
        let options = serde_json::from_value(json!({ "headers": headers })).unwrap();
        ModelSettings { options: Arc::new(options), ..ModelSettings::default() }
    }

    #[test]
    fn a_key_goes_into_a_sensitive_header_and_an_odd_one_is_refused() {
        let mut provider = Provider::new("x", "http://x/v1").with_key("sk-1");
        provider.project = Some("p".to_owned());
        let sent = headers(&provider, &ModelSettings::default()).unwrap();
        assert!(sent.get("authorization").is_some_and(HeaderValue::is_sensitive));
        assert_eq!(sent.get("openai-project").unwrap(), "p");
        let odd = Provider::new("x", "http://x/v1").with_key("sk\n1");
        assert_eq!(headers(&odd, &ModelSettings::default()).unwrap_err().code, "model_auth");
    }

    #[test]
    fn each_provider_gets_its_key_where_it_looks_for_it() {
        for (name, header, value) in [
            ("openai", "authorization", "Bearer k-1"),
            ("anthropic", "x-api-key", "k-1"),
            ("gemini", "x-goog-api-key", "k-1"),
            ("azure", "api-key", "k-1"),
        ] {
            let provider = Known::find(name).unwrap().provider().with_key("k-1");
            let sent = headers(&provider, &ModelSettings::default()).unwrap();
            assert_eq!(sent.get(header).unwrap().to_str().unwrap(), value, "{name}");
            assert_eq!(sent.values().filter(|value| value.is_sensitive()).count(), 1, "{name}");
        }
    }

    #[test]
    fn what_a_request_says_does_not_replace_what_the_settings_say() {
        let mut provider = Provider::new("x", "http://x/v1");
        provider.headers.push(("x-team".to_owned(), "of the settings".into()));
        let said = settings(&json!({ "X-Team": "docs", "x-other": "1" }));
        let sent = headers(&provider, &said).unwrap();
        assert_eq!((sent["x-team"].to_str().unwrap(), sent["x-other"].to_str().unwrap()), ("of the settings", "1"));
        assert_eq!(taken(&provider, &said), ["X-Team"]);
        provider.headers.push(("Content-Length".to_owned(), "5".into()));
        assert_eq!(headers(&provider, &said).unwrap_err().code, "model_not_configured");
    }
}
