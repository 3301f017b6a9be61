//! Random workflows: graphs, loops, groups, questions, failure policies.

use crate::expr::{Expr, Names};
use crate::id::StepId;
use crate::spec::workflow::{
    AgentWork, AskWork, FailurePolicy, ForEach, ItemFailure, Items, Loop, LoopCheck, LoopKind, OnLimit, Options,
    OutputMode, Repeat, Scheduler, Scope, Step, Work, Workflow,
};
use crate::template::Template;
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What a random step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Each,
    Repeat,
    Group,
    Ask,
}

/// One random step: which earlier steps it depends on, its policy, retries, items or iterations, a body.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) depends_on: Vec<usize>,
    pub(super) policy: u8,
    pub(super) retries: u32,
    pub(super) form: Form,
    pub(super) items: usize,
    /// Whether a repeating loop has `while`, `until`, a judge, a delay; and fails at its limit.
    pub(super) rules: u8,
    pub(super) bound: Option<usize>,
    pub(super) on_item: u8,
    pub(super) body: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) steps: Vec<Shape>,
    pub(super) slots: usize,
    pub(super) scheduler: u8,
    /// Decides which try fails and which ends next.
    pub(super) chances: Vec<u8>,
    pub(super) stop_after: Option<usize>,
    /// How many step instances the run may have, when that is few.
    pub(super) room: Option<usize>,
}

pub(super) fn shape(index: usize) -> impl Strategy<Value = Shape> {
    (
        prop::collection::btree_set(0..index.max(1), 0..3),
        0..4_u8,
        0..3_u32,
        prop_oneof![
            4 => Just(Form::Plain), 2 => Just(Form::Each), 2 => Just(Form::Repeat), 2 => Just(Form::Group), 1 => Just(Form::Ask)
        ],
        (0..5_usize, any::<u8>()),
        prop::option::of(1..3_usize),
        0..3_u8,
        0..3_usize,
    )
        .prop_map(move |(depends_on, policy, retries, form, (items, rules), bound, on_item, body)| Shape {
            depends_on: depends_on.into_iter().filter(|&dependency| dependency < index).collect(),
            policy,
            retries,
            form,
            items,
            rules,
            bound,
            on_item,
            body,
        })
}

pub(super) fn plot() -> impl Strategy<Value = Plot> {
    let steps = (1..14_usize).prop_flat_map(|count| (0..count).map(shape).collect::<Vec<_>>());
    let stop_after = prop::option::weighted(0.2, 0..20_usize);
    let room = prop::option::weighted(0.2, 14..40_usize);
    (steps, 1..5_usize, 0..3_u8, prop::collection::vec(any::<u8>(), 64), (stop_after, room)).prop_map(
        |(steps, slots, scheduler, chances, (stop_after, room))| Plot {
            steps,
            slots,
            scheduler,
            chances,
            stop_after,
            room,
        },
    )
}

pub(super) fn step(name: &str, depends_on: Vec<usize>) -> Step {
    Step { depends_on, ..Step::new(StepId::parse(name).unwrap(), Work::Agent(AgentWork::new("do it"))) }
}

pub(super) fn step_of(index: usize, shape: &Shape) -> Step {
    let policies =
        [FailurePolicy::Cascade, FailurePolicy::SkipDependents, FailurePolicy::Continue, FailurePolicy::Abort];
    let name = format!("s{index}");
    let plain = step(&name, shape.depends_on.clone());
    let (work, repeat) = match shape.form {
        Form::Plain => (plain.work.clone(), None),
        Form::Ask => (Work::Ask(Box::new(question())), None),
        Form::Group => (Work::Group(inner(shape.body + 1, shape.rules)), None),
        Form::Each | Form::Repeat => {
            let body = (shape.body > 0).then(|| inner(shape.body, shape.rules));
            (plain.work.clone(), Some(Loop { kind: loop_of(shape), body }))
        }
    };
    let on_failure = Some(policies[usize::from(shape.policy)]);
    Step { retries: shape.retries, on_failure, work, repeat, ..plain }
}

/// Steps in a row or a graph; the last one repeats itself, now and then.
pub(super) fn inner(count: usize, rules: u8) -> Arc<Scope> {
    let mut steps: Vec<Step> = (0..count).map(|inner| step(&format!("i{inner}"), (0..inner).collect())).collect();
    if rules.is_multiple_of(3)
        && let Some(last) = steps.last_mut()
    {
        last.repeat = Some(Loop { kind: LoopKind::Repeat(Box::new(rounds(2, rules / 3))), body: None });
    }
    Arc::new(Scope { steps, ..Scope::default() })
}

pub(super) fn loop_of(shape: &Shape) -> LoopKind {
    let on_item = [ItemFailure::Stop, ItemFailure::Continue, ItemFailure::Ignore];
    if shape.form == Form::Repeat {
        return LoopKind::Repeat(Box::new(rounds(shape.items + 1, shape.rules)));
    }
    LoopKind::ForEach(ForEach {
        items: Items::List(Arc::new((0..shape.items).map(|item| json!(item)).collect())),
        max_concurrency: shape.bound,
        on_item_failure: on_item[usize::from(shape.on_item)],
    })
}

pub(super) fn rounds(most: usize, rules: u8) -> Repeat {
    let expr = || Expr::parse("true", &Names { steps: &[], roots: &[] }).unwrap();
    let has = |bit: u8| rules >> bit & 1 == 1;
    Repeat {
        max_iterations: u32::try_from(most).unwrap(),
        go_on: has(0).then(|| LoopCheck::Expr(expr())),
        until: has(1).then(expr),
        judge: has(2).then(|| Arc::new(step("judge", Vec::new()))),
        on_limit: if has(3) { OnLimit::Fail } else { OnLimit::Complete },
        delay: Duration::from_secs(u64::from(has(4))),
        output_mode: if has(5) { OutputMode::Cumulative } else { OutputMode::Last },
    }
}

pub(super) fn question() -> AskWork {
    let prompt = Template::constant(json!("which one"));
    AskWork { prompt, choices: Vec::new(), schema: None, default: None, timeout: None }
}

pub(super) fn workflow(plot: &Plot) -> Arc<Workflow> {
    let schedulers = [Scheduler::DependencyFirst, Scheduler::RoundRobin, Scheduler::LeastBusy];
    let steps = plot.steps.iter().enumerate().map(|(index, shape)| step_of(index, shape)).collect();
    let scheduler = schedulers[usize::from(plot.scheduler)];
    let mut options = Options { scheduler, ..Options::default() };
    options.limits.step_instances = plot.room.unwrap_or(options.limits.step_instances);
    Arc::new(Workflow { options, ..Workflow::of_steps("plot", steps) })
}
