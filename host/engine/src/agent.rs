//! The LLM agent: asks a model, runs the tools it calls, until it stops or a bound is reached.

mod compact;
mod large;
mod repeats;
mod reply;
mod seat;
mod sequel;
mod structured;
mod turn;

pub(crate) use compact::size_of;

use crate::purse::{estimate, tokens_in};
use crate::shared_conversation::SharedConversation;
use cofferdam_core::event::{Body, StepOutput};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::limits;
use cofferdam_core::message::{Message, ToolCall, Usage};
use cofferdam_core::port::{
    Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, Asker, BoxFuture, Model, ModelRequest, Need,
    ResultTool, ToolChoice, ToolSpec,
};
use cofferdam_core::schema::Checker;
use cofferdam_core::spec::RunLimits;
use cofferdam_core::spec::workflow::AgentSpec;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use large::Large;
use repeats::Repeats;
use reply::{Reply, answer_of};
use seat::Seat;
use serde_json::Value;
use std::sync::Arc;
use structured::Submission;
use tracing::Instrument as _;
use turn::Turn;

/// An agent that a model drives.
pub struct LlmAgent {
    spec: Arc<AgentSpec>,
    model: Arc<dyn Model>,
    /// The schema of the result, in both forms.
    result: Option<(Arc<Value>, Arc<Checker>)>,
    max_retries: u32,
    limits: RunLimits,
    /// The conversation that it holds together with agents of other runs.
    shared: Option<Arc<SharedConversation>>,
}

impl LlmAgent {
    /// An agent of this description, driven by this model. `result` overrides the description's schema.
    #[must_use]
    pub fn new(
        spec: Arc<AgentSpec>,
        model: Arc<dyn Model>,
        result: Option<(Arc<Value>, Arc<Checker>)>,
        max_retries: u32,
    ) -> Self {
        Self { spec, model, result, max_retries, limits: RunLimits::default(), shared: None }
    }

    /// The same, holding its conversation together with agents of other runs.
    #[must_use]
    pub(crate) fn sharing(mut self, shared: Option<Arc<SharedConversation>>) -> Self {
        self.shared = shared;
        self
    }

    /// The same with other instructions.
    #[must_use]
    pub fn instructed(&self, instructions: Arc<str>) -> Self {
        let spec = AgentSpec { prompt: Some(instructions), ..(*self.spec).clone() };
        Self {
            spec: Arc::new(spec),
            model: Arc::clone(&self.model),
            result: self.result.clone(),
            max_retries: self.max_retries,
            limits: self.limits,
            shared: None,
        }
    }

    fn turns(&self) -> u32 {
        self.spec.max_turns.unwrap_or(limits::AGENT_TURNS)
    }

    /// The same within lowered limits.
    #[must_use]
    pub fn within(mut self, limits: RunLimits) -> Self {
        self.limits = limits;
        self
    }
}

impl Agent for LlmAgent {
    fn name(&self) -> &str {
        self.spec.name.as_str()
    }

    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(Conversation::new(self, ctx, input).hold())
    }

    fn resumes(&self) -> Option<u32> {
        self.spec.resume_on_message.then(|| self.turns())
    }
}

/// One run of an agent.
struct Conversation<'a> {
    agent: &'a LlmAgent,
    ctx: AgentContext,
    messages: Arc<Vec<Message>>,
    tools: Arc<[ToolSpec]>,
    usage: Usage,
    /// The text of the last turn that has text.
    content: Arc<str>,
    submission: Option<Value>,
    /// Why the last submission was not accepted.
    refused: Option<String>,
    repeats: Repeats,
    /// Results that did not fit.
    large: Large,
    /// Its place in a conversation that it shares with other runs.
    seat: Option<Seat>,
    /// Its step has ended, and what that gave stays what it is.
    ended: bool,
}

/// What to do after a turn.
enum Next {
    Ask(ToolChoice),
    /// The result is owed and asked for, unless something comes first.
    Owe,
    Stop {
        truncated: bool,
    },
}

impl<'a> Conversation<'a> {
    fn new(agent: &'a LlmAgent, ctx: AgentContext, input: AgentInput) -> Self {
        let mut messages = Vec::with_capacity(2);
        messages.extend(agent.spec.prompt.clone().map(Message::system));
        let seat = agent.shared.clone().map(|shared| Seat::new(shared, messages.len()));
        let text = if seat.is_some() { seat::labelled(&ctx.run_id, &input.message) } else { input.message };
        messages.push(Message::User { text, attachments: input.attachments });
        let tools = match &agent.result {
            None => ctx.tools.specs(),
            Some((schema, _)) => {
                ctx.tools.specs().iter().cloned().chain([structured::spec(Arc::clone(schema))]).collect()
            }
        };
        Self {
            agent,
            ctx,
            messages: Arc::new(messages),
            tools,
            usage: Usage::default(),
            content: Arc::default(),
            submission: None,
            refused: None,
            repeats: Repeats::default(),
            large: Large::default(),
            seat,
            ended: false,
        }
    }

    async fn hold(mut self) -> Result<AgentOutput, AgentFailure> {
        match self.talk().await {
            Ok(truncated) => {
                let output = self.output(truncated);
                Ok(AgentOutput { output, usage: self.usage })
            }
            Err(fault) => Err(AgentFailure { fault, output: self.output(false), usage: self.usage }),
        }
    }

    fn output(&mut self, truncated: bool) -> StepOutput {
        let result = self.submission.take().unwrap_or_default();
        StepOutput { content: Arc::clone(&self.content), result: Arc::new(result), truncated, ..StepOutput::default() }
    }

    /// Asks until the agent is done; says whether it was cut off.
    async fn talk(&mut self) -> Result<bool, Fault> {
        let (mut choice, mut woken, turns) = (ToolChoice::Auto, false, self.agent.turns());
        for turn in 1..=turns {
            if !woken {
                let letters = self.ctx.mail.read(turn).await?;
                self.take_letters(&letters);
            }
            woken = false;
            let forced = choice != ToolChoice::Auto;
            let span = tracing::info_span!("turn", turn, model = %self.agent.model.info().name);
            let answer = self.ask(turn, choice).instrument(span).await?;
            match self.after(answer, forced).await? {
                Next::Ask(next) => choice = next,
                Next::Owe => {
                    let letters = self.ctx.mail.wait(turn + 1).await?;
                    self.take_letters(&letters);
                    let owed = ToolChoice::Tool(structured::NAME.to_owned());
                    (woken, choice) = (true, if letters.is_empty() { owed } else { ToolChoice::Auto });
                }
                Next::Stop { truncated } if self.goes_on(turn, truncated) => {
                    self.give_floor(turn).await?;
                    let letters = self.ctx.mail.close(turn + 1).await?;
                    if letters.is_empty() {
                        return Ok(truncated);
                    }
                    self.take_letters(&letters);
                    (woken, choice) = (true, ToolChoice::Auto);
                }
                Next::Stop { truncated } => return Ok(truncated),
            }
        }
        // Where it was woken after its last turn, it has given the floor.
        if !woken {
            self.give_floor(turns).await?;
        }
        self.leave().await?;
        self.cut_off("out_of_turns", &format!("the agent was stopped after {turns} turns")).map(|_| true)
    }

    /// Whether an agent that stops hears of what came meanwhile.
    fn hears_more(&self, truncated: bool) -> bool {
        self.submission.is_none() && (!truncated || self.ctx.mail.listens_on())
    }

    /// Puts what others wrote into the conversation: behind the input, or as a message of its own.
    fn take_letters(&mut self, letters: &[Arc<str>]) {
        if letters.is_empty() {
            return;
        }
        // Something new has happened.
        self.repeats = Repeats::default();
        let most = self.agent.limits.tool_result_bytes;
        let letters: Vec<Arc<str>> = letters.iter().map(|text| self.large.take(Arc::clone(text), most)).collect();
        let said = letters.join("\n\n");
        let messages = Arc::make_mut(&mut self.messages);
        match messages.last_mut() {
            Some(Message::User { text, .. }) if text.is_empty() => *text = said.into(),
            Some(Message::User { text, .. }) => *text = format!("{text}\n\n{said}").into(),
            _ => {
                let text = if self.seat.is_some() { seat::labelled(&self.ctx.run_id, &said) } else { said.into() };
                messages.push(Message::User { text, attachments: Vec::new() });
            }
        }
    }

    /// Makes room in a conversation that has grown too large, and says so.
    fn make_room(&mut self, recorded: bool) {
        let room = self.agent.limits.conversation_bytes;
        if !compact::is_too_large(&self.messages, room) {
            return;
        }
        let messages: &mut Vec<Message> = Arc::make_mut(&mut self.messages);
        let left_out = compact::compact(messages, room);
        if left_out > 0 && !recorded {
            let message =
                format!("the conversation was too large: {left_out} bytes of answers and messages were left out of it");
            self.warn("conversation_compacted", &message);
        }
    }

    async fn ask(&mut self, turn: u32, choice: ToolChoice) -> Result<Turn, Fault> {
        let recorded = self.ctx.events.past().is_some_and(|past| past.turn(turn).is_some());
        if !recorded {
            self.take_floor().await?;
        }
        self.make_room(recorded);
        if let Some(past) = self.ctx.events.past().and_then(|past| past.turn(turn)) {
            let mut answer = Turn::recorded(turn, past);
            self.take(&mut answer);
            return Ok(answer);
        }
        let model = self.agent.model.info().name;
        let mut settings = self.agent.spec.settings.clone();
        let input_tokens = estimate(&self.messages, &self.tools);
        let need = Need { model: Arc::clone(&model), input_tokens, output_tokens: settings.max_tokens };
        // Held until the turn is recorded.
        let grant = self.ctx.purse.reserve(need).await?;
        settings.max_tokens = grant.max_tokens.or(settings.max_tokens);
        let options = Arc::clone(&settings.options);
        self.ctx.events.observe(Body::TurnStarted { turn, model: Arc::clone(&model), options });
        let request = ModelRequest {
            run_id: self.ctx.run_id.clone(),
            path: self.ctx.path.clone(),
            attempt: self.ctx.attempt,
            turn,
            messages: Arc::clone(&self.messages),
            tools: self.offered(),
            tool_choice: choice,
            result: self.result_tool(),
            settings,
            max_retries: self.agent.max_retries,
            asker: Some(Asker {
                events: Arc::clone(&self.ctx.events),
                narrowings: Arc::clone(&self.ctx.narrowings),
                deadline: self.ctx.deadline,
            }),
        };
        let mut answer = Turn::new(turn, model);
        let outcome = answer.read(self.agent.model.as_ref(), request, self.ctx.events.as_ref()).await;
        if let Err(fault) = outcome {
            self.discard(&mut answer, input_tokens);
            return Err(fault);
        }
        let (model, usage, cut) = (Arc::clone(&answer.model), answer.usage, answer.is_cut());
        let message = self.take(&mut answer);
        self.ctx.events.observe(Body::TurnFinished { turn, model, message, usage, cost: None, cut });
        drop(grant);
        Ok(answer)
    }

    /// The tools on offer: those of the agent, and the one that reads on where something was too large.
    fn offered(&self) -> Arc<[ToolSpec]> {
        let tools = if self.ended { self.ctx.tools.specs() } else { Arc::clone(&self.tools) };
        match self.large.spec().filter(|own| tools.iter().all(|tool| tool.name != own.name)) {
            None => tools,
            Some(own) => tools.iter().cloned().chain([own]).collect(),
        }
    }

    /// The tool by which the agent hands over its result, while it owes one.
    fn result_tool(&self) -> Option<ResultTool> {
        let (schema, _) = self.agent.result.as_ref().filter(|_| !self.ended)?;
        Some(ResultTool { name: structured::NAME.into(), schema: Arc::clone(schema) })
    }

    /// Whether a call is one that reads on in what was too large.
    fn reads_on(&self, call: &ToolCall) -> bool {
        call.name == large::NAME && !self.large.is_empty() && self.tools.iter().all(|tool| tool.name != call.name)
    }

    /// Counts an answer that broke off after its beginning. Where its provider told of no tokens they are estimated: what was
    /// said was paid for.
    fn discard(&mut self, answer: &mut Turn, input_tokens: u64) {
        let estimated = answer.usage.is_empty() && answer.seen > 0;
        if estimated {
            answer.usage = Usage { input: input_tokens, output: tokens_in(answer.seen), ..Usage::default() };
        }
        self.count(answer);
        if estimated {
            let Usage { input, output, .. } = answer.usage;
            let why = format!(
                "an answer of `{}` broke off without a word of its tokens: {input} in and {output} out are an estimate",
                answer.model
            );
            self.warn("usage_estimated", &why);
        }
        if !answer.usage.is_empty() {
            let (turn, model, usage) = (answer.number, Arc::clone(&answer.model), answer.usage);
            self.ctx.events.observe(Body::TurnFailed { turn, model, usage, estimated, cost: None });
        }
    }

    /// What a turn cost and said, also one that broke off.
    fn count(&mut self, answer: &Turn) {
        self.usage += answer.usage;
        if !answer.text.is_empty() {
            self.content = answer.text.as_str().into();
        }
    }

    /// Puts a turn into the conversation.
    fn take(&mut self, answer: &mut Turn) -> Message {
        self.count(answer);
        let message = answer.message();
        Arc::make_mut(&mut self.messages).push(message.clone());
        message
    }

    async fn after(&mut self, answer: Turn, forced: bool) -> Result<Next, Fault> {
        if !answer.calls.is_empty() {
            if let Some(stopped) = self.stop_repeats(&answer.calls, forced) {
                return stopped;
            }
            self.run_tools(&answer.calls).await?;
            return Ok(if self.submission.is_some() {
                Next::Stop { truncated: false }
            } else {
                Next::Ask(ToolChoice::Auto)
            });
        }
        let cut = answer.is_cut();
        match (self.result(), forced) {
            (Some(_), true) => Err(structured::never_submitted(&self.content, self.refused.as_deref())),
            (Some(_), false) => Ok(Next::Owe),
            (None, _) => {
                if cut {
                    self.warn("output_truncated", "the model's answer was cut at its token limit");
                }
                Ok(Next::Stop { truncated: cut })
            }
        }
    }

    /// What to do when a model does nothing but repeat itself. A result that it owes is asked for once more.
    fn stop_repeats(&mut self, calls: &[ToolCall], forced: bool) -> Option<Result<Next, Fault>> {
        let owes = self.result().is_some();
        let (call, times) = self.repeats.one_too_many(calls)?;
        let is_submission = owes && call.name == structured::NAME;
        let why = format!(
            "the agent was stopped: it wanted to call `{}` again, which gave the same answer {times} times",
            call.name
        );
        let refused = Reply::Tool { text: "not called: the answer would be the same again".into(), is_error: true };
        if self.ctx.mail.listens_on() {
            calls.iter().for_each(|call| self.take_reply(call, refused.clone()));
            if owes && !forced && !is_submission {
                self.warn("repeated_calls", &why);
                return Some(Ok(Next::Owe));
            }
        } else if owes && !forced && !is_submission {
            self.warn("repeated_calls", &why);
            calls.iter().for_each(|call| self.take_reply(call, refused.clone()));
            return Some(Ok(Next::Ask(ToolChoice::Tool(structured::NAME.to_owned()))));
        }
        Some(self.cut_off("repeated_calls", &why))
    }

    /// Runs the calls of a turn, some at once, and answers each in order.
    async fn run_tools(&mut self, calls: &[ToolCall]) -> Result<(), Fault> {
        let (count, most) = (calls.len(), self.agent.limits.tool_calls_per_turn);
        if count > most {
            let message = format!("the model asked for {count} tools in one turn, more than {most}");
            return Err(Fault::step("too_many_tool_calls", message));
        }
        let mut waits = None;
        for batch in calls.chunks(limits::PARALLEL_TOOL_CALLS) {
            let most = self.agent.limits.tool_result_bytes;
            let read = |call: &ToolCall| self.reads_on(call).then(|| self.large.read(call, most));
            let mut answers: FuturesOrdered<_> =
                batch.iter().map(|call| answer_of(&self.ctx, self.result(), call, read(call))).collect();
            let mut replies = Vec::with_capacity(batch.len());
            while let Some(reply) = answers.next().await {
                match reply {
                    Ok(reply) => replies.push(reply),
                    // The others are not held up: what they give is recorded.
                    Err(fault) if fault.class == Class::Waiting => waits = Some(fault),
                    Err(fault) => return Err(fault),
                }
            }
            drop(answers);
            if waits.is_none() {
                batch.iter().zip(replies).for_each(|(call, reply)| self.take_reply(call, reply));
            }
        }
        waits.map_or(Ok(()), Err)
    }

    fn take_reply(&mut self, call: &ToolCall, reply: Reply) {
        let (text, is_error) = match reply {
            // It is within the bound but for its mark.
            Reply::ReadOn { text, is_error } => (text, is_error),
            Reply::Tool { text, is_error } => (self.large.take(text, self.agent.limits.tool_result_bytes), is_error),
            Reply::Submission(Submission::Refused(what)) => {
                let text = structured::refusal(&what);
                self.refused = Some(what);
                (text.into(), true)
            }
            Reply::Submission(Submission::Accepted(value)) => {
                let first = self.submission.is_none();
                self.submission.get_or_insert(value);
                (if first { "accepted" } else { "ignored: a result was submitted before" }.into(), false)
            }
        };
        let text = match self.repeats.count(call, &text) {
            Some(nudge) => format!("{text}\n{nudge}").into(),
            None => text,
        };
        let message = Message::Tool { call_id: call.id.clone(), name: call.name.clone(), text, is_error };
        Arc::make_mut(&mut self.messages).push(message);
    }

    /// Ends a conversation that is not done: what was said so far is what the agent gives, if that may be text.
    fn cut_off(&self, code: &str, why: &str) -> Result<Next, Fault> {
        self.warn(code, why);
        if self.result().is_some() {
            return Err(structured::never_submitted(&self.content, self.refused.as_deref()));
        }
        Ok(Next::Stop { truncated: true })
    }

    fn warn(&self, code: &str, message: &str) {
        // It was said before the step ended.
        if !self.ended && self.ctx.events.past().is_some_and(|past| past.ended().is_some()) {
            return;
        }
        self.ctx.events.observe(Body::Warning { code: code.to_owned(), message: message.to_owned() });
    }
}
