//! What a step does and what decides about it, in words that every drawing of a plan uses.

use cofferdam::core::spec::duration;
use cofferdam::core::spec::workflow::{
    AgentSpec, AgentWork, AskWork, Condition, FailurePolicy, ForEach, Include, ItemFailure, Items, LoopCheck, LoopKind,
    OnLimit, OutputMode, PluginCondition, Repeat, Scope, Step, ToolFilter, Wiring, Work, Workflow,
};
use cofferdam::sink::clean;

/// Most characters of a text of the document that are shown.
const TEXT_CHARS: usize = 120;

/// Something about a step: a word and what it says.
pub(super) type Fact = (&'static str, String);

/// The agent of an agent step; none is the default agent.
pub(super) fn agent_of<'w>(document: &'w Workflow, work: &AgentWork) -> Option<&'w AgentSpec> {
    work.agent.as_ref().and_then(|name| document.agents.get(name)).map(AsRef::as_ref)
}

/// The model that a step names, its agent, or the document; none is the default of the host.
pub(super) fn model_of<'w>(document: &'w Workflow, work: &'w AgentWork) -> Option<&'w str> {
    let of_agent = || agent_of(document, work).and_then(|agent| agent.model.as_deref());
    work.model.as_deref().or_else(of_agent).or(document.options.model.as_deref())
}

/// What kind of work it is, in one word.
pub(super) fn kind(step: &Step) -> &'static str {
    match &step.work {
        Work::Agent(_) => "agent",
        Work::Tool(_) => "tool",
        Work::Ask(_) => "ask",
        Work::Group(_) => "group",
        Work::Include(_) => "include",
        Work::Body => "loop",
    }
}

/// What a step does, in a few words.
pub(super) fn what(document: &Workflow, step: &Step) -> String {
    match &step.work {
        Work::Agent(work) => {
            let name = work.agent.as_ref().map_or_else(|| "default agent".to_owned(), |agent| format!("agent {agent}"));
            match model_of(document, work) {
                Some(model) => format!("{name} ({})", clean(model, TEXT_CHARS)),
                None => name,
            }
        }
        Work::Tool(work) => format!("tool {}", work.tool),
        Work::Ask(_) => "asks a person".to_owned(),
        Work::Group(scope) => format!("group, {}", wired(scope)),
        Work::Include(include) => format!("includes {}, {}", clean(&include.path, TEXT_CHARS), wired(&include.scope)),
        Work::Body => match step.inner() {
            Some(scope) => format!("loop, {}", wired(scope)),
            None => "loop".to_owned(),
        },
    }
}

/// The word for a scope's wiring in documents.
pub(super) fn mode(scope: &Scope) -> &'static str {
    match scope.wiring {
        Wiring::Dag => "dag",
        Wiring::Sequential => "sequential",
        Wiring::Parallel => "parallel",
    }
}

/// How the steps of a scope follow each other.
pub(super) fn wired(scope: &Scope) -> &'static str {
    match scope.wiring {
        Wiring::Dag => "by dependencies",
        Wiring::Sequential => "one after the other",
        Wiring::Parallel => "all at once",
    }
}

/// What is to be known of a step besides what it does.
pub(super) fn facts(document: &Workflow, step: &Step) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(condition) = &step.condition {
        facts.push(("if", decides(condition)));
    }
    match step.repeat.as_ref().map(|repeat| &repeat.kind) {
        Some(LoopKind::ForEach(each)) => of_for_each(&mut facts, each),
        Some(LoopKind::Repeat(repeat)) => of_repeat(&mut facts, document, repeat),
        None => {}
    }
    match &step.work {
        Work::Ask(ask) => of_ask(&mut facts, ask),
        Work::Include(include) => of_include(&mut facts, include),
        Work::Agent(_) | Work::Tool(_) | Work::Group(_) | Work::Body => {}
    }
    if step.retries > 0 {
        facts.push(("tries", format!("at most {}", u64::from(step.retries) + 1)));
    }
    if let Some(timeout) = step.timeout.filter(|timeout| !timeout.is_zero()) {
        facts.push(("within", duration::format(timeout)));
    }
    if let Some(policy) = step.on_failure {
        facts.push(("on failure", policy_word(policy).to_owned()));
    }
    if let Some(grants) = &step.grants {
        facts.push(("grants", clean(&grants.explain().join("; "), TEXT_CHARS)));
    }
    facts
}

/// The most that is said of a step inside a box.
pub(super) fn label(document: &Workflow, step: &Step) -> Vec<String> {
    let name = match &step.label {
        Some(label) => format!("{} ({})", step.id, clean(label, TEXT_CHARS)),
        None => step.id.to_string(),
    };
    let facts = facts(document, step).into_iter().map(|(word, text)| format!("{word} {text}"));
    [name, what(document, step)].into_iter().chain(facts).collect()
}

/// What decides whether a step runs.
pub(super) fn decides(condition: &Condition) -> String {
    match condition {
        Condition::Expr(expr) => clean(expr.source(), TEXT_CHARS),
        Condition::Native(name) => format!("code `{}` says so", clean(name, TEXT_CHARS)),
        Condition::Plugin(PluginCondition { plugin, label: Some(label), .. }) => {
            format!("plugin `{plugin}` chooses `{}`", clean(label, TEXT_CHARS))
        }
        Condition::Plugin(condition) => format!("plugin `{}` says so", condition.plugin),
    }
}

/// What decides whether a loop goes on.
pub(super) fn goes_on(check: &LoopCheck) -> String {
    match check {
        LoopCheck::Expr(expr) => clean(expr.source(), TEXT_CHARS),
        LoopCheck::Native(name) => format!("code `{}` says so", clean(name, TEXT_CHARS)),
    }
}

/// The word for a failure policy in documents.
pub(super) fn policy_word(policy: FailurePolicy) -> &'static str {
    match policy {
        FailurePolicy::Cascade => "cascade",
        FailurePolicy::SkipDependents => "skip-dependents",
        FailurePolicy::Continue => "continue",
        FailurePolicy::Abort => "abort",
    }
}

/// The word for what a failed item does in documents.
pub(super) fn item_failure_word(policy: ItemFailure) -> &'static str {
    match policy {
        ItemFailure::Stop => "stop",
        ItemFailure::Continue => "continue",
        ItemFailure::Ignore => "ignore",
    }
}

/// The tools that an agent may use.
pub(super) fn tools(filter: &ToolFilter) -> String {
    let list = |tools: &[String]| clean(&tools.join(", "), TEXT_CHARS);
    let allowed = match filter.allow.as_deref() {
        None => "all tools".to_owned(),
        Some([]) => return "no tools".to_owned(),
        Some(tools) => format!("tools {}", list(tools)),
    };
    if filter.deny.is_empty() { allowed } else { format!("{allowed}, but not {}", list(&filter.deny)) }
}

fn of_for_each(facts: &mut Vec<Fact>, each: &ForEach) {
    let items = match &each.items {
        Items::Expr(expr) => format!("of {}", clean(expr.source(), TEXT_CHARS)),
        Items::List(list) => match list.len() {
            1 => "of 1 item".to_owned(),
            count => format!("of {count} items"),
        },
    };
    let at_once = each.max_concurrency.map(|most| format!(", at most {most} at once")).unwrap_or_default();
    facts.push(("for each", format!("{items}{at_once}")));
    match each.on_item_failure {
        ItemFailure::Stop => {}
        other => facts.push(("failed item", item_failure_word(other).to_owned())),
    }
}

fn of_repeat(facts: &mut Vec<Fact>, document: &Workflow, repeat: &Repeat) {
    let limit = match repeat.on_limit {
        OnLimit::Complete => "then it is done",
        OnLimit::Fail => "then it fails",
    };
    let times = if repeat.max_iterations == 1 { "time" } else { "times" };
    facts.push(("repeat", format!("at most {} {times}, {limit}", repeat.max_iterations)));
    if let Some(check) = &repeat.go_on {
        facts.push(("while", goes_on(check)));
    }
    if let Some(until) = &repeat.until {
        facts.push(("until", clean(until.source(), TEXT_CHARS)));
    }
    if let Some(judge) = &repeat.judge {
        facts.push(("judge", what(document, judge)));
    }
    if !repeat.delay.is_zero() {
        facts.push(("pause", duration::format(repeat.delay)));
    }
    if repeat.output_mode == OutputMode::Cumulative {
        facts.push(("output", "of all iterations".to_owned()));
    }
}

fn of_ask(facts: &mut Vec<Fact>, ask: &AskWork) {
    facts.push(("question", clean(&cofferdam::core::value::to_text(ask.prompt.source()), TEXT_CHARS)));
    if !ask.choices.is_empty() {
        facts.push(("choices", clean(&ask.choices.join(", "), TEXT_CHARS)));
    }
    if let Some(default) = &ask.default {
        facts.push(("default", clean(&cofferdam::core::value::to_text(default), TEXT_CHARS)));
    }
    if let Some(timeout) = ask.timeout.filter(|timeout| !timeout.is_zero()) {
        facts.push(("answer in", duration::format(timeout)));
    }
}

fn of_include(facts: &mut Vec<Fact>, include: &Include) {
    if include.with.source().as_object().is_some_and(|with| !with.is_empty()) {
        facts.push(("with", clean(&include.with.source().to_string(), TEXT_CHARS)));
    }
}
