//! From a name to addresses: the port, and the system's resolver behind it.
//!
//! It must not judge the addresses; `address` does.

use std::io;
use std::net::IpAddr;

use futures_util::future::BoxFuture;

/// Resolves names. Called once for each request and redirect; the answers are checked and then connected
/// to without asking again. Cancellation is dropping the future.
pub trait Resolve: Send + Sync {
    /// All addresses of a host, in the order of preference.
    ///
    /// # Errors
    /// When the name does not exist or nobody can be asked.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            // The port is not part of the question; the system's call wants one.
            let answers = tokio::net::lookup_host((host, 0)).await?;
            Ok(answers.map(|answer| answer.ip()).collect())
        })
    }
}
