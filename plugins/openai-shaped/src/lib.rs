//! Asks any endpoint that speaks the chat completions protocol. The answer comes as a whole: the network door of plugins
//! has no streams.

mod wire;

use cofferdam_sdk::model::{Chunk, Model, ModelDef, Request};
use cofferdam_sdk::{Context, Error, ErrorKind, Result, http};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// Longer answers are no answers.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The endpoint up to `/chat/completions`, e.g. `https://api.example.com/v1`; the grant must name the same host.
    base_url: String,
    /// The secret that holds the key; the grant must allow its injection or placeholder. Default: none is sent.
    #[serde(default)]
    key: Option<String>,
}

/// The model.
pub struct Chat;

impl Model for Chat {
    type Completion = std::vec::IntoIter<Chunk>;

    /// Whatever the endpoint has; none is known before it is asked.
    fn list() -> Vec<ModelDef> {
        Vec::new()
    }

    fn complete(ctx: &Context, request: &Request) -> Result<Self::Completion> {
        let config: Config = ctx.config()?;
        let url = format!("{}/chat/completions", config.base_url.trim_end_matches('/'));
        let body = wire::body(request).to_string();
        let mut post =
            http::Request::post(url, body).header("content-type", "application/json").max_response_bytes(MOST_BYTES);
        if let Some(name) = &config.key {
            post = post.header("authorization", format!("Bearer {}", ctx.secret_placeholder(name)?));
        }
        let answer = ctx.fetch(post)?;
        if answer.status != 200 {
            return Err(refused(&answer));
        }
        Ok(wire::chunks(&answer.json()?)?.into_iter())
    }
}

fn refused(answer: &http::Response) -> Error {
    let kind = match answer.status {
        401 | 403 => ErrorKind::AuthRequired,
        404 => ErrorKind::NotFound,
        429 => ErrorKind::RateLimited,
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::InvalidInput,
    };
    let told: Option<serde_json::Value> = answer.json().ok();
    let told = told.as_ref().and_then(|body| body.pointer("/error/message")?.as_str());
    let text = told.map(|told| format!(": {}", told.chars().take(300).collect::<String>())).unwrap_or_default();
    let error = Error::new(kind, format!("the endpoint answered {}{text}", answer.status));
    match answer.header("retry-after").and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => error.with_retry_after(Duration::from_secs(seconds)),
        None => error,
    }
}

cofferdam_sdk::plugin!(id = "cofferdam/openai-shaped", config = Config, model = Chat);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::Fake;
    use cofferdam_sdk::model::{FinishReason, Message, ToolCall, ToolChoice};
    use serde_json::{Value, json};

    const BASE: &str = "https://api.example.com/v1";

    fn ask(host: &Fake) -> Result<Vec<Chunk>> {
        let request = Request {
            model: "m".into(),
            messages: vec![
                Message::System("Be brief.".into()),
                Message::User { text: "Hello".into(), attachments: Vec::new() },
            ],
            tools: Vec::new(),
            choice: ToolChoice::Auto,
            temperature: Some(0.5),
            top_p: None,
            max_tokens: Some(9),
        };
        Chat::complete(&host.context(), &request).map(Iterator::collect)
    }

    fn host(status: u16, body: &Value) -> Fake {
        Fake::new()
            .config(json!({ "base_url": BASE, "key": "KEY" }))
            .secret("KEY")
            .respond(format!("{BASE}/chat/completions"), http::Response::new(status, body.to_string()))
    }

    #[test]
    fn a_request_and_its_answer() {
        let call = json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } });
        let answer = json!({
            "choices": [{ "message": { "content": "Hi", "tool_calls": [call] }, "finish_reason": "tool_calls" }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 2 },
        });
        let host = host(200, &answer);
        let expected = [
            Chunk::Text("Hi".into()),
            Chunk::ToolCall(ToolCall { id: "c1".into(), name: "f".into(), arguments: "{\"x\":1}".into() }),
            Chunk::Usage { input: 7, output: 2 },
            Chunk::Finished(FinishReason::ToolCalls),
        ];
        assert_eq!(ask(&host).unwrap(), expected);
        let sent = host.requests().pop().unwrap();
        let body: Value = serde_json::from_slice(sent.body.as_deref().unwrap()).unwrap();
        let messages = json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hello" }]);
        assert_eq!(body, json!({ "model": "m", "messages": messages, "temperature": 0.5, "max_tokens": 9 }));
        assert!(
            sent.headers.iter().any(|(name, value)| name == "authorization" && value == b"Bearer placeholder-of-KEY")
        );
    }

    #[test]
    fn failures_say_what_to_do_next() {
        for (status, kind) in [
            (401, ErrorKind::AuthRequired),
            (404, ErrorKind::NotFound),
            (429, ErrorKind::RateLimited),
            (503, ErrorKind::Unavailable),
            (400, ErrorKind::InvalidInput),
        ] {
            let error = ask(&host(status, &json!({ "error": { "message": "no" } }))).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.message(), format!("the endpoint answered {status}: no"));
        }
    }

    #[test]
    fn an_answer_that_was_cut_is_no_answer() {
        for body in [json!({}), json!({ "choices": [] }), json!({ "choices": [{ "message": { "content": "Hi" } }] })] {
            assert!(ask(&host(200, &body)).is_err(), "{body}");
        }
    }
}
