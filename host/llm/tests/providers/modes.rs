//! Every mode of the server in every protocol: how the answer ends, how often was asked, how long was waited.
//!
//! It must not know a mode by name, but for those that need a client in a hurry.

use crate::answers::{BENT, DELIVERED, SAID};
use crate::bench::{Bench, KEY, Outcome, ask, request, weather};
use crate::expected::{End, Failure, Row, Said, Text, Waits};
use crate::failures::{ENDLESS, REFUSED};
use cofferdam_core::fault::Fault;
use cofferdam_egress::Timeouts;
use cofferdam_llm::{Api, HttpModel};
use cofferdam_model_server::modes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn rows() -> impl Iterator<Item = &'static Row> {
    [SAID, BENT, DELIVERED, REFUSED, ENDLESS].into_iter().flatten()
}

#[test]
fn every_mode_has_one_row_for_every_protocol_and_every_row_a_mode() {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in rows() {
        assert!(modes().iter().any(|mode| mode.name == row.mode), "`{}` is no mode", row.mode);
        for api in row.apis {
            *counts.entry((row.mode, api.name())).or_default() += 1;
        }
    }
    for mode in modes() {
        for api in Api::ALL {
            let count = counts.get(&(mode.name, api.name())).copied().unwrap_or_default();
            assert_eq!(count, 1, "rows of `{}` in {}", mode.name, api.title());
        }
    }
}

#[tokio::test]
async fn every_mode_ends_as_expected_in_chat_completions() {
    check_all(Api::Chat).await;
}

#[tokio::test]
async fn every_mode_ends_as_expected_in_responses() {
    check_all(Api::Responses).await;
}

#[tokio::test]
async fn every_mode_ends_as_expected_in_messages() {
    check_all(Api::Anthropic).await;
}

#[tokio::test]
async fn every_mode_ends_as_expected_in_generate_content() {
    check_all(Api::Gemini).await;
}

#[tokio::test]
async fn every_mode_ends_as_expected_in_ollamas_protocol() {
    check_all(Api::Ollama).await;
}

async fn check_all(api: Api) {
    let bench = Bench::new().await;
    let mut wrong = Vec::new();
    for row in rows().filter(|row| row.apis.contains(&api)) {
        wrong.extend(check(&bench, api, row).await);
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), api.title(), wrong.join("\n"));
}

/// What is wrong with one case.
async fn check(bench: &Bench, api: Api, row: &Row) -> Vec<String> {
    bench.server.clear();
    let name = row.mode.replace('N', "2");
    let mut asked = request("Hello");
    asked.tools = Arc::from([weather()]);
    let outcome = ask(&model(bench, api, &name), asked).await;
    let mut wrong = Wrong { of: format!("{name}, {}", api.name()), all: Vec::new() };
    wrong.unless_equal("requests", &bench.sent().len(), &row.sent);
    match (&row.end, &outcome.end) {
        (End::Says(said), Ok(_)) => said_right(&mut wrong, bench, said, &outcome),
        (End::Fails(failure), Err(fault)) => {
            wrong.unless_equal("calls", &outcome.calls.len(), &0);
            wrong.unless_equal("text", &outcome.text, &text(bench, &failure.seen, &outcome.text));
            failed_right(&mut wrong, (api, &name), row.sent, (failure, fault));
        }
        (End::Says(_), Err(fault)) => wrong.add(format!("it failed: {} {fault}", fault.code)),
        (End::Fails(failure), Ok(reason)) => wrong.add(format!("no {} but {reason:?}", failure.code)),
    }
    let waits = bench.clock.waits();
    if !waited_right(row.waits, row.sent, &waits) {
        wrong.add(format!("waits: {waits:?}"));
    }
    wrong.all
}

/// The model of a mode; one that gives up soon where the server says nothing.
fn model(bench: &Bench, api: Api, name: &str) -> HttpModel {
    let short = Duration::from_millis(200);
    let mut provider = bench.provider(api);
    match name {
        "stall-headers" => provider.timeouts = Timeouts { headers: short, ..Timeouts::default() },
        "stall-body" => provider.timeouts = Timeouts { idle: short, ..Timeouts::default() },
        _ => {}
    }
    bench.model_of(provider, name)
}

/// What is wrong so far.
struct Wrong {
    of: String,
    all: Vec<String>,
}

impl Wrong {
    fn add(&mut self, what: impl std::fmt::Display) {
        self.all.push(format!("{}: {what}", self.of));
    }

    fn unless_equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, expected: &T) {
        if found != expected {
            self.add(format!("{what}: {found:?}, expected {expected:?}"));
        }
    }

    fn unless_in(&mut self, what: &str, found: &str, part: &str) {
        if !found.contains(part) {
            self.add(format!("{what}: `{found}` has no `{part}`"));
        }
    }
}

fn text(bench: &Bench, expected: &Text, found: &str) -> String {
    match expected {
        Text::Is(text) => (*text).to_owned(),
        Text::Letters(letter, count) => letter.to_string().repeat(*count),
        Text::OfTheRequest => bench.sent().pop().map(|sent| sent.json().to_string()).unwrap_or_default(),
        Text::Endless(text) if !found.is_empty() => text.repeat(found.len() / text.len()),
        Text::Endless(_) => "some text".to_owned(),
    }
}

fn said_right(wrong: &mut Wrong, bench: &Bench, said: &Said, outcome: &Outcome) {
    wrong.unless_equal("end", &outcome.end.as_ref().ok(), &Some(&said.finish));
    wrong.unless_equal("text", &outcome.text, &text(bench, &said.text, &outcome.text));
    wrong.unless_equal("reasoning", &outcome.reasoning.as_str(), &said.reasoning);
    wrong.unless_equal("usage", &outcome.usage, &said.usage);
    let arguments: Vec<&str> = outcome.calls.iter().map(|call| call.arguments.as_str()).collect();
    wrong.unless_equal("arguments", &arguments.as_slice(), &said.calls);
    let mut ids: Vec<&str> = outcome.calls.iter().map(|call| call.id.as_str()).filter(|id| !id.is_empty()).collect();
    ids.sort_unstable();
    ids.dedup();
    wrong.unless_equal("ids", &ids.len(), &said.calls.len());
    wrong.unless_equal("names", &outcome.calls.iter().all(|call| call.name == "get_weather"), &true);
}

fn failed_right(wrong: &mut Wrong, (api, model): (Api, &str), sent: usize, (expected, fault): (&Failure, &Fault)) {
    wrong.unless_equal("code", &&*fault.code, &expected.code);
    wrong.unless_equal("class", &fault.class, &expected.class);
    let message = &fault.message;
    wrong.unless_in("message", message, &format!("provider `acme` (model `{model}`) "));
    wrong.unless_in("message", message, expected.says);
    if let Some(status) = expected.status.filter(|status| *status >= 300) {
        wrong.unless_in("message", message, &format!("status {status}"));
    }
    if sent > 1 {
        wrong.unless_in("message", message, &format!(", also after {} retries", sent - 1));
    }
    match (&fault.hint, expected.hint) {
        (Some(hint), Some(part)) => wrong.unless_in("hint", hint, part),
        (found, expected) => wrong.unless_equal("hint", &found.as_deref(), &expected),
    }
    let detail = fault.detail.as_deref().cloned().unwrap_or_default();
    wrong.unless_equal("provider", &detail["provider"], &json!("acme"));
    wrong.unless_equal("model", &detail["model"], &json!(model));
    wrong.unless_equal("status", &detail["status"], &expected.status.map_or(Value::Null, Value::from));
    // Pages of HTML come from a proxy, which has no ids.
    let has_id = matches!(api, Api::Chat | Api::Responses | Api::Anthropic) && !model.ends_with("html");
    let id = (has_id && expected.status.is_some()).then(|| format!("req_{sent:08x}"));
    wrong.unless_equal("request id", &detail["request_id"], &id.map_or(Value::Null, Value::from));
    let everything = format!("{fault:?}");
    wrong.unless_equal("the key is shown", &everything.contains(KEY), &false);
}

fn waited_right(expected: Waits, sent: usize, waits: &[Duration]) -> bool {
    let between = |wait: &Duration, least: f64, most: f64| (least..=most).contains(&(wait.as_secs_f64() * 1_000.0));
    match expected {
        Waits::None => waits.is_empty(),
        Waits::Own => {
            let full = [500.0, 1_000.0];
            let right = |(wait, full): (&Duration, f64)| between(wait, full * 0.75 - 5.0, full);
            waits.len() == sent - 1 && waits.iter().zip(full).all(right)
        }
        Waits::Asked(ms) => {
            let ms = Duration::from_millis(ms).as_secs_f64() * 1_000.0;
            waits.len() == sent - 1 && waits.iter().all(|wait| between(wait, ms * 0.9, ms * 1.1))
        }
        Waits::Until(ms) => {
            let ms = Duration::from_millis(ms).as_secs_f64() * 1_000.0;
            waits.len() == sent - 1 && waits.iter().all(|wait| between(wait, ms * 0.9 - 1_000.0, ms * 1.1))
        }
    }
}
