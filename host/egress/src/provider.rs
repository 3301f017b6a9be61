//! The way of requests to an address that the user configured, a model provider's or a tool server's: to one origin,
//! with the body as a stream.
//!
//! The configured base URL is itself the grant for exactly that scheme, host and port, private addresses
//! included, redirects excluded. It must not know what is in a request.

mod named;
mod settings;
mod stream;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cofferdam_core::policy::Method;
use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use crate::resolve::{Resolve, SystemResolver};
use crate::target::Target;
use crate::{EgressError, connect, header};
pub use named::{NamedHost, NamedLimits, NamedRequest};
pub use settings::{Proxies, Timeouts};
use stream::Reading;
pub use stream::StreamingResponse;

/// A response whose body has been read whole.
#[derive(Debug, Clone)]
pub struct BoundedResponse {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The inflated body.
    pub body: Bytes,
}

/// A client for one provider. Cheap to build: certificates and proxy settings are read before the first
/// request. Clones share their connections.
#[derive(Clone)]
pub struct ProviderClient {
    base: Target,
    resolver: Arc<dyn Resolve>,
    proxies: Proxies,
    /// Built for one connect timeout, which the library keeps in the client.
    client: Arc<Mutex<Option<(Duration, reqwest::Client)>>>,
}

impl std::fmt::Debug for ProviderClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProviderClient({})", self.base.origin())
    }
}

impl ProviderClient {
    /// A client for the provider at a base URL such as `https://api.openai.com/v1`.
    ///
    /// # Errors
    /// [`EgressError::Invalid`] when it is no `http` or `https` URL, or contains user information.
    pub fn new(base_url: &str) -> Result<Self, EgressError> {
        Ok(Self {
            base: Target::parse(base_url)?,
            resolver: Arc::new(SystemResolver),
            proxies: Proxies::default(),
            client: Arc::default(),
        })
    }

    /// Asks another resolver.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self.client = Arc::default();
        self
    }

    /// Goes through other proxies.
    #[must_use]
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self.client = Arc::default();
        self
    }

    /// Scheme, host and port, for messages.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin()
    }

    /// Posts a body and answers as soon as the head of the response is there. Never sent twice.
    ///
    /// # Errors
    /// See [`EgressError`]; a redirect is an error of kind `Invalid`, another origin than the base URL's one of
    /// kind `Denied`.
    pub async fn post_stream(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        timeouts: Timeouts,
    ) -> Result<StreamingResponse, EgressError> {
        let target = self.target(Method::Post, url)?;
        let request = self.client(timeouts.connect)?.post(target.url.clone()).headers(headers).body(body);
        self.stream(request, timeouts).await
    }

    /// Gets a document of which nobody knows how long it is: events as they happen.
    ///
    /// # Errors
    /// As [`Self::post_stream`].
    pub async fn get_stream(
        &self,
        url: &str,
        headers: HeaderMap,
        timeouts: Timeouts,
    ) -> Result<StreamingResponse, EgressError> {
        let target = self.target(Method::Get, url)?;
        let request = self.client(timeouts.connect)?.get(target.url.clone()).headers(headers);
        self.stream(request, timeouts).await
    }

    /// Deletes what the URL names; the status of the answer.
    ///
    /// # Errors
    /// As [`Self::post_stream`].
    pub async fn delete(&self, url: &str, headers: HeaderMap, timeouts: Timeouts) -> Result<u16, EgressError> {
        let target = self.target(Method::Delete, url)?;
        let request = self.client(timeouts.connect)?.delete(target.url.clone()).headers(headers);
        Ok(self.stream(request, timeouts).await?.status)
    }

    /// Gets a small document: the list of models, a health check.
    ///
    /// # Errors
    /// As [`Self::post_stream`]; a body above `limit` bytes is of kind `TooLarge`.
    pub async fn get(
        &self,
        url: &str,
        headers: HeaderMap,
        limit: usize,
        timeouts: Timeouts,
    ) -> Result<BoundedResponse, EgressError> {
        let target = self.target(Method::Get, url)?;
        let request = self.client(timeouts.connect)?.get(target.url.clone()).headers(headers);
        let mut response = self.stream(request, timeouts).await?;
        let mut body = BytesMut::new();
        while let Some(piece) = response.body.next().await {
            body.extend_from_slice(&piece?);
            if body.len() > limit {
                return Err(EgressError::TooLarge { what: "the response's body", limit: limit as u64 });
            }
        }
        Ok(BoundedResponse { status: response.status, headers: response.headers, body: body.freeze() })
    }

    fn target(&self, method: Method, url: &str) -> Result<Target, EgressError> {
        let target = Target::parse(url)?;
        if target.same_origin(&self.base) {
            return Ok(target);
        }
        let path = target.url.path().to_owned();
        Err(EgressError::Denied { method, origin: target.origin(), path, grant: None })
    }

    fn client(&self, connect: Duration) -> Result<reqwest::Client, EgressError> {
        // The lock guards a cache: whatever a panicking thread left in it is whole.
        let mut built = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match built.as_ref() {
            Some((timeout, client)) if *timeout == connect => Ok(client.clone()),
            _ => {
                let client = connect::provider(&self.base, Arc::clone(&self.resolver), &self.proxies, connect)?;
                *built = Some((connect, client.clone()));
                Ok(client)
            }
        }
    }

    async fn stream(
        &self,
        request: reqwest::RequestBuilder,
        timeouts: Timeouts,
    ) -> Result<StreamingResponse, EgressError> {
        let host = &self.base.host;
        let deadline = Instant::now() + timeouts.total;
        let wait = timeouts.headers.min(timeouts.total);
        let response = connect::head(request, host, timeouts.connect, wait).await?;
        header::check_size(response.headers())?;
        let status = response.status();
        if status.is_redirection() && response.headers().contains_key(reqwest::header::LOCATION) {
            return Err(EgressError::Redirect { host: host.clone(), status: status.as_u16() });
        }
        let headers = response.headers().clone();
        let body = Reading::new(response, host, deadline, timeouts).into_stream();
        Ok(StreamingResponse { status: status.as_u16(), headers, origin: self.base.origin(), body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Answer, Answers, Server, response};
    use crate::{Kind, Phase};

    const SHORT: Timeouts = Timeouts {
        connect: Duration::from_secs(5),
        headers: Duration::from_millis(150),
        idle: Duration::from_millis(150),
        total: Duration::from_secs(10),
    };

    async fn client(answer: Answer) -> (Server, ProviderClient, String) {
        let server = Server::start(vec![answer]).await;
        let url = format!("http://127.0.0.1:{}/v1", server.port);
        let client = ProviderClient::new(&url).unwrap();
        (server, client, url)
    }

    async fn post(client: &ProviderClient, url: &str, timeouts: Timeouts) -> Result<StreamingResponse, EgressError> {
        client.post_stream(url, HeaderMap::new(), Bytes::from_static(b"{}"), timeouts).await
    }

    #[tokio::test]
    async fn the_base_url_is_the_grant_for_its_origin_and_no_other() {
        let (server, client, url) = client(response("200 OK", "x-id: 7\r\n", b"hello")).await;
        let answer = post(&client, &format!("{url}/chat"), Timeouts::default()).await.unwrap();
        assert_eq!((answer.status, answer.headers["x-id"].as_bytes()), (200, &b"7"[..]));
        assert_eq!(&answer.head_of_body(4).await.unwrap()[..], b"hell");
        assert!(server.requests().remove(0).starts_with("POST /v1/chat HTTP/1.1\r\n"));
        let other_port = server.port.wrapping_add(1).max(1);
        for other in [
            format!("http://127.0.0.1:{other_port}/"),
            format!("https://127.0.0.1:{}/", server.port),
            format!("http://localhost:{}/", server.port),
        ] {
            assert_eq!(post(&client, &other, SHORT).await.unwrap_err().kind(), Kind::Denied, "{other}");
        }
        let forged = format!("http://u@127.0.0.1:{}/", server.port);
        assert_eq!(post(&client, &forged, SHORT).await.unwrap_err().kind(), Kind::Invalid);
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (server, client, url) = client(response("307 Temporary Redirect", "location: /v2\r\n", b"")).await;
        let error = post(&client, &url, SHORT).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("redirects (307)"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_provider_that_says_nothing_or_stops_is_a_timeout_of_its_phase() {
        let (_server, silent, url) = client(Answer::Stall(Vec::new())).await;
        let error = post(&silent, &url, SHORT).await.unwrap_err();
        assert!(matches!(error, EgressError::Timeout { phase: Phase::Headers, .. }), "{error:?}");

        let piece = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec();
        let (_server, stalling, url) = client(Answer::Stall(piece.clone())).await;
        let mut answer = post(&stalling, &url, SHORT).await.unwrap();
        assert_eq!(&answer.body.next().await.unwrap().unwrap()[..], b"abc");
        let error = answer.body.next().await.unwrap().unwrap_err();
        assert!(matches!(error, EgressError::Timeout { phase: Phase::Idle, .. }), "{error:?}");
        assert!(answer.body.next().await.is_none());

        let (_server, endless, url) = client(Answer::Endless(piece, b"3\r\nabc\r\n".to_vec())).await;
        let total = Timeouts { total: Duration::from_millis(300), headers: Duration::from_secs(5), ..SHORT };
        let mut answer = post(&endless, &url, total).await.unwrap();
        let error = loop {
            if let Err(error) = answer.body.next().await.expect("it has no end") {
                break error;
            }
        };
        assert!(matches!(error, EgressError::Timeout { phase: Phase::Total, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_handshake_that_stalls_is_no_connection_in_time() {
        let (server, _, _) = client(Answer::Stall(Vec::new())).await;
        let url = format!("https://127.0.0.1:{}/", server.port);
        let client = ProviderClient::new(&url).unwrap();
        let timeouts = Timeouts { connect: Duration::from_millis(100), headers: Duration::from_secs(20), ..SHORT };
        let error = post(&client, &url, timeouts).await.unwrap_err();
        assert!(matches!(error, EgressError::Timeout { phase: Phase::Connect, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn half_a_body_is_an_error_after_what_came() {
        let (_server, client, url) =
            client(Answer::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec())).await;
        let mut answer = post(&client, &url, SHORT).await.unwrap();
        assert_eq!(&answer.body.next().await.unwrap().unwrap()[..], b"half");
        assert_eq!(answer.body.next().await.unwrap().unwrap_err().kind(), Kind::Protocol);
    }

    #[tokio::test]
    async fn a_get_is_bounded() {
        let (_server, client, url) = client(response("200 OK", "", b"{\"data\":[]}")).await;
        let answer = client.get(&url, HeaderMap::new(), 100, SHORT).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{\"data\":[]}"[..]));
        assert_eq!(client.get(&url, HeaderMap::new(), 5, SHORT).await.unwrap_err().kind(), Kind::TooLarge);
    }

    #[tokio::test]
    async fn a_proxy_serves_names_but_never_loopback() {
        let proxy = Server::start(vec![response("200 OK", "", b"proxied")]).await;
        let through = Proxies::Url(format!("http://127.0.0.1:{}", proxy.port));
        let far = ProviderClient::new("http://models.example/v1").unwrap().with_proxies(through.clone());
        assert_eq!(
            &far.get("http://models.example/v1", HeaderMap::new(), 100, SHORT).await.unwrap().body[..],
            b"proxied"
        );
        assert!(proxy.requests().remove(0).starts_with("GET http://models.example/v1 HTTP/1.1"));

        let (_server, near, url) = client(response("200 OK", "", b"direct")).await;
        let near = near.with_proxies(through);
        assert_eq!(&near.get(&url, HeaderMap::new(), 100, SHORT).await.unwrap().body[..], b"direct");
        assert_eq!(proxy.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_name_is_asked_of_the_resolver_and_may_be_private() {
        let server = Server::start(vec![response("200 OK", "", b"ok")]).await;
        let answers = Answers::new(&[&["127.0.0.1"]]);
        let url = format!("http://models.example:{}/", server.port);
        let client = ProviderClient::new(&url).unwrap().with_resolver(answers.clone()).with_proxies(Proxies::None);
        assert_eq!(client.get(&url, HeaderMap::new(), 100, SHORT).await.unwrap().status, 200);
        assert_eq!(answers.asked(), 1);
    }

    /// Proxy settings belong to a process, so the test runs itself again with its own.
    #[tokio::test]
    async fn the_environment_names_the_proxy_and_its_exceptions() {
        const CHILD: &str = "COFFERDAM_TEST_PORT";
        let far = "http://models.example/";
        #[expect(clippy::disallowed_methods, reason = "how this test tells its child from itself")]
        let port = std::env::var(CHILD);
        if let Ok(port) = port {
            let client = ProviderClient::new(far).unwrap();
            let answer = client.get(far, HeaderMap::new(), 100, Timeouts::default()).await.unwrap();
            assert_eq!(&answer.body[..], b"proxied");
            let near = format!("http://near.example:{port}/");
            let resolver = Answers::new(&[&["127.0.0.1"]]);
            let client = ProviderClient::new(&near).unwrap().with_resolver(resolver);
            let answer = client.get(&near, HeaderMap::new(), 100, Timeouts::default()).await.unwrap();
            assert_eq!(&answer.body[..], b"direct");
            return;
        }
        let proxy = Server::start(vec![response("200 OK", "", b"proxied")]).await;
        let direct = Server::start(vec![response("200 OK", "", b"direct")]).await;
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.arg("the_environment_names_the_proxy").env(CHILD, direct.port.to_string());
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            child.env_remove(name).env_remove(name.to_lowercase());
        }
        child.env("http_proxy", format!("http://127.0.0.1:{}", proxy.port)).env("no_proxy", "near.example");
        let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!((proxy.requests().len(), direct.requests().len()), (1, 1));
    }
}
