//! Gemini's generateContent. It must not know any mode by name.
//!
//! Calls arrive whole and end with `STOP`, so that several bends of other protocols are its plain form.

use crate::answer::{Answer, Call, End, Kind, Part, Text, Usage};
use crate::asked::{Asked, Kept, items, string};
use crate::compose::SIGNATURE;
use crate::failure::Failure;
use crate::frame::{Frame, Framing, Step};
use crate::http::Request;
use crate::mode::{Does, Quirk};
use crate::wire::{About, Wire};
use serde_json::{Map, Value, json};

pub(crate) struct Gemini;

impl Wire for Gemini {
    fn asked(&self, _request: &Request, body: &Value) -> Result<Asked, String> {
        let contents = items(body, "/contents");
        if contents.is_empty() {
            return Err("* GenerateContentRequest.contents: contents is not specified".to_owned());
        }
        check_results(contents)?;
        let mut tools = Vec::new();
        for tool in items(body, "/tools") {
            for declaration in field(tool, "functionDeclarations").and_then(Value::as_array).into_iter().flatten() {
                let old = declaration.get("parameters");
                old.map_or(Ok(()), check_parameters)?;
                let schema = field(declaration, "parametersJsonSchema").or(old);
                tools.push((string(declaration, "/name").to_owned(), schema.cloned().unwrap_or_default()));
            }
        }
        let config = field(body, "generationConfig").unwrap_or(&Value::Null);
        let parts = || contents.iter().flat_map(|content| items(content, "/parts"));
        let results = parts().filter_map(|part| field(part, "functionResponse")?.get("response"));
        Ok(Asked {
            tools,
            results: results.map(result_text).collect(),
            schema: field(config, "responseJsonSchema").or_else(|| field(config, "responseSchema")).cloned(),
            usage: true,
            sealed: true,
            kept: Kept::from(parts().any(is_kept)),
        })
    }

    fn is_stream(&self, request: &Request, _body: &Value) -> bool {
        request.path().ends_with(":streamGenerateContent")
    }

    fn framing(&self, request: &Request) -> Framing {
        if request.parameter("alt") == Some("sse") { Framing::Events { eol: "\r\n" } } else { Framing::Array }
    }

    fn lacks(&self, does: &Does) -> Option<&'static str> {
        match does {
            Does::Bend(Quirk::ReusedIndex) => Some("calls of Gemini have no index that could be used twice"),
            _ => None,
        }
    }

    fn frames(&self, answer: &Answer) -> Vec<Frame> {
        if answer.end == End::Filtered {
            return vec![Frame::new(Step::End, &self.whole(answer))];
        }
        let mut frames = Vec::new();
        if answer.bent(Quirk::Unknown) {
            let unknown = json!({"weather": {"sunny": true}, "responseId": "r", "modelVersion": "m"});
            frames.push(Frame::new(Step::Frame, &unknown));
            frames.push(chunk(answer, Step::Frame, &json!([{"hologram": {"depth": 3}}]), None));
        }
        for part in &answer.parts {
            match part {
                Part::Text(text) => {
                    let piece = |piece: &String| chunk(answer, Step::Delta, &json!([text_part(text, piece)]), None);
                    frames.extend(text.pieces.iter().map(piece).map(|frame| frame.times(text.times)));
                }
                Part::Call(call) => {
                    let parts: Vec<Value> = call_part(answer, call).into_iter().collect();
                    if !parts.is_empty() {
                        frames.push(chunk(answer, Step::Arguments, &json!(parts), None));
                    }
                }
            }
        }
        frames.push(chunk(answer, Step::End, &json!([{"text": ""}]), Some(reason(answer))));
        frames
    }

    fn whole(&self, answer: &Answer) -> Value {
        if answer.end == End::Filtered {
            // A blocked prompt: there is nothing to choose from.
            let mut document = document(answer, None);
            document.insert("promptFeedback".to_owned(), json!({"blockReason": "SAFETY"}));
            return Value::Object(document);
        }
        let parts: Vec<Value> = answer
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(text_part(text, &text.whole())),
                Part::Call(call) => call_part(answer, call),
            })
            .collect();
        Value::Object(document(answer, Some(candidate(&json!(parts), Some(reason(answer))))))
    }

    fn error_frame(&self, framing: Framing) -> Frame {
        let error = json!({"error": {"code": 500, "message": "An internal error has occurred.", "status": "INTERNAL"}});
        if framing == Framing::Array {
            return Frame::new(Step::Frame, &error);
        }
        // As it comes: JSON over many lines, and no `data:`.
        Frame::raw(&format!("{error:#}\n"))
    }

    fn arguments_begin(&self) -> Option<&'static str> {
        Some(r#""args":{"#)
    }

    fn headers(&self, _number: u64) -> Vec<(&'static str, String)> {
        vec![("server", "scaffolding on HTTPServer2".to_owned()), ("server-timing", "gfet4t7; dur=12".to_owned())]
    }

    fn failure(&self, failure: &Failure, about: &About<'_>) -> (Value, Vec<(&'static str, String)>) {
        let (status, message, details) = words(failure, about);
        let code = if *failure == Failure::WithStatus200 { 400 } else { failure.status() };
        let mut error = json!({"code": code, "message": message, "status": status});
        if let (Value::Object(error), Some(details)) = (&mut error, details) {
            error.insert("details".to_owned(), details);
        }
        (json!({ "error": error }), Vec::new())
    }
}

fn words(failure: &Failure, about: &About<'_>) -> (&'static str, String, Option<Value>) {
    let (status, message) = match failure {
        Failure::BadRequest => {
            ("INVALID_ARGUMENT", "Invalid JSON payload received. Unknown name \"x\": Cannot find field.".to_owned())
        }
        Failure::Refused(reason) => ("INVALID_ARGUMENT", reason.clone()),
        Failure::TooLarge => ("INVALID_ARGUMENT", "Request payload size exceeds the limit".to_owned()),
        Failure::Unprocessable => ("FAILED_PRECONDITION", "The request could not be processed.".to_owned()),
        Failure::Unauthorized => ("UNAUTHENTICATED", "Request had invalid authentication credentials.".to_owned()),
        Failure::WithStatus200 => {
            let kind = "type.googleapis.com/google.rpc.ErrorInfo";
            let detail = json!({"@type": kind, "reason": "API_KEY_INVALID", "domain": "googleapis.com"});
            let message = "API key not valid. Please pass a valid API key.";
            return ("INVALID_ARGUMENT", message.to_owned(), Some(json!([detail])));
        }
        Failure::Forbidden => ("PERMISSION_DENIED", "The caller does not have permission".to_owned()),
        Failure::NotFound => {
            let what = "is not found for API version v1beta, or is not supported for generateContent.";
            ("NOT_FOUND", format!("models/{} {what}", about.model))
        }
        Failure::RateLimit(_) | Failure::Quota => {
            let message = "You exceeded your current quota, please check your plan and billing details.";
            return ("RESOURCE_EXHAUSTED", message.to_owned(), Some(limits(failure, about)));
        }
        Failure::Internal => ("INTERNAL", "An internal error has occurred.".to_owned()),
        Failure::Unavailable | Failure::Overloaded | Failure::BadGateway | Failure::SignIn => {
            ("UNAVAILABLE", "The model is overloaded. Please try again later.".to_owned())
        }
    };
    (status, message, None)
}

/// What was used up, and how long to wait: here and not in headers.
fn limits(failure: &Failure, about: &About<'_>) -> Value {
    let period = if *failure == Failure::Quota { "PerDay" } else { "PerMinute" };
    let violation = json!({
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": format!("GenerateRequests{period}PerProjectPerModel-FreeTier"),
        "quotaDimensions": {"location": "global", "model": about.model},
        "quotaValue": "50",
    });
    let mut details = vec![json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]})];
    if let Some(delay) = failure.retry_delay() {
        details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}));
    }
    Value::Array(details)
}

/// A field in either of the spellings that Google takes: `camelCase`, or the `snake_case` that its own SDK mixes in.
fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).or_else(|| {
        let snake = name.chars().flat_map(|letter| {
            let before = letter.is_ascii_uppercase().then_some('_');
            before.into_iter().chain([letter.to_ascii_lowercase()])
        });
        value.get(snake.collect::<String>())
    })
}

/// Whether a call came back with its signature; bytes are base64 in either alphabet.
fn is_kept(part: &Value) -> bool {
    let signature = field(part, "thoughtSignature").and_then(Value::as_str).unwrap_or_default();
    field(part, "functionCall").is_some() && signature.replace('-', "+").replace('_', "/") == SIGNATURE
}

/// Each turn with calls is followed by as many results.
fn check_results(contents: &[Value]) -> Result<(), String> {
    let count = |content: Option<&Value>, what: &str| {
        let parts = content.map(|content| items(content, "/parts")).unwrap_or_default();
        parts.iter().filter(|part| field(part, what).is_some()).count()
    };
    for (at, content) in contents.iter().enumerate() {
        let calls = count(Some(content), "functionCall");
        if calls > 0 && calls != count(contents.get(at + 1), "functionResponse") {
            let rule = "the number of function response parts is equal to the number of function call parts";
            return Err(format!("Please ensure that {rule} of the function call turn."));
        }
    }
    Ok(())
}

/// The old kind of schema knows a part of the keywords only.
fn check_parameters(schema: &Value) -> Result<(), String> {
    let Value::Object(object) = schema else { return Ok(()) };
    if let Some(name) =
        ["$schema", "additionalProperties", "$ref", "$defs", "const"].iter().find(|name| object.contains_key(**name))
    {
        return Err(format!(
            "Invalid JSON payload received. Unknown name \"{name}\" at 'tools[0].function_declarations[0].parameters': Cannot find field."
        ));
    }
    if let Some(Value::Object(properties)) = object.get("properties") {
        properties.values().try_for_each(check_parameters)?;
    }
    object.get("items").map_or(Ok(()), check_parameters)
}

fn result_text(response: &Value) -> String {
    let text = ["/output", "/result", "/error"].iter().find_map(|pointer| response.pointer(pointer)?.as_str());
    text.map_or_else(|| response.to_string(), str::to_owned)
}

fn reason(answer: &Answer) -> &'static str {
    match answer.end {
        End::Calls if answer.calls().any(|call| call.object().is_none()) => "MALFORMED_FUNCTION_CALL",
        End::Stop | End::Calls => "STOP",
        End::Length => "MAX_TOKENS",
        End::Refused | End::Filtered => "SAFETY",
    }
}

fn document(answer: &Answer, candidate: Option<Value>) -> Map<String, Value> {
    let mut document = Map::new();
    if let Some(candidate) = candidate {
        document.insert("candidates".to_owned(), json!([candidate]));
    }
    if let Some(usage) = &answer.usage {
        document.insert("usageMetadata".to_owned(), written(usage));
    }
    document.insert("modelVersion".to_owned(), json!(answer.model));
    document.insert("responseId".to_owned(), json!(format!("r{}", answer.number)));
    document
}

fn candidate(parts: &Value, reason: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if let (Value::Object(candidate), Some(reason)) = (&mut candidate, reason) {
        candidate.insert("finishReason".to_owned(), json!(reason));
    }
    candidate
}

fn chunk(answer: &Answer, step: Step, parts: &Value, reason: Option<&str>) -> Frame {
    Frame::new(step, &Value::Object(document(answer, Some(candidate(parts, reason)))))
}

fn text_part(text: &Text, piece: &str) -> Value {
    match text.kind {
        Kind::Thought => json!({"text": piece, "thought": true}),
        Kind::Said | Kind::Refusal => json!({"text": piece}),
    }
}

/// None if its arguments are broken: then only the reason to end tells of it.
fn call_part(answer: &Answer, call: &Call) -> Option<Value> {
    let mut function = Map::new();
    if !answer.bent(Quirk::NoIndex) {
        function.insert("id".to_owned(), json!(format!("fc_{}", call.id)));
    }
    function.insert("name".to_owned(), json!(call.name));
    function.insert("args".to_owned(), call.object()?);
    let mut part = json!({ "functionCall": function });
    if let (Value::Object(part), Some(signature)) = (&mut part, answer.signature()) {
        part.insert("thoughtSignature".to_owned(), json!(signature));
    }
    Some(part)
}

fn written(usage: &Usage) -> Value {
    let mut written = json!({
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output.saturating_sub(usage.reasoning),
        "totalTokenCount": usage.input + usage.output,
    });
    if let Value::Object(written) = &mut written {
        if usage.reasoning > 0 {
            written.insert("thoughtsTokenCount".to_owned(), json!(usage.reasoning));
        }
        if usage.read > 0 {
            written.insert("cachedContentTokenCount".to_owned(), json!(usage.read));
        }
    }
    written
}
