//! From a request to its reply: which protocol, which mode. It must not know what a protocol writes.

use crate::chat::Chat;
use crate::compose::{self, Order};
use crate::failure::Failure;
use crate::fault;
use crate::gemini::Gemini;
use crate::http::Request;
use crate::listing;
use crate::messages::Messages;
use crate::mode::{self, Content, Delivery, Does};
use crate::ollama::Ollama;
use crate::reply::{Act, Ending, Head, Length, Reply};
use crate::responses::Responses;
use crate::server::Shared;
use crate::wire::{About, Wire};
use serde_json::{Value, json};

/// The header that chooses a mode over the name of the model.
pub const MODE_HEADER: &str = "x-model-server-mode";

/// The page of the log.
pub(crate) const LOG: &str = "/_log";

/// Where `redirect` leads.
const REDIRECTED: &str = "/_redirected";

/// The reply to the `number`-th request.
pub(crate) fn reply(request: &Request, number: u64, shared: &Shared) -> Reply {
    match (request.path(), request.method.as_str()) {
        (LOG, "GET") => return Reply::json(200, &shared.shown_log()),
        (LOG, "DELETE") => {
            shared.clear();
            return Reply::json(200, &json!([]));
        }
        (LOG, _) => return Reply::json(405, &json!({"error": "the log takes GET and DELETE"})),
        (REDIRECTED, _) => return Reply::json(404, &json!({"error": "a redirect was followed"})),
        _ => {}
    }
    if let Some((wire, model)) = protocol(request.path()) {
        if request.method != "POST" {
            return Reply::json(
                405,
                &json!({"error": {"message": "this path takes POST", "type": "invalid_request_error"}}),
            );
        }
        return Call::new(request, wire, model, number).reply(shared);
    }
    let page = if request.method == "GET" { listing::page(request) } else { None };
    page.unwrap_or_else(|| {
        let message = format!("Invalid URL ({} {})", request.method, request.path());
        Reply::json(
            404,
            &json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}}),
        )
    })
}

/// Which protocol a path speaks, and the model that is in the path.
fn protocol(path: &str) -> Option<(&'static dyn Wire, Option<String>)> {
    match path {
        "/v1/chat/completions" | "/chat/completions" | "/openai/v1/chat/completions" => return Some((&Chat, None)),
        "/v1/responses" | "/responses" | "/openai/v1/responses" => return Some((&Responses, None)),
        "/v1/messages" => return Some((&Messages, None)),
        "/api/chat" => return Some((&Ollama, None)),
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("/openai/deployments/") {
        return Some((&Chat, Some(decoded(rest.strip_suffix("/chat/completions")?))));
    }
    let rest = path.strip_prefix("/v1/models/").or_else(|| path.strip_prefix("/v1beta/models/"))?;
    let (model, action) = rest.rsplit_once(':')?;
    matches!(action, "generateContent" | "streamGenerateContent").then(|| (&Gemini as &dyn Wire, Some(decoded(model))))
}

/// Undoes percent encoding; what is none stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let hex = hex.filter(|pair| *first == b'%' && pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A request to a model.
struct Call<'a> {
    request: &'a Request,
    wire: &'static dyn Wire,
    body: Result<Value, serde_json::Error>,
    model: String,
    number: u64,
}

impl<'a> Call<'a> {
    fn new(request: &'a Request, wire: &'static dyn Wire, model: Option<String>, number: u64) -> Self {
        let body: Result<Value, _> = serde_json::from_slice(&request.body);
        let named = || body.as_ref().ok().and_then(|body| body.get("model")).and_then(Value::as_str);
        let model = model.or_else(|| named().map(str::to_owned)).unwrap_or_default();
        Self { request, wire, body, model, number }
    }

    fn reply(&self, shared: &Shared) -> Reply {
        let body = match &self.body {
            Ok(body @ Value::Object(_)) => body,
            Ok(_) => return self.refused("the body is JSON, but no object".to_owned()),
            Err(error) => return self.refused(format!("the body is not JSON: {error}")),
        };
        let name = self.request.header(MODE_HEADER).unwrap_or(&self.model);
        let (mut does, count) = mode::find(name);
        if let Some(reason) = self.wire.lacks(does) {
            return self.refused(format!("mode `{name}` makes no sense in this protocol: {reason}"));
        }
        match does {
            Does::Fail(failure) => return self.failed(failure),
            Does::Redirect => return self.redirect(shared),
            // Two protocols that ask for one name have counts of their own.
            Does::Flaky if shared.fails_again(&format!("{} {name}", self.request.path()), count) => {
                return self.failed(&Failure::Internal);
            }
            Does::Flaky => does = &Does::Say(Content::Text),
            Does::Say(_) | Does::Bend(_) | Does::Deliver(_) => {}
        }
        let asked = match self.wire.asked(self.request, body) {
            Ok(asked) => asked,
            Err(reason) => return self.refused(reason),
        };
        let order = Order { does, count, asked: &asked, body, model: &self.model, number: self.number };
        match compose::answer(&order) {
            Ok(answer) => {
                let delivery = if let Does::Deliver(delivery) = does { *delivery } else { Delivery::Plain };
                let is_stream = self.wire.is_stream(self.request, body) && delivery != Delivery::Whole;
                if is_stream { self.streamed(&answer, delivery, shared) } else { self.whole(&answer, delivery, shared) }
            }
            Err(reason) => self.refused(reason),
        }
    }

    fn streamed(&self, answer: &crate::answer::Answer, delivery: Delivery, shared: &Shared) -> Reply {
        let framing = self.wire.framing(self.request);
        let frames = self.wire.frames(answer);
        let error = match delivery {
            Delivery::Failed => self.wire.failed_frame(answer, framing),
            _ => self.wire.error_frame(framing),
        };
        let (acts, ending) = fault::stream(self.wire, framing, frames, error, (delivery, shared.drip));
        let mut headers = vec![("cache-control", "no-cache".to_owned())];
        headers.extend(self.wire.headers(self.number));
        let head = self.head(200, framing.content_type(), headers, Length::Chunked);
        Self::sent(head, acts, ending, delivery)
    }

    fn whole(&self, answer: &crate::answer::Answer, delivery: Delivery, shared: &Shared) -> Reply {
        let failed = if delivery == Delivery::Failed { self.wire.failed(answer) } else { None };
        if matches!(delivery, Delivery::MidError | Delivery::Failed) && failed.is_none() {
            return self.failed(&Failure::Internal);
        }
        let document = failed.unwrap_or_else(|| self.wire.whole(answer));
        // Only Ollama answers a document with an error of its own.
        let status = if document.get("error").is_some_and(Value::is_string) { 500 } else { 200 };
        let document = document.to_string();
        let (acts, ending) = fault::whole(&document, delivery, shared.drip);
        let length = match (delivery, ending) {
            (Delivery::HugeBody, _) => Length::Chunked,
            (_, Ending::Complete) => Length::Known(acts.iter().map(written).sum()),
            (_, _) => Length::Known(document.len()),
        };
        let head = self.head(status, "application/json", self.wire.headers(self.number), length);
        Self::sent(head, acts, ending, delivery)
    }

    fn sent(mut head: Head, acts: Vec<Act>, ending: Ending, delivery: Delivery) -> Reply {
        match delivery {
            Delivery::Nothing | Delivery::StallHeaders => return Reply { head: None, acts: Vec::new(), ending },
            Delivery::Gzip => head.headers.push(("content-encoding", "gzip".to_owned())),
            _ => {}
        }
        Reply { head: Some(head), acts, ending }
    }

    fn refused(&self, reason: String) -> Reply {
        self.failed(&Failure::Refused(reason))
    }

    fn failed(&self, failure: &Failure) -> Reply {
        let key = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];
        let key = key.iter().find_map(|name| self.request.header(name)).unwrap_or_default();
        let key = key.strip_prefix("Bearer ").unwrap_or(key);
        let about = About { number: self.number, model: &self.model, key };
        if let Some(page) = failure.page() {
            return Reply::document(failure.status(), "text/html", page);
        }
        let (body, more) = self.wire.failure(failure, &about);
        let body = body.to_string();
        let mut headers = self.wire.headers(self.number);
        headers.extend(more);
        let head = self.head(failure.status(), "application/json", headers, Length::Known(body.len()));
        Reply { head: Some(head), acts: vec![Act::Write(body.into_bytes())], ending: Ending::Complete }
    }

    fn redirect(&self, shared: &Shared) -> Reply {
        let headers = vec![("location", format!("{}{REDIRECTED}", shared.root()))];
        let head = self.head(307, "text/plain", headers, Length::Known(0));
        Reply { head: Some(head), acts: Vec::new(), ending: Ending::Complete }
    }

    fn head(&self, status: u16, content_type: &str, more: Vec<(&'static str, String)>, length: Length) -> Head {
        let mut headers = vec![("content-type", content_type.to_owned())];
        headers.extend(more);
        Head { status, headers, length }
    }
}

fn written(act: &Act) -> usize {
    if let Act::Write(bytes) = act { bytes.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{decoded, protocol};

    #[test]
    fn paths_are_those_of_the_protocols() {
        let model = |path: &str| protocol(path).map(|(_, model)| model.unwrap_or_default());
        assert_eq!(model("/v1/chat/completions").as_deref(), Some(""));
        assert_eq!(model("/openai/deployments/x%2Fcut/chat/completions").as_deref(), Some("x/cut"));
        assert_eq!(model("/v1beta/models/cut:latest:streamGenerateContent").as_deref(), Some("cut:latest"));
        for path in ["/v1/v1/messages", "/messages", "/v1/models/x", "/v1/models/x:countTokens", "/api/generate"] {
            assert_eq!(model(path), None, "{path}");
        }
    }

    #[test]
    fn broken_percent_encoding_stays() {
        assert_eq!(decoded("%41%4g%%e2%82%ac%"), "A%4g%€%");
    }
}
