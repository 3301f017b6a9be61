//! What `plugin inspect` shows, as text.

use crate::ui::paint;
use cofferdam::core::id::Alias;
use cofferdam::core::policy::PluginKind;
use cofferdam::core::port::ToolDefinition;
use cofferdam::plugin::{Inspection, Lifetime, ListedModel};
use cofferdam::sink::{bytes, clean};
use serde_json::Value;
use std::fmt::Write as _;

/// Most characters of a tool's description.
const DESCRIPTION_CHARS: usize = 300;

pub(super) fn render(alias: &Alias, plugin: &Inspection) -> String {
    let about = &plugin.about;
    let mut text = format!("{} {}\n", paint::strong(&clean(&about.id, 100)), clean(&about.version, 64));
    if !about.summary.is_empty() {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{}", clean(&about.summary, DESCRIPTION_CHARS));
    }
    text.push('\n');
    push(&mut text, "source", &plugin.source);
    push(&mut text, "digest", &plugin.digest.to_string());
    push(&mut text, "size", &bytes(plugin.history.size_bytes as u64));
    let compiled = match plugin.history.cached {
        true => format!("found in the cache, ready after {} µs", plugin.history.load_us),
        false => format!("in {} ms", plugin.history.compile_ms),
    };
    push(&mut text, "compiled", &compiled);
    let kinds = plugin.kinds.iter().map(|kind| format!("{kind:?}").to_lowercase());
    push(&mut text, "kinds", &kinds.collect::<Vec<_>>().join(", "));
    if let Some(interpreter) = plugin.interpreter {
        let instance = match plugin.instance {
            Lifetime::Step => "one instance for the calls of a step",
            _ => "a fresh instance for each call",
        };
        push(&mut text, "language", &format!("{}; {instance}", interpreter.name()));
    }
    push_options(&mut text, "transform", about.transform_options.as_ref());
    push_options(&mut text, "condition", about.condition_options.as_ref());
    if !about.tools.is_empty() {
        push_tools(&mut text, &about.tools);
    }
    if plugin.kinds.contains(&PluginKind::Model) {
        push_models(&mut text, alias, &about.models);
    }
    push_imports(&mut text, plugin);
    push_capabilities(&mut text, alias, plugin);
    push_limits(&mut text, plugin);
    text
}

fn push(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "{label:<9} {value}");
}

fn push_tools(text: &mut String, tools: &[ToolDefinition]) {
    let _ = writeln!(text, "\n{}", paint::strong("Tools"));
    for tool in tools {
        let _ = writeln!(text, "  {}  {}", tool.name, paint::quiet(&effects(tool)));
        let _ = writeln!(text, "      {}", clean(&tool.description, DESCRIPTION_CHARS));
        if let Some(arguments) = arguments(&tool.input_schema) {
            let _ = writeln!(text, "      takes {arguments}");
        }
    }
}

fn push_models(text: &mut String, alias: &Alias, models: &[ListedModel]) {
    let _ = writeln!(text, "\n{}", paint::strong("Models"));
    if models.is_empty() {
        let _ = writeln!(text, "  it lists none and takes any name: plugin:{alias}/NAME");
    }
    for model in models {
        let kind = if model.is_language_model { "" } else { "not a language model" };
        let _ = writeln!(text, "  plugin:{alias}/{}  {}", clean(&model.name, 200), paint::quiet(kind));
        if !model.summary.is_empty() {
            let _ = writeln!(text, "      {}", clean(&model.summary, DESCRIPTION_CHARS));
        }
    }
}

fn effects(tool: &ToolDefinition) -> String {
    let effects = tool.effects;
    let words = [
        (effects.read_only, "only reads"),
        (effects.destructive, "may destroy"),
        (effects.idempotent, "may be repeated"),
        (effects.open_world, "talks to the world"),
    ];
    words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
}

/// The arguments by name; a star marks what must be given.
fn arguments(schema: &Value) -> Option<String> {
    let properties = schema.get("properties")?.as_object()?;
    let required = schema.get("required").and_then(|list| list.as_array());
    let is_required = |name: &str| required.is_some_and(|list| list.iter().any(|item| item == name));
    let names =
        properties.keys().map(|name| format!("{}{}", clean(name, 60), if is_required(name) { "*" } else { "" }));
    (!properties.is_empty()).then(|| names.collect::<Vec<_>>().join(", "))
}

/// The options of a transform or condition.
fn push_options(text: &mut String, kind: &str, schema: Option<&Value>) {
    if let Some(options) = schema.and_then(arguments) {
        let _ = writeln!(text, "options   as a {kind}: {options}");
    }
}

fn push_imports(text: &mut String, plugin: &Inspection) {
    let _ = writeln!(text, "\n{}", paint::strong("Imports"));
    for import in &plugin.imports {
        let unsupported = if plugin.unsupported.contains(&import.capability) { ", answers `unsupported`" } else { "" };
        let served = paint::quiet(&format!("served {}{unsupported}", import.served));
        let _ = writeln!(text, "  {}  {served}", import.interface);
    }
    if !plugin.baseline.is_empty() {
        let line = format!("{} of its standard library, linked as closed doors", plugin.baseline.len());
        let _ = writeln!(text, "  {}", paint::quiet(&line));
    }
}

fn push_capabilities(text: &mut String, alias: &Alias, plugin: &Inspection) {
    let _ = writeln!(text, "\n{}", paint::strong("May"));
    let mut list = |mark: String, lines: &[String]| {
        for line in lines {
            let _ = writeln!(text, "  {mark} {line}");
        }
    };
    list(paint::good("granted "), &plugin.granted);
    list(paint::warn("missing "), &plugin.missing);
    list(paint::quiet("unneeded"), &plugin.unneeded);
    list(paint::warn("to name "), &plugin.to_name);
    if plugin.granted.is_empty() && plugin.missing.is_empty() && plugin.to_name.is_empty() {
        let _ = writeln!(text, "  only compute; as far as its imports tell it needs no grant");
    }
    if !plugin.missing.is_empty() {
        let _ = writeln!(text, "  to grant what is missing:  {}", plugin.smallest_grant.to_command_line(alias));
    }
    if !plugin.to_name.is_empty() {
        let hint = "its imports do not tell which: allow with --grant what it needs, the words in capitals replaced";
        let _ = writeln!(text, "  {}", paint::quiet(hint));
    }
}

fn push_limits(text: &mut String, plugin: &Inspection) {
    let _ = writeln!(text, "\n{}", paint::strong("Limits"));
    let limits = &plugin.limits;
    let rows = [
        ("memory", bytes(limits.memory_bytes)),
        ("time of a call", cofferdam::sink::duration(limits.wall)),
        ("argument, result", bytes(limits.payload_bytes)),
        ("copied to the host", bytes(limits.hostcall_bytes)),
        ("stdout, stderr", bytes(limits.output_bytes)),
        ("table elements", limits.table_elements.to_string()),
        ("instances", limits.core_instances.to_string()),
        ("handles", limits.handles.to_string()),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<19} {value}");
    }
    if let Some(fuel) = limits.fuel {
        let _ = writeln!(text, "  {:<19} {fuel} units of fuel", "computing");
    }
    if let Some(http) = &limits.http {
        let value = format!("{} requests, {} at once, {} a body", http.calls, http.concurrent, bytes(http.body_bytes));
        let _ = writeln!(text, "  {:<19} {value}", "http, when granted");
    }
}
