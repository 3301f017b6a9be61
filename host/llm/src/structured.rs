//! A result that fits a schema: by the provider's own guarantee where it has one, else by a tool, else by the prompt.
//!
//! It must not validate: whoever asked checks the whole schema. Whatever the way, the result comes as a call of the tool
//! that hands it over, so that conversations and records are the same with every model.

mod words;

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
pub(crate) enum Guarantee {
    /// The provider guarantees that its answer fits.
    Provider,
    /// The model calls a tool.
    Tool,
    /// The model is asked for JSON and nothing else.
    Prompt,
}

/// The best way that is known to work with a model; a provider that refuses one is not asked for it again.
#[derive(Debug)]
pub(crate) struct KnownGuarantee(AtomicU8);

impl KnownGuarantee {
    pub(crate) fn of(provider: &Provider) -> Self {
        Self(AtomicU8::new(if provider.guarantees_schemas { Guarantee::Provider } else { Guarantee::Tool } as u8))
    }

    pub(crate) fn get(&self) -> Guarantee {
        match self.0.load(Ordering::Relaxed) {
            0 => Guarantee::Provider,
            1 => Guarantee::Tool,
            _ => Guarantee::Prompt,
        }
    }

    /// The next way, when the provider refused this one by these words; none where that is not what it complains of.
    pub(crate) fn after(&self, way: Guarantee, complaint: &str) -> Option<Guarantee> {
        // What stands before is our own, with the names of provider and model in it.
        let complaint =
            complaint.split_once(" answered status ").map_or(complaint, |(_, said)| said).to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let next = match way {
            Guarantee::Provider if says(SCHEMA_WORDS) => Guarantee::Tool,
            Guarantee::Provider | Guarantee::Tool if says(TOOL_WORDS) => Guarantee::Prompt,
            _ => return None,
        };
        self.learn(next);
        Some(next)
    }

    /// From now on this way is the first one.
    fn learn(&self, way: Guarantee) {
        self.0.fetch_max(way as u8, Ordering::Relaxed);
    }
}

impl Guarantee {
    /// The way to take when this one is closed.
    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self::Provider => Some(Self::Tool),
            Self::Tool => Some(Self::Prompt),
            Self::Prompt => None,
        }
    }
}

/// Words of a provider that does not take a schema for its answer.
const SCHEMA_WORDS: &[&str] = &[
    "response_format",
    "json_schema",
    "output_config",
    "output_format",
    "responsejsonschema",
    "responsemimetype",
    "response_schema",
    "structured output",
    "json mode",
];
/// Words of a provider whose model has no tools.
const TOOL_WORDS: &[&str] = &[
    "does not support tools",
    "support tool use",
    "tool_choice",
    "tool choice",
    "tools are not supported",
    "tool calling",
    "function calling",
];

/// A request as it is sent, and what is made of its answer.
pub(crate) struct Shaped {
    /// Its `result` is what the answer must be guaranteed to fit, as the provider's protocol takes it.
    pub(crate) request: ModelRequest,
    /// How the answer's text is the result, if it is.
    reads: Option<Reads>,
}

/// A result in the text of an answer.
struct Reads {
    tool: ResultTool,
    way: Guarantee,
    /// The id of the call that it becomes.
    id: String,
}

/// Shapes a request. A result is asked for in another way than by its tool when it is all that may come: when the tool
/// is the only one, or must be used. One that was guaranteed and refused all the same is asked for by the tool.
pub(crate) fn shape(provider: &Provider, way: Guarantee, request: ModelRequest) -> Shaped {
    let turn = request.turn;
    let Some(result) = request.result.clone() else {
        return plain(request);
    };
    let is_owed = request.tool_choice == ToolChoice::Tool(result.name.to_string());
    let others: Arc<[ToolSpec]> = request.tools.iter().filter(|tool| *tool.name != *result.name).cloned().collect();
    let is_all = is_owed || others.is_empty();
    let may_be_guaranteed = way == Guarantee::Provider && is_all && !was_refused(&request.messages, &result.name);
    let format = may_be_guaranteed.then(|| fit(provider.api, Use::Result, &result.schema));
    let format = format.filter(|fitted| fitted.unfit.is_none());
    let format = format.map(|fitted| ResultTool { name: Arc::clone(&result.name), schema: Arc::new(fitted.schema) });
    if format.is_none() && way != Guarantee::Prompt {
        return plain(request);
    }
    let mut messages = words::instead_of(&request.messages, |call| call.name == *result.name);
    let (mut tools, mut tool_choice) = (others, request.tool_choice.clone());
    if is_owed {
        tool_choice = ToolChoice::None;
    }
    if way == Guarantee::Prompt && is_all {
        messages.push(Message::user(format!(
            "Answer with JSON that fits this JSON Schema, and with nothing else: no prose, no code fence.\n{}",
            result.schema
        )));
        // A model without tools may refuse a choice between none of them as well.
        (tools, tool_choice) = (Arc::from([]), ToolChoice::Auto);
    }
    let id = format!("{}{turn}_{}{}", words::MADE_BEFORE, request.messages.len(), words::MADE_AFTER);
    let request = ModelRequest { messages: Arc::new(messages), tools, tool_choice, result: format, ..request };
    Shaped { request, reads: is_all.then_some(Reads { tool: result, way, id }) }
}

/// A request whose result, if one is owed, is handed over by the tool. What was made a call of it here was none to the model.
fn plain(request: ModelRequest) -> Shaped {
    let messages = words::instead_of_made(&request.messages);
    Shaped { request: ModelRequest { messages, result: None, ..request }, reads: None }
}

/// Whether a result was handed over and not accepted.
fn was_refused(messages: &[Message], tool: &str) -> bool {
    let refused = |message: &Message| matches!(message, Message::Tool { name, is_error: true, .. } if name == tool);
    messages.iter().any(refused)
}

impl Shaped {
    /// The answer, with its text as a call of the tool that hands over the result, where it is one.
    pub(crate) fn read(self, answer: ModelStream, known: &Arc<KnownGuarantee>) -> ModelStream {
        let Some(reads) = self.reads else {
            return answer;
        };
        let state = Reading { answer, reads, known: Arc::clone(known), text: String::new(), calls: false };
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
    reads: Reads,
    known: Arc<KnownGuarantee>,
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
            // What was said of an answer that breaks off was paid for, and is shown.
            Err(fault) => self.held().into_iter().chain([Err(fault)]).collect(),
            other => vec![other],
        })
    }

    fn end(&mut self, reason: FinishReason) -> Vec<Event> {
        let is_result = reason == FinishReason::Stop && !self.calls && !self.text.trim().is_empty();
        if !is_result {
            return self.held().into_iter().chain([Ok(ModelEvent::Finished(reason))]).collect();
        }
        let text = std::mem::take(&mut self.text);
        let arguments = self.result(&text);
        let call = ToolCall { id: self.reads.id.clone(), name: self.reads.tool.name.to_string(), arguments };
        vec![Ok(ModelEvent::ToolCall(call)), Ok(ModelEvent::Finished(FinishReason::ToolCalls))]
    }

    /// What was kept back, as text.
    fn held(&mut self) -> Option<Event> {
        let text = std::mem::take(&mut self.text);
        (!text.is_empty()).then_some(Ok(ModelEvent::Text(text)))
    }

    /// What was written, as arguments; what is no JSON stays as it is, for whoever says what is wrong with it.
    fn result(&self, text: &str) -> String {
        let written = if self.reads.way == Guarantee::Prompt { json_of(text) } else { text.trim() };
        match serde_json::from_str::<Value>(written) {
            Ok(mut value) => {
                if self.reads.way == Guarantee::Provider {
                    without_nulls(&mut value, &self.reads.tool.schema);
                }
                value.to_string()
            }
            Err(_) => {
                // Whoever writes no JSON guarantees nothing: some servers read over what they do not know.
                if self.reads.way == Guarantee::Provider {
                    self.known.learn(Guarantee::Tool);
                }
                written.to_owned()
            }
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
    use cofferdam_core::fault::Fault;
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
            let shaped = shape(&openai(), Guarantee::Provider, request(tools, choice));
            assert_eq!((shaped.request.result.is_some(), shaped.request.tools.len()), (guaranteed, left), "{tools:?}");
        }
        let shaped = shape(&openai(), Guarantee::Tool, request(&["submit"], owed()));
        assert_eq!((shaped.request.result, shaped.request.tools.len()), (None, 1));
        let mut free = request(&["submit"], owed());
        free.result = Some(ResultTool { name: "submit".into(), schema: Arc::new(json!({ "type": "object" })) });
        assert!(shape(&openai(), Guarantee::Provider, free).request.result.is_none(), "the provider could not say it");
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
        let shaped = shape(&openai(), Guarantee::Prompt, asked);
        let texts: Vec<&str> = shaped.request.messages.iter().map(Message::text).collect();
        assert_eq!(texts[..3], ["count", "{\"n\":1.5}", "n is no integer"]);
        assert!(texts[3].contains("\"integer\"") && shaped.request.tools.is_empty());
        assert!(shaped.request.messages.iter().all(|message| !matches!(message, Message::Tool { .. })));
    }

    async fn read(way: Guarantee, said: &[&str], reason: FinishReason) -> (testing::Outcome, Guarantee) {
        let shaped = shape(&openai(), way, request(&["submit"], ToolChoice::Auto));
        let said = said.iter().map(|text| Ok(ModelEvent::Text((*text).to_owned())));
        let events: Vec<Event> = said.chain([Ok(ModelEvent::Finished(reason))]).collect();
        let known = Arc::new(KnownGuarantee::of(&openai()));
        let outcome = testing::drain(Ok(shaped.read(Box::pin(stream::iter(events)), &known))).await;
        (outcome, known.get())
    }

    #[tokio::test]
    async fn the_answer_is_a_call_of_the_tool() {
        for (way, said, arguments) in [
            (Guarantee::Provider, &["{\"n\"", ":1}"][..], "{\"n\":1}"),
            (Guarantee::Provider, &["{\"n\":null}"], "{}"),
            (Guarantee::Prompt, &["Sure:\n```json\n{\"n\": 2}\n```\nDone."], "{\"n\":2}"),
            (Guarantee::Prompt, &["It is {\"n\":3} so"], "{\"n\":3}"),
            (Guarantee::Prompt, &["no idea"], "no idea"),
        ] {
            let (outcome, _) = read(way, said, FinishReason::Stop).await;
            let calls: Vec<(&str, &str)> =
                outcome.calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
            assert_eq!((calls, outcome.text.as_str()), (vec![("submit", arguments)], ""), "{said:?}");
            assert_eq!(outcome.end, Ok(FinishReason::ToolCalls));
        }
    }

    #[tokio::test]
    async fn what_was_cut_or_refused_is_no_result() {
        for reason in [FinishReason::Length, FinishReason::Refusal, FinishReason::ContentFilter] {
            let (outcome, _) = read(Guarantee::Provider, &["{\"n\":"], reason).await;
            assert_eq!((outcome.calls.len(), outcome.text.as_str(), outcome.end), (0, "{\"n\":", Ok(reason)));
        }
    }

    #[tokio::test]
    async fn who_guarantees_json_and_writes_none_is_asked_by_the_tool_from_then_on() {
        assert_eq!(read(Guarantee::Provider, &["Sure, I can!"], FinishReason::Stop).await.1, Guarantee::Tool);
        assert_eq!(read(Guarantee::Provider, &["{}"], FinishReason::Stop).await.1, Guarantee::Provider);
    }

    #[tokio::test]
    async fn what_an_answer_said_before_it_broke_off_is_shown() {
        let shaped = shape(&openai(), Guarantee::Provider, request(&["submit"], ToolChoice::Auto));
        let broken = Fault::retry("model_truncated", "cut");
        let events: Vec<Event> = vec![Ok(ModelEvent::Text("{\"n\"".to_owned())), Err(broken)];
        let known = Arc::new(KnownGuarantee::of(&openai()));
        let outcome = testing::drain(Ok(shaped.read(Box::pin(stream::iter(events)), &known))).await;
        assert_eq!((outcome.text.as_str(), outcome.end.unwrap_err().message.as_str()), ("{\"n\"", "cut"));
    }

    #[test]
    fn a_result_that_was_refused_is_asked_for_by_the_tool_and_was_no_call_to_the_model() {
        let mut asked = request(&["submit"], ToolChoice::Auto);
        let made = ToolCall { id: "call_1_1_result".into(), name: "submit".into(), arguments: "{}".into() };
        let refused =
            Message::Tool { call_id: made.id.clone(), name: "submit".into(), text: "no".into(), is_error: true };
        let said = Message::Assistant { text: "".into(), tool_calls: vec![made], opaque: Vec::new() };
        Arc::make_mut(&mut asked.messages).extend([said, refused]);
        let shaped = shape(&openai(), Guarantee::Provider, asked);
        assert_eq!((shaped.request.result, shaped.request.tools.len()), (None, 1));
        assert!(shaped.request.messages.iter().all(|message| !matches!(message, Message::Tool { .. })));
    }

    #[test]
    fn a_refused_way_is_not_taken_again() {
        let known = KnownGuarantee::of(&openai());
        assert_eq!(known.get(), Guarantee::Provider);
        assert_eq!(known.after(Guarantee::Provider, "maximum context length"), None);
        assert_eq!(
            known.after(Guarantee::Provider, "'response_format' of type 'json_schema' is not supported"),
            Some(Guarantee::Tool)
        );
        assert_eq!(
            (known.get(), known.after(Guarantee::Tool, "m does not support tools")),
            (Guarantee::Tool, Some(Guarantee::Prompt))
        );
        assert_eq!((known.get(), known.after(Guarantee::Prompt, "does not support tools")), (Guarantee::Prompt, None));
        assert_eq!(KnownGuarantee::of(&Provider::new("corp", "http://x/v1")).get(), Guarantee::Tool);
    }
}
