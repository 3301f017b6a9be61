//! Reads a grants table from plain data, collecting every fault with its place in the table.
//!
//! YAML documents and `cofferdam.toml` are both converted to the same data before. An unreadable table
//! grants nothing: there is no partial result.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{
    FsGrant, Grants, HostPattern, HttpGrant, Injection, KvGrant, KvScope, Method, Mount, PathPattern, PolicyError, Scheme,
    SecretGrant,
};
use crate::id::ToolName;
use crate::limits::{GRANT_ENTRIES, GRANT_TEXT_BYTES, SUGGESTION_DISTANCE};

/// Headers that belong to the connection; no rule and no guest may set them.
const CONNECTION_HEADERS: [&str; 11] = [
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
];
/// The shortest prefix of a block: a shorter one would open most of the address space with one line.
const SHORTEST_PREFIX: (u8, u8) = (8, 7);

impl Grants {
    /// Reads the table. `null` and an empty table grant nothing.
    ///
    /// # Errors
    /// Every fault found, each with its path from the table's root. Unknown keys are faults.
    pub fn parse(table: &Value) -> Result<Self, Vec<PolicyError>> {
        let mut reader = Reader::default();
        let grants = if table.is_null() { Self::default() } else { grants(&mut reader, table) };
        if reader.errors.is_empty() { Ok(grants) } else { Err(reader.errors) }
    }
}

fn grants(reader: &mut Reader, table: &Value) -> Grants {
    let Some(map) = reader.table("", table, &["http", "fs", "kv", "secrets", "tools"]) else {
        return Grants::default();
    };
    let mut http = Vec::new();
    for (path, entry) in reader.list("http", map.get("http")) {
        http.extend(http_grant(reader, &path, entry).filter(|grant| !http.contains(grant)));
    }
    let mut secrets = BTreeSet::new();
    for (path, entry) in reader.list("secrets", map.get("secrets")) {
        let Some(secret) = secret_grant(reader, &path, entry) else { continue };
        if secrets.iter().any(|other: &SecretGrant| other.name == secret.name) {
            reader.fail::<()>(&path, format!("secret `{}` is named twice", secret.name));
        } else {
            secrets.insert(secret);
        }
    }
    let mut tools = BTreeSet::new();
    for (path, entry) in reader.list("tools", map.get("tools")) {
        tools.extend(tool_name(reader, &path, entry));
    }
    Grants { http, fs: fs_grant(reader, map.get("fs")), kv: kv_grant(reader, map.get("kv")), secrets, tools }
}

fn http_grant(reader: &mut Reader, path: &str, entry: &Value) -> Option<HttpGrant> {
    let keys = ["host", "scheme", "port", "methods", "paths", "inject", "cidrs"];
    let map = reader.table(path, entry, &keys)?;
    let host_path = format!("{path}.host");
    let host = match map.get("host") {
        Some(value) => reader.text(&host_path, value).and_then(|text| reader.host(&host_path, text)),
        None => reader.fail_with(path, "`host` is missing", "name the host: `host: api.example.com`"),
    };
    let scheme = http_scheme(reader, &format!("{path}.scheme"), map.get("scheme"));
    let port = http_port(reader, &format!("{path}.port"), map.get("port"));
    let methods = http_methods(reader, &format!("{path}.methods"), map.get("methods"));
    let mut paths = Vec::new();
    for (path, value) in reader.list(&format!("{path}.paths"), map.get("paths")) {
        let glob = reader.text(&path, value).and_then(|text| reader.glob(&path, text));
        paths.extend(glob.filter(|glob| !paths.contains(glob)));
    }
    let mut inject = Vec::new();
    for (path, value) in reader.list(&format!("{path}.inject"), map.get("inject")) {
        inject.extend(injection(reader, &path, value).filter(|rule| !inject.contains(rule)));
    }
    let mut cidrs = Vec::new();
    for (path, value) in reader.list(&format!("{path}.cidrs"), map.get("cidrs")) {
        let block = reader.text(&path, value).and_then(|text| reader.block(&path, text));
        cidrs.extend(block.filter(|block| !cidrs.contains(block)));
    }
    // The default port and the absent one are one thing, and compare equal.
    let scheme = scheme?;
    let port = port?.filter(|port| *port != scheme.default_port());
    Some(HttpGrant { host: host?, scheme, port, methods: methods?, paths, inject, cidrs })
}

fn http_scheme(reader: &mut Reader, path: &str, value: Option<&Value>) -> Option<Scheme> {
    let Some(value) = value else { return Some(Scheme::Https) };
    let text = reader.text(path, value)?;
    Scheme::parse(text).or_else(|| reader.fail_with(path, format!("unknown scheme `{text}`"), "write `https` or `http`"))
}

fn http_port(reader: &mut Reader, path: &str, value: Option<&Value>) -> Option<Option<u16>> {
    let Some(value) = value else { return Some(None) };
    let port = value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
    match port {
        Some(port) => Some(Some(port)),
        None => reader.fail(path, format!("`{value}` is not a port; expected a number from 1 to 65535")),
    }
}

fn http_methods(reader: &mut Reader, path: &str, value: Option<&Value>) -> Option<BTreeSet<Method>> {
    if value.is_none() {
        return Some(Method::reading());
    }
    let mut methods = BTreeSet::new();
    for (path, value) in reader.list(path, value) {
        if let Some(text) = reader.text(&path, value) {
            methods.extend(reader.method(&path, text));
        }
    }
    if methods.is_empty() {
        return reader.fail_with(path, "no method is named", "leave `methods` out for GET and HEAD");
    }
    Some(methods)
}

fn injection(reader: &mut Reader, path: &str, value: &Value) -> Option<Injection> {
    let map = reader.table(path, value, &["secret", "header", "format"])?;
    let mut field = |key: &str, default: Option<&str>| {
        let place = format!("{path}.{key}");
        match (map.get(key), default) {
            (Some(value), _) => reader.text(&place, value).map(str::to_owned),
            (None, Some(default)) => Some(default.to_owned()),
            (None, None) => reader.fail(path, format!("`{key}` is missing")),
        }
    };
    let (secret, header, format) = (field("secret", None), field("header", None), field("format", Some("{}")));
    reader.injection(path, secret?, &header?, format?)
}

fn fs_grant(reader: &mut Reader, value: Option<&Value>) -> FsGrant {
    let Some(map) = value.and_then(|value| reader.table("fs", value, &["read", "write", "out", "also"])) else {
        return FsGrant::default();
    };
    let mut also: Vec<Mount> = Vec::new();
    for (path, value) in reader.list("fs.also", map.get("also")) {
        let Some(mount) = mount(reader, &path, value) else { continue };
        if also.iter().any(|other| other.at == mount.at) {
            reader.fail::<()>(&path, format!("`{}` is mounted twice", mount.at));
        } else {
            also.push(mount);
        }
    }
    FsGrant {
        read: reader.switch("fs.read", map.get("read")),
        write: reader.switch("fs.write", map.get("write")),
        out: reader.switch("fs.out", map.get("out")),
        also,
    }
}

fn mount(reader: &mut Reader, path: &str, value: &Value) -> Option<Mount> {
    let map = reader.table(path, value, &["from", "at", "read", "write"])?;
    let mut field = |key: &str| match map.get(key) {
        Some(value) => reader.text(&format!("{path}.{key}"), value).map(str::to_owned),
        None => reader.fail(path, format!("`{key}` is missing")),
    };
    let (from, at) = (field("from"), field("at"));
    let read = reader.switch(&format!("{path}.read"), map.get("read"));
    let write = reader.switch(&format!("{path}.write"), map.get("write"));
    reader.mount(path, Mount { from: from?, at: at?, read, write })
}

fn kv_grant(reader: &mut Reader, value: Option<&Value>) -> Option<KvGrant> {
    let map = reader.table("kv", value?, &["scope"])?;
    let Some(scope) = map.get("scope") else { return Some(KvGrant { scope: KvScope::default() }) };
    let text = reader.text("kv.scope", scope)?;
    reader.scope("kv.scope", text).map(|scope| KvGrant { scope })
}

fn secret_grant(reader: &mut Reader, path: &str, value: &Value) -> Option<SecretGrant> {
    let (name, reveal) = if value.is_object() {
        let map = reader.table(path, value, &["name", "reveal"])?;
        let name = match map.get("name") {
            Some(name) => reader.text(&format!("{path}.name"), name),
            None => reader.fail(path, "`name` is missing"),
        };
        (name, reader.switch(&format!("{path}.reveal"), map.get("reveal")))
    } else {
        (reader.text(path, value), false)
    };
    reader.secret_name(path, name?).map(|name| SecretGrant { name, reveal })
}

fn tool_name(reader: &mut Reader, path: &str, value: &Value) -> Option<ToolName> {
    let text = reader.text(path, value)?;
    reader.tool(path, text)
}

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

    pub(super) fn fail_with<T>(&mut self, path: &str, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
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

    fn list<'v>(&mut self, path: &str, value: Option<&'v Value>) -> Vec<(String, &'v Value)> {
        let Some(value) = value else { return Vec::new() };
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

    fn switch(&mut self, path: &str, value: Option<&Value>) -> bool {
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
        HostPattern::parse(text)
            .map_err(|(message, hint)| self.errors.push(PolicyError { path: path.to_owned(), message, hint }))
            .ok()
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
        let block = text.parse::<IpNet>().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()));
        let Some(block) = block else {
            return self.fail_with(path, format!("`{text}` is not a block of addresses"), "write `10.1.0.0/16` or `10.1.2.3`");
        };
        let shortest = if block.addr().is_ipv4() { SHORTEST_PREFIX.0 } else { SHORTEST_PREFIX.1 };
        if block.prefix_len() < shortest {
            return self.fail(path, format!("`{text}` is too wide; the shortest prefix is /{shortest}"));
        }
        Some(block.trunc())
    }

    pub(super) fn injection(&mut self, path: &str, secret: String, header: &str, format: String) -> Option<Injection> {
        let header = header.to_ascii_lowercase();
        if header.is_empty() || !header.bytes().all(is_token_byte) {
            return self.fail(&format!("{path}.header"), format!("`{header}` is not the name of a header"));
        }
        if CONNECTION_HEADERS.contains(&header.as_str()) {
            return self.fail(&format!("{path}.header"), format!("`{header}` belongs to the connection and cannot be set"));
        }
        let format_path = format!("{path}.format");
        if format.matches("{}").count() != 1 {
            return self.fail_with(&format_path, format!("`{format}` must contain `{{}}` once"), "for instance `Bearer {}`");
        }
        if !format.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return self.fail(&format_path, "a header's value is printable ASCII");
        }
        let secret = self.secret_name(&format!("{path}.secret"), &secret)?;
        Some(Injection { secret, header, format })
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
            !part.is_empty() && part != "." && part != ".." && !part.contains('\\') && !part.chars().any(char::is_control)
        };
        let at = format!("{path}.at");
        if !absolute || !parts.all(clean) {
            let message = format!("`{}` is not a plain absolute path", mount.at.escape_debug());
            return self.fail_with(&at, message, "write a path such as `/in`");
        }
        if ["/step", "/out"].iter().any(|own| mount.at == *own || mount.at.starts_with(&format!("{own}/"))) {
            return self.fail_with(&at, format!("`{}` is taken", mount.at), "`/step` and `/out` are given by `read`, `write` and `out`");
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

/// The word that differs least from `given`, when any is near.
pub(super) fn nearest<'w>(given: &str, words: &[&'w str]) -> Option<&'w str> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_of_a_document_is_read() {
        let grants = Grants::parse(&json!({
            "http": [{ "host": "API.github.com.", "port": 443, "methods": ["get", "POST"], "paths": ["/repos/**"],
                       "inject": [{ "secret": "GITHUB", "header": "Authorization", "format": "Bearer {}" }],
                       "cidrs": ["10.1.2.3/8"] }],
            "fs": { "read": true, "write": false, "out": true, "also": [{ "from": "{{ inputs.dir }}", "at": "/in", "read": true }] },
            "kv": {}, "tools": ["read"], "secrets": ["TOKEN", { "name": "KEY", "reveal": true }],
        }))
        .unwrap();
        assert_eq!(grants.http[0].host.to_string(), "api.github.com");
        assert_eq!(grants.http[0].port, None);
        assert_eq!(grants.http[0].methods, BTreeSet::from([Method::Get, Method::Post]));
        assert_eq!(grants.http[0].inject[0].header, "authorization");
        assert_eq!(grants.http[0].cidrs[0].to_string(), "10.0.0.0/8");
        assert_eq!(grants.fs.also[0].from, "{{ inputs.dir }}");
        assert_eq!(grants.kv, Some(KvGrant { scope: KvScope::Run }));
        assert!(!grants.secrets.iter().any(|secret| secret.name == "TOKEN" && secret.reveal));
    }

    #[test]
    fn every_fault_is_reported_with_its_place_and_a_hint() {
        let errors = Grants::parse(&json!({
            "htpp": [], "fs": { "raed": true, "write": "yes", "also": [{ "from": "x", "at": "/a/../b", "read": true }] },
            "http": [
                { "host": "a.com", "methods": ["GET", "POTS"], "paths": ["repos"], "port": 70000 },
                { "hots": "a.com" },
                { "host": "a.com", "inject": [{ "secret": "K", "header": "Host" }, { "secret": "K", "header": "x", "format": "no" }] },
                7,
            ],
            "kv": { "scope": "world" }, "tools": ["A B"], "secrets": ["a b", "K", "K"],
        }))
        .unwrap_err();
        let found: BTreeSet<&str> = errors.iter().map(|error| error.path.as_str()).collect();
        let expected = [
            "htpp", "fs.raed", "fs.write", "fs.also[0].at", "http[0].methods[1]", "http[0].paths[0]", "http[0].port",
            "http[1].hots", "http[1]", "http[2].inject[0].header", "http[2].inject[1].format", "http[3]", "kv.scope",
            "tools[0]", "secrets[0]", "secrets[2]",
        ];
        assert_eq!(found, BTreeSet::from(expected));
        let hint = |path: &str| errors.iter().find(|error| error.path == path).unwrap().hint.clone().unwrap();
        assert_eq!(hint("htpp"), "did you mean `http`?");
        assert_eq!(hint("http[0].methods[1]"), "did you mean `POST`?");
        assert_eq!(hint("http[1].hots"), "did you mean `host`?");
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let long: Vec<String> = (0..=GRANT_ENTRIES).map(|index| format!("t{index}")).collect();
        let errors = Grants::parse(&json!({ "tools": long })).unwrap_err();
        assert_eq!(errors[0].path, "tools");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let keys = "(http|fs|kv|host|methods|paths|inject|also|scope|secrets|tools|x)";
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from), "[ -~é]{0,8}".prop_map(Value::from)];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(keys, inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_data_makes_the_reader_panic(value in any_value()) {
            let _ = Grants::parse(&value);
        }
    }
}
