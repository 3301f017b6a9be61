//! A request as recordings know it: what makes two requests equal, and nothing else.
//!
//! It must not hold a key, and must not depend on where the provider is.
//!
//! Equal are two requests of the same protocol, method, path below the base URL, and body, where
//!
//! - the order of members in the body does not matter;
//! - host, port and path of the base URL do not matter, nor does the version in it, nor that of Azure's address;
//! - headers do not matter: they carry keys, accounts and the versions of protocols;
//! - the members `user`, `metadata`, `prompt_cache_key` and `safety_identifier` of the body do not matter: they say on
//!   whose behalf or in which run is asked, and are not part of what is asked;
//! - base64 of more than 4 KiB (images, files, encrypted reasoning) stands for itself as its SHA-256.
//!
//! Ids of calls do matter: those of providers come from the recorded answers, and those of ours are counted.

use crate::protocol::Api;
use crate::provider::Provider;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The method of all requests.
pub(super) const METHOD: &str = "POST";
/// Members of a body that say on whose behalf is asked.
const NOT_ASKED: &[&str] = &["user", "metadata", "prompt_cache_key", "safety_identifier"];
/// Base64 that is longer stands as its SHA-256, so that recordings stay readable.
const BASE64_BYTES: usize = 4 * 1024;

/// A request that is recorded or looked for.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) api: &'static str,
    /// The path, with its query, below the base URL.
    pub(super) path: String,
    /// The body, its members sorted, without what must not be in a file.
    pub(super) body: Value,
    /// SHA-256 of all that makes requests equal, in hexadecimal.
    pub(super) key: String,
}

impl Question {
    /// The request with this body.
    ///
    /// # Errors
    /// When the body is no JSON, which is a fault of ours.
    pub(crate) fn of(provider: &Provider, model: &str, body: &Bytes) -> Result<Self, Fault> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Fault::bug(format!("the body of a request is no JSON: {error}")))?;
        let secrets: Vec<&str> = provider.secrets().collect();
        let mut body = sorted(body, &secrets);
        if let Some(members) = body.as_object_mut() {
            members.retain(|name, _| !NOT_ASKED.contains(&name.as_str()));
        }
        let (api, path) = (provider.api.name(), path(provider, model));
        let key = digest(format!("{api}\n{METHOD}\n{path}\n{body}").as_bytes());
        Ok(Self { provider: provider.name.to_string(), model: model.to_owned(), api, path, body, key })
    }

    /// `provider/model`.
    pub(super) fn whom(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}

/// Where a request goes, as if the base URL were empty.
fn path(provider: &Provider, model: &str) -> String {
    let mut nowhere = Provider { base_url: String::new(), ..provider.clone() };
    // OpenAI's protocols have their version in the base URL; with Azure it comes from the environment.
    if matches!(nowhere.api, Api::Chat | Api::Responses) {
        nowhere.api_version = None;
    }
    nowhere.api.wire().url(&nowhere, model)
}

fn sorted(value: Value, secrets: &[&str]) -> Value {
    match value {
        Value::String(text) => Value::String(plain(text, secrets)),
        Value::Array(list) => Value::Array(list.into_iter().map(|each| sorted(each, secrets)).collect()),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, each)| (plain(name, secrets), sorted(each, secrets)));
            let sorted: BTreeMap<String, Value> = members.collect();
            Value::Object(sorted.into_iter().collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// A text without secrets, and not longer than a person wants to see.
fn plain(text: String, secrets: &[&str]) -> String {
    if let Some(short) = shortened(&text) {
        return short;
    }
    secrets.iter().fold(text, |text, secret| if text.contains(secret) { text.replace(secret, "***") } else { text })
}

/// What stands for a long piece of base64, alone or in a `data:` URL.
fn shortened(text: &str) -> Option<String> {
    if text.len() <= BASE64_BYTES {
        return None;
    }
    let (prefix, data) = match text.split_once(";base64,") {
        Some((media, data)) if media.starts_with("data:") => (format!("{media};base64,"), data),
        _ => (String::new(), text),
    };
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
    let fits = data.len() > BASE64_BYTES && data.bytes().all(is_base64);
    fits.then(|| format!("{prefix}sha256:{} ({} characters)", digest(data.as_bytes()), data.len()))
}

/// SHA-256 in hexadecimal.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;

    fn question(provider: &Provider, body: &str) -> Question {
        Question::of(provider, "m", &Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    fn known(name: &str, base_url: &str) -> Provider {
        let mut provider = Known::find(name).map(Known::provider).unwrap();
        base_url.clone_into(&mut provider.base_url);
        provider
    }

    #[test]
    fn neither_the_order_of_members_nor_who_asks_makes_another_request() {
        let provider = Provider::new("acme", "http://acme.test/v1");
        let one = question(&provider, r#"{"a":{"x":1,"y":[2,{"p":1,"q":2}]},"b":"t","user":"me"}"#);
        let other = question(&provider, r#"{"b":"t","metadata":{"run":"7"},"a":{"y":[2,{"q":2,"p":1}],"x":1}}"#);
        assert_eq!((&one.key, &one.body), (&other.key, &other.body));
        for different in [r#"{"a":1,"b":"t"}"#, r#"{"a":{"x":1,"y":[{"p":1,"q":2},2]},"b":"t"}"#] {
            assert_ne!(question(&provider, different).key, one.key, "{different}");
        }
        let inner = question(&provider, r#"{"messages":[{"user":"me"}]}"#);
        assert_ne!(inner.key, question(&provider, r#"{"messages":[{"user":"you"}]}"#).key);
    }

    #[test]
    fn where_the_provider_is_does_not_matter_but_what_it_speaks_does() {
        for (name, paths) in [
            ("openai", ["http://a.test/v1", "http://127.0.0.1:9/openai/v1/", ""]),
            ("azure", ["http://a.test/openai/v1", "http://b.test", ""]),
            ("anthropic", ["http://a.test", "http://b.test/v1", ""]),
            ("gemini", ["http://a.test", "http://b.test/v1beta", ""]),
            ("ollama", ["http://a.test", "http://b.test/v1", ""]),
        ] {
            let keys = paths.map(|base| question(&known(name, base), "{}").key);
            assert!(keys.iter().all(|key| *key == keys[0]), "{name}");
        }
        let mut azure = known("azure", "http://a.test");
        azure.api_version = Some("2024-10-21".to_owned());
        assert_eq!(question(&azure, "{}").key, question(&known("azure", ""), "{}").key);
        let mut other = Provider::new("acme", "http://a.test/v1");
        let chat = question(&other, "{}").key;
        other.speak(Api::Responses);
        assert_ne!(question(&other, "{}").key, chat);
        let gemini = known("gemini", "");
        assert_eq!(question(&gemini, "{}").path, "/v1beta/models/m:streamGenerateContent?alt=sse");
    }

    #[test]
    fn long_base64_is_its_digest_and_long_prose_stays() {
        let provider = Provider::new("acme", "http://acme.test/v1");
        let (image, prose) = ("QUJD".repeat(2_000), "Say it again. ".repeat(2_000));
        let body = serde_json::json!({ "url": format!("data:image/png;base64,{image}"), "bare": image, "text": prose });
        let asked = question(&provider, &body.to_string());
        let url = asked.body["url"].as_str().unwrap();
        assert!(url.starts_with("data:image/png;base64,sha256:") && url.ends_with("(8000 characters)"), "{url}");
        assert!(asked.body["bare"].as_str().unwrap().starts_with("sha256:"));
        assert_eq!(asked.body["text"], prose);
        let other =
            serde_json::json!({ "url": format!("data:image/png;base64,{}R", image), "bare": image, "text": prose });
        assert_ne!(question(&provider, &other.to_string()).key, asked.key);
    }

    #[test]
    fn a_key_in_a_prompt_is_taken_out() {
        let provider = Provider::new("acme", "http://acme.test/v1").with_key("sk-\"secret\"");
        let body = serde_json::json!({ "messages": [{ "content": "is sk-\"secret\" mine?", "sk-\"secret\"": 1 }] });
        let asked = question(&provider, &body.to_string());
        assert_eq!(asked.body.to_string(), r#"{"messages":[{"***":1,"content":"is *** mine?"}]}"#);
    }
}
