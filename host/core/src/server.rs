//! A server of the Model Context Protocol, as a document or the project's settings name it.
//!
//! It must not know how one is started or reached, nor whether the user allows it.

use crate::limits;
use crate::policy::PolicyError;
use crate::text::clean_to;
use std::collections::BTreeMap;

/// Endings of names of headers that carry credentials, in lower case.
const CREDENTIALS: &[&str] = &["authorization", "api-key", "apikey", "-token", "-secret", "-password", "cookie"];

/// Headers that are the protocol's own, in lower case.
const RESERVED: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
];

/// Characters of an argument or address that are shown.
const SHOWN_CHARS: usize = 200;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerReference {
    /// A program that is started and spoken to over its standard input and output.
    Command {
        /// The program: a name that is looked for in `PATH`, or a path relative to the document.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// All of its environment besides `PATH` and `HOME`. `${NAME}` stands for a variable of ours.
        env: BTreeMap<String, String>,
    },
    /// A server that runs already, spoken to over HTTP.
    Address {
        /// Its address, `https://HOST/PATH`.
        url: String,
        /// Headers of each request. `${NAME}` stands for a variable of ours.
        headers: BTreeMap<String, String>,
    },
    /// The one that the project's settings call by the same name.
    Project,
}

impl ServerReference {
    /// What is wrong with it; paths are `args[1]`, `headers.x-api-key`.
    #[must_use]
    pub fn faults(&self) -> Vec<PolicyError> {
        match self {
            Self::Command { command, args, env } => command_faults(command, args, env),
            Self::Address { url, headers } => address_faults(url, headers),
            Self::Project => Vec::new(),
        }
    }

    /// What allowing it means, one line each; never a value of a variable or a header.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        match self {
            Self::Command { env, .. } => {
                let mut lines = vec![format!("starts `{}`, which may do what you may do", self.place())];
                if !env.is_empty() {
                    lines.push(format!("gives it the variables {}", names(env)));
                }
                lines.extend(read(env.values()));
                lines
            }
            Self::Address { headers, .. } => {
                let mut lines = vec![format!("sends what its tools are called with to `{}`", self.place())];
                if !headers.is_empty() {
                    lines.push(format!("sends the headers {}", names(headers)));
                }
                lines.extend(read(headers.values()));
                lines
            }
            Self::Project => vec!["uses the server of that name in `cofferdam.toml`".to_owned()],
        }
    }

    /// The command line or the address, as it is shown.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Command { command, args, .. } => {
                let words = std::iter::once(command).chain(args).map(|word| word_of(word));
                words.collect::<Vec<_>>().join(" ")
            }
            Self::Address { url, .. } => clean_to(url, SHOWN_CHARS),
            Self::Project => "cofferdam.toml".to_owned(),
        }
    }
}

/// Whether a header of this name carries a credential, for servers and for models.
#[must_use]
pub fn is_credential(header: &str) -> bool {
    let lower = header.to_ascii_lowercase();
    CREDENTIALS.iter().any(|ending| lower.ends_with(ending))
}

/// The variables that a text refers to as `${NAME}`, and the literal text between them.
///
/// # Errors
/// The place of a `${` that is not closed or has no name.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, usize> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let at = text.len() - rest.len() + before.len();
        let (name, after) = after.split_once('}').ok_or(at)?;
        let is_name = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            return Err(at);
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Variable(name));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// A part of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// A variable of the environment, by name.
    Variable(&'a str),
}

fn command_faults(command: &str, args: &[String], env: &BTreeMap<String, String>) -> Vec<PolicyError> {
    let mut faults = Vec::new();
    if command.trim().is_empty() || command.contains('\0') {
        faults.push(PolicyError::new("command", "a program has a name"));
    }
    let too_many = args.len() > limits::MCP_ARGUMENTS || env.len() > limits::MCP_ARGUMENTS;
    if too_many {
        faults.push(PolicyError::new("args", format!("more than {} arguments or variables", limits::MCP_ARGUMENTS)));
    }
    for (index, argument) in args.iter().enumerate() {
        if argument.contains('\0') {
            faults.push(PolicyError::new(&format!("args[{index}]"), "an argument has no zero bytes"));
        }
    }
    for (name, value) in env {
        let path = format!("env.{name}");
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            faults.push(PolicyError::new(&path, format!("`{name}` is not a variable of the environment")));
        }
        faults.extend(value_fault(&path, value));
    }
    faults
}

fn address_faults(url: &str, headers: &BTreeMap<String, String>) -> Vec<PolicyError> {
    let mut faults = Vec::new();
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    if host.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        let fault = PolicyError::new("url", format!("`{}` is not the address of a server", clean_to(url, SHOWN_CHARS)));
        faults.push(fault.with_hint("write `https://HOST/PATH`"));
    } else if host.is_some_and(|rest| rest.split('/').next().unwrap_or_default().contains('@')) {
        let fault = PolicyError::new("url", "an address contains no user or password");
        faults.push(fault.with_hint("write a header, `Authorization: Bearer ${TOKEN}`"));
    }
    if headers.len() > limits::MCP_ARGUMENTS {
        faults.push(PolicyError::new("headers", format!("more than {} headers", limits::MCP_ARGUMENTS)));
    }
    for (name, value) in headers {
        let path = format!("headers.{name}");
        let lower = name.to_ascii_lowercase();
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_name || RESERVED.contains(&lower.as_str()) {
            faults.push(PolicyError::new(&path, format!("`{name}` is not a header that can be set")));
        }
        if value.contains(['\r', '\n', '\0']) {
            faults.push(PolicyError::new(&path, "a header is one line"));
        }
        faults.extend(value_fault(&path, value));
        let has_variable =
            pieces(value).is_ok_and(|found| found.iter().any(|piece| matches!(piece, Piece::Variable(_))));
        if is_credential(name) && !has_variable {
            let fault = PolicyError::new(&path, format!("the header `{name}` carries a credential"));
            faults.push(fault.with_hint("name a variable of the environment: `${TOKEN}`"));
        }
    }
    faults
}

fn value_fault(path: &str, value: &str) -> Option<PolicyError> {
    if value.len() > limits::MCP_VALUE_BYTES {
        return Some(PolicyError::new(path, format!("more than {} bytes", limits::MCP_VALUE_BYTES)));
    }
    let at = pieces(value).err()?;
    let fault = PolicyError::new(path, format!("the `${{` at byte {at} names no variable"));
    Some(fault.with_hint("write `${NAME}`"))
}

fn names(table: &BTreeMap<String, String>) -> String {
    table.keys().map(|name| format!("`{}`", clean_to(name, SHOWN_CHARS))).collect::<Vec<_>>().join(", ")
}

/// Which variables of ours the values contain.
fn read<'v>(values: impl Iterator<Item = &'v String>) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in values.filter_map(|value| pieces(value).ok()).flatten() {
        if let Piece::Variable(name) = piece {
            found.push(format!("`{name}`"));
        }
    }
    found.sort_unstable();
    found.dedup();
    (!found.is_empty()).then(|| format!("reads {} from your environment", found.join(", ")))
}

/// A word of a command line, quoted when it needs it.
fn word_of(word: &str) -> String {
    let shown = clean_to(word, SHOWN_CHARS);
    let plain = |letter: char| letter.is_alphanumeric() || "-_./:=@+,%".contains(letter);
    if !shown.is_empty() && shown.chars().all(plain) { shown } else { format!("{shown:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn variables_stand_between_texts() {
        let found = pieces("Bearer ${TOKEN}!").unwrap();
        assert_eq!(found, [Piece::Text("Bearer "), Piece::Variable("TOKEN"), Piece::Text("!")]);
        for bad in ["${", "x${}", "${a b}", "${1}"] {
            assert!(pieces(bad).is_err(), "{bad}");
        }
        assert_eq!(pieces("$5 {x}").unwrap(), [Piece::Text("$5 {x}")]);
    }

    #[test]
    fn a_credential_has_no_place_in_a_header() {
        let address = |headers: &[(&str, &str)]| ServerReference::Address {
            url: "https://mcp.example/x".to_owned(),
            headers: table(headers),
        };
        assert!(address(&[("Authorization", "Bearer ${TOKEN}"), ("X-Team", "blue")]).faults().is_empty());
        let faults = address(&[("Authorization", "Bearer abc")]).faults();
        assert_eq!(faults[0].path, "headers.Authorization");
        for name in ["x-api-key", "X-Goog-Api-Key", "Cookie", "X-Auth-Token", "Proxy-Authorization", "x-client-secret"]
        {
            let faults = address(&[(name, "abc")]).faults();
            assert!(faults.len() == 1 && faults[0].message.ends_with("carries a credential"), "{name}: {faults:?}");
            assert!(address(&[(name, "${TOKEN}")]).faults().is_empty(), "{name}");
        }
        for name in ["Host", "Mcp-Session-Id", "a b"] {
            assert_eq!(address(&[(name, "x")]).faults().len(), 1, "{name}");
        }
        let forged = ServerReference::Address { url: "https://u:p@x/".to_owned(), headers: BTreeMap::new() };
        assert_eq!(forged.faults().len(), 1);
    }

    #[test]
    fn what_it_means_is_said_without_values() {
        let command = ServerReference::Command {
            command: "serve".to_owned(),
            args: vec!["--root".to_owned(), "a b".to_owned()],
            env: table(&[("TOKEN", "${GITHUB_TOKEN}"), ("MODE", "quiet-secret")]),
        };
        let text = command.explain().join("\n");
        assert!(text.contains("`serve --root \"a b\"`"), "{text}");
        assert!(text.contains("`MODE`, `TOKEN`") && text.contains("`GITHUB_TOKEN`"), "{text}");
        assert!(!text.contains("quiet-secret"), "{text}");
    }
}
