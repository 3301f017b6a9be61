//! The leaves of a grants table, shared by tables and flags: each reads one text and says what is wrong with it.
//!
//! It must not know where the text came from beyond its path.

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{HostPattern, Injection, KvScope, Method, Mount, PathPattern, PolicyError, RequestPart, Swap};
use crate::id::ToolName;
use crate::limits::{GRANT_ENTRIES, GRANT_TEXT_BYTES, SUGGESTION_DISTANCE};

/// Headers that belong to the connection; no rule and no guest may set them.
const CONNECTION_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// The shortest prefix of a block: a shorter one would open most of the address space with one line.
const SHORTEST_PREFIX: (u8, u8) = (8, 7);

/// Collects faults; every method that finds one answers `None` and lets its caller go on.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<PolicyError>,
}

impl Reader {
    pub(super) fn fail<T>(&mut self, path: &str, message: impl Into<String>) -> Option<T> {
        self.errors.push(PolicyError::new(path, message));
        None
    }

    pub(super) fn fail_with<T>(
        &mut self,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.errors.push(PolicyError::new(path, message).with_hint(hint));
        None
    }

    pub(super) fn table<'v>(&mut self, path: &str, value: &'v Value, keys: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(map) = value.as_object() else {
            let hint = format!("its keys are {}", quoted(keys));
            return self.fail_with(path, format!("expected a table, found {}", describe(value)), hint);
        };
        for key in map.keys().filter(|key| !keys.contains(&key.as_str())) {
            let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let hint = nearest(key, keys)
                .map_or_else(|| format!("its keys are {}", quoted(keys)), |near| format!("did you mean `{near}`?"));
            self.fail_with::<()>(&place, format!("unknown key `{key}`"), hint);
        }
        Some(map)
    }

    pub(super) fn list<'v>(&mut self, path: &str, value: Option<&'v Value>) -> Vec<(String, &'v Value)> {
        let Some(value) = value else {
            return Vec::new();
        };
        match value.as_array() {
            Some(items) if items.len() <= GRANT_ENTRIES => {
                items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
            }
            Some(items) => {
                self.fail::<()>(path, format!("{} entries, at most {GRANT_ENTRIES} are allowed", items.len()));
                Vec::new()
            }
            None => {
                self.fail::<()>(path, format!("expected a list, found {}", describe(value)));
                Vec::new()
            }
        }
    }

    pub(super) fn text<'v>(&mut self, path: &str, value: &'v Value) -> Option<&'v str> {
        match value.as_str() {
            Some(text) if text.len() <= GRANT_TEXT_BYTES => Some(text),
            Some(text) => self.fail(path, format!("{} bytes, at most {GRANT_TEXT_BYTES} are allowed", text.len())),
            None => self.fail(path, format!("expected text, found {}", describe(value))),
        }
    }

    pub(super) fn switch(&mut self, path: &str, value: Option<&Value>) -> bool {
        match value {
            None => false,
            Some(Value::Bool(on)) => *on,
            Some(other) => {
                self.fail::<()>(path, format!("expected `true` or `false`, found {}", describe(other)));
                false
            }
        }
    }

    pub(super) fn host(&mut self, path: &str, text: &str) -> Option<HostPattern> {
        match HostPattern::parse(text) {
            Ok(host) => Some(host),
            Err((message, hint)) => {
                self.errors.push(PolicyError { path: path.to_owned(), message, hint });
                None
            }
        }
    }

    pub(super) fn method(&mut self, path: &str, text: &str) -> Option<Method> {
        Method::parse(text).or_else(|| {
            let words: Vec<&str> = Method::ALL.into_iter().map(Method::as_str).collect();
            let hint = nearest(&text.to_ascii_uppercase(), &words)
                .map_or_else(|| format!("it is one of {}", quoted(&words)), |near| format!("did you mean `{near}`?"));
            self.fail_with(path, format!("unknown method `{text}`"), hint)
        })
    }

    pub(super) fn glob(&mut self, path: &str, text: &str) -> Option<PathPattern> {
        PathPattern::parse(text)
            .map_err(|fault| {
                let error = PolicyError::new(path, format!("`{text}` is not a path: {fault}"));
                self.errors.push(error.with_hint("write a path such as `/repos/**`, without query and host"));
            })
            .ok()
    }

    pub(super) fn block(&mut self, path: &str, text: &str) -> Option<IpNet> {
        let block =
            text.parse::<IpNet>().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()));
        let Some(block) = block else {
            return self.fail_with(
                path,
                format!("`{text}` is not a block of addresses"),
                "write `10.1.0.0/16` or `10.1.2.3`",
            );
        };
        let shortest = if block.addr().is_ipv4() { SHORTEST_PREFIX.0 } else { SHORTEST_PREFIX.1 };
        if block.prefix_len() < shortest {
            return self.fail(path, format!("`{text}` is too wide; the shortest prefix is /{shortest}"));
        }
        Some(block.trunc())
    }

    pub(super) fn injection(&mut self, path: &str, secret: &str, header: &str, format: String) -> Option<Injection> {
        let header = header.to_ascii_lowercase();
        if header.is_empty() || !header.bytes().all(is_token_byte) {
            return self.fail(&format!("{path}.header"), format!("`{header}` is not the name of a header"));
        }
        if CONNECTION_HEADERS.contains(&header.as_str()) {
            return self
                .fail(&format!("{path}.header"), format!("`{header}` belongs to the connection and cannot be set"));
        }
        let format_path = format!("{path}.format");
        if format.matches("{}").count() != 1 {
            return self.fail_with(
                &format_path,
                format!("`{format}` must contain `{{}}` once"),
                "for instance `Bearer {}`",
            );
        }
        if !format.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return self.fail(&format_path, "a header's value is printable ASCII");
        }
        let secret = self.secret_name(&format!("{path}.secret"), secret)?;
        Some(Injection { secret, header, format })
    }

    pub(super) fn swapping(&mut self, path: &str, secret: &str, part: &str) -> Option<Swap> {
        let Some(part) = RequestPart::parse(part) else {
            let message = format!("`{part}` is not a part of a request");
            return self.fail_with(&format!("{path}.in"), message, "it is one of `header`, `query`, `body`");
        };
        let secret = self.secret_name(&format!("{path}.secret"), secret)?;
        Some(Swap { secret, part })
    }

    pub(super) fn secret_name(&mut self, path: &str, text: &str) -> Option<String> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !text.is_empty() && text.bytes().all(good) {
            return Some(text.to_owned());
        }
        self.fail_with(path, format!("`{text}` is not the name of a secret"), "use letters, digits, `_`, `-` and `.`")
    }

    pub(super) fn scope(&mut self, path: &str, text: &str) -> Option<KvScope> {
        let scopes = [KvScope::Step, KvScope::Run, KvScope::Project];
        scopes.into_iter().find(|scope| scope.as_str() == text).or_else(|| {
            self.fail_with(path, format!("unknown scope `{text}`"), "it is one of `step`, `run`, `project`")
        })
    }

    pub(super) fn tool(&mut self, path: &str, text: &str) -> Option<ToolName> {
        ToolName::parse(text).map_err(|error| self.errors.push(PolicyError::new(path, error.to_string()))).ok()
    }

    pub(super) fn mount(&mut self, path: &str, mount: Mount) -> Option<Mount> {
        if mount.from.trim().is_empty() || mount.from.chars().any(char::is_control) {
            return self.fail(&format!("{path}.from"), format!("`{}` is not a directory", mount.from.escape_debug()));
        }
        let mut parts = mount.at.split('/');
        let absolute = parts.next() == Some("");
        let clean = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && !part.contains('\\')
                && !part.chars().any(char::is_control)
        };
        let at = format!("{path}.at");
        if !absolute || !parts.all(clean) {
            let message = format!("`{}` is not a plain absolute path", mount.at.escape_debug());
            return self.fail_with(&at, message, "write a path such as `/in`");
        }
        if ["/step", "/out"].iter().any(|own| mount.at == *own || mount.at.starts_with(&format!("{own}/"))) {
            return self.fail_with(
                &at,
                format!("`{}` is taken", mount.at),
                "`/step` and `/out` are given by `read`, `write` and `out`",
            );
        }
        if !mount.read && !mount.write {
            return self.fail_with(path, "neither `read` nor `write` is asked for", "add `read: true`");
        }
        Some(mount)
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(on) => format!("`{on}`"),
        Value::Number(number) => format!("the number `{number}`"),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The word that `given` is the beginning of, or that differs least from it, when any is near.
pub(super) fn nearest<'w>(given: &str, words: &[&'w str]) -> Option<&'w str> {
    let begins = |word: &&&str| given.len() >= 2 && word.starts_with(given);
    if let Some(word) = words.iter().find(begins) {
        return Some(word);
    }
    let (distance, word) = words.iter().map(|word| (edits(given, word), *word)).min()?;
    (distance <= SUGGESTION_DISTANCE && distance < word.chars().count()).then_some(word)
}

/// Levenshtein distance, one row at a time.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.chars().take(GRANT_TEXT_BYTES).enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (b, slot) in right.iter().zip(row.iter_mut().skip(1)) {
            let cost = diagonal + usize::from(a != *b);
            diagonal = *slot;
            *slot = cost.min(diagonal + 1).min(before + 1);
            before = *slot;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
