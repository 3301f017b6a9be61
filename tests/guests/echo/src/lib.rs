//! Uses every part of the contract that the host serves, one tool for each: what
//! the tests and benchmarks of the host call. Does nothing useful.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_sdk::{Context, Error, ErrorKind, Level, Output, Payload, Result, Text, http, tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The configuration that the tool `config` returns.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Config {
    /// Anything.
    #[serde(default)]
    word: String,
}

#[derive(Deserialize, JsonSchema)]
struct EchoArgs {
    /// What comes back.
    value: Value,
}

#[derive(Serialize, JsonSchema)]
struct Echo {
    value: Value,
}

/// Returns its argument.
#[tool(read_only, idempotent, example = r#"{"value": [1, 2]}"#)]
fn echo(_ctx: &Context, args: EchoArgs) -> Result<Echo> {
    Ok(Echo { value: args.value })
}

/// Returns where in the run the call happens.
#[tool(read_only, idempotent)]
fn whoami(ctx: &Context) -> Result<BTreeMap<&'static str, Value>> {
    let info = ctx.info();
    Ok(BTreeMap::from([
        ("run_id", Value::from(info.run_id.as_str())),
        ("step_path", Value::from(info.step_path.as_str())),
        ("attempt", Value::from(info.attempt)),
        ("idempotency_key", Value::from(info.idempotency_key.as_str())),
        ("deadline_ms", Value::from(info.deadline_ms)),
    ]))
}

/// Returns its configuration.
#[tool(read_only, idempotent)]
fn config(ctx: &Context) -> Result<Config> {
    ctx.config()
}

#[derive(Deserialize, JsonSchema)]
struct SayArgs {
    message: String,
}

/// Logs a message, reports progress, and returns the message as text.
#[tool(read_only)]
fn say(ctx: &Context, args: SayArgs) -> Result<Output<Text>> {
    ctx.log_with(Level::Info, &args.message, &[("from", "echo")]);
    ctx.progress_at(&args.message, 0.5);
    Ok(Output::new(Text(args.message)).with_summary("said"))
}

#[derive(Deserialize, JsonSchema)]
struct FailArgs {
    /// One of `denied`, `rate-limited`, `internal`; anything else panics.
    kind: String,
}

/// Fails in the way that is asked for.
#[tool(read_only)]
fn fail(_ctx: &Context, args: FailArgs) -> Result<()> {
    let kind = match args.kind.as_str() {
        "denied" => ErrorKind::Denied,
        "rate-limited" => ErrorKind::RateLimited,
        "internal" => ErrorKind::Internal,
        other => unreachable!("asked to panic: {other}"),
    };
    Err(Error::new(kind, "failed as asked").with_code("asked").with_retry_after(Duration::from_millis(1500)))
}

#[derive(Deserialize, JsonSchema)]
struct PathArgs {
    path: String,
    /// Write this; without it, read.
    #[serde(default)]
    text: Option<String>,
}

/// Reads a file of the step's directory with nothing in between.
#[tool(read_only)]
fn read_file(_ctx: &Context, args: PathArgs) -> Result<Text> {
    Ok(Text(std::fs::read_to_string(args.path)?))
}

/// Writes a file of the run's output directory.
#[tool(destructive)]
fn write_file(ctx: &Context, args: PathArgs) -> Result<()> {
    ctx.out().write(&args.path, args.text.unwrap_or_default().as_bytes())
}

#[derive(Deserialize, JsonSchema)]
struct UrlArgs {
    url: String,
}

/// Fetches a URL and returns the body.
#[tool(read_only, open_world)]
fn get(ctx: &Context, args: UrlArgs) -> Result<Payload> {
    let answer = ctx.fetch(http::Request::get(args.url))?;
    Ok(Payload::Bytes(answer.body))
}

/// Loops until the run is cancelled.
#[tool(read_only)]
fn wait_for_cancel(ctx: &Context) -> Result<()> {
    while !ctx.is_cancelled() {
        std::hint::spin_loop();
    }
    Err(Error::new(ErrorKind::Cancelled, "cancelled"))
}

cofferdam_sdk::plugin!(
    id = "cofferdam/echo",
    config = Config,
    tools = [echo, whoami, config, say, fail, read_file, write_file, get, wait_for_cancel],
);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::Plugin as _;

    #[test]
    fn a_call_goes_through_json_both_ways() {
        let output = Plugin::call(&Context::fake(), "echo", r#"{"value": {"a": 1}}"#).unwrap();
        assert_eq!(output.value, Payload::Json(serde_json::json!({ "value": { "a": 1 } })));
    }

    #[test]
    fn a_tool_without_arguments_refuses_them() {
        let error = Plugin::call(&Context::fake(), "whoami", r#"{"x": 1}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn an_unknown_tool_is_answered_with_the_known_ones() {
        let error = Plugin::call(&Context::fake(), "nothing", "{}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("echo, whoami"), "{error}");
    }
}
