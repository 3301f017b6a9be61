//! Gets web resources, from the hosts that are granted and no others: every
//! check is the host's, this plugin only words the request and the answer.

use std::collections::BTreeMap;

use cofferdam_sdk::{Context, Error, Output, Result, http, tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const DEFAULT_BYTES: u64 = 1024 * 1024;
// A result is copied out of the plugin whole, as JSON.
const MOST_BYTES: u64 = 2 * 1024 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Args {
    /// Absolute, `http` or `https`.
    url: String,
    /// Headers to send, by name.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Fail when the body is longer. Default: 1 MiB; at most 2 MiB.
    #[serde(default)]
    max_bytes: Option<u64>,
    /// Fail when the status is 400 or above. Default: no, it is returned.
    #[serde(default)]
    require_success: bool,
}

/// What the server answered. The body is in `json` or in `text`, or only counted
/// if it is neither.
#[derive(Debug, Serialize, JsonSchema)]
struct Answer {
    /// The status code.
    status: u16,
    /// The URL that answered, after redirects.
    url: String,
    /// By name in lower case; several of one name are joined by `, `.
    headers: BTreeMap<String, String>,
    /// How long the body is.
    bytes: usize,
    /// The body, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    /// The body, if it is text and not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Gets a web resource by HTTP GET and returns its status, headers and body
/// (parsed if it is JSON). Reaches only the hosts that the policy grants.
#[tool(read_only, idempotent, open_world, title = "HTTP GET", example = r#"{"url": "https://example.com/data.json"}"#)]
fn get(ctx: &Context, args: Args) -> Result<Output<Answer>> {
    let max_bytes = args.max_bytes.unwrap_or(DEFAULT_BYTES);
    if max_bytes > MOST_BYTES {
        return Err(Error::invalid_input(format!("`max_bytes` is at most {MOST_BYTES}, not {max_bytes}")));
    }
    let mut request = http::Request::get(args.url).max_response_bytes(max_bytes);
    for (name, value) in args.headers {
        request = request.header(name, value);
    }
    let mut response = ctx.fetch(request)?;
    if args.require_success {
        response = response.error_for_status()?;
    }
    let answer = Answer::from(response);
    let summary = answer.summary();
    Ok(Output::new(answer).with_summary(summary))
}

impl From<http::Response> for Answer {
    fn from(response: http::Response) -> Self {
        let is_json = response.header("content-type").is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or(kind).trim();
            kind == "application/json" || kind.ends_with("+json")
        });
        let json = if is_json { serde_json::from_slice(&response.body).ok() } else { None };
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &response.headers {
            let value = String::from_utf8_lossy(value);
            headers
                .entry(name.clone())
                .and_modify(|joined| {
                    joined.push_str(", ");
                    joined.push_str(&value);
                })
                .or_insert_with(|| value.to_string());
        }
        let bytes = response.body.len();
        let text = if json.is_none() { String::from_utf8(response.body).ok() } else { None };
        Self {
            status: response.status,
            url: response.final_url,
            headers,
            bytes,
            json,
            text: text.filter(|text| !text.contains('\0')),
        }
    }
}

impl Answer {
    /// What a model reads: one line, and the body where it is readable.
    fn summary(&self) -> String {
        let head = format!("{} {} ({} bytes)", self.status, self.url, self.bytes);
        match (&self.json, &self.text) {
            (Some(json), _) => format!("{head}\n{json}"),
            (None, Some(text)) => format!("{head}\n{text}"),
            (None, None) => format!("{head}, not text"),
        }
    }
}

cofferdam_sdk::plugin!(id = "cofferdam/fetch", tools = [get]);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::{ErrorKind, Fake, Plugin as _};

    const URL: &str = "https://api.example.com/x";

    fn answer(response: http::Response, args: &Value) -> Result<Answer> {
        let ctx = Fake::new().respond(URL, response).context();
        get(&ctx, serde_json::from_value(args.clone()).unwrap()).map(|output| output.value)
    }

    #[test]
    fn json_is_parsed_and_text_is_text() {
        let args = serde_json::json!({ "url": URL });
        let json =
            http::Response::new(200, "{\"a\": 1}").with_header("Content-Type", "application/json; charset=utf-8");
        assert_eq!(answer(json, &args).unwrap().json, Some(serde_json::json!({ "a": 1 })));
        let broken = http::Response::new(200, "{").with_header("content-type", "application/json");
        assert_eq!(answer(broken, &args).unwrap().text.as_deref(), Some("{"));
        let binary = answer(http::Response::new(200, [0_u8, 255, 3]), &args).unwrap();
        assert_eq!((binary.bytes, binary.text, binary.json), (3, None, None));
    }

    #[test]
    fn headers_are_sent_and_repeated_ones_joined() {
        let response = http::Response::new(200, "").with_header("vary", "a").with_header("vary", "b");
        let host = Fake::new().respond(URL, response);
        let args = serde_json::json!({ "url": URL, "headers": { "accept": "text/plain" } });
        let output = get(&host.context(), serde_json::from_value(args).unwrap()).unwrap();
        assert_eq!(output.value.headers["vary"], "a, b");
        assert_eq!(host.requests()[0].headers, [("accept".to_owned(), b"text/plain".to_vec())]);
    }

    #[test]
    fn a_bad_status_is_an_answer_unless_success_is_required() {
        let args = serde_json::json!({ "url": URL });
        assert_eq!(answer(http::Response::new(404, ""), &args).unwrap().status, 404);
        let args = serde_json::json!({ "url": URL, "require_success": true });
        let error = answer(http::Response::new(404, ""), &args).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_host_that_is_not_granted_is_denied() {
        let args = serde_json::json!({ "url": "https://elsewhere.example" }).to_string();
        let error = Plugin::call(&Context::fake(), "get", &args).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
    }

    #[test]
    fn a_long_body_is_refused() {
        let args = serde_json::json!({ "url": URL, "max_bytes": 3 });
        let error = answer(http::Response::new(200, "long"), &args).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let args = serde_json::json!({ "url": URL, "max_bytes": MOST_BYTES + 1 });
        let error = answer(http::Response::new(200, ""), &args).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
