//! The extracting model, `builtin/extract`: a report made of what stands in the conversation. No neural network.
//!
//! It must never invent: every line of its answer is copied from its input, counted in it, or one of the fixed phrases
//! of this module. It must not call tools, and it says in its first line what it is.

mod fill;
mod markdown;
mod report;
mod sentence;
mod table;

use crate::kind::Kind;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::message::{Message, ToolCall, Usage};
use cofferdam_core::port::{
    BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream, ToolChoice, ToolSpec,
};
use futures_util::stream;
use std::sync::Arc;

/// The name of the extracting model.
pub const NAME: &str = "builtin/extract";

/// Makes a short markdown report of the conversation it is given: the task's first sentence, then headings, first
/// sentences, sentences with figures, tables, and JSON as tables with counts.
///
/// It calls no tool of its own accord. A tool that it is made to use gets arguments that stand, name and value, in JSON
/// of the conversation; when a required one does not stand there, that is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extract;

impl Model for Extract {
    fn info(&self) -> ModelInfo {
        ModelInfo {
            name: Arc::from(NAME),
            is_language_model: false,
            summary: "extracts headings, first sentences, tables and tool outputs; not a language model".to_owned(),
        }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let answer = answer(&request);
        Box::pin(async move { answer })
    }
}

fn answer(request: &ModelRequest) -> Result<ModelStream, Fault> {
    let sources = Sources::of(&request.messages);
    let (said, reason) = match forced(request)? {
        Some(tool) => (ModelEvent::ToolCall(call(tool, &sources, request)?), FinishReason::ToolCalls),
        None => (ModelEvent::Text(report::write(&sources)), FinishReason::Stop),
    };
    let started = ModelEvent::Started { model: Some(NAME.to_owned()), response_id: None };
    let events = [started, said, ModelEvent::Usage(Usage::default()), ModelEvent::Finished(reason)];
    Ok(Box::pin(stream::iter(events.map(Ok))))
}

/// The tool that the request insists on.
fn forced(request: &ModelRequest) -> Result<Option<&ToolSpec>, Fault> {
    match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::None => Ok(None),
        ToolChoice::Required => Ok(request.tools.first().filter(|_| request.tools.len() == 1)),
        ToolChoice::Tool(name) => {
            let found = request.tools.iter().find(|tool| tool.name == *name);
            found.map(Some).ok_or_else(|| Fault::bug(format!("the request forces tool `{name}` without offering it")))
        }
    }
}

fn call(tool: &ToolSpec, sources: &Sources<'_>, request: &ModelRequest) -> Result<ToolCall, Fault> {
    let values = sources.iter().flat_map(markdown::json_values).collect::<Vec<_>>();
    let arguments = fill::arguments(&tool.parameters, &values).map_err(|missing| {
        Kind::NotALanguageModel.fault(format!("{NAME} cannot call `{}`: {missing}", tool.name)).with_hint(format!(
            "{NAME} is not a language model and only copies what earlier steps produced; \
                 give the step a language model (`--model provider/model`)"
        ))
    })?;
    let id = format!("call_{}_1", request.turn);
    Ok(ToolCall { id, name: tool.name.clone(), arguments: arguments.to_string() })
}

/// What is extracted from: the texts of users and tools, without the instructions of the system.
struct Sources<'a>(Vec<&'a str>);

impl<'a> Sources<'a> {
    /// The texts, oldest first, as many whole ones as fit into the bound, the rest of the last one cut.
    fn of(messages: &'a [Message]) -> Self {
        let mut left = limits::EXTRACT_INPUT_BYTES;
        let mut texts = Vec::new();
        for message in messages {
            if let Message::User { text, .. } | Message::Tool { text, .. } = message {
                let end = text.floor_char_boundary(left);
                let (head, _) = text.split_at(end);
                left -= end;
                texts.push(head);
            }
        }
        Self(texts)
    }

    fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{drain, request};
    use serde_json::{Value, json};

    const AUDIT: &str = include_str!("extract/audit_prompt.md");
    const AUDIT_REPORT: &str = include_str!("extract/audit_report.md");

    async fn report(prompt: &str) -> String {
        drain(Extract.stream(request("report", prompt)).await).await.text
    }

    #[tokio::test]
    async fn the_audit_prompt_becomes_this_report() {
        let report = report(AUDIT).await;
        assert_eq!(report, AUDIT_REPORT, "\n{report}");
    }

    #[tokio::test]
    async fn the_report_says_that_no_language_model_wrote_it() {
        assert!(report("").await.lines().next().unwrap().contains("not a language model"));
        assert!(!Extract.info().is_language_model);
    }

    /// Whatever the input, words of the answer are words of the input or of the fixed phrases.
    #[tokio::test]
    async fn no_word_of_the_report_is_invented() {
        let fixed = report("").await + "Totals and counts, rows in all, entries, none, and more items";
        let report = report(AUDIT).await;
        for word in report.split(|found: char| !found.is_alphanumeric()) {
            let is_count = word.bytes().all(|byte| byte.is_ascii_digit());
            assert!(is_count || AUDIT.contains(word) || fixed.contains(word), "`{word}` was invented");
        }
    }

    fn forced_request(prompt: &str, schema: Value) -> ModelRequest {
        let mut request = request("report", prompt);
        let tool =
            ToolSpec { name: "submit_result".to_owned(), description: String::new(), parameters: Arc::new(schema) };
        request.tools = Arc::from([tool]);
        request
    }

    fn schema() -> Value {
        json!({"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}, "note": {"type": "string"}}})
    }

    #[tokio::test]
    async fn it_calls_no_tool_that_it_is_merely_offered() {
        let outcome = drain(Extract.stream(forced_request("{\"count\": 3}", schema())).await).await;
        assert_eq!(outcome.end, Ok(FinishReason::Stop));
        assert!(outcome.calls.is_empty());
    }

    #[tokio::test]
    async fn a_forced_call_is_filled_from_what_was_found() {
        let mut request = forced_request("## Results\n```json\n{\"files\": 1, \"count\": 3}\n```", schema());
        request.tool_choice = ToolChoice::Tool("submit_result".to_owned());
        let outcome = drain(Extract.stream(request).await).await;
        assert_eq!(outcome.calls[0].arguments, "{\"count\":3}");
        assert_eq!(outcome.end, Ok(FinishReason::ToolCalls));
    }

    #[tokio::test]
    async fn a_forced_call_that_cannot_be_filled_is_an_error() {
        let mut request = forced_request("There were 3 of them.", schema());
        request.tool_choice = ToolChoice::Tool("submit_result".to_owned());
        let fault = drain(Extract.stream(request).await).await.end.unwrap_err();
        assert_eq!(fault.code, "model_not_a_language_model");
        assert!(fault.message.contains("`count`"), "{}", fault.message);
    }
}
