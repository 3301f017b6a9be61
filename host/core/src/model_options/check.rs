//! What options of models must not say: what is out of range, what belongs to the host, what is a credential.

use super::ModelOptions;
use crate::limits;
use crate::server::is_credential;
use crate::value;
use serde_json::Value;

/// Headers that the host or the connection sets, in lower case.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Members of a body that are the conversation, its bounds and its form, in any protocol; the budget counts on them.
const RESERVED_BODY: &[&str] = &[
    "background",
    "cachedContent",
    "contents",
    "conversation",
    "function_call",
    "functions",
    "input",
    "instructions",
    "max_completion_tokens",
    "max_new_tokens",
    "max_output_tokens",
    "max_tokens",
    "messages",
    "model",
    "models",
    "n",
    "n_predict",
    "num_predict",
    "previous_response_id",
    "prompt",
    "route",
    "stream",
    "stream_options",
    "system",
    "systemInstruction",
    "toolConfig",
    "tool_choice",
    "tools",
];

/// The same one table deeper: Google's and Ollama's settings of an answer.
const RESERVED_INNER: &[(&str, &[&str])] =
    &[("generationConfig", &["candidateCount", "maxOutputTokens"]), ("options", &["num_predict"])];

/// Something that options of models must not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOptionFault {
    /// Where it stands, from the table of options on: `headers`, `Authorization`.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
    /// Whether it is a credential that has no place there.
    pub is_credential: bool,
}

impl ModelOptionFault {
    fn new(path: &[&str], message: String, hint: &'static str) -> Self {
        Self { path: path.iter().map(|part| (*part).to_owned()).collect(), message, hint, is_credential: false }
    }

    /// Its place in words: `headers.Authorization`.
    #[must_use]
    pub fn place(&self) -> String {
        self.path.join(".")
    }
}

impl ModelOptions {
    /// Everything that is wrong with the options, wherever they come from.
    #[must_use]
    pub fn faults(&self) -> Vec<ModelOptionFault> {
        let mut faults = Vec::new();
        self.ranges(&mut faults);
        for (name, value) in &self.headers {
            faults.extend(header_fault(name, value));
        }
        for (provider, body) in &self.provider {
            for name in body.keys().filter(|name| RESERVED_BODY.iter().any(|reserved| is_same(name, reserved))) {
                let message = format!("`{name}` is what the host says of each request");
                let hint = "leave it out; models, tools and lengths have keys of their own";
                faults.push(ModelOptionFault::new(&["provider", provider, name], message, hint));
            }
            for (table, names) in RESERVED_INNER {
                let tables = body.iter().filter(|(own, _)| is_same(own, table));
                let inner = tables.filter_map(|(own, value)| Some((own, value.as_object()?)));
                let inner = inner.flat_map(|(own, members)| members.keys().map(move |name| (own, name)));
                for (own, name) in inner.filter(|(_, name)| names.iter().any(|reserved| is_same(name, reserved))) {
                    let message = format!("`{own}.{name}` is what the host says of each request");
                    let hint = "`maxTokens` of the agent bounds an answer";
                    faults.push(ModelOptionFault::new(&["provider", provider, own, name], message, hint));
                }
            }
        }
        faults.extend(self.excess());
        faults
    }

    /// That there is too much of them. It is to be asked of options that were merged, too.
    #[must_use]
    pub fn excess(&self) -> Option<ModelOptionFault> {
        let whole = Value::Object(self.to_map());
        let is_too_much = value::size(&whole) > limits::MODEL_OPTIONS_BYTES || value::check_depth(&whole).is_err();
        is_too_much.then(|| {
            let message = format!("the options take more than {} bytes, or are too deep", limits::MODEL_OPTIONS_BYTES);
            ModelOptionFault::new(&[], message, "each request carries them: say less")
        })
    }

    fn ranges(&self, faults: &mut Vec<ModelOptionFault>) {
        let mut wrong = |key: &str, wanted: &str| {
            let message = format!("expected {wanted}");
            faults.push(ModelOptionFault::new(&[key], message, "leave it out for what the provider does by itself"));
        };
        if self.seed.is_some_and(|seed| i64::try_from(seed).is_err()) {
            wrong("seed", "a whole number of at most 63 bits");
        }
        if self.top_k == Some(0) {
            wrong("topK", "a whole number of at least 1");
        }
        for (key, penalty) in [("frequencyPenalty", self.frequency_penalty), ("presencePenalty", self.presence_penalty)]
        {
            if penalty.is_some_and(|penalty| !(-2.0..=2.0).contains(&penalty)) {
                wrong(key, "a number from -2 to 2");
            }
        }
        let texts = self.stop.iter().flatten();
        if self.stop.as_ref().is_some_and(|texts| texts.len() > limits::MODEL_STOPS)
            || texts.into_iter().any(String::is_empty)
        {
            wrong("stop", &format!("at most {} texts, none of them empty", limits::MODEL_STOPS));
        }
    }
}

/// Whether two names are one to a provider that takes both `maxTokens` and `max_tokens`.
fn is_same(name: &str, reserved: &str) -> bool {
    let letters =
        |text: &str| text.chars().filter(|letter| *letter != '_').flat_map(char::to_lowercase).collect::<String>();
    letters(name) == letters(reserved)
}

fn header_fault(name: &str, value: &str) -> Option<ModelOptionFault> {
    let lower = name.to_ascii_lowercase();
    let path = ["headers", name];
    if is_credential(name) {
        let fault = ModelOptionFault::new(
            &path,
            format!("the header `{name}` carries a credential"),
            "name the key in the settings of the model",
        );
        return Some(ModelOptionFault { is_credential: true, ..fault });
    }
    if RESERVED_HEADERS.contains(&lower.as_str()) {
        let message = format!("the header `{name}` is the host's own");
        return Some(ModelOptionFault::new(&path, message, "leave it out"));
    }
    let is_name = !name.is_empty() && name.bytes().all(is_name_byte);
    let is_value = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    (!is_name || !is_value).then(|| {
        let message = format!("the header `{name}` cannot be sent");
        let hint = "names have letters, digits and hyphens; values are printable ASCII";
        ModelOptionFault::new(&path, message, hint)
    })
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn places(value: Value) -> Vec<String> {
        let options: ModelOptions = serde_json::from_value(value).unwrap();
        options.faults().iter().map(ModelOptionFault::place).collect()
    }

    #[test]
    fn credentials_and_what_is_the_hosts_are_refused_in_any_case() {
        for name in ["Authorization", "X-Api-Key", "Cookie", "x-goog-api-key", "X-Auth-Token", "Proxy-Authorization"] {
            let options: ModelOptions = serde_json::from_value(json!({ "headers": { name: "x" } })).unwrap();
            let faults = options.faults();
            assert!(faults.len() == 1 && faults[0].is_credential, "{name}: {faults:?}");
        }
        assert_eq!(places(json!({ "headers": { "Content-Type": "x", "Host": "x" } })).len(), 2);
        assert_eq!(places(json!({ "headers": { "x y": "1", "x-a": "a\nb", "x-b": "ü" } })).len(), 3);
        assert_eq!(places(json!({ "headers": { "x-team": "docs", "OpenAI-Beta": "x=1" } })), [""; 0]);
    }

    #[test]
    fn a_body_cannot_say_what_budgets_and_streams_rest_on() {
        let inner = json!({ "g": { "generationConfig": { "maxOutputTokens": 9, "seed": 1 }, "options": { "num_predict": 1, "num_ctx": 1 }, "generation_config": { "max_output_tokens": 1 } } });
        assert_eq!(
            places(json!({ "provider": inner })),
            [
                "provider.g.generationConfig.maxOutputTokens",
                "provider.g.generation_config.max_output_tokens",
                "provider.g.options.num_predict",
            ]
        );
        let body = json!({ "p": { "max_tokens": 1, "stream": false, "n": 3, "service_tier": "flex", "top_k": 4 } });
        assert_eq!(places(json!({ "provider": body })), ["provider.p.max_tokens", "provider.p.stream", "provider.p.n"]);
        for name in [
            "model",
            "models",
            "route",
            "messages",
            "prompt",
            "tools",
            "tool_choice",
            "functions",
            "input",
            "instructions",
            "function_call",
            "max_completion_tokens",
            "max_output_tokens",
            "max_new_tokens",
            "n_predict",
            "num_predict",
            "stream_options",
        ] {
            let options: ModelOptions = serde_json::from_value(json!({ "provider": { "p": { name: 1 } } })).unwrap();
            let [fault] = &options.faults()[..] else { panic!("{name} passes") };
            assert_eq!(fault.place(), format!("provider.p.{name}"));
            assert_eq!(fault.message, format!("`{name}` is what the host says of each request"));
        }
    }

    #[test]
    fn values_have_ranges_and_a_bound() {
        let value = json!({ "seed": u64::MAX, "topK": 0, "frequencyPenalty": 3, "presencePenalty": -3, "stop": [""] });
        assert_eq!(places(value), ["seed", "topK", "frequencyPenalty", "presencePenalty", "stop"]);
        let many: Vec<String> = (0..=limits::MODEL_STOPS).map(|index| index.to_string()).collect();
        assert_eq!(places(json!({ "stop": many })), ["stop"]);
        let long = "x".repeat(limits::MODEL_OPTIONS_BYTES);
        assert_eq!(places(json!({ "provider": { "p": { "a": long } } })), [""]);
    }
}
