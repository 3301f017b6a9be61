//! What the server was asked, within bounds. It must not change what it shows its owner; the page hides keys.

use crate::http::Request;
use crate::limits::{LOGGED_BYTES, LOGGED_REQUESTS};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::Arc;

/// A request that the server got, as it came: the values of its headers are the true ones.
#[derive(Clone, Debug)]
pub struct Recorded {
    request: Arc<Request>,
}

impl Recorded {
    /// The method, in upper case.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.request.method
    }

    /// The path with its query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.request.target
    }

    /// The headers in their order, names in lower case.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.request.headers
    }

    /// The first header of a name, which is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    /// The bytes of the body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.request.body
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.request.body).unwrap_or(Value::Null)
    }

    /// As `/_log` shows it: without the values of keys.
    pub(crate) fn shown(&self) -> Value {
        let mut headers = Map::new();
        for (name, value) in &self.request.headers {
            let shown = if is_secret(name) { hidden(value) } else { value.clone() };
            let joined = match headers.get(name).and_then(Value::as_str) {
                Some(before) => format!("{before}, {shown}"),
                None => shown,
            };
            headers.insert(name.clone(), Value::String(joined));
        }
        let body = match serde_json::from_slice(&self.request.body) {
            Ok(body) => body,
            Err(_) if self.request.body.is_empty() => Value::Null,
            Err(_) => Value::String(String::from_utf8_lossy(&self.request.body).into_owned()),
        };
        json!({"method": self.method(), "path": without_key(self.path()), "headers": headers, "body": body})
    }
}

fn is_secret(header: &str) -> bool {
    matches!(header, "authorization" | "proxy-authorization" | "x-api-key" | "x-goog-api-key" | "api-key" | "cookie")
}

fn hidden(value: &str) -> String {
    format!("*** ({} bytes)", value.len())
}

/// Gemini takes its key in the query too.
fn without_key(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name @ "key", value)) => format!("{name}={}", hidden(value)),
        _ => pair.to_owned(),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The requests in their order.
#[derive(Debug, Default)]
pub(crate) struct Log {
    requests: VecDeque<Recorded>,
    bytes: usize,
}

impl Log {
    pub(crate) fn push(&mut self, request: Arc<Request>) {
        self.bytes += request.body.len();
        self.requests.push_back(Recorded { request });
        while self.requests.len() > LOGGED_REQUESTS || (self.bytes > LOGGED_BYTES && self.requests.len() > 1) {
            let oldest = self.requests.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.body().len());
        }
    }

    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.requests.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{LOGGED_BYTES, LOGGED_REQUESTS, Log, Recorded, Request};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn the_page_hides_keys_and_nothing_else() {
        let headers = [("authorization", "Bearer sk-1"), ("x-api-key", "k"), ("accept", "a"), ("accept", "b")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let request =
            Request { method: "GET".into(), target: "/a?alt=sse&key=abc".into(), headers, body: b"[1]".into() };
        let recorded = Recorded { request: Arc::new(request) };
        let shown = json!({"authorization": "*** (11 bytes)", "x-api-key": "*** (1 bytes)", "accept": "a, b"});
        assert_eq!(
            recorded.shown(),
            json!({"method": "GET", "path": "/a?alt=sse&key=*** (3 bytes)", "headers": shown, "body": [1]})
        );
        assert_eq!(recorded.header("authorization"), Some("Bearer sk-1"));
    }

    #[test]
    fn the_oldest_go_first() {
        let mut log = Log::default();
        for number in 0..LOGGED_REQUESTS + 2 {
            log.push(Arc::new(Request { target: format!("/{number}"), ..Request::default() }));
        }
        assert_eq!((log.all().len(), log.all()[0].path()), (LOGGED_REQUESTS, "/2"));
        log.clear();
        for _ in 0..3 {
            log.push(Arc::new(Request { body: vec![0; LOGGED_BYTES / 2], ..Request::default() }));
        }
        assert_eq!(log.all().len(), 2);
    }
}
