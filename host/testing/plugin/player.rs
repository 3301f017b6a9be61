//! Plays servers in the place of the network, and remembers what was sent.
//!
//! The egress asks it after grants, addresses and credentials, so that a case sees what a server would see. It must not
//! open anything.

use super::exchange::{Answers, Exchange, Origin};
use crate::testing::verdict::Miss;
use cofferdam_core::limits;
use cofferdam_egress::{Inbound, Outbound, Resolve, Transport};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
        // The same place asked in another way is nearer than another place.
        let weight = |miss: &Miss| if miss.about == "url" { 3 } else { 1 };
        let distance = |exchange: &&Exchange| exchange.request.misses("", request).iter().map(weight).sum::<usize>();
        let Some(nearest) = self.exchanges.iter().min_by_key(distance) else {
            return Miss::new("http", "no request: the case has no `http`", found);
        };
        let differs: Vec<String> = nearest.request.misses("", request).iter().map(said).collect();
        let why = match differs.as_slice() {
            [] => "its answers are used up".to_owned(),
            differs => differs.join("; "),
        };
        Miss::new("http", format!("a request that has an answer; nearest is line {}: {why}", nearest.line), found)
    }
}

fn said(miss: &Miss) -> String {
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
