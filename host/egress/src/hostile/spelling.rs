//! Every spelling of an address that must not be reached, and every text that is no honest URL.

use std::io::ErrorKind;
use std::net::TcpListener;

use cofferdam_core::policy::{HostPattern, HttpGrant, Scheme};

use super::{LIMITS, get};
use crate::loopback::Answers;
use crate::{Egress, EgressError, Kind, NoSecrets};

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
pub(super) fn generous(text: &str) -> Vec<HttpGrant> {
    let Ok(url) = url::Url::parse(text) else {
        return Vec::new();
    };
    let Some(Ok(host)) = url.host_str().map(HostPattern::parse) else {
        return Vec::new();
    };
    let mut grant = HttpGrant::reading(host);
    grant.scheme = Scheme::Http;
    grant.port = url.port();
    vec![grant]
}

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
