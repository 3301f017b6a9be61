//! The reference pages in `host/docs` are written from the tables of the source. `UPDATE=1` rewrites them.

use crate::support::{Golden, check_golden, repository};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;

#[test]
fn the_page_of_limits_lists_every_bound_with_its_reason() {
    let mut page = String::from(
        "# Limits\n\nEvery bound of the system. Rewritten from `host/core/src/limits.rs`; `cofferdam limits` prints the \
         same.\n\n| limit | value | unit | without it |\n| --- | ---: | --- | --- |\n",
    );
    for limit in cofferdam::core::limits::ALL {
        assert!(limit.reason.len() > 10, "{} has no reason", limit.name);
        writeln!(page, "| `{}` | {} | {} | {} |", limit.name.to_lowercase(), limit.value, limit.unit, limit.reason)
            .unwrap();
    }
    let path = repository().join("host/docs/limits.md");
    check_golden(&Golden { path, actual: page }).unwrap();
}

#[test]
fn the_page_of_findings_lists_every_code() {
    let mut page = String::from(
        "# Findings\n\nThe codes of what `cofferdam validate` reports. Rewritten from `host/core/src/spec/code.rs`.\n",
    );
    for code in cofferdam::core::spec::code::ALL {
        write!(page, "\n## {}: {}\n\n{}\n", code.id, code.title, code.about).unwrap();
    }
    let path = repository().join("host/docs/findings.md");
    check_golden(&Golden { path, actual: page }).unwrap();
}

/// The variants of `RunEvent`'s body with their comments and fields, read from the source: the comments are the page.
#[test]
fn the_page_of_events_lists_every_kind() {
    let text = fs::read_to_string(repository().join("host/core/src/event.rs")).unwrap();
    let body = text.split_once("pub enum Body {").unwrap().1.split_once("\n}\n").unwrap().0;
    let mut page = String::from(
        "# Events\n\nWhat happens in a run, as `--json` prints it and the journal keeps it: one JSON object a line with `seq` \
         (dense, from 1), `at` (RFC 3339), `run_id`, `path` (the step; absent for the run itself), `attempt` and `kind`, and \
         the fields of the kind. Transient kinds (`output_delta`, `thinking_delta`, `progress`) carry the `seq` of the last \
         durable event and a `sub` of their own; they are shown and not kept. Fields and kinds are only ever added. Rewritten \
         from `host/core/src/event.rs`.\n",
    );
    let mut comment = String::new();
    let mut kinds = 0;
    for line in body.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(said) = line.strip_prefix("///") {
            comment.push_str(said.trim());
            comment.push(' ');
        } else if indent == 4 && line.starts_with(|first: char| first.is_ascii_uppercase()) {
            let name: String = line.chars().take_while(char::is_ascii_alphanumeric).collect();
            if !["Unknown", "Newer"].contains(&name.as_str()) {
                kinds += 1;
                write!(page, "\n## `{}`\n\n{}\n", snake_case(&name), comment.trim()).unwrap();
                if !line.contains("{}") {
                    page.push('\n');
                }
                if let Some((_, fields)) = line.strip_suffix("),").and_then(|line| line.split_once('(')) {
                    page.push_str(&fields_of(fields));
                }
            }
            comment.clear();
        } else if indent == 8
            && let Some((field, _)) = line.split_once(": ").filter(|_| !line.starts_with('#'))
        {
            writeln!(page, "- `{field}`: {}", comment.trim()).unwrap();
            comment.clear();
        }
    }
    let kinds_on_the_wire = fs::read_to_string(repository().join("host/core/src/event/kinds.rs")).unwrap();
    let known = kinds_on_the_wire
        .split_once("pub fn kind(&self)")
        .unwrap()
        .1
        .split_once("\n    }\n")
        .unwrap()
        .0
        .matches("=> \"")
        .count()
        - 1;
    assert_eq!(kinds, known, "the page and `Body::kind` disagree about the kinds");
    check_golden(&Golden { path: repository().join("host/docs/events.md"), actual: page }).unwrap();
}

/// The fields of a kind that has a type of its own.
fn fields_of(name: &str) -> String {
    let source = repository().join("host/core/src");
    let events = fs::read_dir(source.join("event")).unwrap().map(|file| file.unwrap().path());
    let files = events.chain([source.join("budget/account.rs")]);
    let text: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let body = text.split_once(&format!("pub struct {name} {{")).unwrap().1.split_once("\n}\n").unwrap().0;
    let (mut fields, mut comment) = (String::new(), String::new());
    for line in body.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("///") {
            comment.push_str(said.trim());
            comment.push(' ');
        } else if let Some((field, _)) = line.strip_prefix("pub ").and_then(|line| line.split_once(": ")) {
            writeln!(fields, "- `{field}`: {}", comment.trim()).unwrap();
            comment.clear();
        }
    }
    fields
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (at, found) in name.char_indices() {
        if found.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(found.to_ascii_lowercase());
    }
    snake
}

/// The page of the language, from the JSON Schema that `cofferdam schema` prints.
#[test]
fn the_page_of_the_language_lists_every_key() {
    let schema = cofferdam::core::spec::schema();
    let mut page = String::from(
        "# The workflow document\n\nYAML or JSON, at most 1 MiB. Every key of this version; a key that is not here is an error, \
         but keys that begin with `x-` are allowed and ignored, except where others give the names: of headers, variables of the \
         environment and providers. `cofferdam validate` reports every fault at once ([findings](findings.md)), `cofferdam schema` prints the JSON Schema that this page is written from.\n\n\
         Expressions are CEL; they stand in `condition`, `forEach`, `while`, `until` and `output` and read `inputs`, `vars`, \
         `input`, `steps.ID.content`, `.result`, `.status`, `.error`, inside a `forEach` `item` and `index`, and inside a loop \
         that repeats `iteration`; `while` and `until` also read `content`, `result` and `status` of the iteration. A condition \
         that reads a key that is not there skips its step. Templates stand in `args`, `with`, `input` and `ask.prompt`: a string that is exactly one `{{ expression }}` keeps the \
         type of its value, mixed text gets it as text, and data is never read as a template.\n",
    );
    let tables = schema["$defs"].as_object().unwrap();
    for (table, definition) in tables {
        let required = definition["required"].as_array().unwrap();
        write!(page, "\n## {}\n\n| key | takes | what it does |\n| --- | --- | --- |\n", heading(table)).unwrap();
        for (key, shape) in definition["properties"].as_object().unwrap() {
            let star = if required.iter().any(|name| name == key) { " (required)" } else { "" };
            let about = shape["description"].as_str().unwrap().replace('|', "\\|");
            writeln!(page, "| `{key}`{star} | {} | {about} |", takes(shape)).unwrap();
        }
    }
    check_golden(&Golden { path: repository().join("host/docs/language.md"), actual: page }).unwrap();
}

fn heading(table: &str) -> String {
    match table {
        "document" => "The document".to_owned(),
        "options" => "Options".to_owned(),
        "agent" | "input" | "agent-memory" => format!("An {}", table.replace('-', " ")),
        "mcp-server" => "An MCP server".to_owned(),
        "limits" => "Limits".to_owned(),
        "model-options" => "Options of models".to_owned(),
        other => format!("A {}", other.replace('-', " ")),
    }
}

/// The type of a key in a few words.
fn takes(shape: &Value) -> String {
    if let Some(choices) = shape["enum"].as_array() {
        let choices: Vec<String> = choices
            .iter()
            .filter_map(|choice| choice.as_str().filter(|choice| !choice.is_empty()))
            .map(|choice| format!("`{choice}`"))
            .collect();
        return choices.join(", ");
    }
    if let Some(table) = shape["$ref"].as_str() {
        return format!("table `{}`", table.rsplit('/').next().unwrap());
    }
    if let Some(either) = shape["anyOf"].as_array() {
        return either.iter().map(takes).collect::<Vec<_>>().join(" or ");
    }
    match (shape["type"].as_str(), &shape["items"], &shape["additionalProperties"]) {
        (Some("array"), items, _) if items.as_object().is_some_and(|items| !items.is_empty()) => {
            format!("list of {}", takes(items))
        }
        (Some("array"), ..) => "list".to_owned(),
        (Some("object"), _, members) if members.is_object() => format!("names, each with {}", takes(members)),
        (Some("object"), ..) => "table".to_owned(),
        (Some("string"), ..) if shape["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms")) => {
            "duration".to_owned()
        }
        (Some("string"), ..) => "text".to_owned(),
        (Some("integer"), ..) => "whole number".to_owned(),
        (Some(other), ..) => other.to_owned(),
        (None, ..) if shape["type"].is_array() => "JSON Schema".to_owned(),
        (None, ..) => "anything".to_owned(),
    }
}
