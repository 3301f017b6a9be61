//! A run as lines for people, for logs and pipes.
//!
//! It must not move the cursor: each line is final.

use super::Leaky;
use super::narrator::{Line, Narrator, Tone};
use super::rounds::LoopBounds;
use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam_core::time::Timestamp;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// The column of paths is as wide as the steps' names, within these bounds.
const PATH_COLUMN: std::ops::RangeInclusive<usize> = 16..=28;

/// Whether lines carry colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// Text alone.
    #[default]
    Plain,
    /// ANSI colours.
    Ansi,
}

/// See [`super::human()`].
pub struct Human<W> {
    paint: Paint,
    utc_offset_s: i32,
    state: Mutex<State<W>>,
}

struct State<W> {
    writer: Leaky<W>,
    narrator: Narrator,
    path_width: usize,
}

impl<W: Write + Send> Human<W> {
    pub(super) fn new(writer: W) -> Self {
        let state =
            State { writer: Leaky::new(writer), narrator: Narrator::default(), path_width: *PATH_COLUMN.start() };
        Self { paint: Paint::Plain, utc_offset_s: 0, state: Mutex::new(state) }
    }

    /// With or without colours. Default: without.
    #[must_use]
    pub fn paint(mut self, paint: Paint) -> Self {
        self.paint = paint;
        self
    }

    /// The offset of local time from UTC, in seconds. Default: 0.
    #[must_use]
    pub fn utc_offset_s(mut self, seconds: i32) -> Self {
        self.utc_offset_s = seconds;
        self
    }

    /// With the most iterations of loops, which events do not tell. Default: rounds are told without.
    #[must_use]
    pub fn loop_bounds(self, bounds: LoopBounds) -> Self {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.narrator = std::mem::take(&mut state.narrator).loop_bounds(bounds);
        }
        self
    }

    fn write(&self, batch: &Batch) -> Result<(), Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        if let Some(line) = Narrator::missed(batch) {
            self.format(&mut text, &line, state.path_width);
        }
        for event in &batch.events {
            state.measure(event);
            for line in state.narrator.tell(event) {
                // The column grows with what is in it, and never shrinks: lines below each other stay aligned.
                state.path_width = state.path_width.max(line.path.chars().count()).min(*PATH_COLUMN.end());
                self.format(&mut text, &line, state.path_width);
            }
        }
        state
            .writer
            .write(text.as_bytes())
            .map_err(|error| Fault::new(Class::Run, "sink_write", format!("the progress cannot be written: {error}")))
    }

    fn format(&self, text: &mut String, line: &Line, width: usize) {
        let time = time_of_day(line.at, self.utc_offset_s);
        let path = if line.path.is_empty() { "run" } else { &line.path };
        let (begin, end) = match self.paint {
            Paint::Plain => ("", ""),
            Paint::Ansi => (line.tone.ansi(), "\u{1b}[0m"),
        };
        let gap = if line.detail.is_empty() { 0 } else { 11_usize.saturating_sub(line.word.len()) };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{time}  {path:<width$}  {begin}{}{end}{:gap$}{}", line.word, "", line.detail);
    }
}

impl<W> State<W> {
    fn measure(&mut self, event: &RunEvent) {
        if let Body::RunStarted { plan, .. } = &event.body {
            let longest = plan.iter().map(|id| id.chars().count()).max().unwrap_or_default();
            // Room for the index of a loop's items.
            self.path_width = (longest + 4).clamp(*PATH_COLUMN.start(), *PATH_COLUMN.end());
        }
    }
}

impl Tone {
    /// The escape sequence that begins text of this tone.
    #[must_use]
    pub fn ansi(self) -> &'static str {
        match self {
            Self::Quiet => "\u{1b}[2m",
            Self::Good => "\u{1b}[32m",
            Self::Warn => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
        }
    }
}

fn time_of_day(at: Timestamp, utc_offset_s: i32) -> String {
    let seconds = (at.as_millis().div_euclid(1_000) + i64::from(utc_offset_s)).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

impl<W: Write + Send> Sink for Human<W> {
    fn want(&self) -> Want {
        // Deltas are never shown, so they need not come.
        let kinds = [
            "run_*",
            "step_*",
            "loop_*",
            "question_*",
            "variable_set",
            "message_posted",
            "message_dropped",
            "narrated",
            "tool_call_finished",
            "permission_*",
            "effect_decided",
            "budget_*",
            "files_changed",
            "plugin_*",
            "warning",
        ];
        Want::new(kinds.map(str::to_owned).to_vec(), Pressure::Drop)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(std::future::ready(self.write(&batch).map(|()| Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Shared, batch, event, later};
    use super::*;
    use cofferdam_core::event::SkippedBecause;

    #[tokio::test]
    async fn lines_are_aligned_and_in_local_time() {
        let out = Shared::default();
        let sink = super::super::human(out.clone()).utc_offset_s(3_600);
        let skipped = |detail: &str| Body::StepSkipped { because: SkippedBecause::Condition, detail: detail.into() };
        let events = [event("a", skipped("no")), later("scan[3]", 61_000, skipped("")), event("", Body::StepReady {})];
        sink.deliver(batch(&events)).await.unwrap();
        assert_eq!(out.text(), "09:00:00  a                 skipped    no\n09:01:01  scan[3]           skipped\n");
    }

    #[tokio::test]
    async fn colours_come_only_when_asked_for() {
        for (paint, coloured) in [(Paint::Plain, false), (Paint::Ansi, true)] {
            let out = Shared::default();
            let sink = super::super::human(out.clone()).paint(paint);
            sink.deliver(batch(&[event("a", Body::Warning { code: "x".into(), message: "m".into() })])).await.unwrap();
            assert_eq!(out.text().contains('\u{1b}'), coloured);
        }
    }

    #[tokio::test]
    async fn what_came_too_fast_is_told_by_number() {
        let out = Shared::default();
        let sink = super::super::human(out.clone());
        let skipped = Body::StepSkipped { because: SkippedBecause::Condition, detail: "no".into() };
        let events = [event("a", skipped)];
        sink.deliver(Batch { dropped_before: 7, ..batch(&events) }).await.unwrap();
        assert!(
            out.text().starts_with("08:00:00  run               missed     7 events came faster"),
            "{}",
            out.text()
        );
    }
}
