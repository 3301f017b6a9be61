//! Who serves models: the providers we know by name, and what a request to one needs.
//!
//! It must not read the environment: keys come in as values. Keys never stand in messages or debug output.

use crate::protocol::Api;
use cofferdam_core::server::is_credential;
use cofferdam_egress::Timeouts;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// A provider that is ready to be asked.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name, the part before the slash of `provider/model`.
    pub name: Arc<str>,
    /// What it speaks.
    pub api: Api,
    /// Its base URL, a slash at the end does not matter. With chat completions and responses `/v1` is part of it.
    pub base_url: String,
    /// The version of the protocol, where it has some: `2023-06-01`, `v1beta`.
    pub api_version: Option<String>,
    /// The key.
    pub key: Option<SecretString>,
    /// Where the key goes.
    pub auth: Auth,
    /// Where the user sets the key, for hints.
    pub key_variable: Option<String>,
    /// The header `OpenAI-Organization`.
    pub organization: Option<String>,
    /// The header `OpenAI-Project`.
    pub project: Option<String>,
    /// Further headers; they may hold credentials.
    pub headers: Vec<(String, SecretString)>,
    /// How it wants the bound of an answer.
    pub token_field: TokenField,
    /// How it gives the tokens that were used.
    pub usage: UsageReport,
    /// What it reads beyond OpenAI's own fields, and under another name.
    pub dialect: Dialect,
    /// Whether it guarantees that an answer fits a schema.
    pub guarantees_schemas: bool,
    /// How long it may take.
    pub timeouts: Timeouts,
}

impl Provider {
    /// A provider that speaks OpenAI's chat completions, as compatible servers do.
    pub fn new(name: impl Into<Arc<str>>, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            api: Api::default(),
            base_url: base_url.into(),
            api_version: None,
            key: None,
            auth: Auth::Bearer,
            key_variable: None,
            organization: None,
            project: None,
            headers: Vec::new(),
            token_field: TokenField::MaxTokens,
            usage: UsageReport::OnRequest,
            dialect: Dialect::default(),
            guarantees_schemas: false,
            timeouts: Timeouts::default(),
        }
    }

    /// Has it speak another protocol, and expect the key where that protocol has it.
    pub fn speak(&mut self, api: Api) {
        if self.api == api {
            return;
        }
        self.api = api;
        self.auth = match api {
            Api::Chat | Api::Responses | Api::Ollama => Auth::Bearer,
            Api::Anthropic => Auth::Header("x-api-key"),
            Api::Gemini => Auth::Header("x-goog-api-key"),
        };
    }

    /// The same with a key; white space around it, as files leave it, is not part of it.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.trim()).filter(|key| !key.is_empty()).map(SecretString::from);
        self
    }

    /// The URL of an endpoint, joined as text: resolving it as a URL would drop the `/v1`.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}/{path}", self.base_url.trim_end_matches('/'))
    }

    /// A text of the provider without the key and the values of headers, which some of them repeat.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        self.secrets().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// Its key and the values of headers that carry credentials, as far as they are long enough for that: what must be shown
    /// nowhere. A key for the sake of the form, `none` say, is none, and taking it out of an answer would damage that.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let headers = self.headers.iter().filter(|(name, _)| is_credential(name)).map(|(_, value)| value);
        let all = self.key.iter().chain(headers);
        all.map(ExposeSecret::expose_secret).filter(|secret| secret.len() >= 8)
    }
}

/// A name as one segment of a path: what would end the segment, or leave it, is encoded.
pub(crate) fn segment(name: &str) -> String {
    // A URL resolves dots, encoded ones too; a name of nothing else names nothing.
    if !name.is_empty() && name.bytes().all(|byte| byte == b'.') {
        return name.replace('.', "%252E");
    }
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

/// How a request shows its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// A header of this name, in lower case.
    Header(&'static str),
}

/// The name of the field that bounds an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenField {
    /// `max_completion_tokens`: OpenAI itself, whose newer models refuse the old name.
    MaxCompletionTokens,
    /// `max_tokens`: what compatible servers read.
    MaxTokens,
}

/// How a provider reports usage in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageReport {
    /// When `stream_options.include_usage` asks for it.
    OnRequest,
    /// Always; it refuses `stream_options`.
    Always,
}

/// What a provider reads of the options of a request, beside what all of them read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The field of the seed.
    pub seed: &'static str,
    /// Whether it reads `top_k`.
    pub top_k: bool,
    /// Whether it reads a table `reasoning`, beside the word `reasoning_effort`.
    pub reasoning_table: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { seed: "seed", top_k: false, reasoning_table: false }
    }
}

impl Dialect {
    fn of(provider: &str) -> Self {
        let own = Self::default();
        match provider {
            "mistral" => Self { seed: "random_seed", ..own },
            "openrouter" => Self { top_k: true, reasoning_table: true, ..own },
            "lmstudio" | "llamacpp" | "vllm" => Self { top_k: true, ..own },
            _ => own,
        }
    }
}

/// Whether a provider needs a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It refuses requests without one.
    Required,
    /// It runs on the user's own machine and needs none.
    Optional,
}

/// A provider that is known by name.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// What it speaks, unless the settings say otherwise.
    pub api: Api,
    /// Where its key goes.
    pub auth: Auth,
    /// Its base URL unless the settings or its variable say another; empty where there is none that all users share.
    pub base_url: &'static str,
    /// The variable of its base URL.
    pub url_variable: Option<&'static str>,
    /// The variable of its key.
    pub key_variable: &'static str,
    /// Where a key is looked for when that is not set.
    pub other_key_variables: &'static [&'static str],
    /// Whether it needs the key.
    pub key: Key,
    /// A model of it, for hints.
    pub example: &'static str,
}

/// The providers that are known by name, in the order in which hints name them.
pub const KNOWN: &[Known] = &[
    Known {
        url_variable: Some("OPENAI_BASE_URL"),
        ..hosted("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-5")
    },
    Known { api: Api::Responses, ..hosted("openai-responses", "https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-5") },
    Known {
        api: Api::Anthropic,
        auth: Auth::Header("x-api-key"),
        other_key_variables: &["ANTHROPIC_AUTH_TOKEN"],
        url_variable: Some("ANTHROPIC_BASE_URL"),
        ..hosted("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "claude-sonnet-4-5")
    },
    Known {
        api: Api::Gemini,
        auth: Auth::Header("x-goog-api-key"),
        other_key_variables: &["GOOGLE_API_KEY"],
        url_variable: Some("GOOGLE_GEMINI_BASE_URL"),
        ..hosted("gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY", "gemini-2.5-flash")
    },
    Known {
        auth: Auth::Header("api-key"),
        url_variable: Some("AZURE_OPENAI_ENDPOINT"),
        ..hosted("azure", "", "AZURE_OPENAI_API_KEY", "my-deployment")
    },
    hosted("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "openai/gpt-5"),
    hosted("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", "llama-3.3-70b-versatile"),
    hosted("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", "mistral-large-latest"),
    hosted("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "deepseek-chat"),
    hosted("xai", "https://api.x.ai/v1", "XAI_API_KEY", "grok-4"),
    Known {
        api: Api::Ollama,
        url_variable: Some("OLLAMA_HOST"),
        ..local("ollama", "http://127.0.0.1:11434", "OLLAMA_API_KEY", "llama3.2")
    },
    local("lmstudio", "http://127.0.0.1:1234/v1", "LMSTUDIO_API_KEY", "qwen3-8b"),
    local("llamacpp", "http://127.0.0.1:8080/v1", "LLAMACPP_API_KEY", "default"),
    local("vllm", "http://127.0.0.1:8000/v1", "VLLM_API_KEY", "Qwen/Qwen3-8B"),
];

/// Providers that guarantee answers of a schema, by their own documentation. One that refuses a schema for some of its models
/// is asked with tools from then on.
const GUARANTEEING: &[&str] = &[
    "openai",
    "openai-responses",
    "anthropic",
    "gemini",
    "azure",
    "mistral",
    "xai",
    "ollama",
    "lmstudio",
    "llamacpp",
    "vllm",
];

/// Providers whose way of authentication is not built in.
pub const NOT_BUILT: &[&str] = &["bedrock", "vertex"];

const fn hosted(
    name: &'static str,
    base_url: &'static str,
    key_variable: &'static str,
    example: &'static str,
) -> Known {
    let (api, auth) = (Api::Chat, Auth::Bearer);
    Known {
        name,
        api,
        auth,
        base_url,
        url_variable: None,
        key_variable,
        other_key_variables: &[],
        key: Key::Required,
        example,
    }
}

const fn local(name: &'static str, base_url: &'static str, key_variable: &'static str, example: &'static str) -> Known {
    Known { key: Key::Optional, ..hosted(name, base_url, key_variable, example) }
}

impl Known {
    /// The known provider of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.name == name)
    }

    /// A name of a model that would work once the key is set, `openai/gpt-5` for instance.
    #[must_use]
    pub fn example_model(&self) -> String {
        format!("{}/{}", self.name, self.example)
    }

    /// The provider at its usual place.
    #[must_use]
    pub fn provider(&self) -> Provider {
        let mut provider = Provider::new(self.name, self.base_url);
        provider.key_variable = Some(self.key_variable.to_owned());
        (provider.api, provider.auth) = (self.api, self.auth);
        provider.dialect = Dialect::of(self.name);
        provider.guarantees_schemas = GUARANTEEING.contains(&self.name);
        if matches!(self.name, "openai" | "azure") {
            provider.token_field = TokenField::MaxCompletionTokens;
        }
        if self.name == "mistral" {
            provider.usage = UsageReport::Always;
        }
        provider
    }
}

/// The base URL that `OLLAMA_HOST` stands for: it may lack scheme and port, and names the address to listen on, so that
/// `0.0.0.0` means this machine.
#[must_use]
pub fn ollama_base_url(host: &str) -> String {
    let host = host.trim().trim_end_matches('/');
    let (scheme, rest) = host.split_once("://").unwrap_or(("http", host));
    let (authority, path) =
        rest.split_once('/').map_or((rest, String::new()), |(head, tail)| (head, format!("/{tail}")));
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ if scheme == "https" => (authority, "443"),
        _ => (authority, "11434"),
    };
    let name = if matches!(name, "" | "0.0.0.0" | "[::]") { "127.0.0.1" } else { name };
    let path = path.strip_suffix("/v1").unwrap_or(&path);
    format!("{scheme}://{name}:{port}{path}")
}

/// The base URL of an Azure resource: its address alone leads to what speaks OpenAI's protocols.
#[must_use]
pub fn azure_base_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim().trim_end_matches('/');
    let endpoint = endpoint.strip_suffix("/openai").unwrap_or(endpoint);
    let is_bare = endpoint.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
    if is_bare { format!("{endpoint}/openai/v1") } else { endpoint.to_owned() }
}

/// A base URL as it may be shown: without user name and password, also where it is not well-formed.
#[must_use]
pub fn without_user(base_url: &str) -> String {
    match base_url.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_scheme { format!("{scheme}://{host}") } else { host.to_owned() }
        }
        None => base_url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_keep_the_path_of_the_base_url() {
        for base in ["https://example.test/api/v1", "https://example.test/api/v1/"] {
            assert_eq!(
                Provider::new("x", base).endpoint("chat/completions"),
                "https://example.test/api/v1/chat/completions"
            );
        }
    }

    #[test]
    fn a_key_is_neither_shown_nor_repeated() {
        let provider = Provider::new("x", "http://x/v1").with_key(" sk-secret\n");
        assert!(!format!("{provider:?}").contains("sk-secret"));
        assert_eq!(provider.scrub("bad key sk-secret!"), "bad key ***!");
        assert!(Provider::new("x", "http://x/v1").with_key(" ").key.is_none());
    }

    #[test]
    fn a_base_url_is_shown_without_its_user() {
        for (url, shown) in [
            ("https://me:pass@host.test/v1", "https://host.test/v1"),
            ("me:pass@host.test", "host.test"),
            ("http:/me:pass@host.test", "host.test"),
            ("http://me:pa/ss@x@host.test/v1", "http://host.test/v1"),
            ("http://host.test/v1", "http://host.test/v1"),
        ] {
            assert_eq!(without_user(url), shown, "{url}");
        }
    }

    #[test]
    fn a_name_stays_in_its_segment() {
        for (name, written) in [
            ("gpt-5.1_x~", "gpt-5.1_x~"),
            ("a/../b?c#d e", "a%2F..%2Fb%3Fc%23d%20e"),
            ("..", "%252E%252E"),
            ("x:countTokens", "x%3AcountTokens"),
            ("ä", "%C3%A4"),
        ] {
            assert_eq!(segment(name), written);
        }
    }

    #[test]
    fn the_address_of_a_resource_of_azure_is_enough() {
        for (endpoint, url) in [
            ("https://me.openai.azure.com/", "https://me.openai.azure.com/openai/v1"),
            ("https://me.openai.azure.com/openai/v1", "https://me.openai.azure.com/openai/v1"),
            ("https://me.openai.azure.com/openai/", "https://me.openai.azure.com/openai/v1"),
            ("https://proxy.test/azure", "https://proxy.test/azure"),
            ("", ""),
        ] {
            assert_eq!(azure_base_url(endpoint), url);
        }
    }

    #[test]
    fn the_host_of_ollama_becomes_a_base_url() {
        for (host, url) in [
            ("127.0.0.1:11434", "http://127.0.0.1:11434"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            (":8080", "http://127.0.0.1:8080"),
            ("http://box:11434/", "http://box:11434"),
            ("https://ollama.example.test", "https://ollama.example.test:443"),
            ("[::1]", "http://[::1]:11434"),
            ("http://box/ollama/v1", "http://box:11434/ollama"),
        ] {
            assert_eq!(ollama_base_url(host), url, "{host}");
        }
    }
}
