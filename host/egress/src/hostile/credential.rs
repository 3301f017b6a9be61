//! Credentials that rules add: where they go, and that no answer shows them.

use secrecy::SecretString;

use super::{ANY, LIMITS, fetch, get, granted};
use crate::loopback::{Answer, Answers, Server, response};
use crate::{Egress, Kind, Request};

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
async fn an_answer_that_cannot_be_searched_is_refused_where_a_credential_was_sent() {
    let answer = response("200 OK", "content-encoding: br\r\n", b"whatever");
    let server = Server::start(vec![answer]).await;
    let flag = format!("{ANY},inject=KEY:x-key:{{}}");
    let error = fetch(&server, &flag, get("http://a.example:{P}/"), LIMITS).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    // Without a credential it is the guest's own business.
    let answer = fetch(&server, ANY, get("http://a.example:{P}/"), LIMITS).await.unwrap();
    assert_eq!(&answer.body[..], b"whatever");
}
