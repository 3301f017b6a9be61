//! A recorded run as text: how it ended, then its steps as a tree.

use super::history::{History, Step, judged};
use super::standing::{INTERRUPTED, RUNNING, how_to_go_on};
use crate::args::GrantArgs;
use crate::local_time;
use crate::terminal;
use crate::ui::command_line;
use crate::ui::paint;
use cofferdam::core::event::Changes;
use cofferdam::core::fault::Fault;
use cofferdam::core::port::RunIndex;
use cofferdam::sink::{awaited, changed, clean, duration, overlaps, spent, tokens};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Most characters of a message or of the output.
const TEXT_CHARS: usize = 500;

/// Most lines of the output.
const OUTPUT_LINES: usize = 12;

/// Most items of a loop that are listed when all is well with them.
const ITEMS: usize = 20;

pub(super) fn render(history: &History) -> String {
    let mut text = String::new();
    push_head(&mut text, history);
    text.push('\n');
    push_steps(&mut text, history);
    push_waits(&mut text, history);
    for told in &history.narrated {
        let _ = writeln!(text, "\n{}  {}", paint::quiet("told"), clean(told, TEXT_CHARS));
    }
    if let (posted @ 1.., dropped) = history.messages {
        let unread = if dropped == 0 { String::new() } else { format!(", {dropped} reached nobody") };
        let _ = writeln!(text, "\n{}  {posted} between agents{unread}", paint::quiet("messages"));
    }
    for warning in &history.warnings {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "\n{}  {}", paint::warn("warning"), clean(warning, TEXT_CHARS));
    }
    for (index, (key, value)) in history.variables.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let value = cofferdam::core::value::to_text(value);
        let _ =
            writeln!(text, "{gap}{}  {} = {}", paint::quiet("variable"), clean(key, 100), clean(&value, TEXT_CHARS));
    }
    for (index, (entry, value)) in history.memory.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let value = cofferdam::core::value::to_text(value);
        let _ =
            writeln!(text, "{gap}{}  {} = {}", paint::quiet("memory"), clean(entry, 200), clean(&value, TEXT_CHARS));
    }
    if let Some(summary) = &history.summary {
        push_block(&mut text, "summary", summary);
    }
    push_output(&mut text, &history.output);
    text
}

/// What the run waits with, and what answers it. Questions of its own steps stand with these.
fn push_waits(text: &mut String, history: &History) {
    let inner =
        history.waits.open_questions().filter(|open| !history.steps.iter().any(|step| step.path == open.step.as_str()));
    for open in inner {
        let question = clean(&format!("{}: {}", open.step, open.question), TEXT_CHARS);
        let _ = writeln!(text, "\n{}  {question}", paint::warn("question"));
    }
    for open in history.waits.open_approvals() {
        let _ = writeln!(text, "\n{}  {}", paint::warn("approval"), awaited(open));
        let _ = writeln!(
            text,
            "          {}",
            paint::quiet(&command_line::approve(&history.run, open, &GrantArgs::default()))
        );
    }
}

/// One step by itself: its path, how it ended, and why.
pub(super) fn line(step: &Step) -> String {
    let mut text = format!("{}  {}  {}\n", paint::strong(&step.path), painted(step.status), details(step));
    if let Some(error) = &step.error {
        push_fault(&mut text, error, "  ");
    }
    text
}

fn push_output(text: &mut String, output: &Value) {
    let output = match output {
        Value::Null => String::new(),
        value => cofferdam::core::value::to_text(value),
    };
    if !output.is_empty() {
        push_block(text, "output", &output);
    }
}

fn push_block(text: &mut String, label: &str, block: &str) {
    let mut lines = block.lines();
    let _ = writeln!(text, "\n{}", paint::strong(label));
    for line in lines.by_ref().take(OUTPUT_LINES) {
        let _ = writeln!(text, "  {}", clean(line, TEXT_CHARS));
    }
    match lines.count() {
        0 => {}
        more => {
            let _ = writeln!(text, "  {}", paint::quiet(&format!("and {more} more lines")));
        }
    }
}

fn push_head(text: &mut String, history: &History) {
    let mut row = |label: &str, value: &str| text.push_str(&format!("{label:<9} {value}\n"));
    row("run", history.run.as_str());
    row("workflow", &clean(&history.workflow, 100));
    let status = match history.status {
        Some(status) => painted(status.as_str()),
        None if history.copying => {
            format!("{}; {}", paint::warn(RunIndex::COPYING), "it is not whole: import or fork it again")
        }
        None if history.interrupted => {
            format!("{}; {}", paint::warn(INTERRUPTED), how_to_go_on(&history.run))
        }
        None => painted(RUNNING),
    };
    row("status", &status);
    if let Some(started) = history.started {
        let since = match history.rested.is_zero() {
            true => String::new(),
            false => format!(" of work within {}", duration(history.worked() + history.rested)),
        };
        row("started", &format!("{}, took {}{since}", local_time::date_and_time(started), duration(history.worked())));
    }
    if let Some(spent) = spent(&history.usage, history.cost) {
        row("tokens", &spent);
    }
    for plugin in &history.plugins {
        let may = if plugin.granted.is_empty() { "only compute".to_owned() } else { plugin.granted.join("; ") };
        row("plugin", &format!("{} ({}) may {}", plugin.alias, clean(&plugin.name, 60), clean(&may, TEXT_CHARS)));
    }
    if let Some(error) = &history.error {
        push_fault(text, error, "");
    }
}

fn push_steps(text: &mut String, history: &History) {
    let steps = history.ordered();
    let known: HashSet<&str> = steps.iter().map(|step| step.path.as_str()).collect();
    let label = |step: &Step| match judged(&step.path, &known) {
        Some(iteration) => format!("{}judge{}", "  ".repeat(depth(&iteration)), own_name(&iteration)),
        None => format!("{}{}", "  ".repeat(depth(&step.path)), own_name(&step.path)),
    };
    let width = steps.iter().map(|step| label(step).chars().count()).max().unwrap_or_default().min(40);
    let mut hidden = 0_usize;
    let mut items = 0_usize;
    for step in &steps {
        if step.path.contains('[') {
            items += 1;
            // A loop of thousands would bury what went wrong.
            if items > ITEMS && step.error.is_none() && step.status == "completed" {
                hidden += 1;
                continue;
            }
        } else {
            push_hidden(text, &mut hidden);
            items = 0;
        }
        let _ = writeln!(text, "{:<width$}  {}  {}", label(step), painted_column(step.status), details(step));
        if let Some(error) = &step.error {
            push_fault(text, error, &" ".repeat(width + 2));
        }
        if let Some(changes) = &step.changes {
            push_changes(text, changes, (history, &" ".repeat(width + 2)));
        }
    }
    push_hidden(text, &mut hidden);
}

fn push_hidden(text: &mut String, hidden: &mut usize) {
    if *hidden > 0 {
        let line = format!("  {hidden} more completed; `--json` has all of them");
        let _ = writeln!(text, "{}", paint::quiet(&line));
        *hidden = 0;
    }
}

fn push_fault(text: &mut String, fault: &Fault, margin: &str) {
    let _ = writeln!(text, "{margin}{}  {}", paint::bad("error"), clean(&fault.message, TEXT_CHARS));
    if let Some(hint) = &fault.hint {
        let _ = writeln!(text, "{margin}{}   {}", paint::quiet("hint"), clean(hint, TEXT_CHARS));
    }
}

/// What a step changed in a directory of its own, and where that is.
fn push_changes(text: &mut String, changes: &Changes, (history, margin): (&History, &str)) {
    let _ = writeln!(text, "{margin}{}  {}", paint::quiet("changed"), clean(&changed(changes), TEXT_CHARS));
    for conflict in overlaps(changes) {
        let _ = writeln!(text, "{margin}{}  {}", paint::warn("conflict"), clean(&conflict, TEXT_CHARS));
    }
    let parts =
        [("patch", changes.patch.as_ref()), ("whole", changes.whole.as_ref()), ("tree", Some(&changes.directory))];
    for (label, path) in parts {
        if let Some(path) = path {
            let path = history.directory.join(path);
            let _ = writeln!(text, "{margin}{}  {}", paint::quiet(&format!("{label:<7}")), terminal::name(&path));
        }
    }
}

fn details(step: &Step) -> String {
    let tries = (step.attempts > 1).then(|| format!("{} tries", step.attempts));
    let parts = [
        step.took.map(duration),
        Some(step.what.clone()),
        tries,
        tokens(&step.usage),
        Some(clean(&step.detail, TEXT_CHARS)),
    ];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn depth(path: &str) -> usize {
    // The coordinator's own path begins with the letter that stands before sub-agents.
    path.get(1..).unwrap_or_default().matches(['.', '[', '@']).count()
}

/// The last part of a path: `[3]` of `scan[3]`, `lint` of `scan[3].lint`, `@2` of `scan[3]@2`.
fn own_name(path: &str) -> &str {
    let last = path.get(1..).and_then(|rest| rest.rfind(['.', '[', '@'])).map(|at| at + 1);
    let is_dot = |at: usize| path.as_bytes().get(at) == Some(&b'.');
    last.map_or(path, |at| path.get(at + usize::from(is_dot(at))..).unwrap_or(path))
}

fn painted_column(status: &str) -> String {
    format!("{}{}", painted(status), " ".repeat(9_usize.saturating_sub(status.len())))
}

fn painted(status: &str) -> String {
    match status {
        "completed" => paint::good(status),
        "failed" => paint::bad(status),
        "skipped" | "pending" => paint::quiet(status),
        _ => paint::warn(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_by_the_end_of_its_path() {
        for (path, name, level) in [("scan", "scan", 0), ("scan[3]", "[3]", 1), ("scan[3].lint", "lint", 2)] {
            assert_eq!((own_name(path), depth(path)), (name, level));
        }
    }
}
