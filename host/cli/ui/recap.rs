//! The end of a run: what a person should know, gathered while it ran.
//!
//! It must not decide what is wrong; it repeats what events and the result say.

use super::command_line::{approve, resume};
use super::paint;
use crate::args::GrantArgs;
use crate::local_time;
use cofferdam::core::event::{Body, Decision, RunEvent, RunReason, RunStatus, StepStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam::core::run::LoopResult;
use cofferdam::sink::{awaited, clean, duration, iterations, loop_end, spent};
use cofferdam::{RunResult, StepResult};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most entries of one kind that are listed; `runs show` has the rest.
const ENTRIES: usize = 8;

/// Most lines of a coordinator's summary.
const SUMMARY_LINES: usize = 20;

/// Most files of the output directory that are named.
const FILES: usize = 6;

/// Gathers what the end of a run tells.
#[derive(Default)]
pub(crate) struct Recap {
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    /// What plugins were denied, and the lines that would allow it.
    grants: BTreeSet<(String, String, String)>,
    /// Tools that were denied, and the rule.
    tools: BTreeSet<(String, String)>,
    /// Models that answered, if only in part.
    models: BTreeSet<String>,
    /// Models that were asked.
    asked: BTreeSet<String>,
    /// Events that never came here.
    missed: u64,
}

impl Gathered {
    /// Models that answered; where none did, those that were asked.
    fn models(&self) -> &BTreeSet<String> {
        if self.models.is_empty() { &self.asked } else { &self.models }
    }
}

/// What the end of a run is told about besides the result.
pub(crate) struct Ending<'a> {
    pub(crate) result: &'a RunResult,
    /// The run's output directory, which may not exist.
    pub(crate) out: &'a Path,
    /// Where steps work, if that is not the current directory.
    pub(crate) workdir: Option<&'a Path>,
    /// Names of models that are no language models.
    pub(crate) not_language_models: &'a [String],
    /// What the command line allowed.
    pub(crate) grants: &'a GrantArgs,
}

impl Recap {
    fn note(&self, event: &RunEvent) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.body {
            Body::PluginDenied { plugin, request, allow, .. } => {
                gathered.grants.insert((plugin.clone(), request.clone(), allow.clone()));
            }
            Body::PermissionDecided { tool, decision: Decision::Deny, rule, .. } => {
                gathered.tools.insert((tool.to_string(), rule.clone()));
            }
            Body::TurnStarted { model, .. } => {
                gathered.asked.insert(model.to_string());
            }
            Body::TurnFinished { model, .. } | Body::TurnFailed { model, .. } => {
                gathered.models.insert(model.to_string());
            }
            _ => {}
        }
    }

    fn miss(&self, events: u64) {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).missed += events;
    }

    /// Models that answered.
    pub(crate) fn models(&self) -> Vec<String> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).models().iter().cloned().collect()
    }

    /// The text of the end.
    pub(crate) fn render(&self, ending: &Ending<'_>) -> String {
        let gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let result = &ending.result.public();
        let mut text = headline(ending, &gathered);
        if let Some(failure) = &result.error {
            push_fault(&mut text, failure.step.as_str(), &failure.fault);
        }
        if let Some(summary) = &result.summary {
            push_list(&mut text, "summary", summary.lines().take(SUMMARY_LINES).map(|line| clean(line, 400)));
        }
        push_list(&mut text, &paint::quiet("loop"), loops(result).into_iter());
        push_list(&mut text, &paint::warn("warning"), result.warnings.iter().map(|warning| clean(warning, 400)));
        push_denials(&mut text, &gathered);
        push_missed(&mut text, gathered.missed);
        push_questions(&mut text, result);
        push_list(&mut text, &paint::warn("approval"), result.approvals.iter().map(awaited));
        if let Some(until) = result.resume_at {
            let when = local_time::date_and_time(until);
            push_row(&mut text, "waits", &format!("until {when} for the next iteration of a loop"));
        }
        push_changes(&mut text, ending);
        if let Some(files) = files(ending.out) {
            push_row(&mut text, "output", &format!("{}{files}", ending.out.display()));
        }
        push_row(&mut text, "run", &format!("cofferdam runs show {}", result.run_id));
        push_list(
            &mut text,
            "approve",
            result.approvals.iter().map(|open| approve(&result.run_id, open, ending.grants)),
        );
        if !result.success() {
            push_row(&mut text, "resume", &resume(&result.run_id, &result.questions, ending.grants));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl Sink for Recap {
    fn want(&self) -> Want {
        let kinds = ["plugin_denied", "permission_decided", "turn_started"];
        Want::new(kinds.map(str::to_owned).to_vec(), Pressure::Drop)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        self.miss(batch.dropped_before);
        for event in &batch.events {
            self.note(event);
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn headline(ending: &Ending<'_>, gathered: &Gathered) -> String {
    let result = ending.result;
    let status = result.status.as_str();
    let painted = match result.status {
        RunStatus::Completed => paint::good(status),
        RunStatus::Waiting | RunStatus::Partial | RunStatus::Cancelled => paint::warn(status),
        RunStatus::Failed => paint::bad(status),
    };
    let reason = result.reason.map(|reason| match reason {
        RunReason::Timeout => "its time is over".to_owned(),
        RunReason::Budget => "its budget is spent".to_owned(),
        RunReason::Aborted => "a step ended the whole run".to_owned(),
        RunReason::Deadlock => "the workflow engine left steps".to_owned(),
    });
    let mut parts: Vec<String> = reason.into_iter().collect();
    parts.extend([steps(result), duration(Duration::from_millis(result.worked_ms))]);
    parts.extend(spent(&result.usage, result.cost.total).map(|spent| format!("tokens {spent}")));
    if !gathered.models().is_empty() {
        let label = |name: &String| match ending.not_language_models.contains(name) {
            true => format!("{name} (not a language model)"),
            false => name.clone(),
        };
        parts.push(format!("model {}", gathered.models().iter().map(label).collect::<Vec<_>>().join(", ")));
    }
    let mut text = String::new();
    push_row(&mut text, &painted, &parts.join(", "));
    text
}

/// `5 steps`, or `5 steps (3 completed, 2 failed)` when not all completed. Those inside loops do not count.
fn steps(result: &RunResult) -> String {
    let own = || result.steps.iter().filter(|step| !step.path.as_str().contains('['));
    let count = |status| own().filter(|step| step.status == status).count();
    let all = own().count();
    let noun = if all == 1 { "step" } else { "steps" };
    let statuses = [StepStatus::Completed, StepStatus::Failed, StepStatus::Skipped, StepStatus::Cancelled];
    let parts: Vec<String> = statuses
        .into_iter()
        .filter_map(|status| {
            Some(count(status)).filter(|count| *count > 0).map(|count| format!("{count} {}", status.as_str()))
        })
        .collect();
    if count(StepStatus::Completed) == all {
        format!("{all} {noun}")
    } else {
        format!("{all} {noun} ({})", parts.join(", "))
    }
}

fn push_row(text: &mut String, label: &str, value: &str) {
    let width = anstream::adapter::strip_str(label).to_string().chars().count();
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{label}{}  {value}", " ".repeat(9_usize.saturating_sub(width)));
}

fn push_fault(text: &mut String, step: &str, fault: &Fault) {
    let place = if step.is_empty() { String::new() } else { format!("{step}: ") };
    push_row(text, &paint::bad("error"), &format!("{place}{}", clean(&fault.message, 600)));
    if let Some(hint) = fault.hint.as_deref().filter(|hint| !hint.contains("cofferdam.toml")) {
        push_row(text, &paint::quiet("hint"), &clean(hint, 600));
    }
}

fn push_list(text: &mut String, label: &str, entries: impl Iterator<Item = String>) {
    let entries: Vec<String> = entries.collect();
    for entry in entries.iter().take(ENTRIES) {
        push_row(text, label, entry);
    }
    if entries.len() > ENTRIES {
        push_row(text, "", &format!("and {} more", entries.len() - ENTRIES));
    }
}

/// How what steps changed in directories of their own gets into the working directory.
fn push_changes(text: &mut String, ending: &Ending<'_>) {
    let directory = ending.out.parent().unwrap_or(ending.out);
    let of_step = |step: &StepResult| {
        let changes = step.changes.as_ref()?;
        let (count, path) = (changes.count(), step.path.as_str());
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        Some(match &changes.patch {
            Some(patch) => format!("{path}: {files}; {}", apply(ending, &directory.join(patch))),
            None if count == 0 => format!("{path}: {}", directory.join(&changes.directory).display()),
            None => format!("{path}: {files} in {}", directory.join(&changes.directory).display()),
        })
    };
    push_list(text, "changes", ending.result.steps.iter().filter_map(of_step));
}

/// The command that takes a patch into the working directory, from wherever it is typed.
fn apply(ending: &Ending<'_>, patch: &Path) -> String {
    let quoted = |path: &Path| {
        let text = path.display().to_string();
        let plain = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
        if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
    };
    match ending.workdir {
        None => format!("git apply {}", quoted(patch)),
        Some(workdir) => {
            let patch = std::path::absolute(patch).unwrap_or_else(|_| patch.to_owned());
            format!("git -C {} apply {}", quoted(workdir), quoted(&patch))
        }
    }
}

/// That some of what was denied, and some models, may not be named.
fn push_missed(text: &mut String, missed: u64) {
    if missed > 0 {
        let events = if missed == 1 { "event" } else { "events" };
        let what = format!("{missed} {events} came faster than they could be gathered; the record has them");
        push_row(text, &paint::warn("missed"), &what);
    }
}

fn push_denials(text: &mut String, gathered: &Gathered) {
    let tools = gathered.tools.iter().map(|(tool, rule)| match rule.strip_prefix("deny ") {
        // No `--allow` would help: a denial beats it.
        Some(rule) => format!("tool `{tool}`, by the deny rule `{}`", clean(rule, 100)),
        None => format!("tool `{tool}`; `--allow {tool}` would allow it"),
    });
    push_list(text, &paint::warn("denied"), tools);
    let mut told = BTreeSet::new();
    for (plugin, request, allow) in &gathered.grants {
        if told.len() == ENTRIES {
            push_row(text, "", "and more");
            break;
        }
        push_row(text, &paint::warn("denied"), &format!("plugin `{plugin}`: {}", clean(request, 300)));
        // Many requests may lack the same grant.
        if told.insert(allow) {
            for line in allow.lines() {
                let _ = writeln!(text, "             {line}");
            }
        }
    }
}

/// How loops went: those that repeat, and those over items that did not do them all. Loops inside loops are not told.
fn loops(result: &RunResult) -> Vec<String> {
    let outer = result.loops.iter().filter(|found| !found.path.as_str().contains('['));
    outer.filter(|found| found.items.is_none() || found.items != Some(found.completed)).map(one_loop).collect()
}

fn one_loop(found: &LoopResult) -> String {
    let path = &found.path;
    let done = match (found.items, found.max_iterations) {
        (Some(items), _) => format!("{} of {items} items completed", found.completed),
        (None, Some(most)) => format!("{} of at most {most}", iterations(count(found.iterations))),
        (None, None) => iterations(count(found.iterations)),
    };
    match found.because {
        Some(because) => format!("{path}: {done}, {}", loop_end(because)),
        None => format!("{path}: {done}"),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What the run waits for, and the command that answers it.
fn push_questions(text: &mut String, result: &RunResult) {
    let questions = &result.questions;
    if questions.is_empty() {
        return;
    }
    let line = |step: &str, question: &str, choices: &[String]| {
        let choices = if choices.is_empty() { String::new() } else { format!(" ({})", choices.join(", ")) };
        clean(&format!("{step}: {question}{choices}"), 400)
    };
    let lines = questions.iter().map(|open| line(open.step.as_str(), &open.question, &open.choices));
    push_list(text, &paint::warn("question"), lines);
}

/// The files in the output directory; none when there is nothing in it.
fn files(out: &Path) -> Option<String> {
    let mut names: Vec<String> = std::fs::read_dir(out)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| clean(&entry.file_name().to_string_lossy(), 80))
        .collect();
    names.sort();
    let more = names.len().saturating_sub(FILES);
    names.truncate(FILES);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!(" ({}{rest})", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam::OpenApproval;
    use cofferdam::core::id::RunId;
    use cofferdam::core::message::Usage;

    fn result() -> RunResult {
        RunResult {
            run_id: RunId::parse("r1").unwrap(),
            workflow: "w".into(),
            status: RunStatus::Completed,
            reason: None,
            summary: None,
            output: serde_json::Value::Null,
            steps: Vec::new(),
            execution_path: Vec::new(),
            usage: Usage { input: 5, output: 2, ..Usage::default() },
            usage_by_model: std::collections::BTreeMap::new(),
            cost: cofferdam::core::budget::Cost::default(),
            loops: Vec::new(),
            workflow_id: String::new(),
            duration_ms: 9_999,
            worked_ms: 1_234,
            error: None,
            questions: Vec::new(),
            approvals: Vec::new(),
            resume_at: None,
            warnings: vec!["mind\u{1b}[2J the gap".into()],
            metadata: cofferdam::core::value::Map::new(),
            session: None,
            sensitive: None,
        }
    }

    #[test]
    fn the_end_tells_how_loops_went_and_what_is_asked() {
        let found = LoopResult {
            path: "refine".into(),
            items: None,
            max_iterations: Some(5),
            iterations: 2,
            completed: 2,
            last_iteration: Some(1),
            because: Some(cofferdam::core::event::LoopEnd::Judge),
        };
        let scan =
            LoopResult { path: "scan".into(), items: Some(3), max_iterations: None, completed: 3, ..found.clone() };
        let some = LoopResult { path: "some".into(), completed: 1, ..scan.clone() };
        let inner = LoopResult { path: "scan[0].refine".into(), ..found.clone() };
        let question = |step: &str| cofferdam::OpenQuestion {
            step: step.into(),
            question: "Publish it?".into(),
            choices: vec!["yes".into(), "no".into()],
        };
        let approval = |step: &str, call: &str| OpenApproval {
            step: step.into(),
            attempt: 1,
            call: call.to_owned(),
            agent: Some("scribe".into()),
            tool: cofferdam::core::id::ToolName::parse("write").unwrap(),
            args: std::sync::Arc::new(serde_json::json!({ "path": "a" })),
            rule: None,
        };
        let result = RunResult {
            loops: vec![found, scan, some, inner],
            questions: vec![question("ok"), question("each[0].ok")],
            approvals: vec![approval("write", "2"), approval("each[1].write", "@1/2")],
            warnings: Vec::new(),
            status: RunStatus::Waiting,
            ..result()
        };
        let grants =
            GrantArgs { allow: vec!["exec(make *)".into()], deny: vec!["edit".into()], ..GrantArgs::default() };
        let (out, workdir) = (Path::new("/nowhere"), None);
        let ending = Ending { result: &result, out, workdir, not_language_models: &[], grants: &grants };
        let text = anstream::adapter::strip_str(&Recap::default().render(&ending)).to_string();
        assert_eq!(
            text.split_once('\n').unwrap().1,
            "loop       refine: 2 iterations of at most 5, its judge is satisfied\n\
             loop       some: 1 of 3 items completed, its judge is satisfied\n\
             question   ok: Publish it? (yes, no)\n\
             question   each[0].ok: Publish it? (yes, no)\n\
             approval   write, call 2: agent `scribe` wants to call `write` with path: \"a\"\n\
             approval   each[1].write, call @1/2: agent `scribe` wants to call `write` with path: \"a\"\n\
             run        cofferdam runs show r1\n\
             approve    cofferdam approve r1 write --call 2 --allow 'exec(make *)' --deny-tool edit\n\
             approve    cofferdam approve r1 'each[1].write' --call '@1/2' --allow 'exec(make *)' --deny-tool edit\n\
             resume     cofferdam resume r1 --allow 'exec(make *)' --deny edit --answer ok=... --answer 'each[0].ok'=..."
        );
    }

    #[test]
    fn the_end_tells_status_denials_and_the_run() {
        let recap = Recap::default();
        let denied = Body::PluginDenied {
            plugin: "scan".into(),
            digest: "d".into(),
            request: "fs read".into(),
            allow: "--grant scan:fs=read".into(),
        };
        let event = RunEvent {
            seq: 1,
            sub: None,
            at: cofferdam::core::time::Timestamp::default(),
            run_id: RunId::parse("r1").unwrap(),
            path: cofferdam::core::id::StepPath::ROOT,
            attempt: None,
            body: denied,
        };
        recap.note(&event);
        for (tool, rule) in [("write", "deny wr*"), ("move", "nobody to ask")] {
            let body = Body::PermissionDecided {
                call_id: "1".into(),
                tool: cofferdam::core::id::ToolName::parse(tool).unwrap(),
                decision: Decision::Deny,
                rule: rule.into(),
            };
            recap.note(&RunEvent { body, ..event.clone() });
        }
        recap.note(&RunEvent {
            body: Body::TurnStarted { turn: 1, model: "m".into(), options: std::sync::Arc::default() },
            ..event
        });
        recap.miss(2);
        let models = ["m".to_owned()];
        let (out, grants) = (Path::new("/nowhere"), GrantArgs::default());
        let ending = Ending { result: &result(), out, workdir: None, not_language_models: &models, grants: &grants };
        let text = anstream::adapter::strip_str(&recap.render(&ending)).to_string();
        assert_eq!(
            text,
            "completed  0 steps, 1.2 s, tokens 5 in, 2 out, cost unknown, model m (not a language model)\n\
             warning    mind [2J the gap\n\
             denied     tool `move`; `--allow move` would allow it\n\
             denied     tool `write`, by the deny rule `wr*`\n\
             denied     plugin `scan`: fs read\n             --grant scan:fs=read\n\
             missed     2 events came faster than they could be gathered; the record has them\n\
             run        cofferdam runs show r1"
        );
    }
}
