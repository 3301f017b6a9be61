//! How long a provider may take, and through which proxy it is reached. Plain data.

use std::time::Duration;

use cofferdam_core::limits::{MODEL_CALL_MS, MODEL_CONNECT_MS, MODEL_HEADERS_MS, MODEL_IDLE_MS};

/// How long a provider may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until there is a connection.
    pub connect: Duration,
    /// Until the head of the response, the connection included.
    pub headers: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// For everything.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(MODEL_CONNECT_MS),
            headers: Duration::from_millis(MODEL_HEADERS_MS),
            idle: Duration::from_millis(MODEL_IDLE_MS),
            total: Duration::from_millis(MODEL_CALL_MS),
        }
    }
}

/// Which proxy a provider is reached through. The machine's own loopback never goes through one.
#[derive(Debug, Clone, Default)]
pub enum Proxies {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// None.
    None,
    /// This one.
    Url(String),
}
