//! What a server offers, in our form: names, schemas, effects, and what tells one offer from another.
//!
//! What it says of itself is a claim. A tool that cannot be offered safely is left out and named.

use crate::name;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::id::LocalName;
use cofferdam_core::limits;
use cofferdam_core::policy::Trust;
use cofferdam_core::port::{Effects, ToolDefinition};
use cofferdam_core::schema;
use cofferdam_core::text::clean_to;
use cofferdam_core::value;
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One tool.
pub(crate) struct Offered {
    pub(crate) definition: ToolDefinition,
    /// What the server calls it.
    pub(crate) remote: String,
    /// Stands for what it takes and gives.
    pub(crate) schemas: String,
    /// Stands for everything that it says of itself.
    pub(crate) says: String,
}

/// A server's tools, and what was left out.
pub(crate) struct Offer {
    pub(crate) tools: BTreeMap<LocalName, Offered>,
    pub(crate) left_out: Vec<String>,
}

impl Offer {
    /// Puts a list of tools into our form.
    ///
    /// # Errors
    /// When two of them have one name here.
    pub(crate) fn of(listed: Vec<Tool>, trust: Trust) -> Result<Self, String> {
        let mut offer = Self { tools: BTreeMap::new(), left_out: Vec::new() };
        for tool in listed {
            let local = name::local(&tool.name);
            if let Some(other) = offer.tools.get(&local) {
                let (one, two) = (clean_to(&other.remote, 100), clean_to(&tool.name, 100));
                return Err(format!("its tools `{one}` and `{two}` are both called `{local}` here"));
            }
            match offered(local.clone(), &tool, trust) {
                Ok(offered) => drop(offer.tools.insert(local, offered)),
                Err(why) => offer.left_out.push(format!("`{}`: {why}", clean_to(&tool.name, 100))),
            }
        }
        Ok(offer)
    }

    /// Stands for the whole list.
    pub(crate) fn digest(&self) -> String {
        let each: String = self.tools.values().map(|tool| format!("{}\n", tool.says)).collect();
        sha256_hex(each.as_bytes())
    }
}

fn offered(local: LocalName, tool: &Tool, trust: Trust) -> Result<Offered, String> {
    let input = Value::Object((*tool.input_schema).clone());
    let output = tool.output_schema.as_ref().map(|schema| Value::Object((**schema).clone()));
    let text = input.to_string();
    schema::read(&text, schema::Root::Object).map_err(|error| format!("its schema is refused: {error}"))?;
    let gives = output.as_ref().map(Value::to_string).unwrap_or_default();
    if !gives.is_empty() {
        schema::read(&gives, schema::Root::Any).map_err(|error| format!("its output schema is refused: {error}"))?;
    }
    value::check_depth(&input).map_err(|error| error.to_string())?;
    let description = tool.description.as_deref().unwrap_or_default();
    let annotations = tool.annotations.clone().unwrap_or_default();
    let hints = format!("{annotations:?}");
    let title = tool.title.as_deref().or(annotations.title.as_deref()).map(|title| clean_to(title, 200));
    let schemas = sha256_hex([&tool.name, text.as_str(), gives.as_str()].join("\0").as_bytes());
    let said = [schemas.as_str(), description, title.as_deref().unwrap_or_default(), &hints].join("\0");
    Ok(Offered {
        remote: tool.name.to_string(),
        schemas,
        says: sha256_hex(said.as_bytes()),
        definition: ToolDefinition {
            name: local,
            title,
            description: lines(description),
            input_schema: Arc::new(input),
            output_schema: output.map(Arc::new),
            effects: believed(&annotations, trust),
            examples: Vec::new(),
        },
    })
}

/// What is said against a tool is believed, what is said for it only when the user does.
fn believed(hints: &ToolAnnotations, trust: Trust) -> Effects {
    let read_only = trust.read_only && hints.read_only_hint == Some(true);
    Effects {
        read_only,
        destructive: !read_only && hints.destructive_hint.unwrap_or(true),
        idempotent: trust.idempotent && (read_only || hints.idempotent_hint == Some(true)),
        open_world: hints.open_world_hint.unwrap_or(true),
        stays_within: false,
        within_run: false,
    }
}

/// Text of several lines, bounded and without what forges others.
fn lines(text: &str) -> String {
    let cut = text.get(..text.floor_char_boundary(limits::PLUGIN_DESCRIPTION_BYTES)).unwrap_or_default();
    cut.lines().map(|line| clean_to(line, limits::PLUGIN_DESCRIPTION_BYTES)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool(value: Value) -> Tool {
        serde_json::from_value(value).unwrap()
    }

    fn named(name: &str) -> Tool {
        tool(json!({ "name": name, "inputSchema": { "type": "object" } }))
    }

    #[test]
    fn two_tools_with_one_name_are_refused() {
        let error = Offer::of(vec![named("getIssue"), named("getissue")], Trust::default()).err().unwrap();
        assert!(error.contains("`getIssue` and `getissue`"), "{error}");
    }

    #[test]
    fn what_a_server_says_for_itself_is_believed_when_the_user_does() {
        let reads = || {
            tool(json!({
                "name": "look", "inputSchema": { "type": "object" },
                "annotations": { "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false },
            }))
        };
        let effects = |trust| Offer::of(vec![reads()], trust).unwrap().tools["look"].definition.effects;
        let claimed = effects(Trust::default());
        assert!(!claimed.read_only && !claimed.idempotent && claimed.destructive && !claimed.open_world);
        let believed = effects(Trust { read_only: true, idempotent: true });
        assert!(believed.read_only && believed.idempotent && !believed.destructive);
    }

    #[test]
    fn schemas_that_could_hurt_are_left_out() {
        let bomb = json!({ "type": "object", "description": "x".repeat(70_000) });
        let remote = json!({ "type": "object", "properties": { "a": { "$ref": "https://x/y" } } });
        let list = vec![
            named("good"),
            tool(json!({ "name": "large", "inputSchema": bomb })),
            tool(json!({ "name": "far", "inputSchema": remote })),
            tool(json!({ "name": "none", "inputSchema": { "type": "string" } })),
        ];
        let offer = Offer::of(list, Trust::default()).unwrap();
        assert_eq!(offer.tools.keys().map(LocalName::as_str).collect::<Vec<_>>(), ["good"]);
        assert_eq!(offer.left_out.len(), 3, "{:?}", offer.left_out);
    }

    #[test]
    fn another_description_is_another_offer_with_the_same_schemas() {
        let with = |about: &str| {
            let list = vec![tool(json!({ "name": "a", "description": about, "inputSchema": { "type": "object" } }))];
            Offer::of(list, Trust::default()).unwrap()
        };
        let (one, two) = (with("one"), with("two"));
        assert_eq!(one.tools["a"].schemas, two.tools["a"].schemas);
        assert_ne!(one.digest(), two.digest());
    }
}
