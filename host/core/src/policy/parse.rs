//! Reads a grants table from plain data, collecting every fault with its place in the table.
//!
//! YAML documents and `cofferdam.toml` are both converted to the same data before. An unreadable table
//! grants nothing: there is no partial result.

use std::collections::BTreeSet;

use serde_json::Value;

use super::reader::Reader;
use super::{
    FsGrant, Grants, HttpGrant, Injection, KvGrant, KvScope, Method, Mount, PolicyError, Scheme, SecretGrant, Swap,
};
use crate::id::ToolName;

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
        let Some(secret) = secret_grant(reader, &path, entry) else {
            continue;
        };
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
    let keys = ["host", "scheme", "port", "methods", "paths", "inject", "swap", "cidrs"];
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
    let mut swap = Vec::new();
    for (path, value) in reader.list(&format!("{path}.swap"), map.get("swap")) {
        swap.extend(swapping(reader, &path, value).filter(|rule| !swap.contains(rule)));
    }
    let mut cidrs = Vec::new();
    for (path, value) in reader.list(&format!("{path}.cidrs"), map.get("cidrs")) {
        let block = reader.text(&path, value).and_then(|text| reader.block(&path, text));
        cidrs.extend(block.filter(|block| !cidrs.contains(block)));
    }
    // The default port and the absent one are one thing, and compare equal.
    let scheme = scheme?;
    let port = port?.filter(|port| *port != scheme.default_port());
    Some(HttpGrant { host: host?, scheme, port, methods: methods?, paths, inject, swap, cidrs })
}

fn http_scheme(reader: &mut Reader, path: &str, value: Option<&Value>) -> Option<Scheme> {
    let Some(value) = value else {
        return Some(Scheme::Https);
    };
    let text = reader.text(path, value)?;
    Scheme::parse(text)
        .or_else(|| reader.fail_with(path, format!("unknown scheme `{text}`"), "write `https` or `http`"))
}

fn http_port(reader: &mut Reader, path: &str, value: Option<&Value>) -> Option<Option<u16>> {
    let Some(value) = value else {
        return Some(None);
    };
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
    reader.injection(path, &secret?, &header?, format?)
}

fn swapping(reader: &mut Reader, path: &str, value: &Value) -> Option<Swap> {
    let map = reader.table(path, value, &["secret", "in"])?;
    let mut field = |key: &str| match map.get(key) {
        Some(value) => reader.text(&format!("{path}.{key}"), value).map(str::to_owned),
        None => reader.fail(path, format!("`{key}` is missing")),
    };
    let (secret, part) = (field("secret"), field("in"));
    reader.swapping(path, &secret?, &part?)
}

fn fs_grant(reader: &mut Reader, value: Option<&Value>) -> FsGrant {
    let Some(map) = value.and_then(|value| reader.table("fs", value, &["read", "write", "out", "also"])) else {
        return FsGrant::default();
    };
    let mut also: Vec<Mount> = Vec::new();
    for (path, value) in reader.list("fs.also", map.get("also")) {
        let Some(mount) = mount(reader, &path, value) else {
            continue;
        };
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
    let Some(scope) = map.get("scope") else {
        return Some(KvGrant { scope: KvScope::default() });
    };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::limits::GRANT_ENTRIES;

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
            "htpp",
            "fs.raed",
            "fs.write",
            "fs.also[0].at",
            "http[0].methods[1]",
            "http[0].paths[0]",
            "http[0].port",
            "http[1].hots",
            "http[1]",
            "http[2].inject[0].header",
            "http[2].inject[1].format",
            "http[3]",
            "kv.scope",
            "tools[0]",
            "secrets[0]",
            "secrets[2]",
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
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~é]{0,8}".prop_map(Value::from)
        ];
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
