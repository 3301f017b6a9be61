//! Asks a person: an answer that came with the run, else somebody who is there, else the default, else nobody.
//!
//! A question is recorded before anybody sees it. One that nobody here can answer stays open, and the run ends waiting.

use super::end::too_large;
use super::perform::{completed, failed};
use super::run::Run;
use super::{Answer, Wake};
use crate::answer::Form;
use crate::chain::Chains;
use crate::person::{PersonTime, Presence};
use crate::recorder::Inbox;
use cofferdam_core::event::{AnsweredBy, Body, StepOutput};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::port::{Approver, Clock, Inquiry};
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::workflow::{AskWork, Work};
use cofferdam_core::transform::Transform;
use cofferdam_core::value::{self, Map};
use futures_util::FutureExt as _;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Run {
    pub(super) fn ask(&mut self, path: StepPath) {
        if self.questions.contains_key(&path) {
            return;
        }
        let Some(question) = self.question(&path) else { return };
        let (ticket, end) = (self.ticket(&path), path.clone());
        let handle = self.tasks.spawn(async move {
            let answer = match AssertUnwindSafe(question.pursue()).catch_unwind().await {
                Ok(Ok(events)) => Answer::Events(events),
                Ok(Err(fault)) => failed(fault).into(),
                Err(_) => failed(Fault::bug(format!("the question of step `{end}` panicked"))).into(),
            };
            ticket.answer(answer);
        });
        self.questions.insert(path, handle);
    }

    fn question(&mut self, path: &StepPath) -> Option<Question> {
        let step = self.machine.step_at(path)?;
        let Work::Ask(work) = &step.work else { return None };
        let given = self.prepared.answers.take(path);
        Some(Question {
            run_id: self.request.run_id.clone(),
            path: path.clone(),
            variables: self.machine.variables(path, &work.prompt),
            work: AskWork::clone(work),
            given,
            approver: self.ports.gateway.approver().cloned(),
            person: Arc::clone(self.ports.gateway.person()),
            clock: Arc::clone(&self.ports.clock),
            inbox: self.inbox.clone(),
            output: step.transform.output.clone(),
            chains: self.chains(path, None),
            most: self.machine.workflow().options.limits.step_output_bytes,
        })
    }
}

/// A question on its way to an answer.
struct Question {
    run_id: RunId,
    path: StepPath,
    work: AskWork,
    variables: Map,
    given: Option<InputText>,
    approver: Option<Arc<dyn Approver>>,
    person: Arc<PersonTime>,
    clock: Arc<dyn Clock>,
    inbox: Inbox,
    output: Vec<Transform>,
    chains: Chains,
    most: usize,
}

/// What a person did.
enum Said {
    Answer(Value),
    /// Nothing, where there is a default.
    Default,
    Nobody,
}

impl Question {
    /// What follows from the question: an answer, or that it stays open.
    async fn pursue(self) -> Result<Vec<Body>, Fault> {
        let prompt = self.work.prompt.render(&self.variables);
        let prompt = prompt.map_err(|error| Fault::step("template", format!("cannot render `ask.prompt`: {error}")))?;
        let prompt = value::to_text(&prompt);
        let form = Form::of(&self.work)?;
        let default = self.work.default.clone();
        if let Some(given) = &self.given {
            let answer = form.read(given).map_err(|what| Fault::user("bad_answer", what))?;
            return self.answered(Some(self.asked(&prompt)), answer, AnsweredBy::Given).await;
        }
        let Some(approver) = self.approver.clone() else {
            return match default {
                Some(default) => self.answered(Some(self.asked(&prompt)), default, AnsweredBy::Default).await,
                None => Ok(vec![self.deferred(&prompt)]),
            };
        };
        self.record(self.asked(&prompt)).await?;
        let said = {
            let _open = self.person.ask(self.path.clone(), &self.clock, Presence::Here);
            self.in_time(self.put(approver.as_ref(), &prompt, &form)).await?
        };
        match (said, default) {
            (Said::Answer(answer), _) => self.answered(None, answer, AnsweredBy::Person).await,
            (_, Some(default)) => self.answered(None, default, AnsweredBy::Default).await,
            (_, None) => Ok(vec![self.deferred(&prompt)]),
        }
    }

    /// Asks until an answer fits.
    async fn put(&self, approver: &dyn Approver, prompt: &str, form: &Form<'_>) -> Result<Said, Fault> {
        let mut problem = None;
        for _ in 0..limits::ANSWER_TRIES {
            let inquiry = Inquiry {
                run_id: self.run_id.clone(),
                path: self.path.clone(),
                prompt: prompt.into(),
                choices: self.work.choices.clone().into(),
                schema: self.work.schema.clone(),
                default: self.work.default.clone(),
                problem,
            };
            let Some(text) = approver.answer(inquiry).await else { return Ok(Said::Nobody) };
            if text.trim().is_empty() && self.work.default.is_some() {
                return Ok(Said::Default);
            }
            match form.read(&InputText::Text(text)) {
                Ok(answer) => return Ok(Said::Answer(answer)),
                Err(what) => problem = Some(what),
            }
        }
        let what = problem.unwrap_or_default();
        let message = format!("none of {} answers fits, the last one was refused: {what}", limits::ANSWER_TRIES);
        Err(Fault::step("bad_answer", message))
    }

    /// Bounds the person's time.
    async fn in_time(&self, put: impl Future<Output = Result<Said, Fault>>) -> Result<Said, Fault> {
        let Some(timeout) = self.work.timeout.filter(|timeout| !timeout.is_zero()) else { return put.await };
        tokio::select! {
            said = put => said,
            () = self.clock.sleep(timeout) => match &self.work.default {
                Some(_) => Ok(Said::Default),
                None => Err(Fault::step("ask_timeout", format!("nobody answered within {timeout:?}"))),
            },
        }
    }

    fn asked(&self, prompt: &str) -> Body {
        self.event(prompt, false)
    }

    fn deferred(&self, prompt: &str) -> Body {
        self.event(prompt, true)
    }

    fn event(&self, prompt: &str, deferred: bool) -> Body {
        let AskWork { choices, schema, .. } = &self.work;
        Body::QuestionAsked { question: prompt.to_owned(), choices: choices.clone(), schema: schema.clone(), deferred }
    }

    /// Returns when the event is durable.
    async fn record(&self, body: Body) -> Result<(), Fault> {
        let (done, answer) = oneshot::channel();
        self.inbox.send(Wake::Record { path: self.path.clone(), attempt: None, body, done: Some(done) });
        answer.await.unwrap_or_else(|_| Err(Fault::cancelled()))
    }

    /// The events of an answer, with that of the question where it was not recorded yet.
    async fn answered(&self, asked: Option<Body>, answer: Value, by: AnsweredBy) -> Result<Vec<Body>, Fault> {
        let content = Arc::from(value::to_text(&answer));
        let output = StepOutput { content, result: Arc::new(answer.clone()), ..StepOutput::default() };
        let end = match self.chains.apply(&self.output, output).await {
            Ok(output) => match too_large(&output, self.most) {
                None => completed(output),
                Some(fault) => failed(fault),
            },
            Err(fault) => failed(fault),
        };
        Ok(asked.into_iter().chain([Body::QuestionAnswered { answer, by }, end]).collect())
    }
}
