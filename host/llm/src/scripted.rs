//! The scripted model: answers that stand in a file. For tests, demonstrations and dry rehearsals, also the user's.
//!
//! It must not know any provider. It streams like a real one (pieces of text, whole tool calls, usage, an end), retries
//! like a real one, and never makes an answer up: what the script does not answer is an error that says so.

mod pattern;
mod playback;
mod script;

pub use pattern::PathPattern;

use crate::kind::Kind;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::message::Message;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{BoxFuture, Model, ModelInfo, ModelRequest, ModelStream};
use playback::Playback;
use script::{Answer, Script};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// A model whose answers stand in a script.
///
/// The script is YAML (or JSON, which is YAML); unknown keys are errors:
///
/// ```yaml
#[doc = include_str!("scripted/example.yaml")]
/// ```
///
/// An error before the first piece that may be retried is retried at once, or after its `retryAfter`, as often as the
/// request allows: the next try looks the script up again.
#[derive(Debug)]
pub struct Scripted {
    name: Arc<str>,
    script: Script,
    used: Mutex<Uses>,
    log: Option<Mutex<VecDeque<ModelRequest>>>,
}

impl Scripted {
    /// Reads a script.
    ///
    /// # Errors
    /// When it is not YAML, has unknown keys, or contradicts itself; the message names line and column.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        Script::parse(text).map(Self::new)
    }

    /// A model that gives the same answer to everything, at once and in one piece.
    pub fn answering(text: impl Into<Arc<str>>) -> Self {
        Self::new(Script::answering(text.into()))
    }

    fn new(script: Script) -> Self {
        Self { name: Arc::from("scripted"), script, used: Mutex::default(), log: None }
    }

    /// The same model under another name, `scripted/answers.yaml` for instance.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The same model, keeping the requests it gets, the newest [`limits::SCRIPTED_REQUESTS`] of them.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.log = Some(Mutex::default());
        self
    }

    /// The requests it got, oldest first; empty unless [`Scripted::recording`] asked for them.
    #[must_use]
    pub fn requests(&self) -> Vec<ModelRequest> {
        let Some(log) = &self.log else {
            return Vec::new();
        };
        log.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn record(&self, request: &ModelRequest) {
        let Some(log) = &self.log else { return };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == limits::SCRIPTED_REQUESTS {
            log.pop_front();
        }
        log.push_back(request.clone());
    }

    /// The first answer that fits and is not used up; it counts as used.
    fn find(&self, request: &ModelRequest) -> Result<&Answer, Fault> {
        let prompt = last_user(&request.messages);
        for (index, answer) in self.script.answers.iter().enumerate() {
            if answer.fits(request, prompt) && self.take(&request.run_id, index, answer) {
                return Ok(answer);
            }
        }
        self.script.default.as_ref().ok_or_else(|| self.no_answer(request))
    }

    fn take(&self, run: &RunId, index: usize, answer: &Answer) -> bool {
        let Some(times) = answer.times else {
            return true;
        };
        self.used.lock().unwrap_or_else(PoisonError::into_inner).take(run, index, times)
    }

    fn no_answer(&self, request: &ModelRequest) -> Fault {
        let asked = format!(
            "model `{}` has no answer for step `{}`, attempt {}, turn {}",
            self.name, request.path, request.attempt, request.turn
        );
        let has = self.script.summary();
        Kind::NoAnswer
            .fault(asked)
            .with_hint(format!("{has}; add an answer with `step: \"{}\"`, or a `default`", request.path))
    }

    async fn open(&self, request: ModelRequest) -> Result<ModelStream, Fault> {
        self.record(&request);
        let mut retries = 0;
        loop {
            let answer = self.find(&request)?;
            playback::wait(answer.delay.unwrap_or(self.script.delay)).await;
            let Some(fault) = answer.error_at_once() else {
                return Ok(Playback { script: &self.script, answer, request: &request, name: &self.name }.stream());
            };
            if !fault.is_retryable() || retries >= request.max_retries {
                return Err(fault);
            }
            retries += 1;
            tracing::debug!(model = %self.name, step = %request.path, retries, code = %fault.code, "retrying a scripted error");
            playback::wait(std::time::Duration::from_millis(fault.retry_after_ms.unwrap_or(0))).await;
        }
    }
}

impl Model for Scripted {
    fn info(&self) -> ModelInfo {
        ModelInfo {
            name: Arc::clone(&self.name),
            is_language_model: false,
            summary: "answers from a script; not a language model".to_owned(),
        }
    }

    /// None: a script stands for any model, and is told all that one would be.
    fn unsupported(&self, _: &ModelOptions) -> Vec<String> {
        Vec::new()
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(self.open(request))
    }
}

/// The text of the last user message, or nothing.
fn last_user(messages: &[Message]) -> &str {
    let last = messages.iter().rev().find(|message| matches!(message, Message::User { .. }));
    last.map(Message::text).unwrap_or_default()
}

/// How often the answers with `times` were used, by run, so that concurrent runs of one script do not see each other.
#[derive(Debug, Default)]
struct Uses {
    by_run: HashMap<RunId, HashMap<usize, u32>>,
    oldest: VecDeque<RunId>,
}

impl Uses {
    fn take(&mut self, run: &RunId, index: usize, times: u32) -> bool {
        if !self.by_run.contains_key(run) {
            if self.oldest.len() == limits::SCRIPTED_RUNS
                && let Some(forgotten) = self.oldest.pop_front()
            {
                self.by_run.remove(&forgotten);
            }
            self.oldest.push_back(run.clone());
        }
        let used = self.by_run.entry(run.clone()).or_default().entry(index).or_default();
        if *used >= times {
            return false;
        }
        *used += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Outcome, drain, request};
    use cofferdam_core::fault::Class;
    use cofferdam_core::message::Usage;
    use cofferdam_core::port::FinishReason;
    use std::time::Duration;

    async fn ask(model: &Scripted, step: &str, turn: u32) -> Outcome {
        let mut request = request(step, "What is the weather?");
        request.turn = turn;
        drain(model.stream(request).await).await
    }

    #[tokio::test]
    async fn an_answer_is_chosen_by_step_and_turn() {
        let model = Scripted::parse(
            "answers:\n  - {step: 'scan[*].lint', turn: 2, text: second}\n  - {step: 'scan[*].lint', text: first}\ndefault: {text: other}",
        )
        .unwrap();
        assert_eq!(ask(&model, "scan[3].lint", 1).await.text, "first");
        assert_eq!(ask(&model, "scan[12].lint", 2).await.text, "second");
        assert_eq!(ask(&model, "lint", 1).await.text, "other");
    }

    #[tokio::test]
    async fn an_answer_is_chosen_by_the_last_user_message() {
        let model = Scripted::parse(
            "answers:\n  - {contains: tides, text: wrong}\n  - {matches: '^What is .*\\?$', text: 'You asked: {{prompt}} ({{step}})'}",
        )
        .unwrap();
        assert_eq!(ask(&model, "a", 1).await.text, "You asked: What is the weather? (a)");
    }

    #[tokio::test]
    async fn an_answer_streams_in_pieces_with_reasoning_calls_and_usage() {
        let model = Scripted::parse(
            "chunk: 4\ndefault:\n  reasoning: hmm\n  text: abcdefghij\n  toolCalls:\n    - {tool: text.words, args: {n: 1}}\n    - {tool: read, arguments: '{oops', id: mine}\n  usage: {input: 7, output: 2}",
        )
        .unwrap();
        let outcome = ask(&model, "a", 1).await;
        assert_eq!(outcome.text, "abcdefghij");
        assert_eq!(outcome.text_pieces, 3);
        assert_eq!(outcome.reasoning, "hmm");
        let calls: Vec<_> = outcome.calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
        assert_eq!(calls, [("text__words", "{\"n\":1}"), ("read", "{oops")]);
        assert_eq!(outcome.calls[1].id, "mine");
        assert_eq!(outcome.usage, Some(Usage { input: 7, output: 2, ..Usage::default() }));
        assert_eq!(outcome.end, Ok(FinishReason::ToolCalls));
    }

    #[tokio::test]
    async fn what_the_script_does_not_answer_is_a_clear_error() {
        let model = Scripted::parse("answers:\n  - {step: build, text: x}").unwrap();
        let fault = ask(&model, "test", 3).await.end.unwrap_err();
        assert_eq!(fault.code, "model_script_no_answer");
        assert_eq!(fault.message, "model `scripted` has no answer for step `test`, attempt 1, turn 3");
        assert!(fault.hint.unwrap().contains("step `build`"));
    }

    #[tokio::test]
    async fn an_answer_with_times_is_used_so_often_in_each_run() {
        let model = Scripted::parse("answers:\n  - {times: 1, text: once}\ndefault: {text: then}").unwrap();
        assert_eq!(ask(&model, "a", 1).await.text, "once");
        assert_eq!(ask(&model, "a", 1).await.text, "then");
        let mut other = request("a", "x");
        other.run_id = RunId::parse("other").unwrap();
        assert_eq!(drain(model.stream(other).await).await.text, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_retried_after_the_wait_it_asks_for() {
        let model = Scripted::parse(
            "answers:\n  - {times: 2, error: {status: 429, retryAfter: 30s}}\ndefault: {text: fine, delay: 1s}",
        )
        .unwrap();
        let start = tokio::time::Instant::now();
        assert_eq!(ask(&model, "a", 1).await.text, "fine");
        assert_eq!(start.elapsed(), Duration::from_secs(61));
    }

    #[tokio::test]
    async fn an_error_that_stays_is_reported_after_the_retries() {
        let model = Scripted::parse("default: {error: {status: 503}}").unwrap().recording();
        let fault = ask(&model, "a", 1).await.end.unwrap_err();
        assert_eq!((fault.code.as_ref(), fault.class), ("model_unavailable", Class::Retry));
        let model = Scripted::parse("default: {error: {status: 401, message: no key}}").unwrap();
        let fault = ask(&model, "a", 1).await.end.unwrap_err();
        assert_eq!((fault.code.as_ref(), fault.class), ("model_auth", Class::User));
        assert!(fault.message.contains("no key"));
    }

    #[tokio::test]
    async fn an_error_may_come_in_the_middle_of_the_text() {
        let model = Scripted::parse(
            "chunk: 1\ndefault: {text: abcdef, error: {code: model_truncated, class: retry, after: 2}}",
        )
        .unwrap();
        let outcome = ask(&model, "a", 1).await;
        assert_eq!(outcome.text, "ab");
        assert_eq!(outcome.end.unwrap_err().code, "model_truncated");
    }

    #[tokio::test]
    async fn requests_are_kept_only_when_asked_for() {
        let silent = Scripted::answering("x");
        ask(&silent, "a", 1).await;
        assert!(silent.requests().is_empty());
        let recording = Scripted::answering("x").recording();
        ask(&recording, "a", 1).await;
        ask(&recording, "b", 1).await;
        let paths: Vec<_> = recording.requests().iter().map(|request| request.path.to_string()).collect();
        assert_eq!(paths, ["a", "b"]);
    }

    #[tokio::test]
    async fn the_documented_script_works() {
        let model = Scripted::parse(include_str!("scripted/example.yaml")).unwrap();
        let outcome = ask(&model, "scan[1]", 2).await;
        assert_eq!((outcome.text.as_str(), outcome.end), ("I have nothing to say.", Ok(FinishReason::Stop)));
        let mut flaky = request("flaky", "x");
        flaky.max_retries = 0;
        assert_eq!(drain(model.stream(flaky).await).await.end.unwrap_err().code, "model_rate_limited");
    }

    #[test]
    fn a_scripted_model_says_that_it_is_none() {
        let info = Scripted::answering("x").named("scripted/x.yaml").info();
        assert!(!info.is_language_model);
        assert_eq!(&*info.name, "scripted/x.yaml");
    }
}
