//! What the archived guests ask of the host, a function for each of its interfaces, and how they write down what it
//! answered.
//!
//! Nothing that depends on the place or the moment is written down: it is compared with what earlier hosts answered.

use cofferdam_sdk::http::Request;
use cofferdam_sdk::{Context, Level, Payload, Result, Write};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The configuration of every archived guest.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What it says again.
    pub word: String,
    /// The server that it asks.
    pub url: String,
}

/// The name of the secret that it asks for.
pub const SECRET: &str = "KEPT";

fn shown<T>(answer: Result<T>, show: impl FnOnce(T) -> Value) -> Value {
    match answer {
        Ok(answer) => show(answer),
        Err(error) => json!({ "error": format!("{:?}", error.kind()) }),
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::from(String::from_utf8_lossy(bytes))
}

/// `log` and `config`.
pub fn basics(ctx: &Context, kind: &str) -> Value {
    ctx.log_with(Level::Info, "a kept guest is asked", &[("kind", kind)]);
    shown(ctx.config::<Config>(), |config| Value::from(config.word))
}

/// `run-control`.
pub fn run_control(ctx: &Context) -> Value {
    ctx.progress("begun");
    ctx.progress_at("half", 0.5);
    json!({ "cancelled": ctx.is_cancelled() })
}

/// `kv`: leaves nothing behind, so that it answers the same each time.
pub fn kv(ctx: &Context) -> Value {
    let kv = ctx.kv();
    let first = Write::put("kept/a", "1").if_absent();
    let second = Write::put("kept/b", "2").forget_after(Duration::from_secs(3_600));
    let written = shown(kv.commit(vec![first.clone(), second]), |versions| Value::from(versions.len()));
    let again = shown(kv.commit(vec![first]), |versions| Value::from(versions.len()));
    let entries = kv.get_many(&["kept/a", "kept/none"]);
    let found = shown(entries, |entries| {
        entries.iter().map(|entry| entry.as_ref().map_or(Value::Null, |entry| text(&entry.value))).collect()
    });
    let page = shown(kv.scan("kept/", None, 1), |page| {
        let keys: Vec<&str> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
        json!({ "keys": keys, "more": page.next.is_some() })
    });
    let gone = shown(kv.commit(vec![Write::delete("kept/a"), Write::delete("kept/b")]), |_| Value::from("gone"));
    json!({ "written": written, "again": again, "found": found, "page": page, "deleted": gone })
}

/// `secrets`: a stand-in goes to the server, which tells the test what arrived.
pub fn secrets(ctx: &Context, url: &str) -> Value {
    let Ok(stand_in) = ctx.secret_placeholder(SECRET) else {
        return json!({ "exists": ctx.has_secret(SECRET), "stand_in": "denied" });
    };
    let request = Request::post(format!("{url}/secret"), "{}").header("x-kept", stand_in.as_bytes());
    let sent = shown(ctx.fetch(request), |answer| Value::from(answer.status));
    json!({ "exists": ctx.has_secret(SECRET), "sent": sent })
}

/// `secrets-reveal`: how long the value is, since the value itself is taken out of every answer.
pub fn reveal(ctx: &Context) -> Value {
    shown(ctx.reveal_secret(SECRET), |value| Value::from(value.len()))
}

/// `http`: one request, several, and one that no grant allows.
pub fn http(ctx: &Context, url: &str) -> Value {
    let get = |path: &str| Request::get(format!("{url}{path}")).timeout(Duration::from_secs(20));
    let one = shown(ctx.fetch(get("/one?n=1").header("x-asked", "yes").max_response_bytes(10_000)), |answer| {
        json!({
            "status": answer.status,
            "first_line": answer.text().lines().next(),
            "is_the_url": answer.final_url == format!("{url}/one?n=1"),
        })
    });
    let several = ctx.fetch_many(vec![get("/two"), get("/three")], 2);
    let several: Vec<Value> =
        several.into_iter().map(|answer| shown(answer, |answer| Value::from(answer.status))).collect();
    let elsewhere = shown(ctx.fetch(Request::get("https://elsewhere.example/")), |answer| Value::from(answer.status));
    json!({ "one": one, "several": several, "elsewhere": elsewhere })
}

/// Sends a report to the server: for kinds that have no other way to tell.
pub fn tell(ctx: &Context, url: &str, report: &Value) -> Result<()> {
    ctx.fetch(Request::post(format!("{url}/report"), report.to_string())).map(drop)
}

/// `blobs`.
pub fn blobs(ctx: &Context) -> Value {
    let none = shown(ctx.blob_size("none"), Value::from);
    let written = match ctx.write_blob(b"kept bytes") {
        Ok(blob) => json!({
            "size": shown(ctx.blob_size(&blob), Value::from),
            "part": shown(ctx.read_blob(&blob, 5, 100), |bytes| text(&bytes)),
        }),
        Err(error) => shown::<()>(Err(error), |()| Value::Null),
    };
    json!({ "none": none, "written": written })
}

/// `tools`: one that is granted, and one that is not.
pub fn tools(ctx: &Context) -> Value {
    let granted = shown(ctx.invoke("glob", &json!({ "pattern": "*.txt" })), |payload| match payload {
        Payload::Json(value) => value,
        Payload::Text(text) => Value::from(text),
        Payload::Bytes(bytes) => text(&bytes),
        _ => Value::from("a blob"),
    });
    let other = shown(ctx.invoke("write", &json!({})), |_| Value::from("done"));
    json!({ "granted": granted, "other": other })
}

/// Files, which have no interface of ours: the directories that the standard library sees.
pub fn files(ctx: &Context) -> Value {
    let read = shown(ctx.step().read_text("notes.txt", 1_000), Value::from);
    let written = shown(ctx.out().write("kept.txt", b"kept"), |()| Value::from("done"));
    json!({ "read": read, "written": written })
}
