//! Whatever a provider answers instead of an answer, as a fault that says what to do.
//!
//! It must not decide about retries (`retry` does) and must not let the key into a message.

use super::told::Told;
use crate::kind::Kind;
use crate::protocol::{Api, Odd};
use crate::provider::{Known, Provider};
use crate::retry::asked_wait;
use crate::sse::Oversize;
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::limits::MODEL_RESPONSE_BYTES;
use cofferdam_core::time::Timestamp;
use cofferdam_egress::{EgressError, HeaderMap, Kind as Egress};
use serde_json::{Value, json};

/// What to do about an answer that is too large.
const TOO_LARGE: &str = "ask for less: `maxTokens` bounds an answer";

/// Characters of what a provider said that are quoted.
const QUOTED_CHARS: usize = 300;

/// Whom was asked what, for messages.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) provider: Provider,
    pub(super) model: String,
}

/// The head of a response, as far as faults tell of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) request_id: Option<String>,
    retry_after_ms: Option<u64>,
    /// `x-should-retry`, which overrides the status.
    should_retry: Option<bool>,
}

impl Head {
    pub(super) fn read(status: u16, headers: &HeaderMap, now: Timestamp) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let wait = asked_wait(headers, now);
        Self {
            status,
            request_id: ["x-request-id", "request-id", "apim-request-id"].into_iter().find_map(text).map(str::to_owned),
            retry_after_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            should_retry: text("x-should-retry").and_then(|text| text.parse().ok()),
        }
    }
}

impl Head {
    /// The class of a kind of fault, unless the provider overrules it. An empty account stays one.
    fn class(&self, kind: Kind) -> Class {
        match (self.should_retry.filter(|_| kind != Kind::Quota), kind.class()) {
            (Some(true), _) => Class::Retry,
            (Some(false), Class::Retry) => Class::Step,
            (_, class) => class,
        }
    }
}

impl Origin {
    /// An error status, or an error in the body of an answer that claimed success.
    pub(super) fn answered(&self, head: &Head, body: &[u8]) -> Fault {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => self.told(head, &value),
            Err(_) => self.page(head, &String::from_utf8_lossy(body)),
        }
    }

    /// An error that the provider describes in JSON.
    pub(super) fn told(&self, head: &Head, value: &Value) -> Fault {
        let told = Told::read(value);
        let kind = told.kind(head.status);
        let message = shortened(&self.provider.scrub(&told.message));
        let status = if head.status >= 300 { format!("status {}", head.status) } else { "an error".to_owned() };
        let mut fault = kind.fault(format!("{} answered {status}: {message}", self.who()));
        fault.class = head.class(kind);
        fault.retry_after_ms = head.retry_after_ms.or(told.retry_after_ms);
        fault.hint = self.hint(kind, head);
        self.ended(fault, head, &told)
    }

    /// A page that a proxy or another server sent in the provider's place.
    fn page(&self, head: &Head, text: &str) -> Fault {
        let is_html = text.trim_start().starts_with('<');
        let quoted = if is_html { title(text).unwrap_or_default() } else { text.trim() };
        let quoted = match shortened(&self.provider.scrub(quoted)) {
            nothing if nothing.is_empty() => String::new(),
            quoted => format!(": {quoted}"),
        };
        let what = if is_html { "an HTML page" } else { "no JSON" };
        let kind = Kind::of_status(head.status);
        let mut fault = kind.fault(format!("{} answered status {} and {what}{quoted}", self.who(), head.status));
        fault.class = head.class(kind);
        fault.retry_after_ms = head.retry_after_ms;
        let elsewhere = format!(
            "something else than the provider may have answered; check the base URL `{}` and proxies",
            self.provider.base_url
        );
        fault.hint = self.hint(kind, head).or(Some(elsewhere));
        self.ended(fault, head, &Told::default())
    }

    /// A request that got no response, or a body that broke off.
    pub(super) fn transport(&self, error: &EgressError, head: Option<&Head>) -> Fault {
        let kind = match error.kind() {
            Egress::Timeout => Kind::Timeout,
            Egress::TooLarge => Kind::TooLarge,
            Egress::Denied | Egress::Invalid | Egress::Secret => Kind::NotConfigured,
            Egress::Connect | Egress::Dns => Kind::Unavailable,
            Egress::Tls => Kind::NotConfigured,
            Egress::Protocol if head.is_some() => Kind::Truncated,
            Egress::Protocol => Kind::Unavailable,
        };
        let verb = if head.is_some() { "broke off" } else { "cannot be reached" };
        let mut fault = kind.fault(format!("{} {verb}: {error}", self.who()));
        fault.hint = match error.kind() {
            Egress::Connect if self.provider.name.as_ref() == "ollama" || self.provider.api == Api::Ollama => {
                Some("is Ollama running? start it with `ollama serve`, or set OLLAMA_HOST".to_owned())
            }
            Egress::Timeout => Some("it may be busy, or still loading the model; try again later".to_owned()),
            Egress::TooLarge => Some(TOO_LARGE.to_owned()),
            Egress::Protocol if head.is_some() => Some("nothing of it was used; trying again may help".to_owned()),
            Egress::Connect | Egress::Dns | Egress::Tls | Egress::Protocol | Egress::Invalid => {
                Some(format!("check the base URL `{}`, the network and proxies", self.provider.base_url))
            }
            _ => None,
        };
        self.ended(fault, head.unwrap_or(&Head::default()), &Told::default())
    }

    /// The stream ended before the provider said that the answer is complete.
    pub(super) fn truncated(&self, head: &Head) -> Fault {
        let fault = Kind::Truncated.fault(format!("{} stopped in the middle of its answer", self.who()));
        let hint = "nothing of it was used; trying again may help";
        self.ended(fault.with_hint(hint), head, &Told::default())
    }

    /// Something in the stream that is no answer.
    pub(super) fn odd(&self, head: &Head, odd: &Odd) -> Fault {
        let reason = match odd {
            Odd::Told(error) => return self.told(head, error),
            Odd::TooManyCalls => return self.too_large(head, "more tool calls than we accept"),
            Odd::Blocked(reason) => return self.blocked(head, reason),
            Odd::BrokenCall(reason) => return self.broken_call(head, reason),
            Odd::Malformed(reason) => {
                format!("sent something that is no piece of an answer: {reason}")
            }
            Odd::Empty => "ended its answer without one".to_owned(),
            Odd::Nameless => "called a tool without naming it".to_owned(),
        };
        let fault = Kind::Protocol.fault(format!("{} {reason}", self.who()));
        let hint = format!("does `{}` speak {}?", self.provider.base_url, self.provider.api.title());
        self.ended(fault.with_hint(hint), head, &Told::default())
    }

    /// A prompt that the provider did not give to the model.
    fn blocked(&self, head: &Head, reason: &str) -> Fault {
        let reason = shortened(&self.provider.scrub(reason));
        let fault = Kind::BadRequest.fault(format!("{} blocked the prompt: {reason}", self.who()));
        let hint = "the provider's filter took offence at what the step asks; ask in other words";
        self.ended(fault.with_hint(hint), head, &Told::default())
    }

    /// A call that is the model's fault and not the provider's.
    fn broken_call(&self, head: &Head, reason: &str) -> Fault {
        let fault = Kind::Protocol.fault(format!("{} ended its answer with a broken call: {reason}", self.who()));
        let hint = "the model wrote a call that nobody can read; trying again or another model may help";
        self.ended(fault.with_hint(hint), head, &Told::default())
    }

    /// More than is read of any answer.
    pub(super) fn endless(&self, head: &Head) -> Fault {
        self.too_large(head, &format!("an answer of more than {MODEL_RESPONSE_BYTES} bytes"))
    }

    /// A line or event over its bound.
    pub(super) fn oversize(&self, head: &Head, oversize: Oversize) -> Fault {
        self.too_large(head, &oversize.to_string())
    }

    fn too_large(&self, head: &Head, what: &str) -> Fault {
        let fault = Kind::TooLarge.fault(format!("{} sent {what}", self.who()));
        self.ended(fault.with_hint(TOO_LARGE), head, &Told::default())
    }

    fn who(&self) -> String {
        format!("provider `{}` (model `{}`)", self.provider.name, self.model)
    }

    fn hint(&self, kind: Kind, head: &Head) -> Option<String> {
        let name = &self.provider.name;
        let variable = self.provider.key_variable.as_deref();
        match kind {
            Kind::Auth => Some(match (variable, &self.provider.key) {
                (Some(variable), None) => format!("set {variable} to a key of `{name}`"),
                (Some(variable), Some(_)) => {
                    format!("check that the key in {variable} is valid and may use this model")
                }
                (None, _) => format!("give provider `{name}` a valid key in the settings"),
            }),
            Kind::Quota => Some(format!("the account at `{name}` has nothing left; top it up or use another model")),
            Kind::NotFound => Some(self.not_found_hint()),
            Kind::ContextLength => Some(
                "give the step less input, summarise earlier results, or use a model with a larger context".to_owned(),
            ),
            Kind::RateLimited => Some("lower `maxConcurrency`, or raise `maxRetries`".to_owned()),
            Kind::BadRequest if head.status == 413 => Some("give the step less input, or smaller files".to_owned()),
            Kind::Unavailable if matches!(head.status, 503 | 529) => {
                Some("the provider is overloaded; try again later".to_owned())
            }
            _ => None,
        }
    }

    fn not_found_hint(&self) -> String {
        let base = self.provider.base_url.trim_end_matches('/');
        if self.provider.name.as_ref() == "ollama" || self.provider.api == Api::Ollama {
            return format!("fetch the model with `ollama pull {}`", self.model);
        }
        if let Some((root, _)) = base.split_once("/chat/completions") {
            return format!("the base URL ends before the endpoint: `{root}`");
        }
        let is_elsewhere = Known::find(&self.provider.name).is_none_or(|known| known.base_url != base);
        if self.provider.api == Api::Chat && is_elsewhere && !ends_with_version(base) {
            return format!("the base URL `{base}` has no version at its end; most servers want `{base}/v1`");
        }
        format!("check the model's name: `{}`", self.model)
    }

    /// A fault with what is known of the request, its id in the message too.
    fn ended(&self, fault: Fault, head: &Head, told: &Told) -> Fault {
        let message = match self.request_id(head, told) {
            Some(id) => format!("{} (request `{id}`)", fault.message),
            None => fault.message.clone(),
        };
        Fault { message, ..fault }.with_detail(self.detail(head, told))
    }

    /// The id that the provider gave the request; some repeat a key in it.
    fn request_id(&self, head: &Head, told: &Told) -> Option<String> {
        let id = head.request_id.as_ref().or(told.request_id.as_ref())?;
        Some(shortened(&self.provider.scrub(id))).filter(|id| !id.is_empty())
    }

    fn detail(&self, head: &Head, told: &Told) -> Value {
        let shown = |text: &String| json!(shortened(&self.provider.scrub(text)));
        let mut detail = json!({ "provider": &*self.provider.name, "model": self.model });
        let status = (head.status != 0).then(|| json!(head.status));
        let fields = [
            ("status", status),
            ("request_id", self.request_id(head, told).map(Value::from)),
            ("type", told.r#type.as_ref().map(shown)),
            ("code", told.code.as_ref().map(shown)),
        ];
        for (name, value) in fields {
            if let (Some(value), Some(map)) = (value, detail.as_object_mut()) {
                map.insert(name.to_owned(), value);
            }
        }
        detail
    }
}

/// Whether a base URL ends in `/v1`, `/v1beta`, `/v2`.
fn ends_with_version(base: &str) -> bool {
    let last = base.rsplit('/').next().unwrap_or_default();
    last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// The title of an HTML page.
fn title(page: &str) -> Option<&str> {
    let (_, after) = page.split_once("<title>")?;
    after.split_once("</title>").map(|(title, _)| title.trim())
}

/// On one line, without control characters, and not too long.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = line.chars().filter(|found| !found.is_control()).take(QUOTED_CHARS).collect();
    let is_cut = line.chars().count() > QUOTED_CHARS;
    clean.trim_end_matches('.').to_owned() + if is_cut { "…" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(base: &str) -> Origin {
        let provider = Provider::new("acme", base).with_key("sk-secret");
        Origin { provider, model: "m".to_owned() }
    }

    fn fault(status: u16, body: &str) -> Fault {
        origin("http://acme.test/v1").answered(&Head { status, ..Head::default() }, body.as_bytes())
    }

    #[test]
    fn each_error_has_its_code() {
        for (status, body, code) in [
            (400, r#"{"error":{"message":"bad","type":"invalid_request_error","code":null}}"#, "model_bad_request"),
            (400, r#"{"error":{"message":"long","code":"context_length_exceeded"}}"#, "model_context_length"),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens"}}"#,
                "model_context_length",
            ),
            (401, r#"{"error":{"message":"key","code":"invalid_api_key"}}"#, "model_auth"),
            (404, r#"{"error":{"message":"none","code":"model_not_found"}}"#, "model_not_found"),
            (
                429,
                r#"{"error":{"message":"slow","type":"requests","code":"rate_limit_exceeded"}}"#,
                "model_rate_limited",
            ),
            (429, r#"{"error":{"message":"pay","type":"insufficient_quota"}}"#, "model_quota"),
            (500, r#"{"error":"oops"}"#, "model_unavailable"),
            (502, "<html><title>Bad Gateway</title></html>", "model_unavailable"),
            (504, "", "model_timeout"),
            (200, r#"{"error":{"message":"boom","type":"server_error"}}"#, "model_unavailable"),
            (200, r#"{"error":{"message":"x","code":429}}"#, "model_rate_limited"),
            (200, r#"{"error":"model 'x' not found"}"#, "model_not_found"),
            (200, "<html>", "model_protocol"),
        ] {
            assert_eq!(fault(status, body).code, code, "{status} {body}");
        }
    }

    #[test]
    fn a_message_quotes_the_provider_but_never_the_key() {
        let fault = fault(401, r#"{"error":{"message":"Incorrect API key provided:\n sk-secret."}}"#);
        assert_eq!(fault.message, "provider `acme` (model `m`) answered status 401: Incorrect API key provided: ***");
        assert_eq!(fault.detail.unwrap().get("status"), Some(&json!(401)));
    }

    #[test]
    fn the_id_of_a_request_is_told_and_no_key_in_it() {
        let head = Head { status: 500, request_id: Some("req-sk-secret".to_owned()), ..Head::default() };
        let fault = origin("http://acme.test/v1").answered(&head, b"{\"error\":\"x\"}");
        assert!(fault.message.ends_with("(request `req-***`)"), "{fault}");
        assert!(!fault.detail.unwrap().to_string().contains("sk-secret"));
    }

    #[test]
    fn a_page_is_named_by_its_title() {
        let fault = fault(502, "<html><head><title>Bad Gateway</title></head></html>");
        assert_eq!(fault.message, "provider `acme` (model `m`) answered status 502 and an HTML page: Bad Gateway");
        assert!(fault.hint.unwrap().contains("http://acme.test/v1"));
    }

    #[test]
    fn a_base_url_without_a_version_is_suspected() {
        let head = Head { status: 404, ..Head::default() };
        let bare = origin("http://acme.test/").answered(&head, b"404 page not found");
        assert!(bare.hint.unwrap().contains("`http://acme.test/v1`"));
        let whole = origin("http://acme.test/v1").answered(&head, b"{\"error\":\"no\"}");
        assert!(whole.hint.unwrap().contains("model's name"));
    }

    #[test]
    fn the_provider_may_overrule_its_status() {
        let head = |should_retry| Head { status: 500, should_retry: Some(should_retry), ..Head::default() };
        let origin = origin("http://acme.test/v1");
        assert_eq!(origin.answered(&head(false), b"{\"error\":\"x\"}").class, Class::Step);
        assert_eq!(origin.answered(&head(false), b"<html>").class, Class::Step, "also where a proxy answered");
        let head = Head { status: 400, should_retry: Some(true), ..Head::default() };
        assert_eq!(origin.answered(&head, b"{\"error\":\"x\"}").class, Class::Retry);
    }
}
