//! What the engine decides between steps, once more: conditions, items, loops, outputs, the end.

use super::Replayer;
use crate::closure::guarded;
use crate::executor::{self, Question};
use cofferdam_core::event::{Body, RunReason, RunStatus};
use cofferdam_core::expr::EvalError;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::Choice;
use cofferdam_core::run::Machine;
use cofferdam_core::run::replay::{Answer, Asked};
use cofferdam_core::spec::workflow::{Condition, Include, Items, LoopCheck, LoopKind, PluginCondition, Repeat, Work};
use cofferdam_core::transform::Transform;
use serde_json::Value;
use tokio::sync::oneshot;

impl From<executor::Answer> for Answer {
    fn from(answer: executor::Answer) -> Self {
        match answer {
            executor::Answer::Events(bodies) => Self::Events(bodies),
            executor::Answer::GoOn => Self::GoOn,
            // Nothing that is evaluated comes to these.
            executor::Answer::Admitted | executor::Answer::Deadlock(_) | executor::Answer::Over(_) => Self::Taken,
        }
    }
}

/// One event.
pub(super) fn event(body: Body) -> Answer {
    Answer::Events(vec![body])
}

impl Replayer {
    /// Evaluates on the threads for expressions.
    async fn evaluate<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EvalError> + Send + 'static,
    ) -> Result<T, EvalError> {
        let (done, outcome) = oneshot::channel();
        self.evaluator.evaluate(work, move |outcome| drop(done.send(outcome)));
        outcome.await.unwrap_or_else(|_| Err(EvalError::Failed("the evaluation broke off".to_owned())))
    }

    pub(super) async fn decide(&mut self, machine: &Machine, path: &StepPath) -> Answer {
        match machine.step_at(path).and_then(|step| step.condition.clone()) {
            None => event(Body::StepReady {}),
            Some(Condition::Expr(condition)) => {
                let (source, variables) = (condition.source().to_owned(), machine.variables(path, &condition));
                let outcome = self.evaluate(move || condition.evaluate(&variables)).await;
                executor::decision(outcome, &source).into()
            }
            Some(Condition::Native(name)) => {
                let Some(closure) = self.ports.natives.conditions.get(&name).cloned() else {
                    return self.take(format!("the condition `{name}` of step `{path}`"));
                };
                let run = self.scope.context(path, None);
                let what = format!("condition `{name}`");
                let call = guarded(&what, async { closure.decide(run).await });
                event(match self.scope.wait_for(machine, call).await {
                    Ok(true) => Body::StepReady {},
                    Ok(false) => executor::skipped(format!("the condition `{name}` said no")),
                    Err(fault) => executor::failed(fault),
                })
            }
            Some(Condition::Plugin(condition)) => self.decide_by_plugin(machine, path, &condition).await,
        }
    }

    async fn decide_by_plugin(&mut self, machine: &Machine, path: &StepPath, condition: &PluginCondition) -> Answer {
        let branch = machine.branch(path);
        if let Some(chosen) = branch.as_ref().and_then(|branch| branch.chosen) {
            return event(if chosen { Body::StepReady {} } else { executor::not_chosen(condition) });
        }
        let (alias, options) = (&condition.plugin, &condition.options);
        let Some(plugin) = self.ports.plugins.conditions.get(alias).cloned() else {
            return self.take(format!("the condition plugin `{alias}` of step `{path}`"));
        };
        let (ctx, view, what) =
            (self.scope.pure(machine, path, None), machine.view(path), format!("condition `{alias}`"));
        let Some(branch) = branch else {
            let call = guarded(&what, plugin.decide(ctx, options, view));
            return event(match self.scope.wait_for(machine, call).await {
                Ok(verdict) => executor::decided(alias, verdict),
                Err(fault) => executor::failed(fault),
            });
        };
        let labels = branch.steps.iter().map(|(_, label)| label.clone()).collect();
        let call = guarded(&what, plugin.choose(ctx, options, Choice { labels, view }));
        let own = machine.step_at(path).map(|step| &step.id);
        match self.scope.wait_for(machine, call).await {
            Ok(chosen) => executor::chose(condition, &branch, chosen, own).into(),
            Err(fault) => event(executor::failed(fault)),
        }
    }

    pub(super) async fn expand(&mut self, machine: &Machine, path: &StepPath) -> Answer {
        let Some(step) = machine.step_at(path) else { return Answer::Taken };
        let items = match step.repeat.as_ref().map(|repeat| &repeat.kind) {
            Some(LoopKind::ForEach(each)) => Some(each.items.clone()),
            Some(LoopKind::Repeat(_)) | None => None,
        };
        let begun = match (items, &step.work) {
            (Some(Items::List(items)), _) => executor::started(Some(items), None).into(),
            (Some(Items::Expr(expr)), _) => {
                let variables = machine.variables(path, &expr);
                executor::items_of(self.evaluate(move || expr.evaluate(&variables)).await)
            }
            (None, Work::Include(include)) => {
                let (with, variables) = (include.with.clone(), machine.variables(path, &include.with));
                let rendered = self.evaluate(move || with.render(&variables)).await;
                executor::inputs_of(include, rendered).into()
            }
            (None, _) => executor::started(None, None).into(),
        };
        let executor::Answer::Events(bodies) = begun else { return Answer::Taken };
        let refused = |body: &Body| match body {
            Body::StepStarted { items: Some(items), .. } => machine.refuse_items(items).map(executor::failed),
            _ => None,
        };
        Answer::Events(bodies.into_iter().map(|body| refused(&body).unwrap_or(body)).collect())
    }

    pub(super) async fn check_while(&mut self, machine: &Machine, path: &StepPath, index: u32) -> Answer {
        match repeat_at(machine, path).and_then(|repeat| repeat.go_on.clone()) {
            None => Answer::GoOn,
            Some(LoopCheck::Expr(expr)) => {
                let variables = machine.loop_variables(path, &expr);
                let outcome = self.evaluate(move || expr.evaluate(&variables)).await;
                executor::answer(outcome, Question::While, index).into()
            }
            Some(LoopCheck::Native(name)) => {
                let Some(closure) = self.ports.natives.loops.get(&name).cloned() else {
                    return self.take(format!("the loop condition `{name}` of step `{path}`"));
                };
                let (run, view) = (self.scope.context(path, None), machine.loop_view(path, self.scope.now()));
                let what = format!("loop condition `{name}`");
                let call = guarded(&what, async { closure.go_on(run, view).await });
                executor::after_closure(self.scope.wait_for(machine, call).await, index).into()
            }
        }
    }

    pub(super) async fn check_until(&mut self, machine: &Machine, path: &StepPath, index: u32) -> Answer {
        let Some(expr) = repeat_at(machine, path).and_then(|repeat| repeat.until.clone()) else { return Answer::GoOn };
        let variables = machine.loop_variables(path, &expr);
        let outcome = self.evaluate(move || expr.evaluate(&variables)).await;
        executor::answer(outcome, Question::Until, index.saturating_add(1)).into()
    }

    pub(super) async fn gather(&mut self, machine: &Machine, path: &StepPath) -> Answer {
        let Some(step) = machine.step_at(path) else { return Answer::Taken };
        let chain = step.transform.output.clone();
        if let Some(missing) = self.missing(&chain, path) {
            return self.take(missing);
        }
        let value = match &step.work {
            Work::Include(include) => self.output_of(machine, path, include).await,
            _ => Ok(None),
        };
        let (gathered, chains) = (machine.gathered(path), self.scope.chains(&self.ports, machine, path, None));
        let work = executor::changed(value, gathered.clone(), &chains, &chain);
        let limit = self.workflow.options.limits.step_output_bytes;
        event(match self.scope.wait_for(machine, work).await {
            Ok(output) => match executor::too_large(&output, limit) {
                None => executor::completed(output),
                Some(fault) => executor::failed(fault),
            },
            Err(fault) => executor::failed_with(fault, gathered),
        })
    }

    async fn output_of(&self, machine: &Machine, path: &StepPath, include: &Include) -> Result<Option<Value>, Fault> {
        let Some(expr) = include.output.clone() else { return Ok(None) };
        let inside = include.scope.steps.first().map_or_else(|| path.clone(), |first| path.child(&first.id));
        let variables = machine.variables(&inside, &expr);
        let outcome = self.evaluate(move || expr.evaluate(&variables)).await;
        outcome.map(Some).map_err(|error| Fault::step("output", format!("cannot evaluate `output`: {error}")))
    }

    pub(super) async fn conclude(&mut self, machine: &Machine, asked: Asked<'_>) -> Answer {
        let Body::RunFinished { status: ended, output: gave, error: told, .. } = &asked.recorded.body else {
            return Answer::Taken;
        };
        let (status, reason) = machine.verdict();
        // What the embedder's engine failed of is its own affair.
        if self.ports.ordered_by_engine && reason.is_none() && *ended == RunStatus::Failed {
            return Answer::Taken;
        }
        let error = match (status, reason) {
            (RunStatus::Completed | RunStatus::Waiting, _) => None,
            (_, Some(RunReason::Deadlock | RunReason::Timeout | RunReason::Budget)) => told.clone(),
            _ => machine.first_failure().map(|(_, fault)| fault.clone()),
        };
        let usage = machine.usage();
        let finished = move |output| Body::RunFinished { status, reason, output, usage, cost: None, error };
        // The stop came while the output was evaluated.
        let stopped = reason.is_some() || status == RunStatus::Cancelled;
        if stopped && gave.is_null() {
            return event(finished(Value::Null));
        }
        event(match self.workflow.output.clone() {
            Some(expr) if matches!(status, RunStatus::Completed | RunStatus::Partial) => {
                let variables = machine.variables(&StepPath::ROOT, &expr);
                match self.evaluate(move || expr.evaluate(&variables)).await {
                    Ok(output) => finished(output),
                    Err(_) if status == RunStatus::Partial => finished(Value::Null),
                    Err(error) => executor::output_failed(executor::unevaluated(&error), usage, None),
                }
            }
            _ => match machine.default_output() {
                Ok(output) => finished(output),
                Err(fault) => executor::output_failed(fault, usage, None),
            },
        })
    }

    /// A link of a chain that is not here.
    pub(super) fn missing(&self, chain: &[Transform], path: &StepPath) -> Option<String> {
        chain.iter().find_map(|link| match link {
            Transform::Native(name) if !self.ports.natives.transforms.contains_key(name) => {
                Some(format!("the transform `{name}` of step `{path}`"))
            }
            Transform::Plugin { plugin, .. } if !self.ports.plugins.transforms.contains_key(plugin) => {
                Some(format!("the transform plugin `{plugin}` of step `{path}`"))
            }
            _ => None,
        })
    }
}

fn repeat_at<'m>(machine: &'m Machine, path: &StepPath) -> Option<&'m Repeat> {
    match &machine.step_at(path)?.repeat.as_ref()?.kind {
        LoopKind::Repeat(repeat) => Some(repeat),
        LoopKind::ForEach(_) => None,
    }
}
