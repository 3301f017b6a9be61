//! What guests, names and servers try, and what the door says. The requests themselves, names and redirects
//! here; spellings, credentials and answers in the files beside.

mod answer;
mod credential;
mod spelling;

use std::time::Duration;

use bytes::Bytes;
use cofferdam_core::policy::{HttpGrant, Method, parse_flag};
use secrecy::SecretString;

use crate::loopback::{Answer, Answers, Server, response};
use crate::{Egress, EgressError, FetchLimits, Kind, NoSecrets, Request, Response};
use spelling::generous;

const LIMITS: FetchLimits =
    FetchLimits { request_bytes: 64 * 1024, body_bytes: 64 * 1024, redirects: 3, total: Duration::from_secs(20) };

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
async fn one_private_answer_among_public_ones_refuses_the_name() {
    let grants = granted(&["http://a.example".into()]);
    for list in
        [&["93.184.216.34", "127.0.0.1"][..], &["10.0.0.1", "93.184.216.34"], &["2606:4700::1", "::ffff:10.0.0.1"]]
    {
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
    let fetch = async |url: &str| Egress::new().fetch(get(url), &generous(url), LIMITS, &NoSecrets).await.unwrap_err();
    let grants = fetch("http://10.1.2.3:8080/x").await.would_allow().unwrap();
    let alias = cofferdam_core::id::Alias::parse("web").unwrap();
    assert_eq!(grants.to_flags(&alias), ["web:http=http://10.1.2.3:8080,cidr=10.1.2.3/32"]);
    assert!(fetch("http://169.254.169.254/").await.would_allow().is_none());
}

#[tokio::test]
async fn a_redirect_starts_again_at_the_match() {
    for (location, kind) in [
        ("http://127.0.0.1:{P}/", Kind::Denied),
        ("http://b.example:{P}/", Kind::Denied),
        ("https://a.example:{P}/", Kind::Denied),
        ("http://a.example:{P}/secret", Kind::Denied),
        ("http://a.example:1/pub", Kind::Denied),
        ("file:///etc/passwd", Kind::Invalid),
        ("//u@a.example:{P}/pub", Kind::Invalid),
        ("http://169.254.169.254/", Kind::Denied),
    ] {
        let server = Server::start(vec![Answer::Close(Vec::new())]).await;
        let header = format!("location: {}\r\n", location.replace("{P}", &server.port.to_string()));
        let redirecting = Server::start(vec![response("302 Found", &header, b"")]).await;
        let flag = "http://a.example:{P}/start,path=/pub";
        let error = fetch(&redirecting, flag, get("http://a.example:{P}/start"), LIMITS).await.unwrap_err();
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
    let server =
        Server::start(vec![response("302 Found", "location: /b\r\n", b""), response("200 OK", "", b"done")]).await;
    let answer = fetch(&server, ANY, get("http://a.example:{P}/a"), LIMITS).await.unwrap();
    assert!(answer.final_url.ends_with("/b") && &answer.body[..] == b"done");
}

#[tokio::test]
async fn forged_headers_and_methods_send_nothing() {
    let server = Server::start(vec![Answer::Echo]).await;
    for (name, value) in
        [("Host", "evil"), ("Transfer-Encoding", "chunked"), ("x", "a\r\nHost: evil"), ("Content-Length", "0")]
    {
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
