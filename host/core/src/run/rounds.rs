//! Loops that repeat: one iteration after the other, until something says that it is enough.
//!
//! After an iteration `until` is evaluated, then the judge is asked; before one the limit, `while` and the delay.

use super::effect::Effect;
use super::follow::emit;
use super::loops::{LoopRun, Phase, kind};
use super::machine::Machine;
use super::node::{Doom, Kind, Node, NodeId, NodeState};
use super::scopes::Given;
use crate::event::{Body, LoopEnd, StepOutput, StepStatus};
use crate::fault::Fault;
use crate::id::{StepId, StepPath};
use crate::message::Usage;
use crate::port::LoopView;
use crate::spec::workflow::{LoopKind, OnLimit, OutputMode, Repeat};
use crate::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What a repeating loop asks for, without its expressions.
#[derive(Clone, Copy)]
struct Rules {
    asks_before: bool,
    asks_after: bool,
    judges: bool,
    most: usize,
    delay: Duration,
}

impl Machine {
    fn rules(&self, id: NodeId) -> Rules {
        let LoopKind::Repeat(repeat) = kind(self.step(id)) else { unreachable!("only repeating loops have rounds") };
        Rules {
            asks_before: repeat.go_on.is_some(),
            asks_after: repeat.until.is_some(),
            judges: repeat.judge.is_some(),
            most: usize::try_from(repeat.max_iterations).unwrap_or(usize::MAX),
            delay: repeat.delay,
        }
    }

    /// The engine's answer to `while` that was true, and to `until` that was false.
    pub fn go_on(&mut self, path: &StepPath) -> Vec<Effect> {
        if let Some(id) = self.find(path)
            && self.node(id).state == NodeState::Open
            && let Kind::Loop(run) = &mut self.node_mut(id).kind
        {
            run.phase = match run.phase {
                Phase::Checking => Phase::Granted,
                Phase::Testing => Phase::Tested,
                other => other,
            };
            self.agenda.push_back(id);
        }
        self.effects()
    }

    /// Whether the engine evaluates something for the loop.
    pub(super) fn is_evaluating(&self, id: NodeId) -> bool {
        let Kind::Loop(run) = &self.node(id).kind else { return false };
        self.node(id).state == NodeState::Open && matches!(run.phase, Phase::Checking | Phase::Testing)
    }

    /// Takes the next step of the loop, as far as it can without an answer from outside.
    pub(super) fn advance_rounds(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        loop {
            let phase = self.loop_of(id).phase;
            let waiting = [Phase::Checking, Phase::Pausing, Phase::Testing].contains(&phase);
            let under_way = [Phase::Beginning, Phase::Iterating, Phase::Judging].contains(&phase);
            if under_way {
                return;
            }
            if let Some(because) = self.cut_short(id, phase) {
                return self.announce_end(id, because, effects);
            }
            if waiting {
                return;
            }
            let rules = self.rules(id);
            match phase {
                Phase::Before => {
                    if self.before(id, rules, effects) {
                        return;
                    }
                }
                Phase::Granted => return self.grant(id, rules, effects),
                Phase::After => {
                    if self.after(id, rules, effects) {
                        return;
                    }
                }
                Phase::Tested => {
                    if self.ask_judge(id, rules, effects) {
                        return;
                    }
                }
                Phase::Judged { done: true } => return self.announce_end(id, LoopEnd::Judge, effects),
                _ => self.loop_mut(id).phase = Phase::Before,
            }
        }
    }

    /// What ends the loop whatever its conditions say.
    fn cut_short(&self, id: NodeId, phase: Phase) -> Option<LoopEnd> {
        let run = self.loop_of(id);
        if self.node(id).expired.is_some() {
            return Some(LoopEnd::Timeout);
        }
        if self.is_halted(id) {
            return Some(LoopEnd::Stopped);
        }
        if run.failed.is_some() {
            return Some(LoopEnd::Failed);
        }
        let between = !run.iterations.is_empty() && phase != Phase::Testing && phase != Phase::Checking;
        (run.signalled && between).then_some(LoopEnd::Signal)
    }

    /// Before an iteration; says whether an answer is awaited.
    fn before(&mut self, id: NodeId, rules: Rules, effects: &mut Vec<Effect>) -> bool {
        let index = u32::try_from(self.loop_of(id).iterations.len()).unwrap_or(u32::MAX);
        if !rules.asks_before {
            self.loop_mut(id).phase = Phase::Granted;
            return false;
        }
        self.loop_mut(id).phase = Phase::Checking;
        effects.push(Effect::While { path: self.node(id).path.clone(), index });
        true
    }

    fn grant(&mut self, id: NodeId, rules: Rules, effects: &mut Vec<Effect>) {
        let done = self.loop_of(id).iterations.len();
        if done >= rules.most {
            return self.announce_end(id, LoopEnd::Limit, effects);
        }
        if done == 0 || rules.delay.is_zero() {
            return self.begin_iteration(id, effects);
        }
        self.loop_mut(id).phase = Phase::Pausing;
        let last = self.loop_of(id).iterations.last();
        let since = last.and_then(|&last| self.node(last).ended).unwrap_or_default();
        effects.push(Effect::Wait { path: self.node(id).path.clone(), delay: rules.delay, since });
    }

    /// Nobody here waits for the end of the pause.
    pub(super) fn postpone(&mut self, id: NodeId, until: Timestamp) {
        if let Kind::Loop(run) = &mut self.node_mut(id).kind {
            run.phase = Phase::Pausing;
            run.postponed = Some(until);
            self.postpones = true;
        }
    }

    /// Whether the loop at `path` waits between two iterations.
    #[must_use]
    pub fn is_pausing(&self, path: &StepPath) -> bool {
        self.find(path).is_some_and(|id| self.node(id).state == NodeState::Open && self.pauses(id))
    }

    pub(super) fn pauses(&self, id: NodeId) -> bool {
        matches!(&self.node(id).kind, Kind::Loop(run) if run.phase == Phase::Pausing && run.ended.is_none())
    }

    /// Whether a loop does nothing but wait for a judge that waits for a person.
    pub(super) fn waits_for_judge(&self, run: &LoopRun) -> bool {
        let waits = |&judge: &NodeId| self.node(judge).state == NodeState::Deferred;
        run.phase == Phase::Judging && run.active == 0 && run.judges.last().is_some_and(waits)
    }

    /// When the first of the iterations may begin that nobody here waits for.
    pub(super) fn pause_until(&self) -> Option<Timestamp> {
        self.nodes.iter().filter(|node| node.state == NodeState::Open).filter_map(Node::postponed).min()
    }

    /// The pause between two iterations is over.
    pub(super) fn end_pause(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        if !self.is_halted(id) && self.node(id).expired.is_none() && self.loop_of(id).phase == Phase::Pausing {
            self.begin_iteration(id, effects);
        }
    }

    /// After an iteration; says whether an answer is awaited.
    fn after(&mut self, id: NodeId, rules: Rules, effects: &mut Vec<Effect>) -> bool {
        let index = u32::try_from(self.loop_of(id).iterations.len().saturating_sub(1)).unwrap_or(u32::MAX);
        self.loop_mut(id).phase = if rules.asks_after { Phase::Testing } else { Phase::Tested };
        if rules.asks_after {
            effects.push(Effect::Until { path: self.node(id).path.clone(), index });
        }
        rules.asks_after
    }

    /// Asks the judge; says whether there is one.
    fn ask_judge(&mut self, id: NodeId, rules: Rules, effects: &mut Vec<Effect>) -> bool {
        if !rules.judges {
            self.loop_mut(id).phase = Phase::Before;
            return false;
        }
        let index = u32::try_from(self.loop_of(id).iterations.len().saturating_sub(1)).unwrap_or(u32::MAX);
        self.loop_mut(id).phase = Phase::Judging;
        effects.push(emit(judge_path(&self.node(id).path, index), None, Body::StepReady {}));
        true
    }

    /// Makes the node of a judge, which carries the loop's path, `judge` and an index.
    pub(super) fn open_judge(&mut self, path: &StepPath) {
        let Some((of, index)) = self.judged(path) else { return };
        let (scope, step) = (self.node(of).scope, self.node(of).step);
        let id = self.add(Node::new(path.clone(), scope, step, Kind::Judge { of, index }));
        let run = self.loop_mut(of);
        run.judges.push(id);
        run.phase = Phase::Judging;
        if self.is_halted(id) {
            self.doom(id, Doom::Cancel("its loop was stopped".to_owned()));
        } else {
            self.queue(id);
        }
    }

    /// Whether a path is that of the judge of a loop.
    #[must_use]
    pub fn is_judge(&self, path: &StepPath) -> bool {
        let owner = path.as_str().rsplit_once(".judge[").map(|(owner, _)| StepPath::from(owner));
        owner.and_then(|owner| self.find(&owner)).is_some_and(|of| matches!(self.node(of).kind, Kind::Loop(_)))
    }

    /// The open loop and the iteration of the path `L.judge[i]`, when its judge may be asked.
    pub(super) fn judged(&self, path: &StepPath) -> Option<(NodeId, u32)> {
        let (owner, index) = path.as_str().strip_suffix(']')?.rsplit_once('[')?;
        let of = self.find(&StepPath::from(owner.strip_suffix(".judge")?))?;
        let Kind::Loop(run) = &self.node(of).kind else { return None };
        let ready = matches!(run.phase, Phase::Judging | Phase::After | Phase::Tested | Phase::Testing);
        (ready && self.node(of).state == NodeState::Open).then_some(())?;
        Some((of, index.parse().ok()?))
    }

    /// A judge has ended: what it said counts for the loop and for the next iteration.
    pub(super) fn end_judge(&mut self, id: NodeId, status: StepStatus) {
        let Kind::Judge { of, .. } = self.node(id).kind else { return };
        let output = self.node(id).output.clone();
        let done = status == StepStatus::Completed && output.result.get("done") == Some(&Value::Bool(true));
        let run = self.loop_mut(of);
        run.feedback = feedback(&output);
        run.phase = Phase::Judged { done };
        self.agenda.push_back(id);
        self.agenda.push_back(of);
    }

    /// A judge that did not answer does not end the loop; it is said aloud.
    pub(super) fn report_judge(&self, id: NodeId, status: StepStatus, effects: &mut Vec<Effect>) {
        if status != StepStatus::Failed {
            return;
        }
        let node = self.node(id);
        let why = node.error.as_ref().map(|fault| fault.message.as_str()).unwrap_or_default();
        let message = format!("the judge gave no verdict, the loop goes on: {why}");
        let body = Body::Warning { code: "judge_failed".to_owned(), message };
        effects.push(emit(node.path.clone(), None, body));
    }

    pub(super) fn rounds_given(&self, id: NodeId, run: &LoopRun, repeat: &Repeat) -> Given {
        let completed = run.iterations.iter().rev().map(|&id| self.node(id));
        let completed = completed.clone().find(|node| node.state.status() == Some(StepStatus::Completed));
        let last = completed.or_else(|| run.iterations.last().map(|&id| self.node(id)));
        let last = last.map(|node| node.output.clone()).unwrap_or_default();
        let output = match repeat.output_mode {
            OutputMode::Last => last,
            OutputMode::Cumulative => self.cumulative(run, last),
        };
        let error = match run.ended {
            Some(LoopEnd::Failed) => {
                let failed = run.failed.and_then(|index| run.iterations.get(index as usize));
                failed.map(|&id| self.item_fault(self.node(id)))
            }
            Some(LoopEnd::Limit) if repeat.on_limit == OnLimit::Fail => Some(exhausted(id, self, repeat)),
            _ => None,
        };
        Given { output: StepOutput { truncated: false, metadata: Arc::default(), ..output }, error }
    }

    /// The texts of all iterations, separated by a line, with the data of the last one.
    fn cumulative(&self, run: &LoopRun, last: StepOutput) -> StepOutput {
        let texts = run.iterations.iter().map(|&id| &*self.node(id).output.content);
        let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
        StepOutput { content: texts.join("\n\n---\n\n").into(), ..last }
    }

    /// What the loop at `path` has done so far, for a closure that decides whether it goes on.
    #[must_use]
    pub fn loop_view(&self, path: &StepPath, now: Timestamp) -> LoopView {
        let empty = LoopView { iteration: 0, outputs: Vec::new(), usage: Usage::default(), elapsed: Duration::ZERO };
        let Some(id) = self.find(path) else { return empty };
        let Kind::Loop(run) = &self.node(id).kind else { return empty };
        LoopView {
            iteration: u32::try_from(run.iterations.len()).unwrap_or(u32::MAX),
            outputs: run.iterations.iter().map(|&id| self.node(id).output.clone()).collect(),
            usage: self.usage_within(id),
            elapsed: self.node(id).started.map_or(Duration::ZERO, |started| now.since(started)),
        }
    }
}

/// The path of the judge of an iteration. No step has it: a loop has no inner steps but those of its iterations.
fn judge_path(of: &StepPath, index: u32) -> StepPath {
    let judge = StepId::parse("judge").expect("`judge` follows the grammar");
    of.child(&judge).iteration(index)
}

/// What the next iteration hears of the judge: its text, else its data without the verdict.
fn feedback(output: &StepOutput) -> Option<Arc<str>> {
    if !output.content.trim().is_empty() {
        return Some(Arc::clone(&output.content));
    }
    let mut rest = output.result.as_object()?.clone();
    rest.remove("done");
    (!rest.is_empty()).then(|| Value::Object(rest).to_string().into())
}

fn exhausted(id: NodeId, machine: &Machine, repeat: &Repeat) -> Fault {
    let count = repeat.max_iterations;
    let noun = if count == 1 { "iteration" } else { "iterations" };
    let message = format!("loop `{}` exhausted {count} {noun} and is not done", machine.node(id).path);
    Fault::retry("loop_limit", message)
        .with_hint("raise `maxIterations`, or write `onLimit: complete` if the last iteration is good enough")
}
