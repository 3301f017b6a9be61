//! What guests, names and servers try, and what the door says. Nothing here may reach the listener.

use std::io::{ErrorKind, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofferdam_core::policy::{HostPattern, HttpGrant, Method, Scheme, parse_flag};
use flate2::Compression;
use flate2::write::GzEncoder;
use secrecy::SecretString;

use crate::loopback::{Answer, Answers, Server, response};
use crate::{Egress, EgressError, FetchLimits, Kind, NoSecrets, Phase, Request, Response};

const LIMITS: FetchLimits = FetchLimits { body_bytes: 64 * 1024, redirects: 3, total: Duration::from_secs(20) };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// By its address, though the grant covers its host.
    Address,
    /// As a request that cannot be sent.
    Invalid,
}

use Refusal::{Address, Invalid};

/// `{P}` is the port of the listener. Every name resolves to 127.0.0.1.
const CASES: &[(&str, Refusal)] = &[
    // Loopback in every spelling
    ("http://127.0.0.1:{P}/", Address),
    ("http://127.1:{P}/", Address),
    ("http://127.0.1:{P}/", Address),
    ("http://2130706433:{P}/", Address),
    ("http://0x7f000001:{P}/", Address),
    ("http://0x7F.1:{P}/", Address),
    ("http://0x7f.0x0.0x0.0x1:{P}/", Address),
    ("http://0177.0.0.1:{P}/", Address),
    ("http://017700000001:{P}/", Address),
    ("http://127.0.0.1.:{P}/", Address),
    ("http://127.255.255.254:{P}/", Address),
    ("http://%31%32%37.0.0.1:{P}/", Address),
    ("http://127%2e0%2e0%2e1:{P}/", Address),
    ("http://127。0。0。1:{P}/", Address),
    ("http://①②⑦.⓪.⓪.①:{P}/", Address),
    ("http://0.0.0.0:{P}/", Address),
    ("http://0:{P}/", Address),
    ("http://[::1]:{P}/", Address),
    ("http://[0:0:0:0:0:0:0:1]:{P}/", Address),
    ("http://[::]:{P}/", Address),
    ("http://[::ffff:127.0.0.1]:{P}/", Address),
    ("http://[::ffff:7f00:1]:{P}/", Address),
    ("http://[::127.0.0.1]:{P}/", Address),
    ("http://[::ffff:0:127.0.0.1]:{P}/", Address),
    ("http://[64:ff9b::7f00:1]:{P}/", Address),
    ("http://[64:ff9b::127.0.0.1]:{P}/", Address),
    ("http://[64:ff9b:1::127.0.0.1]:{P}/", Address),
    ("http://[2002:7f00:1::]:{P}/", Address),
    ("http://localhost:{P}/", Address),
    ("http://LOCALHOST:{P}/", Address),
    ("http://localhost.:{P}/", Address),
    ("http://ｌocalhost:{P}/", Address),
    ("http://anything.localhost:{P}/", Address),
    ("http://rebound.example:{P}/", Address),
    ("http://bücher.example:{P}/", Address),
    ("HTTP://rebound.example:{P}/", Address),
    // Metadata services
    ("http://169.254.169.254/latest/meta-data/", Address),
    ("http://2852039166/", Address),
    ("http://0xa9fea9fe/", Address),
    ("http://0251.0376.0251.0376/", Address),
    ("http://[::ffff:169.254.169.254]/", Address),
    ("http://[64:ff9b::a9fe:a9fe]/", Address),
    ("http://[2002:a9fe:a9fe::]/", Address),
    ("http://[fd00:ec2::254]/", Address),
    ("http://168.63.129.16/", Address),
    ("http://100.100.100.200/", Address),
    // Other addresses that are not public
    ("http://10.0.0.1/", Address),
    ("http://172.31.0.1/", Address),
    ("http://192.168.1.1/", Address),
    ("http://100.64.0.1/", Address),
    ("http://198.18.0.1/", Address),
    ("http://192.0.2.1/", Address),
    ("http://224.0.0.1/", Address),
    ("http://255.255.255.255/", Address),
    ("http://[fc00::1]/", Address),
    ("http://[fe80::1]/", Address),
    ("http://[ff02::1]/", Address),
    ("http://[2001::1]/", Address),
    // What is no honest URL
    ("http://user@127.0.0.1:{P}/", Invalid),
    ("http://user:pass@127.0.0.1:{P}/", Invalid),
    ("http://@127.0.0.1:{P}/", Invalid),
    ("http://public.example@127.0.0.1:{P}/", Invalid),
    ("http://127.0.0.1:{P}\\@public.example/", Invalid),
    ("http://public.example\\@127.0.0.1:{P}/", Invalid),
    ("file:///etc/passwd", Invalid),
    ("file://127.0.0.1/etc/passwd", Invalid),
    ("ftp://127.0.0.1:{P}/", Invalid),
    ("gopher://127.0.0.1:{P}/_GET", Invalid),
    ("ws://127.0.0.1:{P}/", Invalid),
    ("unix:///var/run/docker.sock", Invalid),
    ("http+unix://%2Fvar%2Frun%2Fdocker.sock/info", Invalid),
    ("data:text/plain,x", Invalid),
    ("//127.0.0.1:{P}/", Invalid),
    ("127.0.0.1:{P}", Invalid),
    ("http:127.0.0.1:{P}/", Invalid),
    ("http:/127.0.0.1:{P}/", Invalid),
    ("http:///127.0.0.1:{P}/", Invalid),
    (" http://127.0.0.1:{P}/", Invalid),
    ("ht\ttp://127.0.0.1:{P}/", Invalid),
    ("http://127.0.\n0.1:{P}/", Invalid),
    ("http://rebound.example:{P}/\r\nHost: public.example", Invalid),
    ("http://rebound.example:{P}/ HTTP/1.1", Invalid),
    ("http://rebound.example\0.public.example:{P}/", Invalid),
    ("http://[::1%25lo]:{P}/", Invalid),
    ("http://[fe80::1%eth0]:{P}/", Invalid),
    ("http://rebound.example:0/", Invalid),
    ("http://rebound.example:65536/", Invalid),
    ("http://256.256.256.256:{P}/", Invalid),
    ("http://rebound.example:{P}/a/../b", Invalid),
    ("http://rebound.example:{P}/a/%2e%2E/b", Invalid),
    ("http://rebound.example:{P}/a/%252e%252e/b", Invalid),
    ("http://rebound.example:{P}/a/..;x=y/b", Invalid),
    ("http://rebound.example:{P}/a%00b", Invalid),
    ("http://", Invalid),
    ("", Invalid),
];

/// A grant for whatever host and port the URL library reads out of the text: only the address can refuse.
fn generous(text: &str) -> Vec<HttpGrant> {
    let Ok(url) = url::Url::parse(text) else { return Vec::new() };
    let Some(Ok(host)) = url.host_str().map(HostPattern::parse) else { return Vec::new() };
    let mut grant = HttpGrant::reading(host);
    grant.scheme = Scheme::Http;
    grant.port = url.port();
    vec![grant]
}

fn granted(flags: &[String]) -> Vec<HttpGrant> {
    flags.iter().flat_map(|flag| parse_flag(&format!("web:http={flag}")).unwrap().1.http).collect()
}

fn get(url: &str) -> Request {
    Request { method: "GET".into(), url: url.into(), ..Request::default() }
}

/// Fetches from a server on loopback through the name `a.example`.
async fn fetch(server: &Server, flag: &str, request: Request, limits: FetchLimits) -> Result<Response, EgressError> {
    let grants = granted(&[format!("{flag},cidr=127.0.0.0/8").replace("{P}", &server.port.to_string())]);
    let egress = Egress::with_resolver(Answers::new(&[&["127.0.0.1"]]));
    let secrets = |name: &str| (name == "KEY").then(|| SecretString::from("canary/0123456789+abc"));
    let request = Request { url: request.url.replace("{P}", &server.port.to_string()), ..request };
    egress.fetch(request, &grants, limits, &secrets).await
}

const ANY: &str = "GET+POST@http://a.example:{P}";

#[tokio::test]
async fn no_spelling_of_an_address_opens_the_door() {
    let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let egress = Egress::with_resolver(Answers::new(&[&["127.0.0.1"]]));
    assert!(CASES.len() >= 60);
    for (url, refusal) in CASES {
        let url = url.replace("{P}", &port);
        let error = egress.fetch(get(&url), &generous(&url), LIMITS, &NoSecrets).await.unwrap_err();
        match refusal {
            Address => assert!(matches!(error, EgressError::Address { .. }), "{url}: {error:?}"),
            Invalid => assert_eq!(error.kind(), Kind::Invalid, "{url}: {error:?}"),
        }
        // Without any grant it is refused before anything is resolved.
        let error = egress.fetch(get(&url), &[], LIMITS, &NoSecrets).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Denied | Kind::Invalid), "{url}: {error:?}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody connected");
}

#[tokio::test]
async fn one_private_answer_among_public_ones_refuses_the_name() {
    let grants = granted(&["http://a.example".into()]);
    for list in [&["93.184.216.34", "127.0.0.1"][..], &["10.0.0.1", "93.184.216.34"], &["2606:4700::1", "::ffff:10.0.0.1"]] {
        let egress = Egress::with_resolver(Answers::new(&[list]));
        let error = egress.fetch(get("http://a.example/"), &grants, LIMITS, &NoSecrets).await.unwrap_err();
        assert!(matches!(error, EgressError::Address { .. }), "{error:?}");
    }
    let egress = Egress::with_resolver(Answers::new(&[&[]]));
    let error = egress.fetch(get("http://a.example/"), &grants, LIMITS, &NoSecrets).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Dns);
}

#[tokio::test]
async fn a_name_is_resolved_once_and_its_first_answer_counts() {
    let server = Server::start(vec![response("200 OK", "", b"first")]).await;
    let answers = Answers::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let egress = Egress::with_resolver(answers.clone());
    let grants = granted(&[format!("http://a.example:{},cidr=127.0.0.1", server.port)]);
    let url = format!("http://a.example.:{}/x?y=z#f", server.port);
    let answer = egress.fetch(get(&url), &grants, LIMITS, &NoSecrets).await.unwrap();
    assert_eq!((answer.status, &answer.body[..], answers.asked()), (200, &b"first"[..], 1));
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /x?y=z HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: a.example:{}\r\n", server.port)), "{request}");
    // The second answer is another address of the block that was not granted.
    let error = egress.fetch(get(&url), &grants, LIMITS, &NoSecrets).await.unwrap_err();
    assert!(matches!(error, EgressError::Address { .. }), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_refused_address_says_what_would_allow_it_but_never_for_metadata() {
    let fetch = async |url: &str| {
        Egress::new().fetch(get(url), &generous(url), LIMITS, &NoSecrets).await.unwrap_err()
    };
    let grants = fetch("http://10.1.2.3:8080/x").await.would_allow().unwrap();
    let alias = cofferdam_core::id::Alias::parse("web").unwrap();
    assert_eq!(grants.to_flags(&alias), ["web:http=http://10.1.2.3:8080,cidr=10.1.2.3/32"]);
    assert!(fetch("http://169.254.169.254/").await.would_allow().is_none());
}

#[tokio::test]
async fn a_redirect_starts_again_at_the_match() {
    for (location, kind) in [
        ("http://127.0.0.1:{P}/", Kind::Denied), ("http://b.example:{P}/", Kind::Denied),
        ("https://a.example:{P}/", Kind::Denied), ("http://a.example:{P}/secret", Kind::Denied),
        ("http://a.example:1/pub", Kind::Denied), ("file:///etc/passwd", Kind::Invalid),
        ("//u@a.example:{P}/pub", Kind::Invalid), ("http://169.254.169.254/", Kind::Denied),
    ] {
        let server = Server::start(vec![Answer::Close(Vec::new())]).await;
        let header = format!("location: {}\r\n", location.replace("{P}", &server.port.to_string()));
        let redirecting = Server::start(vec![response("302 Found", &header, b"")]).await;
        let flag = format!("http://a.example:{{P}}/start,path=/pub,cidr=127.0.0.0/8");
        let error = fetch(&redirecting, &flag, get("http://a.example:{P}/start"), LIMITS).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{location}: {error:?}");
        assert_eq!((redirecting.requests().len(), server.requests().len()), (1, 0), "{location}");
    }
}

#[tokio::test]
async fn a_granted_redirect_to_a_private_address_is_refused() {
    let target = Server::start(vec![response("200 OK", "", b"secret")]).await;
    let header = format!("location: http://127.0.0.1:{}/\r\n", target.port);
    let server = Server::start(vec![response("302 Found", &header, b"")]).await;
    let grants = granted(&[
        format!("http://a.example:{},cidr=127.0.0.0/8", server.port),
        format!("http://127.0.0.1:{}", target.port),
    ]);
    let egress = Egress::with_resolver(Answers::new(&[&["127.0.0.1"]]));
    let url = format!("http://a.example:{}/", server.port);
    let error = egress.fetch(get(&url), &grants, LIMITS, &NoSecrets).await.unwrap_err();
    assert!(matches!(error, EgressError::Address { .. }), "{error:?}");
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn redirects_are_counted() {
    let server = Server::start(vec![response("302 Found", "location: /again\r\n", b"")]).await;
    let error = fetch(&server, ANY, get("http://a.example:{P}/"), LIMITS).await.unwrap_err();
    assert_eq!(error.to_string(), "`a.example`: more than 3 redirects");
    assert_eq!(server.requests().len(), 4);
    let server = Server::start(vec![response("302 Found", "location: /b\r\n", b""), response("200 OK", "", b"done")]).await;
    let answer = fetch(&server, ANY, get("http://a.example:{P}/a"), LIMITS).await.unwrap();
    assert!(answer.final_url.ends_with("/b") && &answer.body[..] == b"done");
}

#[tokio::test]
async fn a_credential_is_added_by_rule_and_never_shown_to_the_guest() {
    let server = Server::start(vec![Answer::Echo]).await;
    let flag = format!("{ANY},inject=KEY:authorization:Bearer {{}}");
    let headers = vec![("authorization".into(), b"forged".to_vec()), ("range".into(), b"bytes=0-1".to_vec())];
    let answer = fetch(&server, &flag, Request { headers, ..get("http://a.example:{P}/") }, LIMITS).await.unwrap();
    let sent = server.requests().remove(0);
    assert!(sent.contains("authorization: Bearer canary/0123456789+abc\r\n"), "{sent}");
    assert!(!sent.contains("forged") && !sent.contains("range:"), "{sent}");
    let seen = format!("{answer:?} {}", String::from_utf8_lossy(&answer.body));
    assert!(seen.contains("Bearer [redacted]") && !seen.contains("canary"), "{seen}");
}

#[tokio::test]
async fn a_credential_echoed_in_other_forms_is_removed() {
    let forms = b"canary/0123456789+abc canary%2F0123456789%2Babc Y2FuYXJ5LzAxMjM0NTY3ODkrYWJj dTpjYW5hcnkvMDEyMzQ1Njc4OSthYmM=";
    let server = Server::start(vec![response("200 OK", "x-key: canary/0123456789+abc\r\n", forms)]).await;
    let flag = format!("{ANY},inject=KEY:x-key:{{}}");
    let answer = fetch(&server, &flag, get("http://a.example:{P}/"), LIMITS).await.unwrap();
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(body.matches("[redacted]").count(), 4, "{body}");
    assert!(answer.headers.contains(&("x-key".into(), b"[redacted]".to_vec())), "{:?}", answer.headers);
}

#[tokio::test]
async fn a_credential_goes_to_no_other_host() {
    let other = Server::start(vec![Answer::Echo]).await;
    let location = format!("location: http://b.example:{}/\r\n", other.port);
    let server = Server::start(vec![response("302 Found", &location, b"")]).await;
    let grants = granted(&[
        format!("http://a.example:{},inject=KEY:x-key:{{}},cidr=127.0.0.0/8", server.port),
        format!("http://b.example:{},inject=KEY:x-key:{{}},cidr=127.0.0.0/8", other.port),
    ]);
    let egress = Egress::with_resolver(Answers::new(&[&["127.0.0.1"]]));
    let secrets = |_: &str| Some(SecretString::from("canary"));
    let request = get(&format!("http://a.example:{}/", server.port));
    egress.fetch(request, &grants, LIMITS, &secrets).await.unwrap();
    assert!(server.requests().remove(0).contains("x-key: canary"));
    assert!(!other.requests().remove(0).contains("canary"));

    let leak = format!("location: http://b.example:{}/?stolen=canary\r\n", other.port);
    let server = Server::start(vec![response("302 Found", &leak, b"")]).await;
    let grants = granted(&[
        format!("http://a.example:{},inject=KEY:x-key:{{}},cidr=127.0.0.0/8", server.port),
        format!("http://b.example:{},cidr=127.0.0.0/8", other.port),
    ]);
    let request = get(&format!("http://a.example:{}/", server.port));
    let error = egress.fetch(request, &grants, LIMITS, &secrets).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(!error.to_string().contains("canary"));
    assert_eq!(other.requests().len(), 1);
}

#[tokio::test]
async fn a_missing_secret_sends_nothing() {
    let server = Server::start(vec![Answer::Echo]).await;
    let flag = format!("{ANY},inject=OTHER:x-key:{{}}");
    let error = fetch(&server, &flag, get("http://a.example:{P}/"), LIMITS).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Secret, "the secret `OTHER` has no value"));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn forged_headers_and_methods_send_nothing() {
    let server = Server::start(vec![Answer::Echo]).await;
    for (name, value) in [("Host", "evil"), ("Transfer-Encoding", "chunked"), ("x", "a\r\nHost: evil"), ("Content-Length", "0")] {
        let request = Request { headers: vec![(name.into(), value.into())], ..get("http://a.example:{P}/") };
        assert_eq!(fetch(&server, ANY, request, LIMITS).await.unwrap_err().kind(), Kind::Invalid, "{name}");
    }
    for method in ["CONNECT", "TRACE", "GET /x HTTP/1.1\r\nHost: evil\r\n\r\nGET", ""] {
        let request = Request { method: method.into(), ..get("http://a.example:{P}/") };
        assert_eq!(fetch(&server, ANY, request, LIMITS).await.unwrap_err().kind(), Kind::Invalid, "{method}");
    }
    let put = Request { method: "PUT".into(), ..get("http://a.example:{P}/") };
    assert!(matches!(fetch(&server, ANY, put, LIMITS).await, Err(EgressError::Denied { method: Method::Put, .. })));
    let large = Request { body: Bytes::from(vec![0; 70_000]), ..get("http://a.example:{P}/") };
    assert_eq!(fetch(&server, ANY, large, LIMITS).await.unwrap_err().kind(), Kind::TooLarge);
    assert!(server.requests().is_empty());
}

fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..bytes / 65_536 {
        encoder.write_all(&[0; 65_536]).unwrap();
    }
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_body_is_bounded_declared_or_not_and_after_inflation() {
    let bomb = bomb(64 * 1024 * 1024);
    assert!(bomb.len() < LIMITS.body_bytes as usize * 2);
    let small = bomb_of_limit();
    for answer in [
        response("200 OK", "content-encoding: gzip\r\n", &bomb),
        response("200 OK", "", &vec![b'x'; 70_000]),
        Answer::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n".to_vec()),
        Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1024]),
        Answer::Endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), b"3\r\nabc\r\n".to_vec()),
    ] {
        let server = Server::start(vec![answer]).await;
        let error = fetch(&server, ANY, get("http://a.example:{P}/"), LIMITS).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::TooLarge | Kind::Protocol), "{error:?}");
    }
    let server = Server::start(vec![response("200 OK", "content-encoding: gzip\r\n", &small)]).await;
    let answer = fetch(&server, ANY, get("http://a.example:{P}/"), LIMITS).await.unwrap();
    assert_eq!(answer.body.len() as u64, LIMITS.body_bytes);
}

fn bomb_of_limit() -> Vec<u8> {
    bomb(LIMITS.body_bytes as usize)
}

#[tokio::test]
async fn a_slow_answer_ends_in_time() {
    let limits = FetchLimits { total: Duration::from_millis(150), ..LIMITS };
    let drip = Answer::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx".to_vec());
    for answer in [Answer::Stall(Vec::new()), Answer::Stall(b"HTTP/1.1 200".to_vec()), drip] {
        let server = Server::start(vec![answer]).await;
        let begun = Instant::now();
        let error = fetch(&server, ANY, get("http://a.example:{P}/"), limits).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout, "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let never = Egress::with_resolver(std::sync::Arc::new(Never));
    let grants = granted(&["http://a.example".into()]);
    let error = never.fetch(get("http://a.example/"), &grants, limits, &NoSecrets).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { phase: Phase::Total, .. }), "{error:?}");
}

struct Never;

impl crate::Resolve for Never {
    fn resolve<'a>(&'a self, _host: &'a str) -> futures_util::future::BoxFuture<'a, std::io::Result<Vec<std::net::IpAddr>>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    for bytes in [&b"SSH-2.0-OpenSSH_9.6\r\n"[..], b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"HTTP/1.1 999999\r\n\r\n"] {
        let server = Server::start(vec![Answer::Close(bytes.to_vec())]).await;
        let error = fetch(&server, ANY, get("http://a.example:{P}/?token=canary"), LIMITS).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol, "{error:?}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    let many = "x: y\r\n".repeat(20_000);
    let server = Server::start(vec![response("200 OK", &many, b"")]).await;
    let error = fetch(&server, ANY, get("http://a.example:{P}/"), LIMITS).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Protocol | Kind::TooLarge), "{error:?}");
}

#[tokio::test]
async fn a_closed_port_and_a_server_without_tls_have_kinds_of_their_own() {
    let server = Server::start(vec![response("200 OK", "", b"")]).await;
    let error = fetch(&server, "https://a.example:{P}", get("https://a.example:{P}/"), LIMITS).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Tls, "{error:?}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let grants = granted(&[format!("http://a.example:{closed},cidr=127.0.0.0/8")]);
    let egress = Egress::with_resolver(Answers::new(&[&["127.0.0.1"]]));
    let error = egress.fetch(get(&format!("http://a.example:{closed}/")), &grants, LIMITS, &NoSecrets).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error:?}");
}

#[tokio::test]
async fn the_name_in_the_handshake_is_the_name_that_was_granted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hello = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await.unwrap();
        bytes.truncate(read);
        bytes
    });
    let grants = granted(&[format!("https://a.example:{port},cidr=127.0.0.0/8")]);
    let egress = Egress::with_resolver(Answers::new(&[&["127.0.0.1"]]));
    let error = egress.fetch(get(&format!("https://A.example.:{port}/")), &grants, LIMITS, &NoSecrets).await;
    assert!(error.is_err());
    let hello = hello.await.unwrap();
    assert!(hello.windows(9).any(|window| window == b"a.example"));
    assert!(!hello.windows(10).any(|window| window == b"a.example."));
}
