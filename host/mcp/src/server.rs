//! A server as a source of tools: called, started again when it died, given up when it keeps dying.
//!
//! It decides no permission, and it does not know how a server is spoken to.

use crate::connection::Connection;
use crate::content::{self, Content};
use crate::health::{failed, fault};
use crate::offer::{Offer, Offered};
use crate::settings::ServerSettings;
use cofferdam_core::event::{Body, PluginPin};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName};
use cofferdam_core::limits;
use cofferdam_core::port::{BoxFuture, Tool, ToolContext, ToolDefinition, ToolOutput};
use cofferdam_core::schema;
use rmcp::model::CallToolResponse;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Mutex;

/// A server that was started or reached and has listed its tools. Dropping it ends it.
pub struct Server {
    settings: ServerSettings,
    about: String,
    digest: String,
    definitions: Vec<ToolDefinition>,
    tools: BTreeMap<LocalName, Offered>,
    state: Mutex<State>,
}

/// How it is by now.
struct State {
    connection: Option<Arc<Connection>>,
    restarts: u32,
    /// Why the last connection ended.
    reason: String,
    /// Tools that are not what they were.
    changed: BTreeSet<LocalName>,
    closed: bool,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}, {} tools)", self.settings.alias, self.definitions.len())
    }
}

impl Server {
    /// Starts or reaches a server and asks for its tools.
    ///
    /// # Errors
    /// When it cannot be used: it does not start, does not answer, or its tools cannot be told apart.
    pub async fn connect(settings: ServerSettings) -> Result<Arc<Self>, Fault> {
        let connection = Connection::open(&settings).await?;
        let offer = offer(&settings, &connection).await?;
        for why in &offer.left_out {
            tracing::warn!(server = %settings.alias, "a tool of the MCP server is left out: {why}");
        }
        Ok(Arc::new(Self {
            about: connection.about.clone(),
            digest: offer.digest(),
            definitions: offer.tools.values().map(|tool| tool.definition.clone()).collect(),
            tools: offer.tools,
            state: Mutex::new(State {
                connection: Some(Arc::new(connection)),
                restarts: 0,
                reason: String::new(),
                changed: BTreeSet::new(),
                closed: false,
            }),
            settings,
        }))
    }

    /// What documents call it.
    #[must_use]
    pub fn alias(&self) -> &Alias {
        &self.settings.alias
    }

    /// What a run records of it: the digest is that of its list of tools.
    #[must_use]
    pub fn pin(&self) -> PluginPin {
        PluginPin {
            alias: self.settings.alias.to_string(),
            source: format!("mcp:{}", self.settings.reference.place()),
            digest: self.digest.clone(),
            name: self.about.clone(),
            granted: self.settings.reference.explain(),
        }
    }

    /// Ends it: a program gets the end of its input, a short while, and is then killed with its group.
    pub async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(connection) = state.connection.take() {
            connection.close().await;
        }
    }

    async fn run(&self, ctx: &ToolContext, name: &LocalName, args: &Value) -> Result<ToolOutput, Fault> {
        let alias = &self.settings.alias;
        let Some(tool) = self.tools.get(name) else {
            return Err(failed(alias, "unknown_tool", &format!("it has no tool `{name}`")));
        };
        let connection = self.live(ctx, name).await?;
        let answer = connection.call(&tool.remote, args.as_object().cloned()).await?;
        let result = match answer {
            CallToolResponse::Complete(result) => result,
            CallToolResponse::InputRequired(_) | CallToolResponse::Task(_) => {
                return Err(failed(alias, "mcp_protocol", &format!("`{name}` wants more of us than this host gives")));
            }
            _ => return Err(failed(alias, "mcp_protocol", "it answered with what is no result of a tool")),
        };
        match content::of(result, &connection.health.scrubber) {
            Ok(Content::Given(output)) => self.fitting(tool, output),
            Ok(Content::Failed(text)) => {
                let said = connection.health.shown(&text);
                let said = if said.trim().is_empty() { "it does not say why".to_owned() } else { said };
                Err(Fault::step("tool_error", format!("`{alias}.{name}` failed: {said}")))
            }
            Err(why) => Err(failed(alias, "mcp_limit", &format!("`{name}`: {why}"))),
        }
    }

    /// A result that is what its tool said it would be.
    fn fitting(&self, tool: &Offered, output: ToolOutput) -> Result<ToolOutput, Fault> {
        let Some(schema) = tool.definition.output_schema.as_ref().filter(|_| !output.result.is_null()) else {
            return Ok(output);
        };
        let checked = schema::compile(schema).map_err(|error| error.to_string());
        let data = output.result.get("structured").unwrap_or(&output.result);
        match checked.and_then(|checker| checker.check(data)) {
            Ok(()) => Ok(output),
            Err(why) => {
                let message =
                    format!("the result of `{}` does not fit its own output schema: {why}", tool.definition.name);
                Err(failed(&self.settings.alias, "mcp_protocol", &message))
            }
        }
    }

    /// A connection over which the tool can be called: the one there is, or a new one.
    async fn live(&self, ctx: &ToolContext, name: &LocalName) -> Result<Arc<Connection>, Fault> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(Fault::cancelled());
        }
        let connection = match state.connection.clone() {
            Some(connection) if connection.is_alive() => {
                if connection.health.changed.load(Ordering::Acquire) {
                    self.compare(&mut state, &connection, ctx).await?;
                }
                connection
            }
            dead => {
                state.connection = None;
                if let Some(dead) = dead {
                    state.reason = dead.health.reason();
                }
                self.restart(&mut state, ctx).await?
            }
        };
        if state.changed.contains(name) {
            let message =
                format!("it changed its tools during the run; `{name}` is not what it was, and is not called");
            return Err(failed(&self.settings.alias, "mcp_tool_changed", &message));
        }
        Ok(connection)
    }

    /// Starts the server again, after a while that doubles each time.
    async fn restart(&self, state: &mut State, ctx: &ToolContext) -> Result<Arc<Connection>, Fault> {
        let alias = &self.settings.alias;
        if state.restarts >= limits::MCP_RESTARTS {
            let times = limits::MCP_RESTARTS;
            let message = format!("it was started again {times} times and is given up for this run ({})", state.reason);
            return Err(failed(alias, "mcp_quarantined", &message));
        }
        let wait = Duration::from_millis(limits::MCP_RESTART_WAIT_MS << state.restarts);
        state.restarts += 1;
        self.settings.clock.sleep(wait).await;
        let opened = Connection::open(&self.settings).await;
        let connection = opened.map(Arc::new).map_err(|error| {
            state.reason.clone_from(&error.message);
            Fault { class: cofferdam_core::fault::Class::Step, ..error }
        })?;
        warn(ctx, "mcp_restarted", format!("the MCP server `{alias}` was started again"));
        self.compare(state, &connection, ctx).await?;
        state.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Asks for the tools again, and marks those that are not what they were.
    async fn compare(&self, state: &mut State, connection: &Connection, ctx: &ToolContext) -> Result<(), Fault> {
        let now = offer(&self.settings, connection).await.map_err(|error| {
            // Asked again before the next call: what it has by now is not known.
            connection.health.changed.store(true, Ordering::Release);
            Fault { class: cofferdam_core::fault::Class::Step, ..error }
        })?;
        let mut news = Vec::new();
        state.changed.clear();
        for (name, then) in &self.tools {
            match now.tools.get(name) {
                None => news.push(format!("`{name}` is gone")),
                Some(now) if now.schemas != then.schemas => {
                    news.push(format!("`{name}` takes or gives something else"));
                }
                Some(now) if now.says != then.says => {
                    news.push(format!("`{name}` says something else of itself"));
                    continue;
                }
                Some(_) => continue,
            }
            state.changed.insert(name.clone());
        }
        let new = now.tools.keys().filter(|name| !self.tools.contains_key(*name));
        news.extend(new.map(|name| format!("`{name}` is new, and not offered in this run")));
        if !news.is_empty() {
            let alias = &self.settings.alias;
            let message = format!("the MCP server `{alias}` changed its tools during the run: {}", news.join(", "));
            warn(ctx, "mcp_tools_changed", message);
        }
        Ok(())
    }
}

impl Tool for Server {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            let now = self.settings.clock.now();
            let own = Duration::from_millis(limits::MCP_CALL_MS);
            let allowed = ctx.deadline.map_or(own, |deadline| deadline.since(now).min(own));
            tokio::select! {
                biased;
                outcome = self.run(&ctx, name, &args) => outcome,
                // What is dropped here tells the server that nobody waits any more.
                () = self.settings.clock.sleep(allowed) => {
                    let message = format!("`{name}` did not answer within {} s", allowed.as_secs_f64());
                    Err(failed(&self.settings.alias, "timeout", &message))
                }
            }
        })
    }
}

async fn offer(settings: &ServerSettings, connection: &Connection) -> Result<Offer, Fault> {
    let listed = connection.tools().await?;
    Offer::of(listed, settings.trust).map_err(|why| fault(&settings.alias, "mcp_server_start", &why))
}

fn warn(ctx: &ToolContext, code: &str, message: String) {
    ctx.events.observe(Body::Warning { code: code.to_owned(), message });
}
