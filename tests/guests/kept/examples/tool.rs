//! The archived tool: every import, every form of a result, and an error with all that an error can say.

use cofferdam_sdk::{Context, Error, ErrorKind, Output, Payload, Result, tool};
use guest_kept::{Config, basics, blobs, files, http, kv, reveal, run_control, secrets, tools};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Asks the host for everything and returns what it answered.
#[tool(open_world)]
fn report(ctx: &Context) -> Result<Value> {
    let info = ctx.info();
    let url = ctx.config::<Config>().unwrap_or_default().url;
    Ok(json!({
        "call": {
            "step_path": info.step_path,
            "attempt": info.attempt,
            "has_run": !info.run_id.is_empty(),
            "has_key": !info.idempotency_key.is_empty(),
            "has_deadline": info.deadline_ms > 0,
        },
        "config": basics(ctx, "tool"),
        "run-control": run_control(ctx),
        "kv": kv(ctx),
        "secrets": secrets(ctx, &url),
        "secrets-reveal": reveal(ctx),
        "http": http(ctx, &url),
        "blobs": blobs(ctx),
        "tools": tools(ctx),
        "files": files(ctx),
    }))
}

#[derive(Deserialize, JsonSchema)]
struct Give {
    /// The form of the result.
    form: Form,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Form {
    Json,
    Text,
    Bytes,
    Blob,
}

/// Gives a result in one of its forms.
#[tool(read_only, idempotent, example = r#"{"form": "text"}"#)]
fn give(ctx: &Context, args: Give) -> Result<Output<Payload>> {
    let payload = match args.form {
        Form::Json => Payload::Json(json!({ "kept": [1, 2.5, null, "ä"] })),
        Form::Text => Payload::Text("kept\n".to_owned()),
        Form::Bytes => Payload::Bytes(vec![0, 255]),
        Form::Blob => Payload::Blob(ctx.write_blob(b"kept")?),
    };
    Ok(Output::new(payload).with_summary("as asked"))
}

/// Fails.
#[tool(read_only)]
fn fail(_ctx: &Context) -> Result<()> {
    Err(Error::new(ErrorKind::RateLimited, "failed as asked")
        .with_code("asked")
        .with_retry_after(Duration::from_millis(1))
        .with_detail(json!({ "kept": true })))
}

cofferdam_sdk::plugin!(id = "tests/kept-tool", config = Config, tools = [report, give, fail]);
