//! Puts the values of secrets in the place of what stands in for them, in the parts of a request that rules name.
//!
//! Where no rule names the part, the stand-in is sent as it is: a random text that is worth nothing.

use bytes::Bytes;
use cofferdam_core::policy::{RequestPart, Swap};
use memchr::memmem;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{EgressError, Scrubber, Secrets, StandIn};

/// What swaps, for one request.
pub(crate) struct Swapping<'s> {
    pub(crate) rules: &'s [Swap],
    pub(crate) secrets: &'s dyn Secrets,
    /// Learns what was put in, so that it is taken out of the answer.
    pub(crate) scrubber: &'s mut Scrubber,
}

/// The parts of a request on its way out.
pub(crate) struct Outgoing<'r> {
    pub(crate) url: &'r mut Url,
    pub(crate) headers: &'r mut HeaderMap,
    pub(crate) body: &'r mut Bytes,
}

impl Swapping<'_> {
    /// Swaps everything that the rules allow.
    pub(crate) fn apply(&mut self, request: Outgoing<'_>) -> Result<(), EgressError> {
        let Outgoing { url, headers, body } = request;
        for stand_in in self.secrets.stand_ins() {
            if self.allows(stand_in, RequestPart::Query)
                && let Some(query) = url.query()
                && query.contains(&stand_in.text)
            {
                let value = self.value(stand_in)?;
                let written = Zeroizing::new(percent(value.expose_secret()));
                let query = query.replace(&stand_in.text, &written);
                url.set_query(Some(&query));
            }
            if self.allows(stand_in, RequestPart::Header) {
                self.headers(stand_in, headers)?;
            }
            if self.allows(stand_in, RequestPart::Body) && memmem::find(body, stand_in.text.as_bytes()).is_some() {
                let value = self.value(stand_in)?;
                let written = Zeroizing::new(as_body(value.expose_secret(), headers));
                *body = replaced(body, stand_in.text.as_bytes(), written.as_bytes()).into();
            }
        }
        Ok(())
    }

    fn allows(&self, stand_in: &StandIn, part: RequestPart) -> bool {
        self.rules.iter().any(|rule| rule.secret == stand_in.secret && rule.part == part)
    }

    fn value(&mut self, stand_in: &StandIn) -> Result<SecretString, EgressError> {
        let name = stand_in.secret.clone();
        let value = self.secrets.get(&name).filter(|value| !value.expose_secret().is_empty());
        let value = value.ok_or(EgressError::Secret { name, reason: "has no value" })?;
        self.scrubber.add(&value);
        Ok(value)
    }

    fn headers(&mut self, stand_in: &StandIn, headers: &mut HeaderMap) -> Result<(), EgressError> {
        let text = stand_in.text.as_bytes();
        for slot in headers.values_mut().filter(|slot| memmem::find(slot.as_bytes(), text).is_some()) {
            let value = self.value(stand_in)?;
            let written = replaced(slot.as_bytes(), text, value.expose_secret().as_bytes());
            let mut header = HeaderValue::from_bytes(&Zeroizing::new(written)).map_err(|_| EgressError::Secret {
                name: stand_in.secret.clone(),
                reason: "contains characters that no header may contain",
            })?;
            header.set_sensitive(true);
            *slot = header;
        }
        Ok(())
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(bytes.len() + to.len());
    let mut at = 0;
    for place in memmem::find_iter(bytes, from) {
        written.extend_from_slice(bytes.get(at..place).unwrap_or_default());
        written.extend_from_slice(to);
        at = place + from.len();
    }
    written.extend_from_slice(bytes.get(at..).unwrap_or_default());
    written
}

/// The value as the body's type writes it.
fn as_body(value: &str, headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with("application/x-www-form-urlencoded") {
        percent(value)
    } else if kind.contains("json") {
        let quoted = serde_json::Value::from(value).to_string();
        quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
    } else {
        value.to_owned()
    }
}

fn percent(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(Vec<StandIn>);

    impl Secrets for One {
        fn get(&self, name: &str) -> Option<SecretString> {
            (name == "K").then(|| SecretString::from("ca\"na ry&"))
        }

        fn stand_ins(&self) -> &[StandIn] {
            &self.0
        }
    }

    fn sent(parts: &[RequestPart], kind: &'static str) -> (String, String, String) {
        let secrets = One(vec![StandIn { secret: "K".into(), text: "STAND".into() }]);
        let rules: Vec<Swap> = parts.iter().map(|part| Swap { secret: "K".into(), part: *part }).collect();
        let mut url = Url::parse("https://a.com/STAND?q=STAND").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-key", HeaderValue::from_static("token STAND"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let mut body = Bytes::from_static(b"a=STAND&b=STAND");
        let mut scrubber = Scrubber::default();
        let mut swapping = Swapping { rules: &rules, secrets: &secrets, scrubber: &mut scrubber };
        swapping.apply(Outgoing { url: &mut url, headers: &mut headers, body: &mut body }).unwrap();
        assert_eq!(scrubber.is_empty(), parts.is_empty());
        let header = String::from_utf8(headers["x-key"].as_bytes().to_vec()).unwrap();
        (url.to_string(), header, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_stand_in_is_swapped_only_where_a_rule_says_so() {
        let untouched = ("https://a.com/STAND?q=STAND".into(), "token STAND".into(), "a=STAND&b=STAND".into());
        assert_eq!(sent(&[], "text/plain"), untouched);
        assert_eq!(sent(&[RequestPart::Query], "text/plain").0, "https://a.com/STAND?q=ca%22na%20ry%26");
        let (url, header, body) = sent(&[RequestPart::Header], "text/plain");
        assert_eq!((url, header.as_str(), body), (untouched.0, "token ca\"na ry&", untouched.2));
    }

    #[test]
    fn a_body_gets_the_value_in_its_own_writing() {
        for (kind, written) in [
            ("text/plain", "a=ca\"na ry&&b=ca\"na ry&"),
            ("application/json; charset=utf-8", "a=ca\\\"na ry&&b=ca\\\"na ry&"),
            ("application/x-www-form-urlencoded", "a=ca%22na%20ry%26&b=ca%22na%20ry%26"),
        ] {
            assert_eq!(sent(&[RequestPart::Body], kind).2, written, "{kind}");
        }
    }
}
