//! `memory_write`, `memory_read`, `memory_list`, `memory_delete`: the shared memory of a run as tools. Every gateway has them.
//!
//! A model is offered them when its agent has `memory`, or when its `tools` name them.

use crate::context_tools;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::memory::{self, DELETE, LIST, MemoryChange, MemoryEntry, MemoryItem, READ, WRITE};
use cofferdam_core::port::{BoxFuture, MemoryReply, MemoryRequest, Tool, ToolContext, ToolDefinition, ToolOutput};
use serde_json::{Value, json};
use std::sync::Arc;

/// The four tools as one source.
pub(crate) struct MemoryTools {
    definitions: Vec<ToolDefinition>,
}

impl MemoryTools {
    pub(crate) fn new() -> Self {
        let agent = |about: &str| json!({ "type": "string", "minLength": 1, "description": about });
        let key = json!({
            "type": "string", "minLength": 1,
            "description": "The entry's key: letters, digits and `_-./:`.",
        });
        let value = json!({ "description": "Its value, any JSON but null." });
        let expected = json!({
            "type": "integer", "minimum": 0,
            "description": "Only if the entry still has this revision, as `memory_read` gave it; 0: only if there is none.",
        });
        // A change is the run's own, and the run knows a call that is made again by its key.
        let define = |name, about, required: &[&str], properties: &Value| {
            let tool = context_tools::definition_with(name, about, properties, required);
            if memory::reads(name) { context_tools::reading(tool) } else { tool }
        };
        Self {
            definitions: vec![
                define(
                    WRITE,
                    "Writes an entry of yours into the memory that the agents of this run share.",
                    &["key", "value"],
                    &json!({ "key": key, "value": value, "expected": expected }),
                ),
                define(
                    READ,
                    "Reads an entry of the memory that the agents of this run share; null when there is none.",
                    &["key"],
                    &json!({ "agent": agent("Whose entry it is; yours when absent."), "key": key }),
                ),
                define(
                    LIST,
                    "Lists what stands in the memory that the agents of this run share: whose, key, size, revision.",
                    &[],
                    &json!({ "agent": agent("Whose entries; everybody's when absent.") }),
                ),
                define(
                    DELETE,
                    "Removes an entry of yours from the memory that the agents of this run share.",
                    &["key"],
                    &json!({ "key": key, "expected": expected }),
                ),
            ],
        }
    }
}

impl Tool for MemoryTools {
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
            let request = request_of(name.as_str(), &args, &ctx.idempotency_key)?;
            Ok(output(ctx.run.remember(request).await?))
        })
    }
}

fn request_of(name: &str, args: &Value, call: &Arc<str>) -> Result<MemoryRequest, Fault> {
    let text = |name: &str| args.get(name).and_then(Value::as_str).map(str::to_owned);
    let key = text("key").unwrap_or_default();
    let expected = args.get("expected").map(revision).transpose()?;
    let change =
        |value| MemoryRequest::Change(MemoryChange { key: key.clone(), value, expected, call: Some(Arc::clone(call)) });
    Ok(match name {
        WRITE => change(Some(args.get("value").cloned().unwrap_or_default())),
        DELETE => change(None),
        READ => MemoryRequest::Read { namespace: text("agent"), key },
        _ => MemoryRequest::List { namespace: text("agent") },
    })
}

/// A revision, which JSON may write as `2` or `2.0`.
fn revision(value: &Value) -> Result<u64, Fault> {
    /// Up to here a number with a point is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=EXACT).contains(number));
    // It is whole, not negative, and exact.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let number = value.as_u64().or_else(|| whole.map(|number| number as u64));
    number.ok_or_else(|| Fault::step("invalid_arguments", format!("`expected` is {value}, which is no revision")))
}

fn output(reply: MemoryReply) -> ToolOutput {
    let result = match reply {
        MemoryReply::Entry(None) => Value::Null,
        MemoryReply::Entry(Some(MemoryEntry { value, revision })) => json!({ "value": *value, "revision": revision }),
        MemoryReply::Items(items) => items.iter().map(item).collect(),
        MemoryReply::Changed(revision) => json!({ "revision": revision }),
    };
    ToolOutput { result: Arc::new(result), content: None }
}

fn item(item: &MemoryItem) -> Value {
    json!({ "agent": &*item.namespace, "key": &*item.key, "bytes": item.bytes, "revision": item.revision })
}
