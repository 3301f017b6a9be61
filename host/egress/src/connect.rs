//! HTTP clients: one that reaches only addresses which were checked, and one for a provider.
//!
//! TLS is set up once and lazily: the system's roots are read before the first `https` request, never for
//! `http`. It must not decide where a request may go.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cofferdam_core::policy::Scheme;
use reqwest::dns::{Addrs, Name, Resolve as ReqwestResolve, Resolving};
use reqwest::{Client, ClientBuilder, redirect};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};

use crate::resolve::Resolve;
use crate::target::Target;
use crate::{EgressError, Phase, Proxies};

/// Who we are, where a caller does not say otherwise.
const USER_AGENT: &str = concat!("cofferdam/", env!("CARGO_PKG_VERSION"));

/// A client for one request to one target, which can reach nothing but these addresses.
pub(crate) fn pinned(target: &Target, addresses: &[IpAddr], timeout: Duration) -> Result<Client, EgressError> {
    let addresses = addresses.iter().map(|address| SocketAddr::new(*address, target.port)).collect();
    let resolver = Pinned { host: target.host.clone(), addresses };
    let builder = base(target.scheme, &target.host, timeout)?
        // A pooled connection would outlive the check of its address.
        .pool_max_idle_per_host(0)
        .no_proxy()
        .dns_resolver(Arc::new(resolver));
    build(builder, &target.host)
}

/// A client for a provider, which keeps connections and may go through a proxy.
pub(crate) fn provider(
    base_url: &Target,
    resolver: Arc<dyn Resolve>,
    proxies: &Proxies,
    timeout: Duration,
) -> Result<Client, EgressError> {
    let host = &base_url.host;
    let builder = base(base_url.scheme, host, timeout)?.dns_resolver(Arc::new(Through { resolver }));
    let local = host == "localhost" || base_url.literal.is_some_and(|address| address.is_loopback());
    let builder = match proxies {
        // A proxy cannot reach this machine's own loopback.
        _ if local => builder.no_proxy(),
        Proxies::Environment => builder,
        Proxies::None => builder.no_proxy(),
        Proxies::Url(url) => {
            let proxy =
                reqwest::Proxy::all(url).map_err(|_| EgressError::invalid(format!("`{url}` is not a proxy")))?;
            builder.no_proxy().proxy(proxy)
        }
    };
    build(builder, host)
}

fn base(scheme: Scheme, host: &str, timeout: Duration) -> Result<ClientBuilder, EgressError> {
    let tls = tls(scheme).map_err(|reason| EgressError::Tls { host: host.to_owned(), reason })?;
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        // Sent twice is billed twice.
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(USER_AGENT)
        .connect_timeout(timeout))
}

fn build(builder: ClientBuilder, host: &str) -> Result<Client, EgressError> {
    builder.build().map_err(|error| EgressError::from_reqwest(host, &error, Duration::ZERO))
}

fn tls(scheme: Scheme) -> Result<ClientConfig, String> {
    static SECURE: OnceLock<Result<ClientConfig, String>> = OnceLock::new();
    static PLAIN: OnceLock<Result<ClientConfig, String>> = OnceLock::new();
    match scheme {
        Scheme::Https => SECURE.get_or_init(with_system_roots).clone(),
        // Never used for a handshake; without it the library would read the roots itself.
        Scheme::Http => PLAIN.get_or_init(without_roots).clone(),
    }
}

fn with_system_roots() -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider)).map_err(|error| error.to_string())?;
    let mut config =
        versions(provider)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn without_roots() -> Result<ClientConfig, String> {
    let builder = versions(Arc::new(ring::default_provider()))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn versions(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

/// Answers with the addresses that were checked, whatever the system's resolver would say by now.
struct Pinned {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl ReqwestResolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let answer = if name.as_str() == self.host {
            Ok(Box::new(self.addresses.clone().into_iter()) as Addrs)
        } else {
            Err(io::Error::other("the name was not checked").into())
        };
        Box::pin(async move { answer })
    }
}

/// Lets a provider's client ask our resolver port.
struct Through {
    resolver: Arc<dyn Resolve>,
}

impl ReqwestResolve for Through {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.resolver);
        Box::pin(async move {
            let addresses = resolver.resolve(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Waits for a response's head, at most `timeout`.
pub(crate) async fn head(
    request: reqwest::RequestBuilder,
    host: &str,
    connect: Duration,
    timeout: Duration,
) -> Result<reqwest::Response, EgressError> {
    match tokio::time::timeout(timeout, request.send()).await {
        Ok(answer) => answer.map_err(|error| EgressError::from_reqwest(host, &error, connect)),
        Err(_) => Err(EgressError::Timeout { host: host.to_owned(), phase: Phase::Headers, after: timeout }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_for_plain_http_reads_no_certificates() {
        let target = Target::parse("http://a.example/").unwrap();
        pinned(&target, &[IpAddr::from([1, 1, 1, 1])], Duration::from_secs(1)).unwrap();
        assert!(without_roots().unwrap().alpn_protocols.is_empty());
    }

    #[tokio::test]
    async fn a_pinned_client_resolves_only_the_name_that_was_checked() {
        let pinned = Pinned { host: "a.example".into(), addresses: vec![SocketAddr::from(([1, 1, 1, 1], 80))] };
        assert_eq!(pinned.resolve("a.example".parse().unwrap()).await.unwrap().count(), 1);
        assert!(pinned.resolve("b.example".parse().unwrap()).await.is_err());
    }
}
