//! The text of a `--grant` flag: one capability for one plugin, printed and read by the same rules.
//!
//! ```text
//! ALIAS:http=api.example.com                                  GET and HEAD over https, every path
//! ALIAS:http=GET+POST@https://api.example.com:8443/repos/**   methods, scheme, port, path
//!           ,path=/users/*  ,cidr=10.0.0.0/8  ,inject=SECRET:header:Bearer {}  ,swap=SECRET:body   each repeatable
//! ALIAS:fs=read,write,out,also=FROM:AT:read+write
//! ALIAS:kv=run            ALIAS:tools=read,other.tool         ALIAS:secrets=NAME,NAME:reveal
//! ```
//!
//! `,`, `:` and `%` inside FROM, AT and the format of a header are percent-encoded. It must not know clap.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::reader::{Reader, nearest};
use super::{Grants, HttpGrant, KvGrant, Method, Mount, PathPattern, PolicyError, Scheme, SecretGrant};
use crate::id::Alias;
use crate::limits::{GRANT_ENTRIES, GRANT_TEXT_BYTES};

const CAPABILITIES: [&str; 5] = ["http", "fs", "kv", "secrets", "tools"];

/// Reads the value of one `--grant`.
///
/// # Errors
/// The first fault, its path naming the part of the flag (`http.path`).
pub fn parse_flag(text: &str) -> Result<(Alias, Grants), PolicyError> {
    let form = "write `ALIAS:http=api.example.com`, `ALIAS:fs=read` or `ALIAS:kv=run`";
    if text.len() > GRANT_TEXT_BYTES || text.split(',').count() > GRANT_ENTRIES {
        return Err(PolicyError::new("", "the grant is too long").with_hint("write it in `cofferdam.toml`"));
    }
    let parts = text.split_once('=').and_then(|(left, value)| Some((left.split_once(':')?, value)));
    let Some(((alias, capability), value)) = parts else {
        return Err(PolicyError::new("", format!("`{text}` is not a grant")).with_hint(form));
    };
    let alias = Alias::parse(alias).map_err(|error| PolicyError::new("", error.to_string()).with_hint(form))?;
    let mut reader = Reader::default();
    let mut grants = Grants::default();
    match capability {
        "http" => grants.http.extend(http(&mut reader, value)),
        "fs" => fs(&mut reader, value, &mut grants),
        "kv" => grants.kv = reader.scope("kv", value).map(|scope| KvGrant { scope }),
        "secrets" => secrets(&mut reader, value, &mut grants),
        "tools" => grants.tools.extend(value.split(',').filter_map(|name| reader.tool("tools", name))),
        other => {
            let near = nearest(other, &CAPABILITIES);
            let hint = near.map_or_else(
                || "it is `http`, `fs`, `kv`, `secrets` or `tools`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            reader.fail_with::<()>("", format!("unknown capability `{other}`"), hint);
        }
    }
    match reader.errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok((alias, grants)),
    }
}

fn http(reader: &mut Reader, value: &str) -> Option<HttpGrant> {
    let mut parts = value.split(',');
    let mut grant = target(reader, parts.next().unwrap_or_default())?;
    for part in parts {
        match part.split_once('=') {
            Some(("path", glob)) => {
                grant.paths.extend(reader.glob("http.path", glob).filter(|glob| !grant.paths.contains(glob)));
            }
            Some(("cidr", block)) => {
                grant.cidrs.extend(reader.block("http.cidr", block).filter(|block| !grant.cidrs.contains(block)));
            }
            Some(("inject", rule)) => {
                let mut fields = rule.splitn(3, ':');
                let secret = fields.next().unwrap_or_default();
                let header = fields.next().unwrap_or_default();
                let format = unescape(reader, "http.inject", fields.next().unwrap_or("{}"))?;
                grant.inject.extend(reader.injection("http.inject", secret, header, format));
            }
            Some(("swap", rule)) => {
                let (secret, place) = rule.split_once(':').unwrap_or((rule, ""));
                grant.swap.extend(reader.swapping("http.swap", secret, place));
            }
            _ => {
                return reader.fail_with(
                    "http",
                    format!("unknown part `{part}`"),
                    "it is `path=`, `cidr=`, `inject=` or `swap=`",
                );
            }
        }
    }
    Some(grant)
}

/// `[METHOD+METHOD@][scheme://]host[:port][/path]`
fn target(reader: &mut Reader, text: &str) -> Option<HttpGrant> {
    let (methods, url) = match text.split_once('@') {
        Some((words, url)) if !words.contains(['/', '.']) => (Some(words), url),
        _ => (None, text),
    };
    let (scheme, rest) = match url.split_once("://") {
        Some((word, rest)) => match Scheme::parse(word) {
            Some(scheme) => (scheme, rest),
            None => {
                return reader.fail_with("http", format!("unknown scheme `{word}`"), "write `https` or `http`");
            }
        },
        None => (Scheme::Https, url),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host, port) = split_port(authority);
    let host = reader.host("http", host)?;
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port).filter(|port| *port != scheme.default_port()),
        Some(_) => return reader.fail("http", format!("`{authority}` has no valid port")),
    };
    let methods = match methods {
        None => Method::reading(),
        Some(words) => words.split('+').map(|word| reader.method("http", word)).collect::<Option<BTreeSet<_>>>()?,
    };
    let paths = if path.is_empty() { Vec::new() } else { vec![reader.glob("http", path)?] };
    Some(HttpGrant { host, scheme, port, methods, paths, inject: Vec::new(), swap: Vec::new(), cidrs: Vec::new() })
}

/// Splits a port off an authority; the colons of an IPv6 address are inside brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (host.ends_with(']') || !host.contains(':')) => (host, Some(port)),
        _ => (authority, None),
    }
}

fn fs(reader: &mut Reader, value: &str, grants: &mut Grants) {
    for part in value.split(',') {
        match (part, part.strip_prefix("also=")) {
            ("read", _) => grants.fs.read = true,
            ("write", _) => grants.fs.write = true,
            ("out", _) => grants.fs.out = true,
            (_, Some(mount)) => {
                if let Some(mount) = parse_mount(reader, mount) {
                    grants.fs.also.push(mount);
                }
            }
            _ => {
                reader.fail_with::<()>(
                    "fs",
                    format!("unknown part `{part}`"),
                    "it is `read`, `write`, `out` or `also=FROM:AT:read`",
                );
            }
        }
    }
}

fn parse_mount(reader: &mut Reader, text: &str) -> Option<Mount> {
    let fields: Vec<&str> = text.split(':').collect();
    let [from, at, rights] = fields.as_slice() else {
        return reader.fail_with(
            "fs.also",
            format!("`{text}` is not a directory"),
            "write `also=FROM:AT:read` or `also=FROM:AT:read+write`",
        );
    };
    let (read, write) = match *rights {
        "read" => (true, false),
        "write" => (false, true),
        "read+write" => (true, true),
        other => {
            return reader.fail_with(
                "fs.also",
                format!("unknown rights `{other}`"),
                "write `read`, `write` or `read+write`",
            );
        }
    };
    let mount = Mount { from: unescape(reader, "fs.also", from)?, at: unescape(reader, "fs.also", at)?, read, write };
    reader.mount("fs.also", mount)
}

fn secrets(reader: &mut Reader, value: &str, grants: &mut Grants) {
    for part in value.split(',') {
        let (name, reveal) = match part.strip_suffix(":reveal") {
            Some(name) => (name, true),
            None => (part, false),
        };
        grants.secrets.extend(reader.secret_name("secrets", name).map(|name| SecretGrant { name, reveal }));
    }
}

impl Grants {
    /// The values of `--grant` that give exactly these grants, one for each capability and http entry.
    #[must_use]
    pub fn to_flags(&self, alias: &Alias) -> Vec<String> {
        let mut flags: Vec<String> =
            self.http.iter().map(|grant| format!("{alias}:http={}", print_http(grant))).collect();
        let fs: Vec<String> = [(self.fs.read, "read"), (self.fs.write, "write"), (self.fs.out, "out")]
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| word.to_owned())
            .chain(self.fs.also.iter().map(print_mount))
            .collect();
        let secrets: Vec<String> = self
            .secrets
            .iter()
            .map(|secret| format!("{}{}", secret.name, if secret.reveal { ":reveal" } else { "" }))
            .collect();
        let tools: Vec<String> = self.tools.iter().map(ToString::to_string).collect();
        let kv: Vec<String> = self.kv.iter().map(|kv| kv.scope.as_str().to_owned()).collect();
        for (capability, words) in [("fs", fs), ("kv", kv), ("secrets", secrets), ("tools", tools)] {
            if !words.is_empty() {
                flags.push(format!("{alias}:{capability}={}", words.join(",")));
            }
        }
        flags
    }

    /// The same flags as a person types them in a shell: `--grant 'web:http=GET@https://a.example.com/**'`.
    #[must_use]
    pub fn to_command_line(&self, alias: &Alias) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":=._,/+@-".contains(&byte);
        let quote = |flag: &String| {
            if flag.bytes().all(plain) {
                format!("--grant {flag}")
            } else {
                format!("--grant '{}'", flag.replace('\'', "'\\''"))
            }
        };
        self.to_flags(alias).iter().map(quote).collect::<Vec<_>>().join(" ")
    }
}

fn print_http(grant: &HttpGrant) -> String {
    let mut text = String::new();
    if grant.methods != Method::reading() {
        let words: Vec<&str> = grant.methods.iter().map(|method| method.as_str()).collect();
        text = format!("{}@", words.join("+"));
    }
    text.push_str(&grant.origin());
    let mut paths = grant.paths.iter().map(PathPattern::as_str);
    text.push_str(paths.next().unwrap_or_default());
    for path in paths {
        text.push_str(",path=");
        text.push_str(path);
    }
    // Writing into a string cannot fail.
    for block in &grant.cidrs {
        let _ = write!(text, ",cidr={block}");
    }
    for rule in &grant.inject {
        let _ = write!(text, ",inject={}:{}:{}", rule.secret, rule.header, escape(&rule.format));
    }
    for rule in &grant.swap {
        let _ = write!(text, ",swap={}:{}", rule.secret, rule.part.as_str());
    }
    text
}

impl HttpGrant {
    /// Scheme, host and port as one text; a default port is left out.
    #[must_use]
    pub fn origin(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.scheme.as_str(), self.host)
    }
}

fn print_mount(mount: &Mount) -> String {
    let rights = match (mount.read, mount.write) {
        (true, true) => "read+write",
        (false, true) => "write",
        _ => "read",
    };
    format!("also={}:{}:{rights}", escape(&mount.from), escape(&mount.at))
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace(',', "%2C").replace(':', "%3A")
}

fn unescape(reader: &mut Reader, path: &str, text: &str) -> Option<String> {
    super::path::decode(text).map_err(|fault| reader.fail::<()>(path, format!("`{text}`: {fault}"))).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::any_grants;
    use super::*;

    fn table(text: &str) -> serde_json::Value {
        serde_json::to_value(parse_flag(text).unwrap().1).unwrap()
    }

    #[test]
    fn each_form_is_read() {
        let read = json!(["GET", "HEAD"]);
        assert_eq!(
            table("web:http=api.example.com"),
            json!({ "http": [{ "host": "api.example.com", "methods": read }] })
        );
        assert_eq!(
            table(
                "web:http=GET+POST@http://api.example.com:8080/repos/@x/**,path=/b,cidr=10.1.2.3,inject=K:Authorization:Bearer {}"
            ),
            json!({ "http": [{
                "host": "api.example.com", "scheme": "http", "port": 8080, "methods": ["GET", "POST"],
                "paths": ["/repos/@x/**", "/b"], "cidrs": ["10.1.2.3/32"],
                "inject": [{ "secret": "K", "header": "authorization", "format": "Bearer {}" }],
            }] })
        );
        assert_eq!(
            table("web:http=[::1]:8443"),
            json!({ "http": [{ "host": "[::1]", "port": 8443, "methods": read }] })
        );
        assert_eq!(table("t:fs=read,out"), json!({ "fs": { "read": true, "out": true } }));
        assert_eq!(
            table("t:fs=also=C%3A/x:/in:read+write"),
            json!({ "fs": { "also": [{ "from": "C:/x", "at": "/in", "read": true, "write": true }] } })
        );
        assert_eq!(table("t:kv=run"), json!({ "kv": { "scope": "run" } }));
        assert_eq!(table("t:tools=read,a.b"), json!({ "tools": ["read", "a.b"] }));
        assert_eq!(
            table("t:secrets=A,B:reveal"),
            json!({ "secrets": [{ "name": "A" }, { "name": "B", "reveal": true }] })
        );
    }

    #[test]
    fn what_is_not_a_grant_is_refused_with_a_hint() {
        for (text, part) in [
            ("", "is not a grant"),
            ("web", "is not a grant"),
            ("web:http", "is not a grant"),
            ("Web:fs=read", "plugin alias"),
            ("web:htp=a.com", "unknown capability"),
            ("web:fs=delete", "unknown part"),
            ("web:kv=world", "unknown scope"),
            ("web:http=FETCH@a.com", "unknown method"),
            ("web:http=user@a.com", "unknown method"),
            ("web:http=ftp://a.com", "unknown scheme"),
            ("web:http=*", "is not a host"),
            ("web:http=a.com:x", "port"),
            ("web:http=a.com,paht=/x", "unknown part"),
            ("web:fs=also=x:/step:read", "is taken"),
            ("web:http=a.com,cidr=0.0.0.0/0", "too wide"),
            ("web:secrets=", "is not the name"),
        ] {
            let error = parse_flag(text).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn flags_printed_and_read_give_the_same_grants(grants in any_grants()) {
            let alias = Alias::parse("web").unwrap();
            let mut read = Grants::default();
            for flag in grants.to_flags(&alias) {
                let (name, part) = parse_flag(&flag).map_err(|error| TestCaseError::fail(format!("{flag}: {error}")))?;
                prop_assert_eq!(&name, &alias);
                read = read.union(&part);
            }
            prop_assert_eq!(read, grants);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(web:)?(http|fs|kv|secrets|tools)?=?[ -~é]{0,40}") {
            let _ = parse_flag(&text);
        }
    }
}
