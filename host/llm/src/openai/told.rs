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
];

/// Codes and types of a conversation that is too long; llama.cpp has the second.
const TOO_LONG: &[&str] = &["context_length_exceeded", "exceed_context_size_error"];

/// What a provider says of an error.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) message: String,
    pub(super) r#type: Option<String>,
    pub(super) code: Option<String>,
    /// A status in place of the code, as OpenRouter sends it.
    status: Option<u16>,
}

impl Told {
    /// Reads `{"error": {..}}`, `{"error": ".."}` or the inner part alone.
    pub(super) fn read(value: &Value) -> Self {
        let inner = value.get("error").filter(|inner| !inner.is_null()).unwrap_or(value);
        if let Some(message) = inner.as_str() {
            return Self { message: message.to_owned(), ..Self::default() };
        }
        let text = |name: &str| inner.get(name).and_then(Value::as_str).map(str::to_owned);
        let message = text("message").or_else(|| text("detail")).unwrap_or_else(|| inner.to_string());
        let status = inner.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        Self { message, r#type: text("type"), code: text("code"), status }
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
        if self.is(QUOTA) {
            return Kind::Quota;
        }
        if self.is(TOO_LONG) || self.says(&["maximum context length", "context length exceeded"]) {
            return Kind::ContextLength;
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
            (&["invalid_api_key", "authentication_error", "permission_error"], Kind::Auth),
            (&["rate_limit_exceeded", "rate_limit_error", "slow_down", "requests", "tokens"], Kind::RateLimited),
            (&["invalid_request_error", "BadRequestError"], Kind::BadRequest),
            (&["not_found_error"], Kind::NotFound),
        ];
        if let Some((_, kind)) = names.iter().find(|(names, _)| self.is(names)) {
            return *kind;
        }
        if self.says(&["not found", "does not exist"]) { Kind::NotFound } else { Kind::Unavailable }
    }
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
}
