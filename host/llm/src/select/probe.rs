//! Asks a local Ollama which models it has.
//!
//! It must not take longer than its bound, and no answer is not an error.

use cofferdam_core::limits;
use cofferdam_egress::{HeaderMap, ProviderClient, Timeouts};
use serde_json::Value;
use std::time::Duration;

/// The first model that can hold a conversation, or nothing when no Ollama answers in time.
pub(super) async fn first_ollama_model(client: &ProviderClient, base: &str) -> Option<String> {
    let wait = Duration::from_millis(limits::MODEL_PROBE_MS);
    let timeouts = Timeouts { connect: wait, headers: wait, idle: wait, total: wait };
    let url = format!("{base}/api/tags");
    let asked = client.get(&url, HeaderMap::new(), limits::MODEL_ERROR_BODY_BYTES, timeouts);
    let response = tokio::time::timeout(wait, asked).await.ok()?.ok()?;
    if response.status != 200 {
        return None;
    }
    first_conversational(&serde_json::from_slice(&response.body).ok()?)
}

/// The first of the listed models that is not one for embeddings.
fn first_conversational(tags: &Value) -> Option<String> {
    let is_embedder = |model: &&Value| {
        let family = model.get("details").and_then(|details| details.get("family")).and_then(Value::as_str);
        let name = model.get("name").and_then(Value::as_str).unwrap_or_default();
        name.contains("embed") || family.is_some_and(|family| family.contains("bert"))
    };
    let models = tags.get("models")?.as_array()?;
    let first = models.iter().find(|model| !is_embedder(model))?;
    first.get("name")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::first_conversational;
    use serde_json::json;

    #[test]
    fn models_for_embeddings_are_passed_over() {
        let tags = json!({"models": [{"name": "all-minilm", "details": {"family": "bert"}}, {"name": "x-embed"}, {"name": "qwen3:8b"}]});
        assert_eq!(first_conversational(&tags).as_deref(), Some("qwen3:8b"));
        assert_eq!(first_conversational(&json!({"models": []})), None);
        assert_eq!(first_conversational(&json!("no")), None);
    }
}
