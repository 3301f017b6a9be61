//! A result that fits a schema: by the provider's own guarantee where it has one, else by a tool, else by the prompt.
//!
//! It must not validate: whoever asked checks the whole schema. Whatever the way, the result comes as a call of the tool
//! that hands it over, so that conversations and records are the same with every model.

use crate::provider::Provider;
use crate::schema::{Use, fit, without_nulls};
use cofferdam_core::message::{Message, ToolCall};
use cofferdam_core::port::{FinishReason, ModelEvent, ModelRequest, ModelStream, ResultTool, ToolChoice, ToolSpec};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How a model is had to give a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Way {
    /// The provider guarantees that its answer fits.
    Guaranteed,
    /// The model calls a tool.
    Tool,
    /// The model is asked for JSON and nothing else.
    Prompt,
}

/// The best way that is known to work with a model; a provider that refuses one is not asked for it again.
#[derive(Debug)]
pub(crate) struct KnownWay(AtomicU8);

impl KnownWay {
    pub(crate) fn of(provider: &Provider) -> Self {
        Self(AtomicU8::new(if provider.guarantees_schemas { Way::Guaranteed } else { Way::Tool } as u8))
    }

    pub(crate) fn get(&self) -> Way {
        match self.0.load(Ordering::Relaxed) {
            0 => Way::Guaranteed,
            1 => Way::Tool,
            _ => Way::Prompt,
        }
    }

    /// The next way, when the provider refused this one by these words; none where that is not what it complains of.
    pub(crate) fn after(&self, way: Way, complaint: &str) -> Option<Way> {
        let complaint = complaint.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let next = match way {
            Way::Guaranteed if says(SCHEMA_WORDS) => Way::Tool,
            Way::Guaranteed | Way::Tool if says(TOOL_WORDS) => Way::Prompt,
            _ => return None,
        };
        self.0.fetch_max(next as u8, Ordering::Relaxed);
        Some(next)
    }
}

/// Words of a provider that does not take a schema for its answer.
const SCHEMA_WORDS: &[&str] = &[
    "response_format",
    "json_schema",
    "output_config",
    "output_format",
    "responsejsonschema",
    "response_schema",
    "schema",
];
/// Words of a provider whose model has no tools.
const TOOL_WORDS: &[&str] = &[
    "does not support tools",
    "tool_choice",
    "tool use",
    "tools are not supported",
    "tool calling",
    "function calling",
];

/// A request as it is sent, and what is made of its answer.
pub(crate) struct Shaped {
    /// Its `result` is what the answer must be guaranteed to fit, as the provider's protocol takes it.
    pub(crate) request: ModelRequest,
    /// Whether the answer's text is the result.
    reads: Option<(ResultTool, Way)>,
    turn: u32,
}

/// Shapes a request. A result is asked for in another way than by its tool when it is all that may come: when the tool
/// is the only one, or must be used.
pub(crate) fn shape(provider: &Provider, way: Way, request: ModelRequest) -> Shaped {
    let turn = request.turn;
    let plain = |request| Shaped { request: ModelRequest { result: None, ..request }, reads: None, turn };
    let Some(result) = request.result.clone() else {
        return plain(request);
    };
    let is_owed = request.tool_choice == ToolChoice::Tool(result.name.to_string());
    let others: Arc<[ToolSpec]> = request.tools.iter().filter(|tool| *tool.name != *result.name).cloned().collect();
    let is_all = is_owed || others.is_empty();
    let format = (way == Way::Guaranteed && is_all).then(|| fit(provider.api, Use::Result, &result.schema));
    let format = format.filter(|fitted| fitted.unfit.is_none());
    let format = format.map(|fitted| ResultTool { name: Arc::clone(&result.name), schema: Arc::new(fitted.schema) });
    let way = match (way, &format) {
        (Way::Guaranteed, Some(_)) | (Way::Prompt, _) => way,
        _ => return plain(request),
    };
    let mut messages = told_in_words(&request.messages, &result.name);
    if way == Way::Prompt && is_all {
        messages.push(Message::user(format!(
            "Answer with JSON that fits this JSON Schema, and with nothing else: no prose, no code fence.\n{}",
            result.schema
        )));
    }
    let tool_choice = if is_owed { ToolChoice::None } else { request.tool_choice.clone() };
    let request = ModelRequest { messages: Arc::new(messages), tools: others, tool_choice, result: format, ..request };
    Shaped { request, reads: is_all.then_some((result, way)), turn }
}

/// The conversation without calls of a tool that is not on offer: what was handed over and what was said of it, in words.
fn told_in_words(messages: &[Message], tool: &str) -> Vec<Message> {
    let (mut told, mut replies) = (Vec::with_capacity(messages.len() + 1), Vec::new());
    for message in messages {
        match message {
            // What is said of it stands behind the results of other calls, which must follow the calls at once.
            Message::Tool { name, text, .. } if name == tool => replies.push(Message::user(Arc::clone(text))),
            Message::Tool { .. } => told.push(message.clone()),
            other => {
                told.append(&mut replies);
                told.push(without_calls_of(tool, other));
            }
        }
    }
    told.append(&mut replies);
    told
}

/// A message with what it hands over by a tool as its text.
fn without_calls_of(tool: &str, message: &Message) -> Message {
    let Message::Assistant { text, tool_calls, opaque } = message else {
        return message.clone();
    };
    let (own, others): (Vec<&ToolCall>, Vec<&ToolCall>) = tool_calls.iter().partition(|call| call.name == tool);
    if own.is_empty() {
        return message.clone();
    }
    let written = own.iter().map(|call| call.arguments.as_str());
    let text: Vec<&str> = Some(&**text).filter(|text| !text.is_empty()).into_iter().chain(written).collect();
    let tool_calls = others.into_iter().cloned().collect();
    Message::Assistant { text: text.join("\n").into(), tool_calls, opaque: opaque.clone() }
}

impl Shaped {
    /// The answer, with its text as a call of the tool that hands over the result, where it is one.
    pub(crate) fn read(self, answer: ModelStream) -> ModelStream {
        let Some((tool, way)) = self.reads else {
            return answer;
        };
        let state = Reading { answer, tool, way, turn: self.turn, text: String::new(), calls: false };
        let events = stream::unfold(state, |mut state| async move {
            let events = state.next().await?;
            Some((stream::iter(events), state))
        });
        Box::pin(events.flatten())
    }
}

/// An answer on its way, whose text is kept.
struct Reading {
    answer: ModelStream,
    tool: ResultTool,
    way: Way,
    turn: u32,
    text: String,
    calls: bool,
}

type Event = Result<ModelEvent, cofferdam_core::fault::Fault>;

impl Reading {
    async fn next(&mut self) -> Option<Vec<Event>> {
        Some(match self.answer.next().await? {
            Ok(ModelEvent::Text(text)) => {
                self.text.push_str(&text);
                Vec::new()
            }
            Ok(ModelEvent::ToolCall(call)) => {
                self.calls = true;
                vec![Ok(ModelEvent::ToolCall(call))]
            }
            Ok(ModelEvent::Finished(reason)) => self.end(reason),
            other => vec![other],
        })
    }

    fn end(&mut self, reason: FinishReason) -> Vec<Event> {
        let text = std::mem::take(&mut self.text);
        let is_result = reason == FinishReason::Stop && !self.calls && !text.trim().is_empty();
        if !is_result {
            let said = (!text.is_empty()).then_some(Ok(ModelEvent::Text(text)));
            return said.into_iter().chain([Ok(ModelEvent::Finished(reason))]).collect();
        }
        let arguments = self.result(&text);
        let call = ToolCall { id: format!("call_{}_result", self.turn), name: self.tool.name.to_string(), arguments };
        vec![Ok(ModelEvent::ToolCall(call)), Ok(ModelEvent::Finished(FinishReason::ToolCalls))]
    }

    /// What was written, as arguments; what is no JSON stays as it is, for whoever says what is wrong with it.
    fn result(&self, text: &str) -> String {
        let written = if self.way == Way::Prompt { json_of(text) } else { text.trim() };
        match serde_json::from_str::<Value>(written) {
            Ok(mut value) => {
                if self.way == Way::Guaranteed {
                    without_nulls(&mut value, &self.tool.schema);
                }
                value.to_string()
            }
            Err(_) => written.to_owned(),
        }
    }
}

/// The JSON in what a model wrote around it: without a fence, and from its first bracket to its last.
fn json_of(text: &str) -> &str {
    let trimmed = text.trim();
    let fenced = trimmed.split_once("```").and_then(|(_, rest)| {
        let (language, body) = rest.split_once('\n')?;
        let is_language = language.trim().chars().all(|letter| letter.is_ascii_alphanumeric());
        body.split_once("```").map(|(body, _)| body.trim()).filter(|_| is_language)
    });
    let text = fenced.unwrap_or(trimmed);
    let (Some(start), Some(end)) = (text.find(['{', '[']), text.rfind(['}', ']'])) else {
        return text;
    };
    text.get(start..=end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use crate::testing;
    use serde_json::json;

    fn request(tools: &[&str], choice: ToolChoice) -> ModelRequest {
        let mut request = testing::request("a", "count");
        let schema = Arc::new(json!({ "type": "object", "properties": { "n": { "type": "integer" } } }));
        let tool = |name: &&str| ToolSpec {
            name: (*name).to_owned(),
            description: String::new(),
            parameters: Arc::new(json!({ "type": "object" })),
        };
        request.tools = tools.iter().map(tool).collect();
        request.tool_choice = choice;
        request.result = Some(ResultTool { name: "submit".into(), schema });
        request
    }

    fn openai() -> Provider {
        Known::find("openai").unwrap().provider()
    }

    fn owed() -> ToolChoice {
        ToolChoice::Tool("submit".to_owned())
    }

    #[test]
    fn a_result_is_guaranteed_where_it_is_all_that_may_come() {
        for (tools, choice, guaranteed, left) in [
            (&["submit"][..], ToolChoice::Auto, true, 0),
            (&["look", "submit"], owed(), true, 1),
            (&["look", "submit"], ToolChoice::Auto, false, 2),
        ] {
            let shaped = shape(&openai(), Way::Guaranteed, request(tools, choice));
            assert_eq!((shaped.request.result.is_some(), shaped.request.tools.len()), (guaranteed, left), "{tools:?}");
        }
        let shaped = shape(&openai(), Way::Tool, request(&["submit"], owed()));
        assert_eq!((shaped.request.result, shaped.request.tools.len()), (None, 1));
        let mut free = request(&["submit"], owed());
        free.result = Some(ResultTool { name: "submit".into(), schema: Arc::new(json!({ "type": "object" })) });
        assert!(shape(&openai(), Way::Guaranteed, free).request.result.is_none(), "the provider could not say it");
    }

    #[test]
    fn without_tools_the_prompt_asks_and_earlier_tries_are_words() {
        let mut asked = request(&["submit"], ToolChoice::Auto);
        let call = ToolCall { id: "c".into(), name: "submit".into(), arguments: "{\"n\":1.5}".into() };
        let refused = Message::Tool {
            call_id: "c".into(),
            name: "submit".into(),
            text: "n is no integer".into(),
            is_error: true,
        };
        let messages = Arc::make_mut(&mut asked.messages);
        messages.extend([Message::Assistant { text: "".into(), tool_calls: vec![call], opaque: Vec::new() }, refused]);
        let shaped = shape(&openai(), Way::Prompt, asked);
        let texts: Vec<&str> = shaped.request.messages.iter().map(Message::text).collect();
        assert_eq!(texts[..3], ["count", "{\"n\":1.5}", "n is no integer"]);
        assert!(texts[3].contains("\"integer\"") && shaped.request.tools.is_empty());
        assert!(shaped.request.messages.iter().all(|message| !matches!(message, Message::Tool { .. })));
    }

    #[test]
    fn what_is_said_of_a_result_does_not_come_between_calls_and_their_results() {
        let call = |id: &str, name: &str| ToolCall { id: id.into(), name: name.into(), arguments: "{}".into() };
        let reply = |id: &str, name: &str| Message::Tool {
            call_id: id.into(),
            name: name.into(),
            text: id.into(),
            is_error: false,
        };
        let calls = vec![call("a", "submit"), call("b", "look")];
        let told = told_in_words(
            &[
                Message::Assistant { text: "".into(), tool_calls: calls, opaque: Vec::new() },
                reply("a", "submit"),
                reply("b", "look"),
                Message::user("on"),
            ],
            "submit",
        );
        let kinds: Vec<(&str, bool)> =
            told.iter().map(|message| (message.text(), matches!(message, Message::Tool { .. }))).collect();
        assert_eq!(kinds, [("{}", false), ("b", true), ("a", false), ("on", false)]);
    }

    async fn read(way: Way, said: &[&str], reason: FinishReason) -> testing::Outcome {
        let shaped = shape(&openai(), way, request(&["submit"], ToolChoice::Auto));
        let said = said.iter().map(|text| Ok(ModelEvent::Text((*text).to_owned())));
        let events: Vec<Event> = said.chain([Ok(ModelEvent::Finished(reason))]).collect();
        testing::drain(Ok(shaped.read(Box::pin(stream::iter(events))))).await
    }

    #[tokio::test]
    async fn the_answer_is_a_call_of_the_tool() {
        for (way, said, arguments) in [
            (Way::Guaranteed, &["{\"n\"", ":1}"][..], "{\"n\":1}"),
            (Way::Guaranteed, &["{\"n\":null}"], "{}"),
            (Way::Prompt, &["Sure:\n```json\n{\"n\": 2}\n```\nDone."], "{\"n\":2}"),
            (Way::Prompt, &["It is {\"n\":3} so"], "{\"n\":3}"),
            (Way::Prompt, &["no idea"], "no idea"),
        ] {
            let outcome = read(way, said, FinishReason::Stop).await;
            let calls: Vec<(&str, &str)> =
                outcome.calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
            assert_eq!((calls, outcome.text.as_str()), (vec![("submit", arguments)], ""), "{said:?}");
            assert_eq!(outcome.end, Ok(FinishReason::ToolCalls));
        }
    }

    #[tokio::test]
    async fn what_was_cut_or_refused_is_no_result() {
        for reason in [FinishReason::Length, FinishReason::Refusal, FinishReason::ContentFilter] {
            let outcome = read(Way::Guaranteed, &["{\"n\":"], reason).await;
            assert_eq!((outcome.calls.len(), outcome.text.as_str(), outcome.end), (0, "{\"n\":", Ok(reason)));
        }
    }

    #[test]
    fn a_refused_way_is_not_taken_again() {
        let known = KnownWay::of(&openai());
        assert_eq!(known.get(), Way::Guaranteed);
        assert_eq!(known.after(Way::Guaranteed, "maximum context length"), None);
        assert_eq!(
            known.after(Way::Guaranteed, "'response_format' of type 'json_schema' is not supported"),
            Some(Way::Tool)
        );
        assert_eq!((known.get(), known.after(Way::Tool, "m does not support tools")), (Way::Tool, Some(Way::Prompt)));
        assert_eq!((known.get(), known.after(Way::Prompt, "does not support tools")), (Way::Prompt, None));
        assert_eq!(KnownWay::of(&Provider::new("corp", "http://x/v1")).get(), Way::Tool);
    }
}
