//! Answers of servers that stand in a test file, and the player that gives them in the place of the network.
//!
//! The egress asks it after grants, addresses and credentials, so that a case sees what a server would see. It must not
//! open anything.

use super::want::REQUEST;
use crate::testing::reader::{Fields, items, text, wrong};
use crate::testing::shape::Want;
use crate::testing::verdict::Miss;
use cofferdam_core::limits;
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_egress::{Inbound, Outbound, Resolve, Transport};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The keys of an exchange, and of an answer.
pub(in crate::testing) const KEYS: [&[&str]; 2] = [&["request", "response"], &["status", "headers", "body", "json"]];

/// A request and what it is answered with.
#[derive(Debug)]
pub(super) struct Exchange {
    request: Want,
    answers: Answers,
    origin: Origin,
    line: u32,
}

/// Whose an exchange is. What a file plays for all its cases, not each of them has to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    Case,
}

#[derive(Debug)]
enum Answers {
    /// To every such request.
    Always(Inbound),
    /// To the first, to the second, and so on; then no more.
    InTurn(Vec<Inbound>),
}

/// Reads the exchanges of a case.
pub(super) fn decode(part: Part<'_>, origin: Origin, findings: &mut Findings) -> Vec<Exchange> {
    items(part, findings).into_iter().filter_map(|part| exchange(part, origin, findings)).collect()
}

fn exchange(part: Part<'_>, origin: Origin, findings: &mut Findings) -> Option<Exchange> {
    let fields = Fields::open(part, KEYS[0], findings)?;
    let mut missing = |key: &str, hint: &str| {
        findings.at(part, code::MISSING_KEY, format!("the key `{key}` is missing"), Some(hint.to_owned()));
    };
    let Some(request) = fields.get("request") else {
        missing("request", "write `request: https://api.example.com/items`, or a table with `method`, `url`, ...");
        return None;
    };
    let Some(response) = fields.get("response") else {
        missing("response", "write `response: { status: 200, json: { ... } }`");
        return None;
    };
    let request = Want::decode(request, &REQUEST, findings);
    let answers = match response.items() {
        None => Answers::Always(answer(response, findings)?),
        Some(_) => {
            let list = items(response, findings);
            if list.is_empty() {
                findings.at(response, code::EMPTY, "there is no answer", None);
            }
            Answers::InTurn(list.into_iter().filter_map(|part| answer(part, findings)).collect())
        }
    };
    Some(Exchange { request, answers, origin, line: part.line() })
}

fn answer(part: Part<'_>, findings: &mut Findings) -> Option<Inbound> {
    let fields = Fields::open(part, KEYS[1], findings)?;
    let status = fields.number("status", findings).unwrap_or(200);
    let status = u16::try_from(status).ok().filter(|status| (100..=999).contains(status));
    if status.is_none() {
        findings.at(part.nearest("status"), code::WRONG_TYPE, "a status is a number from 100 to 999", None);
    }
    let mut headers = Vec::new();
    for member in fields.members("headers", findings) {
        let Some(value) = text(member.value, findings) else { continue };
        headers.push((member.key.to_owned(), value.as_bytes().to_vec()));
    }
    let body = match (fields.get("body"), fields.given("json")) {
        (Some(body), Some(_)) => {
            findings.at(body, code::CONFLICT, "an answer has one of `body` and `json`", None);
            String::new()
        }
        (Some(body), None) => match body.text() {
            Some(text) => text.to_owned(),
            None => {
                wrong(body, "text", findings);
                String::new()
            }
        },
        (None, Some(json)) => {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.push(("content-type".to_owned(), b"application/json".to_vec()));
            }
            json.to_json().to_string()
        }
        (None, None) => String::new(),
    };
    Some(Inbound { status: status?, headers, body: body.into() })
}

/// Plays the servers of one case, and remembers what was sent.
pub(super) struct Player {
    exchanges: Arc<[Exchange]>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// What was sent, as expectations see it.
    seen: Vec<Value>,
    /// How often each exchange answered.
    used: Vec<usize>,
    /// Requests that nothing answers.
    misses: Vec<Miss>,
}

impl Player {
    pub(super) fn new(exchanges: Arc<[Exchange]>) -> Self {
        let used = vec![0; exchanges.len()];
        Self { exchanges, log: Mutex::new(Log { used, ..Log::default() }) }
    }

    /// What was sent, in order.
    pub(super) fn seen(&self) -> Vec<Value> {
        self.log().seen.clone()
    }

    /// Requests without an answer, and answers without a request.
    pub(super) fn misses(&self) -> Vec<Miss> {
        let log = self.log();
        let mut misses = log.misses.clone();
        for (exchange, used) in self.exchanges.iter().zip(&log.used) {
            let wanted = match &exchange.answers {
                Answers::Always(_) => 1,
                Answers::InTurn(answers) => answers.len(),
            };
            if exchange.origin == Origin::Case && *used < wanted {
                let expected = format!("the answer in line {} to be asked for", exchange.line);
                let expected = if wanted == 1 { expected } else { format!("{expected} {wanted} times") };
                misses.push(Miss::new("http", expected, format!("it was asked for {used} times")));
            }
        }
        misses
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first answer that is left for a request.
    fn answer(&self, request: &Value) -> Option<Inbound> {
        let mut log = self.log();
        if log.seen.len() < limits::SCRIPTED_REQUESTS {
            log.seen.push(request.clone());
        }
        for (exchange, used) in self.exchanges.iter().zip(&mut log.used) {
            let answer = match &exchange.answers {
                Answers::Always(answer) => Some(answer),
                Answers::InTurn(answers) => answers.get(*used),
            };
            if let Some(answer) = answer.filter(|_| exchange.request.misses("", request).is_empty()) {
                *used += 1;
                return Some(answer.clone());
            }
        }
        let miss = self.unanswered(request);
        log.misses.push(miss);
        None
    }

    /// Says which exchange came nearest to a request that none answers.
    fn unanswered(&self, request: &Value) -> Miss {
        let text = |key| request.get(key).and_then(Value::as_str).unwrap_or_default();
        let found = format!("{} {}", text("method"), text("url"));
        let distance = |exchange: &&Exchange| exchange.request.misses("", request).len();
        let Some(nearest) = self.exchanges.iter().min_by_key(distance) else {
            return Miss::new("http", "no request: the case has no `http`", found);
        };
        let differs: Vec<String> = nearest.request.misses("", request).into_iter().map(said).collect();
        let why = match differs.as_slice() {
            [] => "its answers are used up".to_owned(),
            differs => differs.join("; "),
        };
        Miss::new("http", format!("a request that has an answer; nearest is line {}: {why}", nearest.line), found)
    }
}

fn said(miss: Miss) -> String {
    format!("it wants {} to be {} and not {}", miss.about, miss.expected, miss.found)
}

impl Transport for Player {
    fn carry(&self, request: Outbound) -> BoxFuture<'_, Option<Inbound>> {
        let answer = self.answer(&shown(&request));
        Box::pin(std::future::ready(answer))
    }
}

/// A request as expectations see it.
fn shown(request: &Outbound) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut headers = serde_json::Map::new();
    for (name, value) in &request.headers {
        // Several of one name are one, as HTTP has it.
        let value = text(value);
        let joined = match headers.get(name).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value,
        };
        headers.insert(name.clone(), joined.into());
    }
    json!({
        "method": request.method,
        "url": request.url,
        "headers": headers,
        "body": text(&request.body),
        "json": serde_json::from_slice::<Value>(&request.body).ok(),
    })
}

/// Every name is somewhere in public, apart from those of this machine.
pub(super) struct Somewhere;

impl Resolve for Somewhere {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let local = host == "localhost" || host.ends_with(".localhost");
        let address = if local { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(1, 1, 1, 1) };
        Box::pin(std::future::ready(Ok(vec![IpAddr::V4(address)])))
    }
}
