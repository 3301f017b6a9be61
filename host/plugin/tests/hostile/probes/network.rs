//! What reaches for the network: forbidden addresses, forged requests, answers without end, credentials.
//!
//! The spellings of addresses in full are those of the egress's own tests; here it is seen that a guest gets no further.

use crate::probe::{Ends, Family, Probe, Runs, attack};
use Ends::{Own, Well};
use Family::{Addresses, Network, Secrets};

const FETCH: &str = r#"
(import "cofferdam:host/http@0.1.0" "fetch" (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
(data (i32.const 2048) "GET")"#;
/// The host's error is given back as its own.
const ANSWER: &str = "(select (i32.const 1024) (i32.const 320) (i32.load8_u (i32.const 1024)))";
const FRIEND: &str =
    r#"{ "http": [{ "host": "a.example", "scheme": "http", "port": {P}, "cidrs": ["127.0.0.1/32"] }] }"#;
/// Every host that the addresses name, but none of their blocks.
const HOSTS: &str = r#"{ "http": [
    { "host": "127.0.0.1", "scheme": "http", "port": {Q} }, { "host": "localhost", "scheme": "http", "port": {Q} },
    { "host": "a.example", "scheme": "http", "port": {Q} }, { "host": "mixed.example", "scheme": "http", "port": {Q} },
    { "host": "metadata.example", "scheme": "http" }, { "host": "169.254.169.254", "scheme": "http" },
    { "host": "0.0.0.0", "scheme": "http", "port": {Q} }, { "host": "10.0.0.1", "scheme": "http" }] }"#;

/// A request for what the arguments name, with so many headers at 4096, at most 100 ms and one megabyte.
fn request(method: (u32, u32), headers: u32) -> String {
    format!(
        "(call $fetch (i32.const {}) (i32.const {})
           (i32.add (local.get $args) (i32.const 1)) (i32.sub (local.get $len) (i32.const 2))
           (i32.const 4096) (i32.const {headers}) (i32.const 0) (i32.const 0) (i32.const 0)
           (i32.const 1) (i32.const 100) (i32.const 1) (i64.const 1048576) (i32.const 1024))",
        method.0, method.1
    )
}

fn get(family: Family, name: &'static str, url: &str, ends: Ends) -> Probe {
    attack(family, name, FETCH, &format!("{}{ANSWER}", request((2048, 3), 0)), ends).called_with(format!("\"{url}\""))
}

pub(crate) fn probes() -> Vec<Probe> {
    let mut all = addresses();
    all.extend(answers());
    all.extend(forged());
    all.extend(credentials());
    all
}

fn addresses() -> Vec<Probe> {
    let refused = Own("denied", "");
    let reach = |name, url: &str| get(Addresses, name, url, refused).granted(HOSTS);
    vec![
        reach("loopback by its number", "http://127.0.0.1:{Q}/"),
        reach("loopback by its short form", "http://127.1:{Q}/"),
        reach("loopback as one number", "http://2130706433:{Q}/"),
        reach("loopback in octal", "http://0177.0.0.1:{Q}/"),
        reach("loopback in hexadecimal", "http://0x7f.1:{Q}/"),
        reach("loopback by its name", "http://localhost:{Q}/"),
        reach("loopback by a name that resolves to it", "http://a.example:{Q}/"),
        reach("loopback behind a public answer", "http://mixed.example:{Q}/"),
        reach("loopback as an address of the other family", "http://[::ffff:127.0.0.1]:{Q}/"),
        reach("any address", "http://0.0.0.0:{Q}/"),
        reach("the service of metadata", "http://169.254.169.254/latest/meta-data/"),
        reach("the service of metadata by a name", "http://metadata.example/latest/"),
        reach("a private address", "http://10.0.0.1/"),
        get(Addresses, "a host that is not granted", "http://a.example:{Q}/", refused),
        get(Addresses, "a port that is not granted", "http://a.example:{Q}/", refused).granted(FRIEND),
        get(Addresses, "a scheme that is not granted", "https://a.example:{P}/", refused).granted(FRIEND),
        get(Addresses, "a file by its URL", "file:///etc/passwd", Own("invalid-input", "")).granted(FRIEND),
        get(Addresses, "a user before the host", "http://a.example@127.0.0.1:{Q}/", Own("invalid-input", ""))
            .granted(HOSTS),
        get(Addresses, "a socket by its path", "unix:///var/run/docker.sock", Own("invalid-input", "")).granted(HOSTS),
    ]
}

fn answers() -> Vec<Probe> {
    let from =
        |name, path: &str, ends| get(Network, name, &format!("http://a.example:{{P}}{path}"), ends).granted(FRIEND);
    let flood = format!(
        "(loop $more {} (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10000)))) {ANSWER}",
        request((2048, 3), 0)
    );
    vec![
        from("what is granted", "/", Well(r#"{"ok":true}"#)),
        from("a redirect to a private address", "/to?http://127.0.0.1:{Q}/", Own("denied", "")),
        from("a redirect to the service of metadata", "/to?http://169.254.169.254/", Own("denied", "")),
        from("a redirect to another port", "/to?http://a.example:{Q}/", Own("denied", "")),
        from("a redirect to a file", "/to?file:///etc/passwd", Own("invalid-input", "")),
        from("a redirect to itself", "/loop", Own("", "redirect")),
        from("an answer that does not come", "/slow", Own("timeout", "")),
        from("an answer that drips", "/drip", Own("timeout", "")),
        from("an answer without end", "/endless", Own("too-large", "")),
        from("an answer that swells", "/bomb", Own("too-large", "")),
        from("an answer of headers", "/headers", Own("", "")),
        attack(Network, "ten thousand requests", FETCH, &flood, Own("too-large", "at most 32 requests"))
            .called_with("\"http://a.example:{P}/\"")
            .granted(FRIEND),
        attack(
            Network,
            "ten thousand requests that are denied",
            FETCH,
            &flood,
            Own("too-large", "at most 32 requests"),
        )
        .called_with("\"http://a.example:{Q}/\""),
    ]
}

/// Requests that say what is the host's to say.
fn forged() -> Vec<Probe> {
    let header = |name, key: &str, value: &str, ends| {
        let (key_bytes, value_bytes) = (key.replace("\\0d\\0a", "..").len(), value.replace("\\0d\\0a", "..").len());
        let with = format!(r#"{FETCH} (data (i32.const 2100) "{key}") (data (i32.const 2200) "{value}")"#);
        let does = format!(
            "(i32.store (i32.const 4096) (i32.const 2100)) (i32.store (i32.const 4100) (i32.const {key_bytes}))
             (i32.store (i32.const 4104) (i32.const 2200)) (i32.store (i32.const 4108) (i32.const {value_bytes})) {}{ANSWER}",
            request((2048, 3), 1)
        );
        attack(Network, name, &with, &does, ends).called_with("\"http://a.example:{P}/echo\"").granted(FRIEND)
    };
    let method = |name, method: &str, bytes: u32, ends| {
        let with = format!(r#"{FETCH} (data (i32.const 2100) "{method}")"#);
        attack(Network, name, &with, &format!("{}{ANSWER}", request((2100, bytes), 0)), ends)
            .called_with("\"http://a.example:{P}/\"")
            .granted(FRIEND)
    };
    let invalid = Own("invalid-input", "");
    vec![
        header("another host in a header", "host", "internal.example", invalid),
        header("a header that ends the others", "x", "y\\0d\\0ahost: internal.example", invalid),
        header("a name of a header that ends the others", "x: y\\0d\\0ahost", "internal.example", invalid),
        header("a length that is not that of the body", "content-length", "4096", invalid),
        header("another way of sending", "transfer-encoding", "chunked", invalid),
        header("a header for the next server only", "connection", "close", invalid),
        header("a credential for a proxy", "proxy-authorization", "Basic eDp5", invalid),
        method("a tunnel", "CONNECT", 7, Own("", "")),
        method("a method that is not granted", "DELETE", 6, Own("denied", "")),
        method("a method that ends the line", "GET / HTTP/1.1\\0d\\0a", 16, Own("", "")),
        method("no method", "", 0, Own("", "")),
    ]
}

fn credentials() -> Vec<Probe> {
    // The whole answer is its own error.
    let tells = "(if (i32.load8_u (i32.const 1024)) (then (return (i32.const 1024))))
        (call $fail (i32.const 12) (i32.load (i32.const 1044)) (i32.load (i32.const 1048)))";
    let injected = r#"{ "http": [{ "host": "a.example", "scheme": "http", "port": {P}, "cidrs": ["127.0.0.1/32"],
        "inject": [{ "secret": "KEY", "header": "authorization", "format": "Bearer {}" }] }] }"#;
    let placed = r#"{ "secrets": ["KEY"], "http": [{ "host": "a.example", "scheme": "http", "port": {P}, "cidrs": ["127.0.0.1/32"] }] }"#;
    let with = format!(
        r#"{FETCH}
        (import "cofferdam:host/secrets@0.1.0" "placeholder" (func $placeholder (param i32 i32 i32)))
        (data (i32.const 2100) "KEY") (data (i32.const 2110) "authorization")"#
    );
    let place = "(call $placeholder (i32.const 2100) (i32.const 3) (i32.const 1024))
        (i32.store (i32.const 4096) (i32.const 2110)) (i32.store (i32.const 4100) (i32.const 13))
        (i32.store (i32.const 4104) (i32.load (i32.const 1032))) (i32.store (i32.const 4108) (i32.load (i32.const 1036)))";
    vec![
        attack(
            Secrets,
            "a credential that the server gives back",
            FETCH,
            &format!("{}{tells}", request((2048, 3), 0)),
            Own("other", "GET /echo"),
        )
        .called_with("\"http://a.example:{P}/echo\"")
        .granted(injected),
        attack(
            Secrets,
            "a stand-in where no rule allows it",
            &with,
            &format!("{place}{}{tells}", request((2048, 3), 1)),
            Own("", ""),
        )
        .called_with("\"http://a.example:{P}/echo\"")
        .granted(placed)
        .runs(Runs::Both),
        attack(
            Secrets,
            "a credential that follows a redirect",
            FETCH,
            &format!("{}{tells}", request((2048, 3), 0)),
            Own("denied", ""),
        )
        .called_with("\"http://a.example:{P}/to?http://a.example:{Q}/\"")
        .granted(injected),
    ]
}
