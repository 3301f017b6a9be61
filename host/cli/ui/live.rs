//! The live view of a run: a line for each step that ended, a bar for each that is under way.
//!
//! It must not spill text of models, and it must leave the terminal as it found it.

use super::paint;
use cofferdam::core::event::{Body, RunEvent};
use cofferdam::core::fault::Fault;
use cofferdam::core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam::sink::{Line, LoopBounds, Narrator, Tone, clean, iteration_of};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
        state.bars.iter().for_each(|(_, bar)| bar.enable_steady_tick(TICK));
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

#[derive(Default)]
struct State {
    narrator: Narrator,
    bounds: LoopBounds,
    /// By path, as they stand on the screen; at most [`BARS`].
    bars: Vec<(String, ProgressBar)>,
    margin: Option<ProgressBar>,
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
        // A view that cannot be cleared is a cosmetic fault.
        let _ = self.screen.bars.clear();
    }

    fn show(&self, event: &RunEvent) {
        let mut state = lock(&self.screen.state);
        state.draw(event, &self.screen.bars);
        for line in state.narrator.tell(event).iter().filter(|line| is_final(line)) {
            let text = render(line);
            above(|| {
                use std::io::Write as _;
                // Nobody is left to tell when this fails.
                let _ = writeln!(anstream::stderr().lock(), "{text}");
            });
        }
    }
}

impl State {
    fn draw(&mut self, event: &RunEvent, all: &MultiProgress) {
        let path = event.path.as_str();
        match &event.body {
            Body::StepStarted { items, agent, tool, .. } if self.bar(path).is_none() && self.bars.len() < BARS => {
                let bar = self.add(path, all);
                match (items, agent, tool) {
                    (Some(items), _, _) => {
                        bar.set_length(u64::try_from(items.len()).unwrap_or(u64::MAX));
                        bar.set_style(style(
                            "{spinner} {prefix}  {bar:16} {pos}/{len}  {elapsed:.dim}  {wide_msg:.dim}",
                        ));
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
            Body::TurnStarted { turn, model } => self.say(path, &format!("{model}, turn {turn}")),
            Body::ToolCallStarted { tool, .. } => self.say(path, &format!("tool {tool}")),
            Body::StepRetrying { .. } => self.say(path, "waits before trying again"),
            Body::RunStarted { .. } | Body::RunResumed { .. } => self.remove(BEFORE, all),
            Body::StepFinished { .. }
            | Body::StepSkipped { .. }
            | Body::StepCancelled { .. }
            | Body::StepWaiting(_) => self.remove(path, all),
            _ => {}
        }
    }

    fn all(&self) -> impl Iterator<Item = &ProgressBar> {
        self.bars.iter().map(|(_, bar)| bar).chain(&self.margin)
    }

    fn bar(&self, path: &str) -> Option<&ProgressBar> {
        self.bars.iter().find(|(shown, _)| shown == path).map(|(_, bar)| bar)
    }

    /// A bar below those of the same outermost step.
    fn add(&mut self, path: &str, all: &MultiProgress) -> ProgressBar {
        let root = |path: &str| path.split(['.', '[']).next().unwrap_or_default().to_owned();
        let last = self.bars.iter().rposition(|(shown, _)| root(shown) == root(path));
        let above = last.and_then(|index| self.bars.get(index)).map(|(_, bar)| bar);
        let bar = match above {
            Some(above) => all.insert_after(above, ProgressBar::new_spinner()),
            None => all.add(ProgressBar::new_spinner()),
        };
        let depth = path.matches(['.', '[']).count();
        bar.set_style(style("{spinner} {prefix}  {elapsed:.dim}  {wide_msg:.dim}"));
        bar.set_prefix(format!("{}{path}", "  ".repeat(depth)));
        bar.enable_steady_tick(TICK);
        self.bars.insert(last.map_or(self.bars.len(), |index| index + 1), (path.to_owned(), bar.clone()));
        bar
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
        Tone::Quiet => matches!(line.word, "skipped" | "plugin" | "hint" | "loop" | "answered" | "changed"),
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
            "turn_started",
            "tool_call_*",
            "files_changed",
            "progress",
            "permission_decided",
            "plugin_*",
            "warning",
        ];
        Want::new(kinds.map(str::to_owned).to_vec(), Pressure::DropTransient)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
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
        style("{spinner} {prefix}  {bar:16} {pos}/{len}  {elapsed:.dim}  {wide_msg:.dim}");
        style("{spinner} {prefix}  {elapsed:.dim}  {wide_msg:.dim}");
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
    }
}
