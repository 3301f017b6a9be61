//! Budgets of a document: of the run, of an agent, of a step.

use super::code;
use super::decode::Decoder;
use super::keys::{BUDGET, STEP_BUDGET};
use super::kind::{Fields, Table, open};
use crate::budget::{Allowance, Budget, Money, OnExceed};

impl Decoder<'_> {
    /// `budget` of the options.
    pub(super) fn run_budget(&mut self, fields: &Fields<'_>) -> Budget {
        let Some(table) = self.budget_table(fields, &BUDGET) else { return Budget::default() };
        let on_exceed = table.text("onExceed").map(|word| match word {
            "pause" => OnExceed::Pause,
            _ => OnExceed::Fail,
        });
        Budget { most: allowance(&table), on_exceed }
    }

    /// `budget` of an agent or a step.
    pub(super) fn allowance(&mut self, fields: &Fields<'_>) -> Allowance {
        self.budget_table(fields, &STEP_BUDGET).map(|table| allowance(&table)).unwrap_or_default()
    }

    /// Opens the table; one that says nothing is a mistake.
    fn budget_table<'n>(&mut self, fields: &Fields<'n>, table: &'static Table) -> Option<Fields<'n>> {
        let entry = fields.entry("budget").filter(|_| fields.get("budget").is_some())?;
        let opened = open(&mut self.report, &entry.value, table)?;
        if opened.is_empty() {
            self.report.at(code::EMPTY, entry.spot, &entry.value.path, "`budget` says nothing".to_owned());
        }
        if let Some(node) = opened.get("wall").filter(|_| opened.duration("wall").is_some_and(|wall| wall.is_zero())) {
            self.report
                .error(code::OUT_OF_RANGE, node, "a budget of no time lets nothing run")
                .hint("leave `wall` out for no limit");
        }
        Some(opened)
    }
}

fn allowance(table: &Fields<'_>) -> Allowance {
    Allowance {
        tokens: table.count("tokens").map(u64::from),
        cost: table.number("cost").and_then(Money::from_units),
        tool_calls: table.count("toolCalls").map(u64::from),
        wall: table.duration("wall").filter(|wall| !wall.is_zero()),
    }
}
