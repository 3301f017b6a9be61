//! Pages that say what models there are: every mode is one. It must not know what a mode does.

use crate::http::Request;
use crate::mode::modes;
use crate::reply::Reply;
use serde_json::{Value, json};

/// The page at a path; none if there is none.
pub(crate) fn page(request: &Request) -> Option<Reply> {
    let is_gemini = request.header("x-goog-api-key").is_some() || request.parameter("key").is_some();
    let page = match request.path() {
        "/" => return Some(Reply::document(200, "text/plain; charset=utf-8", "Ollama is running")),
        "/api/version" => json!({"version": "0.13.0"}),
        "/api/tags" => json!({"models": each(tag)}),
        "/v1beta/models" => json!({"models": each(google)}),
        "/v1/models" if is_gemini => json!({"models": each(google)}),
        "/v1/models" if request.header("anthropic-version").is_some() => {
            let ids: Vec<&str> = modes().iter().map(|mode| mode.name).collect();
            json!({"data": each(anthropic), "has_more": false, "first_id": ids.first(), "last_id": ids.last()})
        }
        "/v1/models" | "/models" | "/openai/v1/models" => json!({"object": "list", "data": each(openai)}),
        _ => return None,
    };
    Some(Reply::json(200, &page))
}

fn each(entry: impl Fn(&str, &str) -> Value) -> Vec<Value> {
    modes().iter().map(|mode| entry(mode.name, mode.about)).collect()
}

fn openai(name: &str, _about: &str) -> Value {
    json!({"id": name, "object": "model", "created": 1_790_000_000, "owned_by": "model-server"})
}

fn anthropic(name: &str, about: &str) -> Value {
    json!({"type": "model", "id": name, "display_name": about, "created_at": "2026-11-20T00:00:00Z"})
}

fn google(name: &str, about: &str) -> Value {
    json!({
        "name": format!("models/{name}"),
        "displayName": name,
        "description": about,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    })
}

fn tag(name: &str, _about: &str) -> Value {
    let details =
        json!({"format": "gguf", "family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"});
    json!({
        "name": format!("{name}:latest"),
        "model": format!("{name}:latest"),
        "modified_at": "2026-11-20T08:00:00Z",
        "size": 2_019_393_189_u64,
        "digest": "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
        "details": details,
    })
}
