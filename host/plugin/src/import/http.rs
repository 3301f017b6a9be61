//! Requests of a guest, through the egress: counted, bounded, and refused unless granted.
//!
//! It must not open connections or decide what is allowed: the egress does both.

use super::refuse;
use crate::bindings::cofferdam::host::http::{self, Request, Response};
use crate::bindings::cofferdam::types::common::{ErrorKind, PluginError};
use crate::failure::HostPanicked;
use crate::grant::Denial;
use crate::instance::{Call, Guest};
use crate::tap::Begun;
use cofferdam_core::policy::HttpLimits;
use cofferdam_egress::{Egress, EgressError, FetchLimits, Kind, Secrets, StandIn};
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use secrecy::SecretString;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// How granted requests leave.
#[derive(Clone)]
pub struct Network {
    /// The door.
    pub egress: Egress,
    /// The values that grants inject. Guests never see them.
    pub secrets: Arc<dyn Secrets>,
}

impl http::Host for Guest {
    async fn fetch(&mut self, request: Request) -> wasmtime::Result<Result<Response, PluginError>> {
        let answers = unwinding("http.fetch", fetch_all(&mut self.call, vec![request], 1)).await?;
        Ok(answers.into_iter().next().unwrap_or_else(|| Err(refuse(ErrorKind::Internal, "no answer"))))
    }

    async fn fetch_many(
        &mut self,
        requests: Vec<Request>,
        limit: u32,
    ) -> wasmtime::Result<Vec<Result<Response, PluginError>>> {
        unwinding("http.fetch-many", fetch_all(&mut self.call, requests, limit)).await
    }
}

/// The egress bounds the time of each request itself; a panic in it ends the call and nothing else.
async fn unwinding<T>(function: &'static str, work: impl Future<Output = T>) -> wasmtime::Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| HostPanicked(function).into())
}

/// Sends them, some at once, and answers in their order.
async fn fetch_all(call: &mut Call, requests: Vec<Request>, limit: u32) -> Vec<Result<Response, PluginError>> {
    let Some(limits) = call.plugin.limits.http else {
        return requests.iter().map(|_| Err(refuse(ErrorKind::Denied, "this kind of plugin has no network"))).collect();
    };
    let at_once = limit.clamp(1, limits.concurrent) as usize;
    let mut counted = Vec::with_capacity(requests.len().min(at_once));
    for request in requests {
        call.http_calls = call.http_calls.saturating_add(1);
        counted.push((call.http_calls <= limits.calls).then_some(request));
    }
    let (sending, rest) = (&*call, &limits);
    let answers: Vec<_> = stream::iter(counted)
        .map(|request| async move {
            match request {
                Some(request) => {
                    let begun = sending.begin(|| format!("{} {}", request.method, request.url));
                    let answer = send(sending, request, *rest).await;
                    tell(sending, begun, &answer);
                    answer
                }
                None => Err(Refusal::TooMany(rest.calls)),
            }
        })
        .buffered(at_once)
        .collect()
        .await;
    answers.into_iter().map(|answer| answer.map_err(|refusal| explain(call, refusal))).collect()
}

/// The secrets, and what stands in for them in this call.
struct CallSecrets<'c> {
    secrets: &'c dyn Secrets,
    stand_ins: &'c [StandIn],
}

impl Secrets for CallSecrets<'_> {
    fn get(&self, name: &str) -> Option<SecretString> {
        self.secrets.get(name)
    }

    fn stand_ins(&self) -> &[StandIn] {
        self.stand_ins
    }
}

enum Refusal {
    TooMany(u32),
    NoNetwork,
    Egress { method: String, error: EgressError },
}

async fn send(call: &Call, request: Request, limits: HttpLimits) -> Result<Response, Refusal> {
    // A plugin that describes itself, and a host without network, have no door at all.
    let Some(network) = &call.plugin.services.network else { return Err(Refusal::NoNetwork) };
    let left = call.deadline.remaining();
    let asked = request.timeout_ms.map_or(left, |millis| Duration::from_millis(millis.into()));
    let mut bounds = FetchLimits::of(limits, asked.min(left));
    bounds.body_bytes = bounds.body_bytes.min(request.max_response_bytes.unwrap_or(u64::MAX));
    let method = request.method.clone();
    let request = cofferdam_egress::Request {
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: request.body.unwrap_or_default().into(),
    };
    let grants = &call.rights.granted.http;
    let secrets = CallSecrets { secrets: &*network.secrets, stand_ins: &call.stand_ins };
    match network.egress.fetch(request, grants, bounds, &secrets).await {
        Ok(answer) => Ok(Response {
            status: answer.status,
            headers: answer.headers,
            body: answer.body.into(),
            final_url: answer.final_url,
        }),
        Err(error) => Err(Refusal::Egress { method, error }),
    }
}

/// Tells whoever watches what came of a request: one line each, also of several at once.
fn tell(call: &Call, begun: Begun, answer: &Result<Response, Refusal>) {
    let seen = match answer {
        Ok(response) => Ok((response.status, response.body.len())),
        Err(Refusal::Egress { error, .. }) => Err(refuse(error_kind(error.kind()), error.to_string())),
        Err(Refusal::NoNetwork) => Err(refuse(ErrorKind::Denied, "the network is not available here")),
        Err(Refusal::TooMany(_)) => return,
    };
    call.end(begun, ("http", "fetch"), &Ok(seen), |(status, bytes)| format!("{status}, {bytes} bytes"));
}

/// What the guest is told, after a denial was put on record.
fn explain(call: &mut Call, refusal: Refusal) -> PluginError {
    let (method, error) = match refusal {
        Refusal::TooMany(calls) => {
            return refuse(ErrorKind::TooLarge, format!("at most {calls} requests may be sent in one call"));
        }
        Refusal::NoNetwork => return refuse(ErrorKind::Denied, "the network is not available here"),
        Refusal::Egress { method, error } => (method, error),
    };
    let kind = error.kind();
    if kind == Kind::Denied {
        let asked = what_was_asked(&method, &error);
        let plugin = Arc::clone(&call.plugin);
        call.deny(match error.would_allow() {
            Some(wanted) => Denial::new(&plugin.alias, &call.rights, asked, &wanted),
            None => Denial::for_good(asked),
        });
    }
    refuse(error_kind(kind), error.to_string())
}

fn what_was_asked(method: &str, error: &EgressError) -> String {
    match error {
        EgressError::Denied { method, origin, path, .. } => format!("http {} {origin}{path}", method.as_str()),
        EgressError::Address { host, address, class, .. } => {
            format!("http {method} {host} at {address}, a {class} address")
        }
        other => format!("http {method}: {other}"),
    }
}

fn error_kind(kind: Kind) -> ErrorKind {
    match kind {
        Kind::Denied => ErrorKind::Denied,
        Kind::Invalid => ErrorKind::InvalidInput,
        Kind::Secret => ErrorKind::AuthRequired,
        Kind::Timeout => ErrorKind::Timeout,
        Kind::TooLarge => ErrorKind::TooLarge,
        Kind::Dns | Kind::Tls | Kind::Connect | Kind::Protocol => ErrorKind::Unavailable,
    }
}
