//! The way of requests to a host that the user named, and to where it leads: a registry, its token server, the place
//! that its blobs are kept.
//!
//! The named host is itself the grant for its scheme, host and port, private addresses included. What *it* names is
//! not the user's word: such a place gets no credentials by a redirect, no plain HTTP when the named host has TLS, and it
//! must be public unless the named host is itself on the same kind of network. It must not know registries.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_core::policy::{Method, Scheme};
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, LOCATION};
use tokio::time::Instant;

use super::stream::Reading;
use super::{Proxies, StreamingResponse, Timeouts};
use crate::address::{AddressClass, classify};
use crate::redirect::{Body, Credentials, Hop};
use crate::resolve::{Resolve, SystemResolver};
use crate::target::Target;
use crate::{EgressError, connect, header};

/// A host that the user named. Cheap to build; nothing is read or resolved before the first request.
#[derive(Clone)]
pub struct NamedHost {
    base: Target,
    resolver: Arc<dyn Resolve>,
    proxies: Proxies,
}

impl std::fmt::Debug for NamedHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NamedHost({})", self.base.origin())
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct NamedRequest {
    /// `GET`, `PUT`, ...
    pub method: Method,
    /// Absolute; of the named host, or of one that it led to.
    pub url: String,
    /// As they are sent; `authorization` and `cookie` stay at the origin of `url`.
    pub headers: HeaderMap,
    /// The body, empty for none.
    pub body: Bytes,
}

/// The bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct NamedLimits {
    /// Of each exchange; `total` is for all of them together.
    pub timeouts: Timeouts,
    /// Redirects that are followed; zero refuses the first.
    pub redirects: u32,
    /// Bytes of the body after inflation.
    pub body_bytes: usize,
}

impl NamedHost {
    /// The host of a base URL such as `https://ghcr.io`.
    ///
    /// # Errors
    /// [`EgressError::Invalid`] when it is no `http` or `https` URL, or contains user information.
    pub fn new(base_url: &str) -> Result<Self, EgressError> {
        let base = Target::parse(base_url)?;
        Ok(Self { base, resolver: Arc::new(SystemResolver), proxies: Proxies::default() })
    }

    /// Asks another resolver.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Goes through other proxies.
    #[must_use]
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Scheme, host and port, for messages.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin()
    }

    /// Whether a URL is of the named scheme, host and port.
    #[must_use]
    pub fn is_own(&self, url: &str) -> bool {
        Target::parse(url).is_ok_and(|target| target.same_origin(&self.base))
    }

    /// Sends a request, follows redirects, and answers as soon as the head of the last response is there. Nothing is
    /// sent twice. Statuses of 400 and above are answers.
    ///
    /// # Errors
    /// See [`EgressError`]; a place where the named host may not lead is of kind `Denied`, `Dns` or `Protocol`.
    pub async fn send(&self, request: NamedRequest, limits: NamedLimits) -> Result<StreamingResponse, EgressError> {
        let deadline = Instant::now() + limits.timeouts.total;
        let NamedRequest { method, url, headers, body } = request;
        let target = Target::parse(&url)?;
        let mut hop = Hop { method, target, headers, body: Body::Sent, credentials: Credentials::Added };
        for _ in 0..=limits.redirects {
            let response = self.exchange(&hop, &body, deadline, limits.timeouts).await?;
            header::check_size(response.headers())?;
            let location = response.headers().get(LOCATION).map(|value| value.as_bytes().to_vec());
            match hop.next(response.status(), location.as_deref())? {
                Some(next) => hop = next,
                None => return Ok(answer(response, &hop, deadline, limits)),
            }
        }
        let host = &hop.target.host;
        Err(match limits.redirects {
            0 => EgressError::protocol(host, "redirects, which is not followed for this request"),
            most => EgressError::protocol(host, format!("more than {most} redirects")),
        })
    }

    async fn exchange(
        &self,
        hop: &Hop,
        body: &Bytes,
        deadline: Instant,
        timeouts: Timeouts,
    ) -> Result<reqwest::Response, EgressError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let connect = timeouts.connect.min(left);
        let client = connect::provider(&hop.target, self.resolver_for(&hop.target).await?, &self.proxies, connect)?;
        let method = reqwest::Method::from_bytes(hop.method.as_str().as_bytes())
            .map_err(|_| EgressError::invalid("the method cannot be sent"))?;
        let mut request = client.request(method, hop.target.url.clone()).headers(hop.headers.clone());
        if hop.body == Body::Sent && !body.is_empty() {
            request = request.body(body.clone());
        }
        connect::head(request, &hop.target.host, connect, timeouts.headers.min(left)).await
    }

    /// Who is asked for the addresses of a target: for the named host anybody, for others one who refuses.
    async fn resolver_for(&self, target: &Target) -> Result<Arc<dyn Resolve>, EgressError> {
        if target.same_origin(&self.base) {
            return Ok(Arc::clone(&self.resolver));
        }
        if self.base.scheme == Scheme::Https && target.scheme != Scheme::Https {
            return Err(EgressError::protocol(&self.base.host, format!("leads to plain HTTP at `{}`", target.host)));
        }
        let guard = Guard { resolver: Arc::clone(&self.resolver), host: target.host.clone(), home: self.home().await };
        if let Some(address) = target.literal.filter(|address| !guard.lets(*address)) {
            let class = classify(address);
            return Err(EgressError::Address { host: target.host.clone(), address, class, grant: None });
        }
        Ok(Arc::new(guard))
    }

    /// The kinds of networks that the named host is on, as far as a person could want to be led around in them.
    async fn home(&self) -> Vec<AddressClass> {
        let addresses = match self.base.literal {
            Some(address) => vec![address],
            // Behind a proxy the name may be unknown here, which opens nothing.
            None => self.resolver.resolve(&self.base.host).await.unwrap_or_default(),
        };
        let wanted = [AddressClass::Loopback, AddressClass::Private, AddressClass::Shared];
        addresses.into_iter().map(classify).filter(|class| wanted.contains(class)).collect()
    }
}

fn answer(response: reqwest::Response, hop: &Hop, deadline: Instant, limits: NamedLimits) -> StreamingResponse {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let reading = Reading::new(response, &hop.target.host, deadline, limits.timeouts).at_most(limits.body_bytes);
    StreamingResponse { status, headers, origin: hop.target.origin(), body: reading.into_stream() }
}

/// Refuses addresses where the named host may not lead. Names of proxies pass: those are the user's.
struct Guard {
    resolver: Arc<dyn Resolve>,
    host: String,
    home: Vec<AddressClass>,
}

impl Guard {
    fn lets(&self, address: IpAddr) -> bool {
        let class = classify(address);
        class == AddressClass::Global || self.home.contains(&class)
    }
}

impl Resolve for Guard {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let addresses = self.resolver.resolve(host).await?;
            let refused = addresses.iter().find(|address| host == self.host && !self.lets(**address));
            match refused {
                None => Ok(addresses),
                Some(address) => {
                    let class = classify(*address);
                    Err(io::Error::other(format!("it is at {address}, a {class} address, where nobody may lead us")))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Kind;
    use crate::loopback::{Answer, Answers, Server, response};

    const LIMITS: NamedLimits = NamedLimits {
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            headers: Duration::from_secs(5),
            idle: Duration::from_secs(5),
            total: Duration::from_secs(10),
        },
        redirects: 2,
        body_bytes: 100,
    };

    fn to(location: &str) -> Answer {
        response("307 Temporary Redirect", &format!("location: {location}\r\n"), b"")
    }

    fn get(url: &str) -> NamedRequest {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer canary".parse().unwrap());
        NamedRequest { method: Method::Get, url: url.to_owned(), headers, body: Bytes::new() }
    }

    async fn named(server: &Server, addresses: &[&str]) -> (NamedHost, String) {
        let url = format!("http://registry.example:{}", server.port);
        let host = NamedHost::new(&url).unwrap().with_proxies(Proxies::None);
        (host.with_resolver(Answers::new(&[addresses])), format!("{url}/v2/"))
    }

    #[tokio::test]
    async fn a_redirect_elsewhere_goes_without_credentials() {
        let there = Server::start(vec![response("200 OK", "", b"blob")]).await;
        let here = Server::start(vec![to(&format!("http://127.0.0.1:{}/blob", there.port))]).await;
        let (host, url) = named(&here, &["127.0.0.1"]).await;
        let answer = host.send(get(&url), LIMITS).await.unwrap();
        assert_eq!(&answer.head_of_body(9).await.unwrap()[..], b"blob");
        assert!(here.requests().remove(0).contains("Bearer canary"));
        assert!(!there.requests().remove(0).contains("canary"));
    }

    #[tokio::test]
    async fn nobody_is_led_into_a_network_that_the_named_host_is_not_on() {
        let there = Server::start(vec![response("200 OK", "", b"inside")]).await;
        let port = there.port;
        for location in [
            format!("http://127.0.0.1:{port}/"),
            format!("http://[::ffff:127.0.0.1]:{port}/"),
            "http://169.254.169.254/latest".to_owned(),
            "http://10.0.0.1/".to_owned(),
        ] {
            // The name is asked once to connect, and once to see where it is: it says another thing then.
            let here = Server::start(vec![to(&location)]).await;
            let url = format!("http://registry.example:{}", here.port);
            let resolver = Answers::new(&[&["127.0.0.1"], &["93.184.216.34"]]);
            let host = NamedHost::new(&url).unwrap().with_proxies(Proxies::None).with_resolver(resolver);
            let error = host.send(get(&format!("{url}/")), LIMITS).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Denied, "{location}: {error}");
        }
        assert!(there.requests().is_empty());
    }

    #[tokio::test]
    async fn a_name_that_resolves_into_such_a_network_is_refused_too() {
        let here = Server::start(vec![to("http://inside.example/")]).await;
        let url = format!("http://registry.example:{}", here.port);
        let resolver = Answers::new(&[&["127.0.0.1"], &["93.184.216.34"], &["192.168.1.1"]]);
        let host = NamedHost::new(&url).unwrap().with_proxies(Proxies::None).with_resolver(resolver);
        let error = host.send(get(&format!("{url}/")), LIMITS).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Dns, "{error}");
        assert!(error.to_string().contains("private address"), "{error}");
    }

    #[tokio::test]
    async fn metadata_services_are_no_place_to_be_led_to_from_anywhere() {
        let here = Server::start(vec![to("http://169.254.169.254/latest")]).await;
        let (host, url) = named(&here, &["127.0.0.1"]).await;
        assert_eq!(host.send(get(&url), LIMITS).await.unwrap_err().kind(), Kind::Denied);
    }

    #[tokio::test]
    async fn tls_is_not_left_and_circles_end() {
        let host = NamedHost::new("https://registry.example").unwrap();
        let error = host.resolver_for(&Target::parse("http://cdn.example/").unwrap()).await.err().unwrap();
        assert!(error.to_string().contains("plain HTTP"), "{error}");
        let here = Server::start(vec![to("/v2/again")]).await;
        let (host, url) = named(&here, &["127.0.0.1"]).await;
        let error = host.send(get(&url), LIMITS).await.unwrap_err();
        assert!(error.to_string().contains("more than 2 redirects"), "{error}");
        let error = host.send(get(&url), NamedLimits { redirects: 0, ..LIMITS }).await.unwrap_err();
        assert!(error.to_string().contains("not followed"), "{error}");
    }

    #[tokio::test]
    async fn a_body_is_bounded() {
        let here = Server::start(vec![response("200 OK", "", &[b'x'; 101])]).await;
        let (host, url) = named(&here, &["127.0.0.1"]).await;
        let answer = host.send(get(&url), LIMITS).await.unwrap();
        assert_eq!(answer.head_of_body(1000).await.map(|body| body.len()).unwrap_err().kind(), Kind::TooLarge);
    }

    #[tokio::test]
    async fn a_put_has_its_body() {
        let here = Server::start(vec![Answer::Echo]).await;
        let (host, url) = named(&here, &["127.0.0.1"]).await;
        let request = NamedRequest { method: Method::Put, body: Bytes::from_static(b"piece"), ..get(&url) };
        host.send(request, LIMITS).await.unwrap();
        assert!(here.requests().remove(0).ends_with("\r\n\r\npiece"));
        assert!(host.is_own(&url) && !host.is_own("http://other.example/"));
    }
}
