//! What a provider says of an error, and which kind of error that is.
//!
//! It must not phrase messages or decide about retries.

use crate::kind::Kind;
use serde_json::Value;

/// Codes and types that mean an empty account: waiting does not help, whatever the status.
const QUOTA: &[&str] = &[
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_error",
    "enforced_spend_limit_reached",
];

/// Codes and types of a conversation that is too long; llama.cpp has the second.
const TOO_LONG: &[&str] = &["context_length_exceeded", "exceed_context_size_error"];

/// Words of such an error where no code tells it: OpenAI, Anthropic, Google.
const TOO_LONG_WORDS: &[&str] = &[
    "maximum context length",
    "context length exceeded",
    "prompt is too long",
    "exceeds the maximum number of tokens",
];

/// Words of an empty account where no code tells it: Ollama.
const QUOTA_WORDS: &[&str] = &["weekly usage limit", "monthly usage limit", "upgrade for higher limits"];

/// Codes, types and reasons of a key that is wrong, whatever the status: Google answers 400.
const BAD_KEY: &[&str] = &["invalid_api_key", "API_KEY_INVALID"];

/// What a provider says of an error.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) message: String,
    pub(super) r#type: Option<String>,
    pub(super) code: Option<String>,
    /// The id of the request, where the body has it.
    pub(super) request_id: Option<String>,
    /// How long to wait, where the body says it.
    pub(super) retry_after_ms: Option<u64>,
    /// A status in place of the code, as OpenRouter and Google send it.
    status: Option<u16>,
    /// Whether a bound for a day was reached, which no wait of ours outlasts.
    is_of_a_day: bool,
}

impl Told {
    /// Reads `{"error": {..}}`, `{"error": ".."}` or the inner part alone.
    pub(super) fn read(value: &Value) -> Self {
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        let inner = value.get("error").filter(|inner| !inner.is_null()).unwrap_or(value);
        if let Some(message) = inner.as_str() {
            return Self { message: message.to_owned(), ..Self::default() };
        }
        let text = |name: &str| inner.get(name).and_then(Value::as_str).map(str::to_owned);
        let message = text("message").or_else(|| text("detail")).unwrap_or_else(|| inner.to_string());
        let status = inner.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let details = inner.get("details");
        let code = details.and_then(|details| details.get("error_code")).and_then(Value::as_str).map(str::to_owned);
        let parts = details.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self {
            message,
            r#type: text("type").or_else(|| text("status")),
            code: code.or_else(|| text("code")).or_else(|| parts.iter().find_map(reason)),
            request_id: value.get("request_id").and_then(Value::as_str).map(str::to_owned),
            retry_after_ms: parts.iter().find_map(|part| wait_ms(part.get("retryDelay")?.as_str()?)),
            status,
            is_of_a_day: parts.iter().any(is_of_a_day),
        }
    }

    fn is(&self, names: &[&str]) -> bool {
        [&self.code, &self.r#type].into_iter().flatten().any(|name| names.contains(&name.as_str()))
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    }

    /// The kind of the error: what the provider names it, else its status.
    pub(super) fn kind(&self, status: u16) -> Kind {
        if self.is(QUOTA) || self.is_of_a_day || (status == 429 && self.says(QUOTA_WORDS)) {
            return Kind::Quota;
        }
        if self.is(TOO_LONG) || self.says(TOO_LONG_WORDS) {
            return Kind::ContextLength;
        }
        if self.is(BAD_KEY) {
            return Kind::Auth;
        }
        if self.is(&["model_not_found"]) {
            return Kind::NotFound;
        }
        let own = self.status.filter(|own| *own >= 400);
        match own.unwrap_or(status) {
            status if status >= 300 => Kind::of_status(status),
            _ => self.kind_without_status(),
        }
    }

    /// The kind of an error that came with a status of success.
    fn kind_without_status(&self) -> Kind {
        let names: &[(&[&str], Kind)] = &[
            (&["authentication_error", "permission_error", "PERMISSION_DENIED"], Kind::Auth),
            (&["rate_limit_exceeded", "rate_limit_error", "slow_down", "requests", "tokens"], Kind::RateLimited),
            (&["invalid_request_error", "invalid_prompt", "BadRequestError", "INVALID_ARGUMENT"], Kind::BadRequest),
            (&["not_found_error"], Kind::NotFound),
            (&["timeout_error"], Kind::Timeout),
        ];
        if let Some((_, kind)) = names.iter().find(|(names, _)| self.is(names)) {
            return *kind;
        }
        let is_auth = self.message == "unauthorized" || self.message == "forbidden";
        match self.says(&["not found", "does not exist"]) {
            _ if is_auth => Kind::Auth,
            true => Kind::NotFound,
            false => Kind::Unavailable,
        }
    }
}

/// A span of time as Google writes it: `7s`, `0.5s`.
fn wait_ms(text: &str) -> Option<u64> {
    let seconds = text.strip_suffix('s')?.parse::<f64>().ok()?;
    let wait = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(wait.as_millis()).ok().filter(|wait| *wait > 0)
}

/// The reason of a part of Google's details.
fn reason(part: &Value) -> Option<String> {
    part.get("reason").and_then(Value::as_str).map(str::to_owned)
}

/// Whether a part of the details names a quota of a day.
fn is_of_a_day(part: &Value) -> bool {
    let violations = part.get("violations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let id = |violation: &Value| violation.get("quotaId").and_then(Value::as_str).map(str::to_owned);
    violations.iter().filter_map(id).any(|id| id.contains("PerDay"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_is_read_in_every_shape_that_servers_send() {
        for (value, message, kind) in [
            (json!({"error": {"message": "m", "type": "insufficient_quota"}}), "m", Kind::Quota),
            (json!({"error": "m"}), "m", Kind::Unavailable),
            (json!({"message": "m", "code": 401}), "m", Kind::Auth),
            (json!({"error": null, "detail": "m does not exist"}), "m does not exist", Kind::NotFound),
            (json!({"error": {"odd": 1}}), "{\"odd\":1}", Kind::Unavailable),
        ] {
            let told = Told::read(&value);
            assert_eq!((told.message.as_str(), told.kind(200)), (message, kind), "{value}");
        }
    }

    #[test]
    fn each_protocol_says_in_its_own_way_that_waiting_does_not_help() {
        let of_quota = |period: &str| {
            let violation = json!({"quotaId": format!("GenerateRequests{period}PerProject-FreeTier")});
            json!([{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"},
            ]}}])
        };
        let spent = json!({"type": "error", "request_id": "req_1", "error": {"type": "rate_limit_error", "message": "m", "details": {"error_code": "enforced_spend_limit_reached"}}});
        for (value, kind, wait) in [
            (of_quota("PerDay"), Kind::Quota, Some(7_500)),
            (of_quota("PerMinute"), Kind::RateLimited, Some(7_500)),
            (spent.clone(), Kind::Quota, None),
            (json!({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}), Kind::RateLimited, None),
            (
                json!({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}),
                Kind::ContextLength,
                None,
            ),
        ] {
            let told = Told::read(&value);
            assert_eq!((told.kind(429), told.retry_after_ms), (kind, wait), "{value}");
        }
        assert_eq!(Told::read(&spent).request_id.as_deref(), Some("req_1"));
        for odd in ["7", "-1s", "s", "NaNs", "0s"] {
            assert_eq!(wait_ms(odd), None, "{odd}");
        }
    }
}
