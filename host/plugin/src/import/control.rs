//! Log lines, configuration, progress and cancellation: what every plugin may use.
//!
//! All of it is bounded: a guest can say what it likes, but not as often and as long as it likes.

use super::caught;
use crate::bindings::cofferdam::host::log::Level;
use crate::bindings::cofferdam::host::{config, log, run_control};
use crate::instance::{Call, Guest};
use cofferdam_core::event::Body;
use cofferdam_core::limits;
use cofferdam_core::text::clean;

impl log::Host for Guest {
    fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let begun = self.call.begin(|| message.clone());
        let call = &mut self.call;
        call.log_lines = call.log_lines.saturating_add(1);
        if call.log_lines > limits::PLUGIN_LOG_LINES {
            return Ok(());
        }
        let answer = caught("log.log", || {
            write(&self.call, level, message, &fields);
            Ok(())
        });
        self.call.end(begun, ("log", word(level)), &answer, |()| String::new());
        answer.map(drop)
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// Redacted before it is cut: half of a secret could not be found any more.
fn write(call: &Call, level: Level, message: String, fields: &[(String, String)]) {
    let plugin = call.plugin.alias.as_str();
    let fields = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
    let (message, fields) = (call.plugin.services.shown(message), call.plugin.services.shown(fields));
    let (message, fields) = (clean(&message), clean(&fields));
    match level {
        Level::Trace => tracing::trace!(target: "cofferdam::guest", plugin, "{message}{fields}"),
        Level::Debug => tracing::debug!(target: "cofferdam::guest", plugin, "{message}{fields}"),
        Level::Info => tracing::info!(target: "cofferdam::guest", plugin, "{message}{fields}"),
        Level::Warn => tracing::warn!(target: "cofferdam::guest", plugin, "{message}{fields}"),
        Level::Error => tracing::error!(target: "cofferdam::guest", plugin, "{message}{fields}"),
    }
}

impl config::Host for Guest {
    fn get(&mut self) -> wasmtime::Result<String> {
        let begun = self.call.begin(String::new);
        let answer = caught("config.get", || Ok(self.call.plugin.config.to_string()));
        self.call.end(begun, ("config", "get"), &answer, |config| format!("{} bytes", config.len()));
        answer.map(Result::unwrap_or_default)
    }
}

impl run_control::Host for Guest {
    fn is_cancelled(&mut self) -> wasmtime::Result<bool> {
        caught("run-control.is-cancelled", || self.call.ctx.as_ref().is_some_and(|ctx| ctx.cancel.is_set()))
    }

    fn progress(&mut self, message: String, fraction: Option<f32>, _data: Option<String>) -> wasmtime::Result<()> {
        caught("run-control.progress", || {
            let call = &mut self.call;
            call.progress_events = call.progress_events.saturating_add(1);
            if let Some(ctx) = &call.ctx
                && call.progress_events <= limits::PLUGIN_PROGRESS_EVENTS
            {
                let fraction = fraction.filter(|share| share.is_finite()).map(|share| share.clamp(0.0, 1.0));
                let message = clean(&call.plugin.services.shown(message));
                ctx.events.observe(Body::Progress { message, fraction });
            }
        })
    }
}
