//! What Chat Completions and Responses have in common: errors and headers. It must not know their answers.

use crate::failure::Failure;
use crate::wire::About;
use serde_json::{Value, json};

type Headers = Vec<(&'static str, String)>;

pub(crate) fn headers(number: u64) -> Headers {
    vec![
        ("x-request-id", format!("req_{number:08x}")),
        ("openai-processing-ms", "12".to_owned()),
        ("openai-version", "2020-10-01".to_owned()),
        ("x-ratelimit-limit-requests", "5000".to_owned()),
        ("x-ratelimit-remaining-requests", "4999".to_owned()),
        ("x-ratelimit-reset-requests", "120ms".to_owned()),
        ("x-ratelimit-limit-tokens", "800000".to_owned()),
        ("x-ratelimit-remaining-tokens", "799980".to_owned()),
        ("x-ratelimit-reset-tokens", "6m0s".to_owned()),
    ]
}

pub(crate) fn failure(failure: &Failure, about: &About<'_>) -> (Value, Headers) {
    let (kind, code, param, message) = words(failure, about);
    let body = json!({"error": {"message": message, "type": kind, "param": param, "code": code}});
    let mut headers = failure.retry_headers();
    if *failure == Failure::Quota {
        // Waiting would not help; a client that believes this header would wait.
        headers.push(("retry-after", "1".to_owned()));
    }
    (body, headers)
}

type Words = (&'static str, Option<&'static str>, Option<&'static str>, String);

fn words(failure: &Failure, about: &About<'_>) -> Words {
    let invalid = "invalid_request_error";
    match failure {
        Failure::BadRequest => (invalid, Some("unknown_parameter"), Some("x"), "Unknown parameter: 'x'.".to_owned()),
        Failure::Refused(reason) => (invalid, None, None, reason.clone()),
        Failure::Unauthorized | Failure::WithStatus200 => {
            let key = masked(about.key);
            let help = "You can find your API key at https://platform.openai.com/account/api-keys.";
            (invalid, Some("invalid_api_key"), None, format!("Incorrect API key provided: {key}. {help}"))
        }
        Failure::Forbidden => (
            "request_forbidden",
            Some("unsupported_country_region_territory"),
            None,
            "Country, region, or territory not supported".to_owned(),
        ),
        Failure::NotFound => {
            let message = format!("The model `{}` does not exist or you do not have access to it.", about.model);
            (invalid, Some("model_not_found"), None, message)
        }
        Failure::TooLarge => (invalid, Some("request_too_large"), None, "The request is too large.".to_owned()),
        Failure::Unprocessable => (invalid, None, None, "The request could not be processed.".to_owned()),
        Failure::RateLimit(_) => {
            let message = format!("Rate limit reached for {} on requests per min (RPM).", about.model);
            ("requests", Some("rate_limit_exceeded"), None, message)
        }
        Failure::Quota => {
            let message = "You exceeded your current quota, please check your plan and billing details.";
            ("insufficient_quota", Some("credit_balance_exhausted"), None, message.to_owned())
        }
        Failure::Unavailable => {
            let message = "The server is overloaded. Please try again later.";
            ("service_unavailable_error", Some("server_is_overloaded"), None, message.to_owned())
        }
        Failure::Internal | Failure::Overloaded | Failure::BadGateway | Failure::SignIn => {
            let message = "The server had an error while processing your request.";
            ("server_error", None, None, message.to_owned())
        }
    }
}

/// As OpenAI writes keys into messages: the beginning, stars, the last four letters.
fn masked(key: &str) -> String {
    let letters: Vec<char> = key.chars().collect();
    match letters.len() {
        0 => "''".to_owned(),
        1..=12 => "*".repeat(letters.len()),
        length => {
            let first: String = letters.iter().take(8).collect();
            let last: String = letters.iter().skip(length - 4).collect();
            format!("{first}{}{last}", "*".repeat(length - 12))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn keys_in_messages_have_stars() {
        assert_eq!(masked("sk-proj-0123456789abcdef"), "sk-proj-************cdef");
        assert_eq!((masked("short").as_str(), masked("").as_str()), ("*****", "''"));
    }
}
