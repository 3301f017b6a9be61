//! Tells a channel how runs go: a message when a run ends and when a step fails, by a Slack-shaped incoming webhook.

use cofferdam_sdk::{Ack, Batch, Context, Error, ErrorKind, Event, Result, Sink, Want, http};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer texts are cut: nobody reads them in a channel.
const MOST_CHARS: usize = 1_500;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The address of the incoming webhook.
    url: String,
    /// Whom to mention when a run fails, e.g. `<!here>`.
    #[serde(default)]
    mention: Option<String>,
    /// Also tell of steps that failed. Default: yes.
    #[serde(default)]
    steps: Option<bool>,
}

/// The sink.
pub struct Slack {
    config: Config,
}

impl Sink for Slack {
    fn open(_ctx: &Context, config: &str) -> Result<(Self, Want)> {
        let config: Config = serde_json::from_str(config)
            .map_err(|error| Error::invalid_input(format!("configuration: {error}")).with_code("configuration"))?;
        let kinds = ["run_finished", "step_finished", "question_asked"].map(str::to_owned).to_vec();
        Ok((Self { config }, Want { kinds, durable: true, max_batch_events: 20, ..Want::default() }))
    }

    /// One message a batch; an event that says nothing worth a message is handled by saying nothing.
    fn deliver(&mut self, ctx: &Context, batch: &Batch) -> Result<Ack> {
        let lines: Vec<String> = batch.events.iter().filter_map(|event| self.line(event)).collect();
        if lines.is_empty() {
            return Ok(Ack::All);
        }
        let body = json!({ "text": lines.join("\n") }).to_string();
        let request = http::Request::post(self.config.url.clone(), body).header("content-type", "application/json");
        let answer = ctx.fetch(request)?;
        match answer.status {
            200..=299 => Ok(Ack::All),
            429 => {
                let seconds = answer.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
                Err(Error::new(ErrorKind::RateLimited, "the channel takes no more for now")
                    .with_retry_after(Duration::from_secs(seconds)))
            }
            500..=599 => Err(Error::new(ErrorKind::Unavailable, format!("status {}", answer.status))),
            status => Err(Error::new(ErrorKind::AuthRequired, format!("the webhook was refused with status {status}"))),
        }
    }
}

impl Slack {
    fn line(&self, event: &Event) -> Option<String> {
        let body = event.parsed().ok()?;
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let why = || cut(body.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given"));
        match (event.kind.as_str(), text("status")) {
            ("run_finished", Some("completed")) => Some(format!(":white_check_mark: run `{}` completed", event.run_id)),
            ("run_finished", Some(status)) => {
                let mention = self.config.mention.as_deref().map(|who| format!("{who} ")).unwrap_or_default();
                Some(format!("{mention}:x: run `{}` {status}: {}", event.run_id, why()))
            }
            ("step_finished", Some("failed")) if self.config.steps.unwrap_or(true) => {
                Some(format!(":warning: step `{}` of run `{}` failed: {}", event.path, event.run_id, why()))
            }
            ("question_asked", _) => {
                let question = cut(text("question").unwrap_or_default());
                Some(format!(":question: step `{}` of run `{}` asks: {question}", event.path, event.run_id))
            }
            _ => None,
        }
    }
}

/// Text as the channel shows it literally, not too long.
fn cut(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    match escaped.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{} [...]", escaped.get(..end).unwrap_or_default()),
        None => escaped,
    }
}

cofferdam_sdk::plugin!(id = "cofferdam/slack", config = Config, sink = Slack);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::Fake;

    const URL: &str = "https://hooks.example.com/services/T/B/X";

    fn told(kind: &str, body: &Value) -> Option<String> {
        let host = Fake::new().respond(URL, http::Response::new(200, "ok"));
        let ctx = host.context();
        let config = json!({ "url": URL, "mention": "<!here>" });
        let (mut sink, _) = Slack::open(&ctx, &config.to_string()).unwrap();
        let event = Event {
            run_id: "r".into(),
            path: "build".into(),
            kind: kind.into(),
            body: body.to_string(),
            ..Event::default()
        };
        assert_eq!(sink.deliver(&ctx, &Batch { events: vec![event], ..Batch::default() }).unwrap(), Ack::All);
        let request = host.requests().pop()?;
        let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        body["text"].as_str().map(str::to_owned)
    }

    #[test]
    fn ends_failures_and_questions_are_told_and_nothing_else() {
        let failed = json!({ "status": "failed", "error": { "message": "a < b & \"c\"" } });
        for (kind, body, expected) in [
            ("run_finished", json!({ "status": "completed" }), Some(":white_check_mark: run `r` completed")),
            ("run_finished", failed.clone(), Some("<!here> :x: run `r` failed: a &lt; b &amp; \"c\"")),
            ("step_finished", failed, Some(":warning: step `build` of run `r` failed: a &lt; b &amp; \"c\"")),
            ("step_finished", json!({ "status": "completed" }), None),
            (
                "question_asked",
                json!({ "question": "Ship it?" }),
                Some(":question: step `build` of run `r` asks: Ship it?"),
            ),
        ] {
            assert_eq!(told(kind, &body).as_deref(), expected, "{kind}");
        }
    }

    #[test]
    fn long_reasons_are_cut() {
        let body = json!({ "status": "failed", "error": { "message": "x".repeat(9_000) } });
        let text = told("run_finished", &body).unwrap();
        assert!(text.len() < 1_600 && text.ends_with("[...]"), "{}", text.len());
    }

    #[test]
    fn a_channel_that_takes_no_more_gets_it_again() {
        let host = Fake::new().respond(URL, http::Response::new(429, ""));
        let ctx = host.context();
        let (mut sink, _) = Slack::open(&ctx, &json!({ "url": URL }).to_string()).unwrap();
        let body = json!({ "status": "completed" }).to_string();
        let event = Event { kind: "run_finished".into(), body, ..Event::default() };
        let error = sink.deliver(&ctx, &Batch { events: vec![event], ..Batch::default() }).unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    }
}
