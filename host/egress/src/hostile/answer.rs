//! Answers without bound, without end, without sense, and none at all.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{ANY, LIMITS, fetch, get, granted};
use crate::loopback::{Answer, Answers, Server, response};
use crate::{Egress, EgressError, FetchLimits, Kind, NoSecrets, Phase};

fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..bytes / 65_536 {
        encoder.write_all(&[0; 65_536]).unwrap();
    }
    encoder.finish().unwrap()
}

struct Never;

impl crate::Resolve for Never {
    fn resolve<'a>(
        &'a self,
        _host: &'a str,
    ) -> futures_util::future::BoxFuture<'a, std::io::Result<Vec<std::net::IpAddr>>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_body_is_bounded_declared_or_not_and_after_inflation() {
    let large = bomb(64 * 1024 * 1024);
    assert!((large.len() as u64) < LIMITS.body_bytes * 2);
    let small = bomb(usize::try_from(LIMITS.body_bytes).unwrap());
    for answer in [
        response("200 OK", "content-encoding: gzip\r\n", &large),
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

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 999999\r\n\r\n",
    ] {
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
    let error =
        egress.fetch(get(&format!("http://a.example:{closed}/")), &grants, LIMITS, &NoSecrets).await.unwrap_err();
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
