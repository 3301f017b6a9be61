//! One conversation with one registry: requests with their bounds, and the answer to "who asks?".
//!
//! It must not know manifests. Keys are sent to the registry that they are for and to the token server that it names, over
//! TLS or within this machine.

use crate::artifact::MANIFEST_TYPE;
use crate::challenge::Challenge;
use crate::credential::Credentials;
use crate::error::Error;
use bytes::{Bytes, BytesMut};
use cofferdam_core::limits;
use cofferdam_core::oci::Reference;
use cofferdam_core::policy::Method;
use cofferdam_core::text::clean_to;
use cofferdam_egress::{
    EgressError, HeaderMap, HeaderValue, NamedHost, NamedLimits, NamedRequest, Scrubber, StreamingResponse, Timeouts,
    secret_header,
};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use serde::Deserialize;
use std::time::Duration;
use url::Url;

/// docker's registry is at another host than its name.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// How a registry is spoken to.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Without TLS. Unsaid, only the machine's own loopback is.
    pub plain_http: Option<bool>,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// The most time for one request, its body included. Default: ten minutes.
    pub timeout: Option<Duration>,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that came or went.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

/// A conversation about one reference.
#[derive(Debug)]
pub struct Client {
    pub(crate) reference: Reference,
    pub(crate) host: String,
    door: NamedHost,
    access: Access,
    /// Whether there is a password that is not sent.
    withheld: bool,
    authorization: Option<HeaderValue>,
    scrubber: Scrubber,
}

/// What one request says.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Behind the registry's origin, or absolute.
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Bytes,
    /// Most bytes of the answer.
    pub(crate) limit: usize,
    /// What the registry is asked to let us do: `pull` or `pull,push`.
    pub(crate) right: &'static str,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    /// A client for the registry of a reference; nothing is sent yet.
    ///
    /// # Errors
    /// When the host cannot be one of a URL.
    pub fn new(reference: &Reference, access: Access) -> Result<Self, Error> {
        let named = reference.host();
        let host = if named == DOCKER.0 { DOCKER.1 } else { named };
        let local = reference.is_loopback();
        let Access { plain_http, credentials, timeout } = access;
        let plain = plain_http.unwrap_or(local);
        let scheme = if plain { "http" } else { "https" };
        let door = NamedHost::new(&format!("{scheme}://{host}")).map_err(|cause| Error::network(named, cause))?;
        let mut scrubber = Scrubber::default();
        if let Some(credentials) = &credentials {
            scrubber.add(&credentials.password);
            scrubber.add(&credentials.pair());
        }
        let withheld = plain && !local && credentials.is_some();
        let access = Access { plain_http, credentials: credentials.filter(|_| !withheld), timeout };
        let (reference, host) = (reference.clone(), named.to_owned());
        Ok(Self { reference, host, door, access, withheld, authorization: None, scrubber })
    }

    /// The URL of something in the reference's repository.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.door.origin(), self.reference.repository())
    }

    /// Whether a URL is the registry's own.
    pub(crate) fn is_own(&self, url: &str) -> bool {
        self.door.is_own(url)
    }

    /// Sends a request, and again with a key when the registry wants one.
    pub(crate) async fn send(&mut self, ask: &Ask) -> Result<StreamingResponse, Error> {
        let first = self.once(ask).await?;
        if first.status != 401 {
            return Ok(first);
        }
        if first.origin != self.door.origin() {
            // It could name a token server of its own, and would be sent the registry's password.
            let said = "leads to a place that wants to know who asks, and no key goes there";
            return Err(Error::protocol(&self.host, said));
        }
        let challenge = Challenge::of(&first.headers);
        let detail = self.detail(first).await;
        self.authorize(challenge, ask.right, &detail).await?;
        let second = self.once(ask).await?;
        if second.status == 401 {
            let detail = self.detail(second).await;
            return Err(self.denied(401, detail));
        }
        Ok(second)
    }

    async fn once(&self, ask: &Ask) -> Result<StreamingResponse, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &ask.headers {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert("authorization", authorization.clone());
        }
        let request = NamedRequest { method: ask.method, url: ask.url.clone(), headers, body: ask.body.clone() };
        // Where it leads is followed for what is read, never for what is written.
        let redirects = if matches!(ask.method, Method::Get | Method::Head) { limits::REGISTRY_REDIRECTS } else { 0 };
        let bounds = NamedLimits { timeouts: self.timeouts(ask.method), redirects, body_bytes: ask.limit };
        self.door.send(request, bounds).await.map_err(|cause| Error::network(&self.host, cause))
    }

    fn timeouts(&self, method: Method) -> Timeouts {
        let total = self.access.timeout.unwrap_or(Duration::from_millis(limits::REGISTRY_TOTAL_MS));
        let idle = Duration::from_millis(limits::REGISTRY_IDLE_MS).min(total);
        // An upload is answered when all of it is there.
        let headers = if matches!(method, Method::Get | Method::Head) { idle } else { total };
        Timeouts { connect: Duration::from_millis(limits::EGRESS_CONNECT_MS).min(total), headers, idle, total }
    }

    /// Gets what the challenge wants, once a request: a password to send along, or a token for it.
    async fn authorize(&mut self, challenge: Option<Challenge>, right: &str, detail: &str) -> Result<(), Error> {
        let credentials = self.access.credentials.clone();
        let anonymous =
            || Error::Anonymous { host: self.host.clone(), detail: detail.to_owned(), withheld: self.withheld };
        match challenge {
            None => Err(Error::protocol(&self.host, "refuses (401) and does not say what it wants")),
            Some(Challenge::Basic) => {
                let basic = credentials.ok_or_else(anonymous)?.basic();
                self.authorization = Some(basic.map_err(|cause| Error::network(&self.host, cause))?);
                Ok(())
            }
            Some(bearer @ Challenge::Bearer { .. }) => {
                let scope = format!("repository:{}:{right}", self.reference.repository());
                let unclear = || Error::protocol(&self.host, "names a token server that is no URL");
                let url = bearer.token_url(&scope).ok_or_else(unclear)?;
                let token = self.token(url, credentials.as_ref(), detail).await?;
                self.scrubber.add(&token);
                let header = secret_header("the registry's token", "Bearer {}", &token);
                self.authorization = Some(header.map_err(|cause| Error::network(&self.host, cause))?);
                Ok(())
            }
        }
    }

    /// Asks the token server (distribution specification of docker, "Token Authentication"): with a password when there
    /// is one, else as nobody.
    async fn token(&self, url: Url, credentials: Option<&Credentials>, detail: &str) -> Result<SecretString, Error> {
        let network = |cause| Error::network(&self.host, cause);
        let mut headers = HeaderMap::new();
        if let Some(credentials) = credentials {
            if url.scheme() != "https" && !is_local(&url) {
                return Err(Error::protocol(
                    &self.host,
                    "names a token server without TLS; the password is not sent there",
                ));
            }
            headers.insert("authorization", credentials.basic().map_err(network)?);
        }
        let request = NamedRequest { method: Method::Get, url: url.into(), headers, body: Bytes::new() };
        let limit = limits::REGISTRY_TOKEN_BYTES;
        let bounds = NamedLimits { timeouts: self.timeouts(Method::Get), redirects: 0, body_bytes: limit };
        let answer = self.door.send(request, bounds).await.map_err(network)?;
        match answer.status {
            200 => {}
            401 | 403 if credentials.is_none() => {
                let (host, detail) = (self.host.clone(), detail.to_owned());
                return Err(Error::Anonymous { host, detail, withheld: self.withheld });
            }
            status => return Err(self.refusal(answer, "give a token", status).await),
        }
        let body = read_all(answer, limit, |_| ()).await.map_err(network)?;
        let token: Option<Token> = serde_json::from_slice(&body).ok();
        let token = token.and_then(|token| token.token.or(token.access_token)).filter(|token| !token.is_empty());
        token
            .map(SecretString::from)
            .ok_or_else(|| Error::protocol(&self.host, "has a token server that gives no token"))
    }

    /// The error of an answer that is none.
    pub(crate) async fn refusal(&self, answer: StreamingResponse, act: &'static str, status: u16) -> Error {
        let retry_after = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let detail = self.detail(answer).await;
        let host = self.host.clone();
        match status {
            401 | 403 => self.denied(status, detail),
            404 => {
                let what = format!("`{}` at {}", self.reference.repository(), self.reference.version());
                Error::NotFound { host, what, detail }
            }
            429 => Error::Busy { host, detail, retry_after },
            _ => Error::Failed { host, act, status, detail },
        }
    }

    fn denied(&self, status: u16, detail: String) -> Error {
        let host = self.host.clone();
        match self.access.credentials {
            Some(_) => Error::Denied { host, status, detail },
            None => Error::Anonymous { host, detail, withheld: self.withheld },
        }
    }

    /// What the registry says of its refusal ("Error Codes"), cleaned, without keys.
    async fn detail(&self, answer: StreamingResponse) -> String {
        let Ok(body) = answer.head_of_body(limits::REGISTRY_ERROR_BYTES).await else { return String::new() };
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let first = value.get("errors").and_then(|errors| errors.get(0));
        let said = first.and_then(|first| first.get("message").or_else(|| first.get("code"))?.as_str());
        let said = said.map(|said| clean_to(&self.scrubber.scrub_text(said), 200)).unwrap_or_default();
        if said.is_empty() { said } else { format!(": {said}") }
    }
}

impl Ask {
    /// A request that reads.
    pub(crate) fn get(url: String, limit: usize) -> Self {
        let headers = vec![("accept", "*/*")];
        Self { method: Method::Get, url, headers, body: Bytes::new(), limit, right: "pull" }
    }

    /// A request that writes.
    pub(crate) fn put(method: Method, url: String, body: Bytes) -> Self {
        let headers = vec![("content-type", "application/octet-stream")];
        Self { method, url, headers, body, limit: limits::REGISTRY_ERROR_BYTES, right: "pull,push" }
    }

    /// A request that writes a manifest.
    pub(crate) fn put_manifest(url: String, body: Bytes) -> Self {
        Self { headers: vec![("content-type", MANIFEST_TYPE)], ..Self::put(Method::Put, url, body) }
    }
}

/// Whether a URL leads to this machine.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The whole body, at most as long as its bound.
pub(crate) async fn read_all(
    mut answer: StreamingResponse,
    expected: usize,
    mut report: impl FnMut(usize),
) -> Result<Bytes, EgressError> {
    // What is promised is not held ready: it may never come.
    let mut body = BytesMut::with_capacity(expected.min(limits::REGISTRY_MANIFEST_BYTES));
    while let Some(piece) = answer.body.next().await {
        body.extend_from_slice(&piece?);
        report(body.len());
    }
    Ok(body.freeze())
}
