//! Posts the events of runs to an address: one request a batch, with the batch's id as its idempotency key.
//!
//! An answer of 2xx is an acknowledgement. What the other side can never take (400, 413, 422) is tried event by event, so
//! that one of them does not hold up the rest.

use cofferdam_sdk::{Ack, Batch, Context, Error, ErrorKind, Event, Result, Sink, Want, http};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where to post; the grant must name the same host.
    url: String,
    /// Headers to send. A value may hold the placeholder of a secret: `{secret:NAME}`.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Kinds of events; a final `*` matches any rest. Default: all durable events.
    #[serde(default)]
    kinds: Vec<String>,
    /// Most events of a request. Default: 100.
    #[serde(default)]
    batch: Option<u32>,
    /// How long a request may wait to fill, in milliseconds. Default: 200.
    #[serde(default)]
    linger_ms: Option<u32>,
}

/// The sink.
pub struct Webhook {
    config: Config,
}

impl Sink for Webhook {
    fn open(_ctx: &Context, config: &str) -> Result<(Self, Want)> {
        let config: Config = serde_json::from_str(config)
            .map_err(|error| Error::invalid_input(format!("configuration: {error}")).with_code("configuration"))?;
        let want = Want {
            kinds: config.kinds.clone(),
            max_batch_events: config.batch.unwrap_or(100),
            max_batch_bytes: 1024 * 1024,
            max_linger_ms: config.linger_ms.unwrap_or(200),
            durable: true,
        };
        Ok((Self { config }, want))
    }

    fn deliver(&mut self, ctx: &Context, batch: &Batch) -> Result<Ack> {
        match self.post(ctx, &batch.id, batch.attempt, &batch.events)? {
            Posted::Taken => Ok(Ack::All),
            Posted::Refused(_) if batch.events.len() > 1 => self.one_by_one(ctx, batch),
            Posted::Refused(why) => Ok(Ack::Except(vec![(0, why)])),
        }
    }
}

/// What the other side did with a request that it understood.
enum Posted {
    Taken,
    /// It will never take this.
    Refused(String),
}

impl Webhook {
    fn one_by_one(&self, ctx: &Context, batch: &Batch) -> Result<Ack> {
        let mut refused = Vec::new();
        for (index, event) in (0..).zip(&batch.events) {
            let id = format!("{}#{index}", batch.id);
            if let Posted::Refused(why) = self.post(ctx, &id, batch.attempt, std::slice::from_ref(event))? {
                refused.push((index, why));
            }
        }
        Ok(if refused.is_empty() { Ack::All } else { Ack::Except(refused) })
    }

    fn post(&self, ctx: &Context, id: &str, attempt: u32, events: &[Event]) -> Result<Posted> {
        let bodies: Vec<Value> = events.iter().map(Event::parsed).collect::<Result<_>>()?;
        let body = json!({ "batch": id, "attempt": attempt, "events": bodies });
        let mut request = http::Request::post(self.config.url.clone(), body.to_string())
            .header("content-type", "application/json")
            .header("idempotency-key", id);
        for (name, value) in &self.config.headers {
            request = request.header(name, with_secrets(ctx, value)?);
        }
        let answer = ctx.fetch(request)?;
        match answer.status {
            200..=299 => Ok(Posted::Taken),
            400 | 413 | 422 => Ok(Posted::Refused(format!("status {}", answer.status))),
            401 | 403 => Err(Error::new(ErrorKind::AuthRequired, format!("status {}", answer.status))),
            status => Err(later(status, &answer)),
        }
    }
}

/// Replaces `{secret:NAME}` by what stands for the secret.
fn with_secrets(ctx: &Context, value: &str) -> Result<String> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("{secret:") {
        let Some((name, behind)) = after.split_once('}') else {
            return Err(Error::invalid_input("a header has `{secret:` without its end"));
        };
        text.push_str(before);
        text.push_str(&ctx.secret_placeholder(name)?);
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

/// Something that may be over when the batch comes again.
fn later(status: u16, answer: &http::Response) -> Error {
    let kind = if status == 429 { ErrorKind::RateLimited } else { ErrorKind::Unavailable };
    let error = Error::new(kind, format!("status {status}"));
    let wait = answer.header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let error = match wait {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    };
    // What is neither the other side's trouble nor ours for now will not mend itself.
    if status == 429 || status >= 500 { error } else { error.permanent() }
}

cofferdam_sdk::plugin!(id = "cofferdam/webhook", config = Config, sink = Webhook);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::Fake;

    const URL: &str = "https://hooks.example.com/x";

    fn deliver(host: &Fake, count: u64) -> Result<Ack> {
        let ctx = host.context();
        let config = json!({ "url": URL, "headers": { "authorization": "Bearer {secret:HOOK}" } });
        let (mut sink, want) = Webhook::open(&ctx, &config.to_string())?;
        assert!(want.durable);
        let event = |seq| Event { seq, body: format!("{{\"seq\":{seq}}}"), ..Event::default() };
        let events = (1..=count).map(event).collect();
        sink.deliver(&ctx, &Batch { id: "r/1".into(), attempt: 2, events, ..Batch::default() })
    }

    fn answering(status: u16) -> Fake {
        Fake::new().secret("HOOK").respond(URL, http::Response::new(status, "{}"))
    }

    #[test]
    fn a_batch_is_one_request_with_its_id_as_key() {
        let host = answering(204);
        assert_eq!(deliver(&host, 3).unwrap(), Ack::All);
        let requests = host.requests();
        assert_eq!(requests.len(), 1);
        let header = |name: &str| {
            let found = requests[0].headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        assert_eq!(header("idempotency-key").as_deref(), Some("r/1"));
        assert_eq!(header("authorization").as_deref(), Some("Bearer placeholder-of-HOOK"));
        let body: Value = serde_json::from_slice(requests[0].body.as_deref().unwrap()).unwrap();
        assert_eq!(body, json!({ "batch": "r/1", "attempt": 2, "events": [{ "seq": 1 }, { "seq": 2 }, { "seq": 3 }] }));
    }

    #[test]
    fn what_can_never_be_taken_is_tried_alone_and_put_aside() {
        let host = answering(422);
        let refused = |index| (index, "status 422".to_owned());
        assert_eq!(deliver(&host, 2).unwrap(), Ack::Except(vec![refused(0), refused(1)]));
        assert_eq!(host.requests().len(), 3);
    }

    #[test]
    fn what_may_be_over_soon_comes_again_and_the_rest_does_not() {
        for (status, retryable) in [(429, None), (503, None), (401, None), (418, Some(false))] {
            let error = deliver(&answering(status), 1).unwrap_err();
            assert_eq!(error.is_retryable(), retryable, "{status}");
        }
        assert_eq!(deliver(&Fake::new().secret("HOOK"), 1).unwrap_err().kind(), ErrorKind::Denied);
    }

    #[test]
    fn a_secret_without_an_end_is_a_mistake() {
        assert!(with_secrets(&Context::fake(), "x {secret:A").is_err());
        assert_eq!(with_secrets(&Context::fake(), "plain").unwrap(), "plain");
    }
}
