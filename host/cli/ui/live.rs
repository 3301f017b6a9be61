//! The live view of a run: a line for each step that ended, a bar for each that is under way, for the coordinator and for
//! sub-agents, and below them what was used so far.
//!
//! It must not spill answers of models, and it must leave the terminal as it found it.

mod totals;

use super::paint;
use cofferdam::core::event::{Body, RunEvent};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::StepPath;
use cofferdam::core::message::Message;
use cofferdam::core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam::sink::{Line, LoopBounds, Narrator, Tone, clean, iteration_of};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use totals::Totals;

/// Most bars at once; a screen has few lines.
const BARS: usize = 10;

/// How often spinners turn.
const TICK: Duration = Duration::from_millis(100);

/// The view that is on the screen, so that other lines can be written above it.
static ON_SCREEN: Mutex<Option<Arc<Screen>>> = Mutex::new(None);

struct Screen {
    bars: MultiProgress,
    state: Mutex<State>,
}

/// Writes lines above the live view, if there is one.
pub(crate) fn above(write: impl FnOnce()) {
    let shown = lock(&ON_SCREEN).clone();
    match shown {
        Some(screen) => screen.bars.suspend(write),
        None => write(),
    }
}

/// Takes the live view off the screen, until the guard is dropped.
pub(crate) fn pause() -> Option<Pause> {
    let screen = lock(&ON_SCREEN).take()?;
    let state = lock(&screen.state);
    // A spinner that turns between the next two lines would draw itself again.
    state.all().for_each(ProgressBar::disable_steady_tick);
    // A view that cannot be cleared is a cosmetic fault.
    let _ = screen.bars.clear();
    screen.bars.set_draw_target(ProgressDrawTarget::hidden());
    drop(state);
    Some(Pause(screen))
}

/// See [`pause`].
pub(crate) struct Pause(Arc<Screen>);

impl Drop for Pause {
    fn drop(&mut self) {
        let state = lock(&self.0.state);
        self.0.bars.set_draw_target(ProgressDrawTarget::stderr());
        state.ticking().for_each(|bar| bar.enable_steady_tick(TICK));
        drop(state);
        *lock(&ON_SCREEN) = Some(Arc::clone(&self.0));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws a run on a terminal.
pub(crate) struct Live {
    screen: Arc<Screen>,
}

/// What the view shows before the run has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing: it begins at once.
    Nothing,
    /// That plugins are loaded, which takes seconds when they must be compiled.
    Plugins,
}

/// The path of the bar that is shown before the run has begun; no step has it.
const BEFORE: &str = "";

const STEP: &str = "{spinner} {prefix}  {elapsed:.dim}  {wide_msg:.dim}";
const ITEMS: &str = "{spinner} {prefix}  {bar:16} {pos}/{len}  {elapsed:.dim}  {wide_msg:.dim}";
const TOTALS: &str = "  {elapsed:.dim}  {wide_msg:.dim}";

#[derive(Default)]
struct State {
    narrator: Narrator,
    bounds: LoopBounds,
    /// By path, as they stand on the screen; at most [`BARS`].
    bars: Vec<(String, ProgressBar)>,
    margin: Option<ProgressBar>,
    totals: Totals,
    /// What was used, from when there is anything to tell.
    sum: Option<ProgressBar>,
}

impl Live {
    pub(crate) fn start(before: Before, bounds: LoopBounds) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        // An empty line above the bars. When a terminal echoes `^C`, all of them are one line higher than the library
        // thinks, and what it then leaves behind is this line.
        let margin = bars.add(ProgressBar::new_spinner());
        margin.set_style(style(" "));
        margin.tick();
        let narrator = Narrator::default().loop_bounds(bounds.clone());
        let mut state = State { narrator, bounds, margin: Some(margin), ..State::default() };
        if before == Before::Plugins {
            let bar = state.add(BEFORE, &bars);
            bar.set_message("loading plugins");
        }
        let screen = Arc::new(Screen { bars, state: Mutex::new(state) });
        *lock(&ON_SCREEN) = Some(Arc::clone(&screen));
        Self { screen }
    }

    /// Takes the view off the screen for good; what was written above it stays.
    pub(crate) fn stop(&self) {
        lock(&ON_SCREEN).take();
        let mut state = lock(&self.screen.state);
        state.all().for_each(ProgressBar::finish_and_clear);
        state.bars.clear();
        state.sum = None;
        // A view that cannot be cleared is a cosmetic fault.
        let _ = self.screen.bars.clear();
    }

    fn show(&self, event: &RunEvent) {
        let mut state = lock(&self.screen.state);
        state.draw(event, &self.screen.bars);
        state.narrator.tell(event).iter().filter(|line| is_final(line)).for_each(write_above);
    }
}

fn write_above(line: &Line) {
    let text = render(line);
    above(|| {
        use std::io::Write as _;
        // Nobody is left to tell when this fails.
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    });
}

impl State {
    fn draw(&mut self, event: &RunEvent, all: &MultiProgress) {
        self.sum_up(&event.body, all);
        let path = event.path.as_str();
        match &event.body {
            Body::StepStarted { items, agent, tool, .. } if self.bar(path).is_none() && self.bars.len() < BARS => {
                let bar = self.add(path, all);
                match (items, agent, tool) {
                    (Some(items), _, _) => {
                        bar.set_length(u64::try_from(items.len()).unwrap_or(u64::MAX));
                        bar.set_style(style(ITEMS));
                    }
                    (None, Some(agent), _) => bar.set_message(format!("agent {agent}")),
                    (None, None, Some(tool)) => bar.set_message(format!("tool {tool}")),
                    (None, None, None) if event.attempt.is_some() => bar.set_message("default agent"),
                    (None, None, None) => {}
                }
            }
            Body::LoopIterationStarted { index } => self.go_round(path, *index),
            Body::LoopIterationFinished { .. } => {
                if let Some(bar) = iteration_of(path).and_then(|(outer, _)| self.bar(outer)) {
                    bar.inc(1);
                }
            }
            Body::QuestionAsked { deferred: false, .. } if self.bar(path).is_none() && self.bars.len() < BARS => {
                let bar = self.add(path, all);
                bar.set_message("waits for an answer");
            }
            Body::Progress { message, .. } => self.say(path, &clean(message, 100)),
            Body::TurnStarted { turn, model, .. } => {
                let steers_or_helps = event.path.is_coordinator() || event.path.is_delegate();
                if steers_or_helps && self.bar(path).is_none() && self.bars.len() < BARS {
                    self.add(path, all);
                }
                self.say(path, &format!("{model}, turn {turn}"));
            }
            Body::TurnFinished { message: Message::Assistant { tool_calls, .. }, .. }
                if event.path.is_coordinator() && tool_calls.is_empty() =>
            {
                self.say(path, "listens");
            }
            Body::ToolCallStarted { tool, .. } => self.say(path, &format!("tool {tool}")),
            Body::ToolCallFinished { call_id, .. } => {
                let helper = event.path.delegate(call_id);
                self.remove_all(&helper, all);
            }
            // The last that one in the background does is to tell its agent what it came to.
            Body::MessagePosted(posted) if event.path.delegator().as_ref() == Some(&posted.to) => {
                self.remove_all(&event.path, all);
            }
            Body::StepRetrying { .. } => self.say(path, "waits before trying again"),
            Body::RunStarted { .. } | Body::RunResumed { .. } => self.remove(BEFORE, all),
            Body::StepFinished { .. }
            | Body::StepSkipped { .. }
            | Body::StepCancelled { .. }
            | Body::StepWaiting(_) => self.remove_all(&event.path, all),
            _ => {}
        }
    }

    /// Says below all bars what was used.
    fn sum_up(&mut self, body: &Body, all: &MultiProgress) {
        if self.totals.note(body) {
            let sum = self.sum.get_or_insert_with(|| {
                let bar = all.add(ProgressBar::new_spinner());
                bar.set_style(style(TOTALS));
                bar.enable_steady_tick(TICK);
                bar
            });
            sum.set_message(self.totals.text());
        }
    }

    fn all(&self) -> impl Iterator<Item = &ProgressBar> {
        self.ticking().chain(&self.margin)
    }

    /// Those that show how time goes on.
    fn ticking(&self) -> impl Iterator<Item = &ProgressBar> {
        self.bars.iter().map(|(_, bar)| bar).chain(&self.sum)
    }

    fn bar(&self, path: &str) -> Option<&ProgressBar> {
        self.bars.iter().find(|(shown, _)| shown == path).map(|(_, bar)| bar)
    }

    /// A bar below those of the same outermost step.
    fn add(&mut self, path: &str, all: &MultiProgress) -> ProgressBar {
        let root = |path: &str| path.split(['.', '[', '@']).next().unwrap_or_default().to_owned();
        let last = self.bars.iter().rposition(|(shown, _)| root(shown) == root(path));
        let above = last.and_then(|index| self.bars.get(index)).map(|(_, bar)| bar);
        let bar = match above {
            Some(above) => all.insert_after(above, ProgressBar::new_spinner()),
            None => match &self.sum {
                Some(sum) => all.insert_before(sum, ProgressBar::new_spinner()),
                None => all.add(ProgressBar::new_spinner()),
            },
        };
        let name = path.trim_start_matches('@');
        let depth = name.matches(['.', '[', '@']).count();
        bar.set_style(style(STEP));
        bar.set_prefix(format!("{}{name}", "  ".repeat(depth)));
        bar.enable_steady_tick(TICK);
        self.bars.insert(last.map_or(self.bars.len(), |index| index + 1), (path.to_owned(), bar.clone()));
        bar
    }

    /// Removes the bar of a step or sub-agent, and those of the sub-agents that worked for it.
    fn remove_all(&mut self, path: &StepPath, all: &MultiProgress) {
        let gone = |shown: &str| {
            let rest = shown.strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
        };
        let shown: Vec<String> =
            self.bars.iter().map(|(shown, _)| shown).filter(|shown| gone(shown)).cloned().collect();
        shown.iter().for_each(|shown| self.remove(shown, all));
    }

    fn remove(&mut self, path: &str, all: &MultiProgress) {
        if let Some(index) = self.bars.iter().position(|(shown, _)| shown == path) {
            let (_, bar) = self.bars.remove(index);
            bar.finish_and_clear();
            all.remove(&bar);
        }
    }

    /// Says the round of a loop that repeats; one over items has a length, and counts by itself.
    fn go_round(&self, path: &str, index: u32) {
        let outer = iteration_of(path).map(|(outer, _)| outer);
        if let Some((outer, bar)) = outer.and_then(|outer| Some((outer, self.bar(outer)?)))
            && bar.length().is_none()
        {
            bar.set_message(format!("iteration {}", self.bounds.round(outer, index)));
        }
    }

    fn say(&self, path: &str, message: &str) {
        if let Some(bar) = self.bar(path) {
            bar.set_message(message.to_owned());
        }
    }
}

/// What stays on the screen: ends of steps outside loops, and whatever is not as it should be.
fn is_final(line: &Line) -> bool {
    let inside_loop = line.path.contains('[');
    match line.tone {
        Tone::Warn => !(inside_loop && line.word == "cancelled"),
        Tone::Bad => true,
        Tone::Good => !inside_loop && !line.path.is_empty(),
        Tone::Quiet => {
            matches!(line.word, "skipped" | "plugin" | "hint" | "loop" | "answered" | "changed" | "message")
        }
    }
}

fn render(line: &Line) -> String {
    let mark = match line.tone {
        Tone::Quiet => "·",
        Tone::Good => "✓",
        Tone::Warn => "!",
        Tone::Bad => "✗",
    };
    let word = if line.tone == Tone::Good { String::new() } else { format!("{}  ", line.word) };
    let path = if line.path.is_empty() { String::new() } else { format!("{}  ", line.path) };
    format!("{} {path}{word}{}", paint::tone(line.tone, mark), paint::quiet(&line.detail))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates of this file are valid")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
        .progress_chars("━╸─")
}

impl Sink for Live {
    fn want(&self) -> Want {
        let kinds = [
            "run_started",
            "step_*",
            "loop_*",
            "question_*",
            "variable_set",
            "message_posted",
            "message_dropped",
            "narrated",
            "turn_*",
            "spent",
            "budget_*",
            "tool_call_*",
            "files_changed",
            "progress",
            "permission_*",
            "plugin_*",
            "warning",
        ];
        Want::new(kinds.map(str::to_owned).to_vec(), Pressure::Drop)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        // Bars of what ended meanwhile stay, and the totals lack what was used.
        Narrator::missed(&batch).iter().for_each(write_above);
        for event in &batch.events {
            self.show(event);
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        [STEP, ITEMS, TOTALS].iter().for_each(|template| drop(style(template)));
    }

    /// A view that draws nowhere, and what its bars say.
    #[derive(Default)]
    struct Unseen {
        state: State,
        bars: MultiProgress,
    }

    impl Unseen {
        fn new() -> Self {
            Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()), ..Self::default() }
        }

        /// Shows events, as the journal has them, of a step and a try of it.
        fn show(&mut self, path: &str, bodies: &[serde_json::Value]) {
            for body in bodies {
                let mut event = serde_json::json!({ "seq": 1, "at": "2026-01-01T00:00:00.000Z", "run_id": "r", "path": path, "attempt": 1 });
                event.as_object_mut().unwrap().append(&mut body.as_object().unwrap().clone());
                self.state.draw(&serde_json::from_value(event).unwrap(), &self.bars);
            }
        }

        fn said(&self) -> Vec<String> {
            let line = |bar: &ProgressBar| [bar.prefix(), bar.message()].join(": ");
            self.state.bars.iter().map(|(_, bar)| bar).chain(&self.state.sum).map(line).collect()
        }
    }

    fn turn(cost: Option<f64>) -> serde_json::Value {
        serde_json::json!({
            "kind": "turn_finished", "turn": 1, "model": "m", "message": { "role": "assistant", "text": "done" },
            "usage": { "input": 120, "output": 30 }, "cost": cost,
        })
    }

    #[test]
    fn the_coordinator_and_sub_agents_are_seen_at_work_and_everything_is_counted() {
        use serde_json::json;
        let mut view = Unseen::new();
        let asked = json!({ "kind": "turn_started", "turn": 1, "model": "m" });
        let call = |tool| json!({ "kind": "tool_call_started", "call_id": "7", "tool": tool, "args": {}, "key": "k" });
        view.show("a", &[json!({ "kind": "step_started", "agent": "lead" }), asked.clone(), call("agent")]);
        view.show("@coordinator", std::slice::from_ref(&asked));
        view.show("a@7", &[asked, call("read")]);
        let counted = ": 2 tool calls";
        assert_eq!(view.said(), ["a: tool agent", "  a@7: tool read", "coordinator: m, turn 1", counted]);
        view.show("a@7", &[turn(Some(0.5))]);
        view.show("@coordinator", &[turn(Some(0.25))]);
        let sum = view.said().pop().unwrap();
        assert_eq!(sum, ": 2 turns, 2 tool calls, 240 in, 60 out, $0.7500");
        let ended = json!({
            "kind": "tool_call_finished", "call_id": "7", "tool": "agent", "result": 1, "content": "1", "duration_ms": 1,
        });
        view.show("a", &[ended, turn(None)]);
        assert_eq!(view.said()[..2], ["a: tool agent", "coordinator: listens"]);
        assert!(view.said()[2].ends_with("360 in, 90 out, cost unknown"), "{:?}", view.said());
    }

    #[test]
    fn a_sub_agent_in_the_background_is_seen_until_it_has_told_its_agent_what_it_came_to() {
        use serde_json::json;
        let mut view = Unseen::new();
        let asked = json!({ "kind": "turn_started", "turn": 1, "model": "m" });
        let told = |to: &str| json!({ "kind": "message_posted", "id": 1, "key": "k", "to": to, "message_kind": "info", "text": "done" });
        view.show("a", &[json!({ "kind": "step_started", "agent": "lead" })]);
        for helper in 0..20 {
            let path = format!("a@{helper}");
            view.show(&path, std::slice::from_ref(&asked));
            view.show(&format!("{path}@1"), std::slice::from_ref(&asked));
            assert_eq!(view.said().len(), 3 + usize::from(helper > 0), "{:?}", view.said());
            view.show(&path, &[told("b")]);
            assert!(view.said().iter().any(|line| line.contains(&path)), "it writes to another one: {:?}", view.said());
            view.show(&path, &[told("a")]);
        }
        assert_eq!(view.said(), ["a: agent lead", ": 40 messages"]);
    }

    #[test]
    fn what_was_used_stands_below_every_bar() {
        use serde_json::json;
        let mut view = Unseen::new();
        view.show("a", &[json!({ "kind": "step_started", "agent": "x" }), turn(Some(0.0))]);
        view.show("b", &[json!({ "kind": "step_started", "agent": "y" })]);
        assert_eq!(view.said(), ["a: agent x", "b: agent y", ": 1 turn, 120 in, 30 out, $0"]);
        assert_eq!(view.state.ticking().count(), 3, "its time goes on too");
    }

    #[test]
    fn only_ends_and_faults_stay_on_the_screen() {
        let line = |path: &str, tone, word| Line {
            at: Default::default(),
            path: path.into(),
            tone,
            word,
            detail: String::new(),
        };
        assert!(is_final(&line("scan", Tone::Good, "completed")));
        assert!(!is_final(&line("scan[1]", Tone::Good, "completed")));
        assert!(is_final(&line("scan[1]", Tone::Bad, "failed")));
        assert!(!is_final(&line("scan[1]", Tone::Warn, "cancelled")));
        assert!(!is_final(&line("scan", Tone::Quiet, "started")));
        assert!(is_final(&line("scan", Tone::Quiet, "message")));
        assert!(is_final(&line("", Tone::Warn, "budget")));
    }
}
