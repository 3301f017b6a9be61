//! One connection to a server: opened, asked for its tools, called, closed.
//!
//! It must not know what the tools are called here, nor whether the server is started again.

use crate::health::{Health, failed, fault};
use crate::http::{Http, HttpError};
use crate::notices::Filtered;
use crate::process::Process;
use crate::settings::{ServerSettings, Values};
use crate::wire::Wire;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::server::ServerReference;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, ClientRequest, Implementation,
    JsonObject, ListToolsRequest, PaginatedRequestParams, ProtocolVersion, ServerResult,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, RoleClient, RunningService, ServiceError,
};
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransport, StreamableHttpError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// A connection; dropping it ends it and kills the program.
pub(crate) struct Connection {
    service: RunningService<RoleClient, ClientConfig>,
    process: Option<Process>,
    pub(crate) health: Arc<Health>,
    /// Name and version, as the server says.
    pub(crate) about: String,
}

impl Connection {
    /// Starts or reaches the server, and speaks whichever era of the protocol it does.
    ///
    /// # Errors
    /// When it cannot be started or reached, or does not answer in time.
    pub(crate) async fn open(settings: &ServerSettings) -> Result<Self, Fault> {
        let first = Self::try_open(settings, ClientLifecycleMode::Initialize).await?;
        let rejected = match first {
            Ok(connection) => return Ok(connection),
            Err(rejected) => rejected,
        };
        // Servers of the newer era know no `initialize`, and say so.
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        let newer = ClientLifecycleMode::Discover { preferred_versions };
        Self::try_open(settings, newer).await?.map_err(|_| rejected)
    }

    /// The inner error is a refusal by a server that could be reached.
    async fn try_open(settings: &ServerSettings, mode: ClientLifecycleMode) -> Result<Result<Self, Fault>, Fault> {
        let values = Values::of(settings)?;
        let health = Arc::new(Health::new(settings.alias.clone(), values.scrubber.clone()));
        let wait = Duration::from_millis(limits::MCP_CONNECT_MS);
        let me = Implementation::new("cofferdam", env!("CARGO_PKG_VERSION"));
        let client = ClientConfig::new(ClientCapabilities::default(), me);
        let (process, opened) = match &settings.reference {
            ServerReference::Address { url, .. } => {
                let http = Http::new(url, &values, Arc::clone(&health))?;
                let transport = StreamableHttpClientTransport::with_client(http, Http::config(url));
                let transport = Filtered::new(transport, Arc::clone(&health));
                (None, timeout(wait, client.serve_with_lifecycle(transport, mode)).await)
            }
            ServerReference::Command { .. } => {
                let (process, pipes) = Process::start(settings, &values, &health).map_err(|error| {
                    let message = format!("`{}` cannot be started: {error}", settings.reference.place());
                    fault(&settings.alias, "mcp_server_start", &message)
                })?;
                let transport = Wire::new(pipes.output, pipes.input, Arc::clone(&health));
                let transport = Filtered::new(transport, Arc::clone(&health));
                (Some(process), timeout(wait, client.serve_with_lifecycle(transport, mode)).await)
            }
            ServerReference::Project => {
                return Err(fault(&settings.alias, "mcp_settings", "no server of that name is configured"));
            }
        };
        let refuse = |message: &str| fault(&settings.alias, "mcp_server_start", message);
        match opened {
            Ok(Ok(service)) => {
                let about = about(&service, &health);
                Ok(Ok(Self { service, process, health, about }))
            }
            Ok(Err(ClientInitializeError::JsonRpcError(error))) => {
                let said = health.shown(&error.message);
                Ok(Err(refuse(&format!("it refused to begin: {said}"))))
            }
            Ok(Err(ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. })) => {
                Err(refuse(&format!("it could not be spoken to: {}", health.reason())))
            }
            Ok(Err(other)) => {
                Err(refuse(&format!("it does not speak the protocol: {}", health.shown(&other.to_string()))))
            }
            Err(_) => Err(refuse(&format!("it did not answer within {} s", wait.as_secs()))),
        }
    }

    /// Everything that it offers, page after page.
    ///
    /// # Errors
    /// When it does not answer in time or offers too much.
    pub(crate) async fn tools(&self) -> Result<Vec<rmcp::model::Tool>, Fault> {
        let wait = Duration::from_millis(limits::MCP_LIST_MS);
        // What comes from here on is news.
        self.health.changed.store(false, Ordering::Release);
        let Ok(listed) = timeout(wait, self.list()).await else {
            let message = format!("it did not list its tools within {} s", wait.as_secs());
            return Err(fault(&self.health.alias, "mcp_server_start", &message));
        };
        listed
    }

    async fn list(&self) -> Result<Vec<rmcp::model::Tool>, Fault> {
        let refuse = |message: String| fault(&self.health.alias, "mcp_server_start", &message);
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..limits::MCP_LIST_PAGES {
            let params = PaginatedRequestParams::default().with_cursor(cursor);
            let request = ClientRequest::ListToolsRequest(ListToolsRequest::with_param(params));
            let page = match self.service.peer().send_request(request).await {
                Ok(ServerResult::ListToolsResult(page)) => page,
                Ok(_) => return Err(refuse("its list of tools is none".to_owned())),
                Err(error) => return Err(refuse(format!("it did not list its tools: {}", self.said(&error)))),
            };
            tools.extend(page.tools);
            if tools.len() > limits::PLUGIN_TOOLS {
                return Err(refuse(format!("it has more than {} tools", limits::PLUGIN_TOOLS)));
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(tools),
            }
        }
        Err(refuse(format!("its list of tools has more than {} pages", limits::MCP_LIST_PAGES)))
    }

    /// Calls a tool. Dropping the future tells the server that nobody waits any more.
    ///
    /// # Errors
    /// What the server says, or that it ended.
    pub(crate) async fn call(&self, tool: &str, arguments: Option<JsonObject>) -> Result<CallToolResponse, Fault> {
        let mut params = CallToolRequestParams::new(tool.to_owned());
        params.arguments = arguments;
        self.service.peer().call_tool_once(params).await.map_err(|error| match error {
            ServiceError::McpError(error) => {
                let said = self.health.shown(&error.message);
                failed(&self.health.alias, "mcp_error", &format!("it refused the call: {said} ({})", error.code.0))
            }
            ServiceError::UnexpectedResponse => {
                failed(&self.health.alias, "mcp_protocol", "it answered with what is no result of a tool")
            }
            ServiceError::TransportSend(_) => failed(&self.health.alias, "mcp_request", &self.said(&error)),
            _ => {
                let message = format!("it ended during the call: {}", self.health.reason());
                failed(&self.health.alias, "mcp_server_ended", &message)
            }
        })
    }

    fn said(&self, error: &ServiceError) -> String {
        let text = match error {
            ServiceError::McpError(error) => error.message.to_string(),
            ServiceError::TransportSend(sent) => match sent.error.downcast_ref::<StreamableHttpError<HttpError>>() {
                Some(StreamableHttpError::Client(error)) => error.to_string(),
                _ => sent.error.to_string(),
            },
            ServiceError::TransportClosed => return self.health.reason(),
            other => other.to_string(),
        };
        self.health.shown(&text)
    }

    /// Whether calls can be made.
    pub(crate) fn is_alive(&self) -> bool {
        !self.health.has_ended() && !self.service.is_closed() && !self.service.peer().is_transport_closed()
    }

    /// Ends it: the program gets the end of its input, a short while, and then the end.
    pub(crate) async fn close(&self) {
        self.health.end("it was closed");
        self.service.cancellation_token().cancel();
        if let Some(process) = &self.process {
            process.stop().await;
        }
    }
}

fn about(service: &RunningService<RoleClient, ClientConfig>, health: &Health) -> String {
    let info = service.peer().peer_info();
    let named = info.as_ref().and_then(|info| info.server_info.as_ref());
    let about = named.map(|named| format!("{} {}", named.name, named.version)).unwrap_or_default();
    cofferdam_core::text::clean_to(&health.shown(&about), 200)
}
