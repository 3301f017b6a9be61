//! The way of a plugin's request: check, match, resolve once, check the addresses, connect to them, follow
//! redirects from the start again, bound what comes back, remove credentials from it.
//!
//! It must not know which plugin asks, nor count its calls.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_core::limits::{EGRESS_ADDRESSES, EGRESS_CONNECT_MS};
use cofferdam_core::policy::{HttpGrant, HttpLimits, Method};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE};

use crate::address::{AddressClass, classify, is_allowed};
use crate::redirect::{Body, Credentials, Hop};
use crate::resolve::{Resolve, SystemResolver};
use crate::swap::{Outgoing, Swapping};
use crate::target::{Admitted, Target};
use crate::transport::{Outbound, Reply, Transport};
use crate::{EgressError, Phase, Scrubber, Secrets, connect, header, secret_header};

/// A request as a guest writes it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Absolute, `http` or `https`, without user information.
    pub url: String,
    /// In order; the host sets `host`, length and connection headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, empty for none.
    pub body: Bytes,
}

/// The answer to a request. A status of 400 and above is an answer, not an error.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Inflated, with credentials removed.
    pub body: Bytes,
    /// The URL that answered, after redirects.
    pub final_url: String,
}

/// The bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body after inflation.
    pub body_bytes: u64,
    /// Redirects that are followed; one more is an error.
    pub redirects: u32,
    /// Time for everything, name resolution and redirects included.
    pub total: Duration,
}

impl FetchLimits {
    /// The limits of a plugin kind, within what is left of the call's time.
    #[must_use]
    pub fn of(limits: HttpLimits, total: Duration) -> Self {
        Self { request_bytes: limits.body_bytes, body_bytes: limits.body_bytes, redirects: limits.redirects, total }
    }
}

/// The door. Cheap to build and to clone: it holds no connection and reads no certificate before it must.
#[derive(Clone)]
pub struct Egress {
    resolver: Arc<dyn Resolve>,
    /// Answers in the place of the network.
    transport: Option<Arc<dyn Transport>>,
}

impl Default for Egress {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Egress")
    }
}

impl Egress {
    /// A door that asks the system's resolver.
    #[must_use]
    pub fn new() -> Self {
        Self::with_resolver(Arc::new(SystemResolver))
    }

    /// A door that asks another resolver.
    #[must_use]
    pub fn with_resolver(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, transport: None }
    }

    /// A door with somebody behind it who plays the network: everything is checked as always, and no connection is
    /// made.
    #[must_use]
    pub fn through(resolver: Arc<dyn Resolve>, transport: Arc<dyn Transport>) -> Self {
        Self { resolver, transport: Some(transport) }
    }

    /// Sends a request, if the grants cover it. Dropping the future closes the connection.
    ///
    /// `accept-encoding` is not sent on, nor `range` where a credential is added: an answer that cannot be
    /// searched could carry the credential to the guest.
    ///
    /// # Errors
    /// See [`EgressError`]; [`EgressError::would_allow`] gives the grant that was missing. Nothing was sent when
    /// the kind is `Denied`, `Invalid` or `Secret` and no redirect came before.
    pub async fn fetch(
        &self,
        request: Request,
        grants: &[HttpGrant],
        limits: FetchLimits,
        secrets: &dyn Secrets,
    ) -> Result<Response, EgressError> {
        let Some(method) = Method::parse(&request.method) else {
            return Err(EgressError::invalid(format!("the method `{}` cannot be sent", request.method.escape_debug())));
        };
        if request.body.len() as u64 > limits.request_bytes {
            return Err(EgressError::TooLarge { what: "the request's body", limit: limits.request_bytes });
        }
        let first = Hop {
            method,
            target: Target::parse(&request.url)?,
            headers: header::from_guest(&request.headers)?,
            body: Body::Sent,
            credentials: Credentials::Added,
        };
        let host = first.target.host.clone();
        let journey =
            Journey { egress: self, grants, limits, secrets, body: request.body, scrubber: Scrubber::default() };
        match tokio::time::timeout(limits.total, journey.follow(first)).await {
            Ok(answer) => answer,
            Err(_) => Err(EgressError::Timeout { host, phase: Phase::Total, after: limits.total }),
        }
    }

    /// All addresses of a target, if every one of them may be reached.
    async fn addresses(&self, target: &Target, admitted: &Admitted) -> Result<Vec<IpAddr>, EgressError> {
        let host = &target.host;
        let addresses = match target.literal {
            Some(address) => vec![address],
            None => self
                .resolver
                .resolve(host)
                .await
                .map_err(|error| EgressError::Dns { host: host.clone(), reason: error.to_string() })?,
        };
        if addresses.is_empty() {
            return Err(EgressError::Dns { host: host.clone(), reason: "the name has no address".to_owned() });
        }
        // One bad answer spoils all: a mixed answer is how a name is bent to a private address.
        if let Some(address) = addresses.iter().copied().find(|address| !is_allowed(*address, &admitted.blocks)) {
            return Err(refused(host, address, admitted));
        }
        Ok(addresses.into_iter().take(EGRESS_ADDRESSES).collect())
    }
}

fn refused(host: &str, address: IpAddr, admitted: &Admitted) -> EgressError {
    let class = classify(address);
    // A person can want a private network; a hint that opens a metadata service would be bad advice.
    let wanted = matches!(class, AddressClass::Loopback | AddressClass::Private | AddressClass::Shared);
    let grant = admitted.grant.clone().filter(|_| wanted).map(|mut grant| {
        grant.cidrs = vec![address.into()];
        Box::new(grant)
    });
    EgressError::Address { host: host.to_owned(), address, class, grant }
}

/// One fetch under way.
struct Journey<'f> {
    egress: &'f Egress,
    grants: &'f [HttpGrant],
    limits: FetchLimits,
    secrets: &'f dyn Secrets,
    body: Bytes,
    scrubber: Scrubber,
}

impl Journey<'_> {
    async fn follow(mut self, first: Hop) -> Result<Response, EgressError> {
        let mut hop = first;
        for _ in 0..=self.limits.redirects {
            let response = self.send(&hop).await?;
            header::check_size(&response.headers)?;
            let location = response.headers.get(LOCATION).map(|value| value.as_bytes().to_vec());
            let Some(next) = hop.next(response.status, location.as_deref())? else {
                return self.finish(&hop, response).await;
            };
            // Or the next host would be handed the credential of this one.
            if self.scrubber.finds(next.target.url.as_str().as_bytes()) {
                return Err(EgressError::protocol(&hop.target.host, "puts a credential into a redirect"));
            }
            hop = next;
        }
        let reason = format!("more than {} redirects", self.limits.redirects);
        Err(EgressError::protocol(&hop.target.host, reason))
    }

    async fn send(&mut self, hop: &Hop) -> Result<Reply, EgressError> {
        let admitted = hop.target.admit(hop.method, self.grants)?;
        let mut headers = hop.headers.clone();
        let mut url = hop.target.url.clone();
        let mut body = self.body.clone();
        if hop.credentials == Credentials::Added {
            // First the guest's own words, then the rules' headers, which replace them.
            Swapping { rules: &admitted.swap, secrets: self.secrets, scrubber: &mut self.scrubber }
                .apply(Outgoing { url: &mut url, headers: &mut headers, body: &mut body })?;
            self.inject(&admitted, &mut headers)?;
        }
        let addresses = self.egress.addresses(&hop.target, &admitted).await?;
        let body = if hop.body == Body::Sent { body } else { Bytes::new() };
        if let Some(transport) = &self.egress.transport {
            let header = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
            let headers = headers.iter().map(header).collect();
            let request = Outbound { method: hop.method.as_str().to_owned(), url: url.into(), headers, body };
            let nobody = || EgressError::Connect {
                host: hop.target.host.clone(),
                reason: "nobody plays an answer to this request".to_owned(),
            };
            return transport.carry(request).await.map(Reply::from).ok_or_else(nobody);
        }
        let connect = Duration::from_millis(EGRESS_CONNECT_MS).min(self.limits.total);
        let client = connect::pinned(&hop.target, &addresses, connect)?;
        let method = reqwest::Method::from_bytes(hop.method.as_str().as_bytes())
            .map_err(|_| EgressError::invalid("the method cannot be sent"))?;
        let mut request = client.request(method, url).headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        connect::head(request, &hop.target.host, connect, self.limits.total).await.map(Reply::from)
    }

    /// Adds credentials by rule. A rule's header replaces the guest's own.
    fn inject(&mut self, admitted: &Admitted, headers: &mut HeaderMap) -> Result<(), EgressError> {
        for rule in &admitted.inject {
            let missing = || EgressError::Secret { name: rule.secret.clone(), reason: "has no value" };
            let secret = self.secrets.get(&rule.secret).ok_or_else(missing)?;
            let name = HeaderName::from_bytes(rule.header.as_bytes())
                .map_err(|_| EgressError::invalid(format!("`{}` is not the name of a header", rule.header)))?;
            headers.insert(name, secret_header(&rule.secret, &rule.format, &secret)?);
            self.scrubber.add(&secret);
        }
        // Asked for byte by byte, an echo could not be recognised.
        if !self.scrubber.is_empty() {
            headers.remove(RANGE);
        }
        Ok(())
    }

    async fn finish(self, hop: &Hop, response: Reply) -> Result<Response, EgressError> {
        let host = &hop.target.host;
        let status = response.status.as_u16();
        // What was not inflated cannot be searched.
        if !self.scrubber.is_empty() && response.headers.contains_key(CONTENT_ENCODING) {
            return Err(EgressError::protocol(host, "answers in an encoding that was not asked for"));
        }
        let headers = response
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), self.scrubber.scrub(value.as_bytes()).into_owned()))
            .collect();
        let body = response.body(host, self.limits.body_bytes).await?;
        let body = match self.scrubber.scrub(&body) {
            std::borrow::Cow::Borrowed(_) => body,
            std::borrow::Cow::Owned(clean) => Bytes::from(clean),
        };
        let final_url = self.scrubber.scrub_text(hop.target.url.as_str()).into_owned();
        tracing::debug!(host, method = %hop.method, status, bytes = body.len(), "fetched for a plugin");
        Ok(Response { status, headers, body, final_url })
    }
}
