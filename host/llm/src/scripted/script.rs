//! The script file: its authored shape, and the checked form that answers.
//!
//! It must not read files or answer requests.

use super::pattern::PathPattern;
use crate::kind::Kind;
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::ToolName;
use cofferdam_core::limits;
use cofferdam_core::message::Usage;
use cofferdam_core::port::{FinishReason, ModelRequest};
use regex::Regex;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Characters in a piece of streamed text when the script does not say.
const CHUNK_CHARS: usize = 24;

/// How many answers the error for a missing one lists.
const LISTED_ANSWERS: usize = 5;

/// A script that was checked.
#[derive(Debug)]
pub(super) struct Script {
    /// Characters in a piece; 0: all at once.
    pub(super) chunk: usize,
    pub(super) delay: Duration,
    pub(super) interval: Duration,
    pub(super) usage: Option<Usage>,
    pub(super) answers: Vec<Answer>,
    pub(super) default: Option<Answer>,
}

/// One answer and when it is given.
#[derive(Debug, Default)]
pub(super) struct Answer {
    step: Option<PathPattern>,
    turn: Option<u32>,
    attempt: Option<u32>,
    contains: Option<String>,
    matches: Option<Regex>,
    pub(super) times: Option<u32>,
    pub(super) reasoning: Option<Arc<str>>,
    pub(super) text: Option<Arc<str>>,
    pub(super) calls: Vec<Call>,
    pub(super) usage: Option<Usage>,
    pub(super) finish: Option<FinishReason>,
    pub(super) delay: Option<Duration>,
    pub(super) interval: Option<Duration>,
    /// The error, and how many pieces come before it.
    pub(super) error: Option<(Fault, usize)>,
}

/// A tool call of an answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: Option<String>,
    /// In the wire form.
    pub(super) tool: String,
    /// JSON text, or what the script gives instead.
    pub(super) arguments: String,
}

impl Script {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let options = serde_yaml::options! {
            strict_booleans: true,
            budget: serde_yaml::budget! {
                max_depth: limits::DOCUMENT_DEPTH,
                max_nodes: limits::SCRIPT_NODES,
                max_aliases: limits::DOCUMENT_ALIASES,
            },
        };
        let file: ScriptFile = serde_yaml::from_str_with_options(text, options).map_err(|error| unreadable(&error))?;
        file.check()
    }

    pub(super) fn answering(text: Arc<str>) -> Self {
        Self {
            chunk: 0,
            delay: Duration::ZERO,
            interval: Duration::ZERO,
            usage: None,
            answers: Vec::new(),
            default: Some(Answer { text: Some(text), ..Answer::default() }),
        }
    }

    /// What the script has, for the error about what it has not.
    pub(super) fn summary(&self) -> String {
        if self.answers.is_empty() {
            return "the script has no answers".to_owned();
        }
        let mut listed: Vec<String> = self.answers.iter().take(LISTED_ANSWERS).map(Answer::condition).collect();
        let more = self.answers.len().saturating_sub(LISTED_ANSWERS);
        if more > 0 {
            listed.push(format!("{more} more"));
        }
        format!("the script answers {}", listed.join("; "))
    }
}

impl Answer {
    pub(super) fn fits(&self, request: &ModelRequest, prompt: &str) -> bool {
        self.turn.is_none_or(|turn| turn == request.turn)
            && self.attempt.is_none_or(|attempt| attempt == request.attempt)
            && self.step.as_ref().is_none_or(|step| step.fits(request.path.as_str()))
            && self.contains.as_ref().is_none_or(|needle| prompt.contains(needle.as_str()))
            && self.matches.as_ref().is_none_or(|pattern| pattern.is_match(prompt))
    }

    /// The error of an answer that fails before it says anything.
    pub(super) fn error_at_once(&self) -> Option<Fault> {
        self.error.as_ref().filter(|(_, after)| *after == 0).map(|(fault, _)| fault.clone())
    }

    /// When it is given, in words.
    fn condition(&self) -> String {
        let parts = [
            self.step.as_ref().map(|step| format!("step `{}`", step.as_str())),
            self.attempt.map(|attempt| format!("attempt {attempt}")),
            self.turn.map(|turn| format!("turn {turn}")),
            self.contains.as_ref().map(|text| format!("messages with `{text}`")),
            self.matches.as_ref().map(|pattern| format!("messages like `{pattern}`")),
            self.times.map(|times| format!("at most {times} times")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "anything".to_owned() } else { parts.join(", ") }
    }
}

fn unreadable(error: &serde_yaml::Error) -> Fault {
    let message = error.without_snippet().to_string();
    Kind::NotConfigured
        .fault(format!("the script of a scripted model cannot be read: {message}"))
        .with_hint("keys of an answer: step, turn, attempt, contains, matches, times, reasoning, text, toolCalls, usage, finish, delay, interval, error")
}

fn contradiction(message: &str) -> Fault {
    Kind::NotConfigured.fault(format!("the script of a scripted model cannot be used: {message}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ScriptFile {
    chunk: Option<usize>,
    delay: Option<Wait>,
    interval: Option<Wait>,
    usage: Option<UsageFields>,
    #[serde(default)]
    answers: Vec<AnswerFields>,
    default: Option<AnswerFields>,
}

impl ScriptFile {
    fn check(self) -> Result<Script, Fault> {
        let number = |(index, answer): (usize, AnswerFields)| answer.check(&format!("answer {}", index + 1));
        let answers = self.answers.into_iter().enumerate().map(number).collect::<Result<Vec<_>, _>>()?;
        let default = self.default.map(|answer| answer.check("the default")).transpose()?;
        if default.as_ref().is_some_and(|answer| answer.condition() != "anything") {
            return Err(contradiction(
                "the default has a condition; move it to `answers`, the default is for everything else",
            ));
        }
        Ok(Script {
            chunk: self.chunk.unwrap_or(CHUNK_CHARS),
            delay: self.delay.map_or(Duration::ZERO, |wait| wait.0),
            interval: self.interval.map_or(Duration::ZERO, |wait| wait.0),
            usage: self.usage.map(UsageFields::usage),
            answers,
            default,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AnswerFields {
    step: Option<String>,
    turn: Option<u32>,
    attempt: Option<u32>,
    contains: Option<String>,
    matches: Option<String>,
    times: Option<u32>,
    reasoning: Option<String>,
    text: Option<String>,
    #[serde(default)]
    tool_calls: Vec<CallFields>,
    usage: Option<UsageFields>,
    finish: Option<FinishReason>,
    delay: Option<Wait>,
    interval: Option<Wait>,
    error: Option<ErrorFields>,
}

impl AnswerFields {
    fn check(self, place: &str) -> Result<Answer, Fault> {
        if self.text.is_none() && self.reasoning.is_none() && self.tool_calls.is_empty() && self.error.is_none() {
            return Err(contradiction(&format!("{place} says nothing; give it `text`, `toolCalls` or `error`")));
        }
        let at = |message: String| contradiction(&format!("{place}: {message}"));
        let matches = self.matches.map(|pattern| Regex::new(&pattern)).transpose();
        let calls = self.tool_calls.into_iter().map(CallFields::check).collect::<Result<Vec<_>, _>>();
        Ok(Answer {
            step: self.step.as_deref().map(PathPattern::new),
            turn: self.turn,
            attempt: self.attempt,
            contains: self.contains,
            matches: matches.map_err(|error| at(error.to_string()))?,
            times: self.times,
            reasoning: self.reasoning.map(Arc::from),
            text: self.text.map(Arc::from),
            calls: calls.map_err(at)?,
            usage: self.usage.map(UsageFields::usage),
            finish: self.finish,
            delay: self.delay.map(|wait| wait.0),
            interval: self.interval.map(|wait| wait.0),
            error: self.error.map(ErrorFields::check).transpose().map_err(at)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CallFields {
    id: Option<String>,
    tool: String,
    args: Option<serde_json::Value>,
    arguments: Option<String>,
}

impl CallFields {
    /// A name that follows the grammar gets its wire form; any other is sent as it stands, as a confused model would.
    fn check(self) -> Result<Call, String> {
        let arguments = match (self.args, self.arguments) {
            (Some(_), Some(_)) => {
                return Err(format!("the call of `{}` has both `args` and `arguments`; give one", self.tool));
            }
            (Some(args), None) => args.to_string(),
            (None, arguments) => arguments.unwrap_or_default(),
        };
        let tool = ToolName::parse(&self.tool).map_or(self.tool, |name| name.wire());
        Ok(Call { id: self.id, tool, arguments })
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct UsageFields {
    #[serde(default)]
    input: u64,
    #[serde(default)]
    output: u64,
    #[serde(default)]
    reasoning: u64,
    #[serde(default)]
    cache_read: u64,
    #[serde(default)]
    cache_write: u64,
}

impl UsageFields {
    fn usage(self) -> Usage {
        let Self { input, output, reasoning, cache_read, cache_write } = self;
        Usage { input, output, reasoning, cache_read, cache_write }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ErrorFields {
    status: Option<u16>,
    class: Option<Class>,
    code: Option<String>,
    message: Option<String>,
    retry_after: Option<Wait>,
    #[serde(default)]
    after: usize,
}

impl ErrorFields {
    fn check(self) -> Result<(Fault, usize), String> {
        if self.status.is_none() && self.code.is_none() && self.class.is_none() {
            return Err("an error needs a `status`, a `code` or a `class`".to_owned());
        }
        let kind = self.status.map(Kind::of_status);
        let class = self.class.or(kind.map(Kind::class)).unwrap_or(Class::Step);
        let code: Cow<'static, str> = match self.code {
            Some(code) => code.into(),
            None => kind.map_or("model_scripted_error", Kind::code).into(),
        };
        let status = self.status.map(|status| format!(" with status {status}")).unwrap_or_default();
        let told = self.message.map(|message| format!(": {message}")).unwrap_or_default();
        let mut fault = Fault::new(class, code, format!("the scripted model answered an error{status}{told}"));
        if let Some(status) = self.status {
            fault = fault.with_detail(serde_json::json!({ "status": status }));
        }
        if let Some(wait) = self.retry_after {
            fault = fault.with_retry_after(wait.0);
        }
        Ok((fault, self.after))
    }
}

/// A duration as people write it: `250ms`, `1.5s`, `2m`, `1h`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Wait(Duration);

impl TryFrom<String> for Wait {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not a duration; write `250ms`, `1.5s`, `2m` or `1h`");
        let split = text.find(|found: char| found.is_ascii_alphabetic()).ok_or_else(refuse)?;
        let (count, unit) = text.split_at(split);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(refuse()),
        };
        let count: f64 = count.trim().parse().map_err(|_| refuse())?;
        Duration::try_from_secs_f64(count * seconds).map(Self).map_err(|_| refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Script::parse(text).unwrap_err().message
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let message = refused("answers:\n  - step: a\n    txt: hello\n");
        assert!(message.contains("txt") && message.contains("line 3"), "{message}");
    }

    #[test]
    fn a_script_that_contradicts_itself_is_refused() {
        assert!(refused("answers: [{step: a}]").contains("answer 1 says nothing"));
        assert!(refused("default: {step: a, text: x}").contains("the default has a condition"));
        assert!(refused("default: {toolCalls: [{tool: a, args: {}, arguments: ''}]}").contains("both"));
        assert!(refused("default: {error: {message: x}}").contains("needs a `status`"));
        assert!(refused("answers: [{matches: '(', text: x}]").contains("answer 1"));
        assert!(refused("default: {text: x, delay: soon}").contains("`soon` is not a duration"));
    }

    #[test]
    fn durations_are_written_with_a_unit() {
        let wait = |text: &str| Wait::try_from(text.to_owned()).map(|wait| wait.0);
        assert_eq!(wait("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(wait("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(wait("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "-1s", "1d", "NaNs", "1e300h"] {
            assert!(wait(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_is_a_script_too() {
        let script = Script::parse(r#"{"answers": [{"turn": 1, "text": "a"}], "default": {"text": "b"}}"#).unwrap();
        assert_eq!(script.answers.len(), 1);
    }
}
