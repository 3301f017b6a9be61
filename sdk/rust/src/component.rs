//! The component side: the generated bindings, the host behind [`Context`], and
//! the exports that call a [`Plugin`]. The only file that knows the bindings.

mod model;
mod pure;
mod recall;
mod sink;
mod storage;

use std::time::Duration;

use serde_json::Value;

use crate::context::{CallInfo, Context, Level};
use crate::definition::{Definition, Effects};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Request, Response};
use crate::kv::{Entry, Page, When, Write};
use crate::output::{Payload, ToolOutput};
use crate::plugin::Plugin;

/// One world for what is imported, and one for each interface that may be exported: a plugin exports those that it
/// implements, and the linker puts their worlds together.
#[expect(missing_docs, reason = "generated; the documentation is in the WIT")]
#[expect(clippy::allow_attributes_without_reason, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: ["wit/types", "wit/host", "wit/plugin", "wit/tool", "wit/transform"],
        inline: "
            package cofferdam:sdk;

            world imports {
                include cofferdam:host/imports@0.1.0;
                import cofferdam:types/common@0.1.0;
                import cofferdam:host/tools@0.1.0;
                import cofferdam:host/secrets-reveal@0.1.0;
            }
        ",
        world: "cofferdam:sdk/imports",
        generate_all,
    });
    pub use wit_bindgen;

    /// What every plugin exports.
    pub mod lifecycle {
        wit_bindgen::generate!({
            path: ["wit/types", "wit/plugin"],
            inline: "package cofferdam:sdk; world lifecycle { export cofferdam:plugin/lifecycle@0.1.0; }",
            world: "cofferdam:sdk/lifecycle",
            with: { "cofferdam:types/common@0.1.0": super::cofferdam::types::common },
            pub_export_macro: true,
            export_macro_name: "export_lifecycle",
            default_bindings_module: "::cofferdam_sdk::private::bindings::lifecycle",
            runtime_path: "::cofferdam_sdk::private::bindings::wit_bindgen::rt",
        });
    }

    /// What a tool exports.
    pub mod tool {
        wit_bindgen::generate!({
            path: ["wit/types", "wit/host", "wit/plugin", "wit/tool"],
            inline: "package cofferdam:sdk; world tool { export cofferdam:tool/tool@0.1.0; }",
            world: "cofferdam:sdk/tool",
            with: { "cofferdam:types/common@0.1.0": super::cofferdam::types::common },
            pub_export_macro: true,
            export_macro_name: "export_tool",
            default_bindings_module: "::cofferdam_sdk::private::bindings::tool",
            runtime_path: "::cofferdam_sdk::private::bindings::wit_bindgen::rt",
        });
    }

    /// What a transform exports.
    pub mod transform {
        wit_bindgen::generate!({
            path: ["wit/types", "wit/host", "wit/plugin", "wit/transform"],
            inline: "package cofferdam:sdk; world transform { export cofferdam:transform/transform@0.1.0; }",
            world: "cofferdam:sdk/transform",
            with: { "cofferdam:types/common@0.1.0": super::cofferdam::types::common },
            pub_export_macro: true,
            export_macro_name: "export_transform",
            default_bindings_module: "::cofferdam_sdk::private::bindings::transform",
            runtime_path: "::cofferdam_sdk::private::bindings::wit_bindgen::rt",
        });
    }

    /// What a storage plugin exports.
    pub mod storage {
        wit_bindgen::generate!({
            path: ["wit/types", "wit/host", "wit/plugin", "wit/storage"],
            inline: "package cofferdam:sdk; world storage { export cofferdam:storage/storage@0.1.0; }",
            world: "cofferdam:sdk/storage",
            with: { "cofferdam:types/common@0.1.0": super::cofferdam::types::common },
            pub_export_macro: true,
            export_macro_name: "export_storage",
            default_bindings_module: "::cofferdam_sdk::private::bindings::storage",
            runtime_path: "::cofferdam_sdk::private::bindings::wit_bindgen::rt",
        });
    }

    /// What a sink plugin exports.
    pub mod sink {
        wit_bindgen::generate!({
            path: ["wit/types", "wit/host", "wit/plugin", "wit/sink"],
            inline: "package cofferdam:sdk; world sink { export cofferdam:sink/sink@0.1.0; }",
            world: "cofferdam:sdk/sink",
            with: { "cofferdam:types/common@0.1.0": super::cofferdam::types::common },
            pub_export_macro: true,
            export_macro_name: "export_sink",
            default_bindings_module: "::cofferdam_sdk::private::bindings::sink",
            runtime_path: "::cofferdam_sdk::private::bindings::wit_bindgen::rt",
        });
    }

    /// What a model plugin exports.
    pub mod model {
        wit_bindgen::generate!({
            path: ["wit/types", "wit/host", "wit/plugin", "wit/model"],
            inline: "package cofferdam:sdk; world model { export cofferdam:model/model@0.1.0; }",
            world: "cofferdam:sdk/model",
            with: { "cofferdam:types/common@0.1.0": super::cofferdam::types::common },
            pub_export_macro: true,
            export_macro_name: "export_model",
            default_bindings_module: "::cofferdam_sdk::private::bindings::model",
            runtime_path: "::cofferdam_sdk::private::bindings::wit_bindgen::rt",
        });
    }

    /// What a recall plugin exports.
    pub mod recall {
        wit_bindgen::generate!({
            path: ["wit/types", "wit/host", "wit/plugin", "wit/recall"],
            inline: "package cofferdam:sdk; world recall { export cofferdam:recall/recall@0.1.0; }",
            world: "cofferdam:sdk/recall",
            with: { "cofferdam:types/common@0.1.0": super::cofferdam::types::common },
            pub_export_macro: true,
            export_macro_name: "export_recall",
            default_bindings_module: "::cofferdam_sdk::private::bindings::recall",
            runtime_path: "::cofferdam_sdk::private::bindings::wit_bindgen::rt",
        });
    }

    /// What a condition exports.
    pub mod condition {
        wit_bindgen::generate!({
            path: ["wit/types", "wit/host", "wit/plugin", "wit/transform"],
            inline: "package cofferdam:sdk; world condition { export cofferdam:transform/condition@0.1.0; }",
            world: "cofferdam:sdk/condition",
            with: { "cofferdam:types/common@0.1.0": super::cofferdam::types::common },
            pub_export_macro: true,
            export_macro_name: "export_condition",
            default_bindings_module: "::cofferdam_sdk::private::bindings::condition",
            runtime_path: "::cofferdam_sdk::private::bindings::wit_bindgen::rt",
        });
    }
}

pub use bindings::condition::export_condition;
pub use bindings::lifecycle::export_lifecycle;
pub use bindings::model::export_model;
pub use bindings::recall::export_recall;
pub use bindings::sink::export_sink;
pub use bindings::storage::export_storage;
pub use bindings::tool::export_tool;
pub use bindings::transform::export_transform;

use bindings::cofferdam::host;
use bindings::cofferdam::types::common;
use bindings::lifecycle::exports::cofferdam::plugin::lifecycle;
use bindings::tool::exports::cofferdam::tool::tool;

impl<P: Plugin> lifecycle::Guest for P {
    fn describe() -> lifecycle::Description {
        let described = P::describe();
        lifecycle::Description {
            id: described.id.to_owned(),
            version: described.version.to_owned(),
            summary: described.summary.to_owned(),
            config_schema: described.config_schema.map(|schema| schema.to_string()),
        }
    }
}

impl<P: Plugin> tool::Guest for P {
    fn list_tools() -> Vec<tool::ToolDef> {
        P::tools().into_iter().map(tool_def).collect()
    }

    fn call(ctx: common::CallContext, name: String, args: String) -> Result<tool::ToolOutput, common::PluginError> {
        match P::call(&Context::new(info(ctx), Host), &name, &args) {
            Ok(ToolOutput { value, summary }) => Ok(tool::ToolOutput { value: payload_out(value), summary }),
            Err(error) => Err(error_out(&error)),
        }
    }
}

/// The context of a call that belongs to no step.
fn outside() -> Context {
    let info = CallInfo {
        run_id: String::new(),
        step_path: String::new(),
        attempt: 1,
        idempotency_key: String::new(),
        deadline_ms: u64::MAX,
        traceparent: String::new(),
    };
    Context::new(info, Host)
}

/// A call before `open`, which the host never makes.
fn not_open() -> Error {
    Error::new(ErrorKind::Internal, "it was called before it was opened")
}

fn info(ctx: common::CallContext) -> CallInfo {
    CallInfo {
        run_id: ctx.run_id,
        step_path: ctx.step_path,
        attempt: ctx.attempt,
        idempotency_key: ctx.idempotency_key,
        deadline_ms: ctx.deadline,
        traceparent: ctx.traceparent,
    }
}

fn tool_def(definition: Definition) -> tool::ToolDef {
    tool::ToolDef {
        name: definition.name.to_owned(),
        title: definition.title.map(str::to_owned),
        description: definition.description.to_owned(),
        input_schema: definition.input_schema.to_string(),
        output_schema: definition.output_schema.map(|schema| schema.to_string()),
        effects: effects(definition.effects),
        examples: definition.examples.iter().map(|example| (*example).to_owned()).collect(),
    }
}

fn effects(effects: Effects) -> tool::Effects {
    let mut flags = tool::Effects::empty();
    flags.set(tool::Effects::READ_ONLY, effects.read_only);
    flags.set(tool::Effects::DESTRUCTIVE, effects.destructive);
    flags.set(tool::Effects::IDEMPOTENT, effects.idempotent);
    flags.set(tool::Effects::OPEN_WORLD, effects.open_world);
    flags
}

/// The real host. Calls go straight to the imports, so that the linker drops
/// the imports of methods that a plugin does not use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host;

impl Host {
    pub(crate) fn log(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let level = match level {
            Level::Trace => host::log::Level::Trace,
            Level::Debug => host::log::Level::Debug,
            Level::Info => host::log::Level::Info,
            Level::Warn => host::log::Level::Warn,
            Level::Error => host::log::Level::Error,
        };
        let fields: Vec<_> = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        host::log::log(level, message, &fields);
    }

    pub(crate) fn progress(&self, message: &str, fraction: Option<f32>) {
        host::run_control::progress(message, fraction, None);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        host::run_control::is_cancelled()
    }

    pub(crate) fn config(&self) -> String {
        host::config::get()
    }

    pub(crate) fn fetch(&self, request: Request) -> Result<Response> {
        host::http::fetch(&request_out(request)).map(response_in).map_err(error_in)
    }

    pub(crate) fn fetch_many(&self, requests: Vec<Request>, limit: u32) -> Vec<Result<Response>> {
        let requests: Vec<_> = requests.into_iter().map(request_out).collect();
        host::http::fetch_many(&requests, limit)
            .into_iter()
            .map(|answer| answer.map(response_in).map_err(error_in))
            .collect()
    }

    pub(crate) fn has_secret(&self, name: &str) -> bool {
        host::secrets::exists(name)
    }

    pub(crate) fn secret_placeholder(&self, name: &str) -> Result<String> {
        host::secrets::placeholder(name).map_err(error_in)
    }

    pub(crate) fn reveal_secret(&self, name: &str) -> Result<Vec<u8>> {
        host::secrets_reveal::reveal(name).map_err(error_in)
    }

    pub(crate) fn kv_get_many(&self, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let entries = host::kv::get_many(&keys).map_err(error_in)?;
        Ok(entries.into_iter().map(|entry| entry.map(entry_in)).collect())
    }

    pub(crate) fn kv_commit(&self, writes: Vec<Write>) -> Result<Vec<u64>> {
        let writes: Vec<_> = writes.into_iter().map(write_out).collect();
        host::kv::commit(&writes).map_err(error_in)
    }

    pub(crate) fn kv_scan(&self, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<Page> {
        let page = host::kv::scan(prefix, cursor, limit).map_err(error_in)?;
        Ok(Page { entries: page.entries.into_iter().map(entry_in).collect(), next: page.next })
    }

    pub(crate) fn blob_size(&self, blob: &str) -> Result<u64> {
        host::blobs::size(blob).map_err(error_in)
    }

    pub(crate) fn read_blob(&self, blob: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
        host::blobs::read(blob, offset, len).map_err(error_in)
    }

    pub(crate) fn write_blob(&self, bytes: &[u8]) -> Result<String> {
        let writer = host::blobs::Writer::new(None);
        for piece in bytes.chunks(BLOB_PIECE) {
            writer.append(piece).map_err(error_in)?;
        }
        host::blobs::Writer::finish(writer).map_err(error_in)
    }

    pub(crate) fn invoke(&self, tool: &str, args: &Value) -> Result<Payload> {
        payload_in(host::tools::invoke(tool, &args.to_string()).map_err(error_in)?)
    }

    pub(crate) fn step_root(&self) -> &'static str {
        "/step"
    }

    pub(crate) fn out_root(&self) -> &'static str {
        "/out"
    }
}

/// How much of a blob is handed over at once.
const BLOB_PIECE: usize = 1 << 20;

fn entry_in(entry: host::kv::Entry) -> Entry {
    Entry { key: entry.key, value: entry.value, version: entry.version }
}

fn write_out(write: Write) -> host::kv::Write {
    host::kv::Write {
        key: write.key,
        value: write.value,
        ttl_ms: write.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        when: match write.when {
            When::Always => host::kv::Precondition::None,
            When::Absent => host::kv::Precondition::Absent,
            When::Version(version) => host::kv::Precondition::Version(version),
        },
    }
}

fn request_out(request: Request) -> host::http::Request {
    host::http::Request {
        method: request.method,
        url: request.url,
        headers: request.headers,
        body: request.body,
        timeout_ms: request.timeout.map(|t| u32::try_from(t.as_millis()).unwrap_or(u32::MAX)),
        max_response_bytes: request.max_response_bytes,
    }
}

fn response_in(response: host::http::Response) -> Response {
    Response { status: response.status, headers: response.headers, body: response.body, final_url: response.final_url }
}

fn payload_out(payload: Payload) -> common::Payload {
    match payload {
        Payload::Json(value) => common::Payload::Json(value.to_string()),
        Payload::Text(text) => common::Payload::Text(text),
        Payload::Bytes(bytes) => common::Payload::Bytes(bytes),
        Payload::Blob(id) => common::Payload::Blob(id),
    }
}

fn payload_in(payload: common::Payload) -> Result<Payload> {
    Ok(match payload {
        common::Payload::Json(text) => Payload::Json(serde_json::from_str(&text)?),
        common::Payload::Text(text) => Payload::Text(text),
        common::Payload::Bytes(bytes) => Payload::Bytes(bytes),
        common::Payload::Blob(id) => Payload::Blob(id),
    })
}

fn error_out(error: &Error) -> common::PluginError {
    common::PluginError {
        kind: kind_out(error.kind()),
        code: error.code().map(str::to_owned),
        message: error.message().to_owned(),
        retryable: error.is_retryable(),
        retry_after_ms: error.retry_after().map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        detail: error.detail().map(ToString::to_string),
    }
}

fn error_in(error: common::PluginError) -> Error {
    let mut result = Error::new(kind_in(error.kind), error.message);
    if let Some(code) = error.code {
        result = result.with_code(code);
    }
    if let Some(retryable) = error.retryable {
        result = if retryable { result.retryable() } else { result.permanent() };
    }
    if let Some(delay) = error.retry_after_ms {
        result = result.with_retry_after(Duration::from_millis(delay));
    }
    if let Some(detail) = error.detail.and_then(|text| serde_json::from_str(&text).ok()) {
        result = result.with_detail(detail);
    }
    result
}

/// Both directions from one list, so that they cannot disagree.
macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        fn kind_out(kind: ErrorKind) -> common::ErrorKind {
            match kind { $(ErrorKind::$name => common::ErrorKind::$name,)* }
        }

        fn kind_in(kind: common::ErrorKind) -> ErrorKind {
            match kind { $(common::ErrorKind::$name => ErrorKind::$name,)* }
        }
    };
}

kinds! {
    InvalidInput, NotFound, Conflict, Denied, AuthRequired, RateLimited, Timeout, Unavailable,
    Cancelled, TooLarge, Unsupported, Internal, Other,
}
