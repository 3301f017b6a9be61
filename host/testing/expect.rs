//! What a case expects, and what of it does not hold.

use super::matcher::Matcher;
use super::observed::{Observed, Seen};
use super::reader::{Fields, items, members, one_or_many, text};
use super::shape::{CALLS, LOOP, MESSAGE, REFUSAL, RUN, STEP, Shape, Want};
use super::verdict::Miss;
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_core::spec::suggest::did_you_mean;
use serde_json::Value;

/// The keys of `expect` that are not those of the run itself.
pub(super) const OTHER: [&str; 10] =
    ["refused", "steps", "path", "order", "together", "loops", "messages", "calls", "vars", "memory"];

/// What is expected of things by their names.
const NAMED: [(&str, &Shape); 3] = [("steps", &STEP), ("loops", &LOOP), ("calls", &CALLS)];

/// What a case expects.
#[derive(Debug, Default)]
pub(super) struct Expect {
    refused: Option<Vec<Want>>,
    run: Option<Want>,
    named: Vec<(&'static str, String, Want)>,
    messages: Vec<(String, Messages)>,
    vars: Vec<(String, Want)>,
    /// By `agent.key`.
    memory: Vec<(String, Want)>,
    path: Option<Matcher>,
    order: Vec<Vec<String>>,
    together: Vec<Vec<String>>,
}

/// What the model was sent for a step.
#[derive(Debug)]
enum Messages {
    /// In the first request of the last try.
    First(Want),
    /// In all requests.
    All(Vec<Want>),
}

/// Reads what a case expects.
pub(super) fn decode(part: Part<'_>, findings: &mut Findings) -> Option<Expect> {
    let run_keys = RUN.keys.iter().map(|(key, _)| *key);
    let known: Vec<&str> = run_keys.clone().chain(OTHER).collect();
    let fields = Fields::open(part, &known, findings)?;
    let mut expect = Expect { run: Some(run(part, findings)), ..Expect::default() };
    if let Some(refused) = fields.get("refused") {
        let others = members(part, findings).unwrap_or_default().into_iter().filter(|member| member.key != "refused");
        for member in others {
            let message = format!("what is refused does not run: `{}` can never hold", member.key);
            findings.at(member.value, code::CONFLICT, message, None);
        }
        let wants = one_or_many(refused).map(|part| Want::decode(part, &REFUSAL, findings)).collect();
        expect.refused = Some(wants);
        return Some(expect);
    }
    for (section, shape) in NAMED {
        for member in fields.members(section, findings) {
            expect.named.push((section, member.key.to_owned(), Want::decode(member.value, shape, findings)));
        }
    }
    for member in fields.members("messages", findings) {
        expect.messages.push((member.key.to_owned(), messages(member.value, findings)));
    }
    for member in fields.members("vars", findings) {
        let matcher = Matcher::decode(member.value, findings);
        expect.vars.push((member.key.to_owned(), Want::Match(matcher)));
    }
    for member in fields.members("memory", findings) {
        let matcher = Matcher::decode(member.value, findings);
        expect.memory.push((member.key.to_owned(), Want::Match(matcher)));
    }
    expect.path = fields.given("path").map(|part| Matcher::decode(part, findings));
    expect.order = chains(fields, "order", findings);
    expect.together = chains(fields, "together", findings);
    Some(expect)
}

/// The keys of the run itself. A case that says nothing of the end expects a good one.
fn run(part: Part<'_>, findings: &mut Findings) -> Want {
    let mut wants = Vec::new();
    for member in part.members().into_iter().flatten() {
        if let Some((key, _)) = RUN.keys.iter().find(|(key, _)| *key == member.key) {
            wants.extend(Want::of_key(&RUN, key, member.value, findings).map(|want| (*key, want)));
        }
    }
    let says = |key| wants.iter().any(|(known, _)| *known == key);
    if !says("status") {
        wants.insert(0, ("status", Want::exactly("completed")));
    }
    Want::Table(wants)
}

fn messages(part: Part<'_>, findings: &mut Findings) -> Messages {
    if part.items().is_none() {
        return Messages::First(Want::decode(part, &MESSAGE, findings));
    }
    Messages::All(items(part, findings).into_iter().map(|part| Want::decode(part, &MESSAGE, findings)).collect())
}

fn names(part: Part<'_>, findings: &mut Findings) -> Vec<String> {
    let parts = items(part, findings);
    parts.into_iter().filter_map(|part| text(part, findings)).map(str::to_owned).collect()
}

/// Lists of steps: `[a, b, c]`, or `a before b`.
fn chains(fields: Fields<'_>, key: &str, findings: &mut Findings) -> Vec<Vec<String>> {
    let Some(part) = fields.get(key) else { return Vec::new() };
    let mut chains = Vec::new();
    for part in items(part, findings) {
        let chain: Vec<String> = match part.text() {
            Some(text) if key == "order" => text.split(" before ").map(|name| name.trim().to_owned()).collect(),
            _ => names(part, findings),
        };
        if chain.len() < 2 {
            let hint = Some("write `[a, b]`, or `a before b` in `order`".to_owned());
            findings.at(part, code::EMPTY, "at least two steps have an order", hint);
        }
        chains.push(chain);
    }
    chains
}

impl Expect {
    /// What does not hold.
    pub(super) fn misses(&self, observed: &Observed) -> Vec<Miss> {
        match (observed, &self.refused) {
            (Observed::Broken(what), _) => vec![Miss::new("run", "a result", what)],
            (Observed::Refused(found), Some(wants)) => refusals(wants, found),
            (Observed::Refused(found), None) => vec![Miss::new("status", "a run", said(found))],
            (Observed::Ran(seen), Some(_)) => {
                let status = seen.run.get("status").and_then(Value::as_str).unwrap_or_default();
                vec![Miss::new("refused", "the document does not run", format!("it ran: {status}"))]
            }
            (Observed::Ran(seen), None) => self.misses_of_run(seen),
        }
    }

    fn misses_of_run(&self, seen: &Seen) -> Vec<Miss> {
        let mut misses = self.run.as_ref().map(|want| want.misses("", &seen.run)).unwrap_or_default();
        // Who sees only that it failed has to guess; the run knows why.
        for miss in misses.iter_mut().filter(|miss| miss.about == "status") {
            miss.found.push_str(&seen.reason_of_failure());
        }
        for (section, name, want) in &self.named {
            misses.extend(named(section, name, want, seen));
        }
        let ran = || seen.path.iter().map(Value::as_str).map(Option::unwrap_or_default).collect::<Vec<_>>().join(", ");
        let path = self.path.as_ref().map(|path| path.misses(&Value::Array(seen.path.clone()))).unwrap_or_default();
        misses.extend(path.into_iter().map(|expected| Miss::new("path", expected, ran())));
        for chain in &self.order {
            misses.extend(chain.windows(2).filter_map(|pair| seen.out_of_order(pair)));
        }
        for group in &self.together {
            misses.extend(seen.not_together(group));
        }
        for (step, messages) in &self.messages {
            misses.extend(messages.misses(step, seen));
        }
        for (name, want) in &self.vars {
            misses.extend(want.misses(&format!("vars.{name}"), seen.vars.get(name).unwrap_or(&Value::Null)));
        }
        for (entry, want) in &self.memory {
            misses.extend(want.misses(&format!("memory.{entry}"), seen.memory.get(entry).unwrap_or(&Value::Null)));
        }
        misses
    }
}

fn named(section: &str, name: &str, want: &Want, seen: &Seen) -> Vec<Miss> {
    let about = format!("{section}.{name}");
    let found = seen.named(section);
    match (found.get(name), want) {
        (None, Want::Nothing) => Vec::new(),
        (None, _) if section == "calls" => want.misses(&about, &Seen::no_calls()),
        (None, _) => {
            let known = found.keys().cloned().collect::<Vec<_>>().join(", ");
            let near = did_you_mean(name, found.keys().map(String::as_str));
            let near = near.map(|near| format!(" ({near})")).unwrap_or_default();
            let none = if known.is_empty() { "none".to_owned() } else { format!("only {known}{near}") };
            vec![Miss::new(about, "to be there", none)]
        }
        (Some(found), want) => want.misses(&about, found),
    }
}

impl Messages {
    fn misses(&self, step: &str, seen: &Seen) -> Vec<Miss> {
        let about = format!("messages.{step}");
        let sent: Vec<&Value> = seen.requests.iter().filter(|(path, _)| path == step).map(|(_, sent)| sent).collect();
        let asked = || {
            let mut paths: Vec<&str> = seen.requests.iter().map(|(path, _)| path.as_str()).collect();
            paths.dedup();
            if paths.is_empty() { "no request at all".to_owned() } else { format!("requests for {}", paths.join(", ")) }
        };
        match self {
            Self::First(Want::Nothing) if sent.is_empty() => Vec::new(),
            Self::First(Want::Nothing) => vec![Miss::new(about, "no request", format!("{} requests", sent.len()))],
            Self::First(want) => {
                let last = sent.iter().filter_map(|sent| sent.get("attempt").and_then(Value::as_u64)).max();
                let of_last = |sent: &&&Value| sent.get("attempt").and_then(Value::as_u64) == last;
                match sent.iter().find(of_last) {
                    Some(first) => want.misses(&about, first),
                    None => vec![Miss::new(about, "a request to the model", asked())],
                }
            }
            Self::All(wants) if wants.len() != sent.len() => {
                vec![Miss::new(about, format!("{} requests", wants.len()), format!("{} requests", sent.len()))]
            }
            Self::All(wants) => {
                let each = wants.iter().zip(&sent).enumerate();
                each.flat_map(|(index, (want, sent))| want.misses(&format!("{about}[{index}]"), sent)).collect()
            }
        }
    }
}

/// Each refusal that is expected must be among those that were made.
fn refusals(wants: &[Want], found: &[Value]) -> Vec<Miss> {
    let missing = wants.iter().filter(|want| !found.iter().any(|found| want.misses("", found).is_empty()));
    missing
        .map(|want| {
            let nearest = found.iter().map(|found| want.misses("", found)).min_by_key(Vec::len).unwrap_or_default();
            let expected: Vec<String> =
                nearest.iter().map(|miss| format!("{} to be {}", miss.about, miss.expected)).collect();
            Miss::new("refused", expected.join(", "), said(found))
        })
        .collect()
}

/// Refusals, one a line.
fn said(found: &[Value]) -> String {
    let text = |found: &Value, key: &str| {
        found.get(key).filter(|value| !value.is_null()).map(cofferdam_core::value::to_text).unwrap_or_default()
    };
    let line = |found: &Value| {
        let place = text(found, "line");
        let place = if place.is_empty() { place } else { format!(" at {place}:{}", text(found, "column")) };
        let hint = text(found, "hint");
        let hint = if hint.is_empty() { hint } else { format!(" (hint: {hint})") };
        format!("refused with {}{place}: {}{hint}", text(found, "code"), text(found, "message"))
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}
