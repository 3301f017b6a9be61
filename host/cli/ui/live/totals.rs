//! What a run has used so far, in one line.
//!
//! It must not know bars. It counts what it sees: a run that was taken up begins at nothing here, and its end says all of it.

use cofferdam::core::budget::Money;
use cofferdam::core::event::Body;
use cofferdam::core::message::Usage;
use cofferdam::sink::spent;

/// Counts of what models and tools did.
#[derive(Debug)]
pub(super) struct Totals {
    turns: usize,
    calls: usize,
    messages: usize,
    usage: Usage,
    /// None once something was used whose price is not known.
    cost: Option<Money>,
}

impl Default for Totals {
    fn default() -> Self {
        Self { turns: 0, calls: 0, messages: 0, usage: Usage::default(), cost: Some(Money::ZERO) }
    }
}

impl Totals {
    /// Counts an event; says whether it changed anything.
    pub(super) fn note(&mut self, body: &Body) -> bool {
        match body {
            Body::TurnFinished { usage, cost, .. } => {
                self.turns += 1;
                self.spend(usage, *cost);
            }
            Body::TurnFailed { usage, cost, .. } => self.spend(usage, *cost),
            Body::Spent(spending) => self.spend(&spending.usage, spending.cost),
            Body::ToolCallStarted { .. } => self.calls += 1,
            Body::MessagePosted(_) => self.messages += 1,
            _ => return false,
        }
        true
    }

    fn spend(&mut self, usage: &Usage, cost: Option<Money>) {
        self.usage += *usage;
        self.cost = self.cost.zip(cost).map(|(sum, more)| sum.saturating_add(more));
    }

    /// `3 turns, 2 tool calls, 120 in, 30 out, $0.0123`.
    pub(super) fn text(&self) -> String {
        let counted = |count: usize, what: &str| {
            (count > 0).then(|| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        };
        let parts = [
            counted(self.turns, "turn"),
            counted(self.calls, "tool call"),
            counted(self.messages, "message"),
            spent(&self.usage, self.cost),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
