//! How a checked request gets its answer: the port, and what comes back over a wire or from somebody who plays it.
//!
//! It must not decide what may be sent: everything was matched, resolved and checked before.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::{EgressError, body};

/// Answers requests in the place of the network. Called once for each request and each redirect, after the grants
/// and the addresses were checked and the credentials put in. Dropping the future ends the exchange.
pub trait Transport: Send + Sync {
    /// The answer to a request. None when nobody answers; the guest then sees a connection that failed.
    fn carry(&self, request: Outbound) -> BoxFuture<'_, Option<Inbound>>;
}

/// A request as it would leave: with the credentials that rules added. It does not print itself.
#[derive(Clone)]
pub struct Outbound {
    /// `GET`, `POST`, ...
    pub method: String,
    /// With its query.
    pub url: String,
    /// Names in lower case; those that the HTTP library adds (`host`, length, agent) are not among them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, empty for none.
    pub body: Bytes,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest may hold credentials.
        f.debug_struct("Outbound").field("method", &self.method).finish_non_exhaustive()
    }
}

/// An answer that was not sent over a wire.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    /// The status code, from 100 to 999; any other is taken for 502.
    pub status: u16,
    /// Names in any case. What no header can hold is left out.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Not compressed.
    pub body: Bytes,
}

/// The head of an answer, and where the rest comes from.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    rest: Rest,
}

enum Rest {
    Wire(reqwest::Response),
    Whole(Bytes),
}

impl Reply {
    /// The whole body, or why there is none within the bound.
    pub(crate) async fn body(self, host: &str, limit: u64) -> Result<Bytes, EgressError> {
        match self.rest {
            Rest::Wire(response) => body::read_all(response, host, limit).await,
            Rest::Whole(bytes) if bytes.len() as u64 > limit => {
                Err(EgressError::TooLarge { what: "the response's body", limit })
            }
            Rest::Whole(bytes) => Ok(bytes),
        }
    }
}

impl From<reqwest::Response> for Reply {
    fn from(mut response: reqwest::Response) -> Self {
        let headers = std::mem::take(response.headers_mut());
        Self { status: response.status(), headers, rest: Rest::Wire(response) }
    }
}

impl From<Inbound> for Reply {
    fn from(answer: Inbound) -> Self {
        let header = |(name, value): (String, Vec<u8>)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&value).ok()?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in answer.headers.into_iter().filter_map(header) {
            headers.append(name, value);
        }
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        Self { status, headers, rest: Rest::Whole(answer.body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Egress, FetchLimits, Kind, Request, Resolve};
    use cofferdam_core::policy::Grants;
    use secrecy::SecretString;
    use serde_json::json;
    use std::io;
    use std::net::IpAddr;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    const LIMITS: FetchLimits =
        FetchLimits { request_bytes: 100, body_bytes: 20, redirects: 2, total: Duration::from_secs(5) };

    struct Played(Mutex<Vec<Outbound>>);

    impl Transport for Played {
        fn carry(&self, request: Outbound) -> BoxFuture<'_, Option<Inbound>> {
            let path = request.url.rsplit('/').next().unwrap_or_default().to_owned();
            self.0.lock().unwrap().push(request);
            let header = |name: &str, value: &str| vec![(name.to_owned(), value.as_bytes().to_vec())];
            let answer = match path.as_str() {
                "moved" => Some(Inbound { status: 302, headers: header("Location", "/there"), ..Inbound::default() }),
                "there" => Some(Inbound { status: 200, body: "canary there".into(), ..Inbound::default() }),
                "large" => Some(Inbound { status: 200, body: "x".repeat(21).into(), ..Inbound::default() }),
                _ => None,
            };
            Box::pin(async move { answer })
        }
    }

    struct Public;

    impl Resolve for Public {
        fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(async { Ok(vec![IpAddr::from([1, 1, 1, 1])]) })
        }
    }

    #[tokio::test]
    async fn what_is_played_goes_through_every_check_and_meets_no_socket() {
        let grants = Grants::parse(&json!({ "http": [{ "host": "a.example", "inject": [
            { "secret": "K", "header": "authorization", "format": "Bearer {}" }] }] }))
        .unwrap();
        let played = Arc::new(Played(Mutex::default()));
        let egress = Egress::through(Arc::new(Public), Arc::clone(&played) as Arc<dyn Transport>);
        let secret = |_: &str| Some(SecretString::from("canary"));
        let fetch = async |url: &str| {
            let request = Request { method: "GET".to_owned(), url: url.to_owned(), ..Request::default() };
            egress.fetch(request, &grants.http, LIMITS, &secret).await
        };
        let answer = fetch("https://a.example/moved").await.unwrap();
        // Redirects are followed, credentials added, and echoes of them taken out, as over a wire.
        assert_eq!((&*answer.body, answer.final_url.as_str()), (&b"[redacted] there"[..], "https://a.example/there"));
        let seen = played.0.lock().unwrap().clone();
        assert_eq!(seen.len(), 2);
        assert!(
            seen.iter().all(|seen| seen.headers.contains(&("authorization".to_owned(), b"Bearer canary".to_vec())))
        );
        assert!(!format!("{seen:?}").contains("canary"));
        let kind = async |url: &str| fetch(url).await.unwrap_err().kind();
        assert_eq!(kind("https://a.example/large").await, Kind::TooLarge);
        assert_eq!(kind("https://a.example/unknown").await, Kind::Connect);
        assert_eq!(kind("https://b.example/there").await, Kind::Denied);
        assert_eq!(played.0.lock().unwrap().len(), 4, "what is denied is not carried");
    }
}
