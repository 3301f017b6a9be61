//! Grants in words, and as the exact lines of `cofferdam.toml` that would give them.
//!
//! It must not know where the lines are shown, nor a secret's value.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Grants, HttpGrant, Mount};
use crate::id::Alias;

impl Grants {
    /// One line for each thing that is allowed: `send GET, HEAD to https://api.example.com/repos/**`.
    /// Meant to follow "may"; empty when nothing is granted.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.http.iter().map(explain_http).collect();
        match (self.fs.read, self.fs.write) {
            (true, true) => lines.push("read and write the step's directory (`/step`)".to_owned()),
            (true, false) => lines.push("read the step's directory (`/step`)".to_owned()),
            (false, true) => {
                lines.push("write the step's directory (`/step`) without reading it".to_owned());
            }
            (false, false) => {}
        }
        if self.fs.out {
            lines.push("read and write the run's output directory (`/out`)".to_owned());
        }
        lines.extend(self.fs.also.iter().map(explain_mount));
        lines.extend(self.kv.map(|kv| format!("keep data of its own for the {}", kv.scope.as_str())));
        lines.extend(self.secrets.iter().map(|secret| {
            let verb = if secret.reveal { "read the value of" } else { "refer to" };
            format!("{verb} the secret `{}`", secret.name)
        }));
        if !self.tools.is_empty() {
            let tools: Vec<String> = self.tools.iter().map(|tool| format!("`{tool}`")).collect();
            lines.push(format!("call the tools {}", tools.join(", ")));
        }
        lines
    }

    /// The table of `cofferdam.toml` that gives exactly these grants to a plugin. A table may stand only
    /// once in a file, so pass the union of what is already granted and what is missing.
    #[must_use]
    pub fn to_toml(&self, alias: &Alias) -> String {
        let mut text = format!("[plugins.{alias}.grants]\n");
        let table = serde_json::to_value(self).unwrap_or_default();
        for (key, value) in table.as_object().into_iter().flatten() {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{key} = {}", inline(value));
        }
        text
    }
}

fn explain_http(grant: &HttpGrant) -> String {
    let methods: Vec<&str> = grant.methods.iter().map(|method| method.as_str()).collect();
    let origin = grant.origin();
    let places: Vec<String> = if grant.paths.is_empty() {
        vec![origin]
    } else {
        grant.paths.iter().map(|path| format!("{origin}{path}")).collect()
    };
    let mut line = format!("send {} to {}", methods.join(", "), places.join(", "));
    for rule in &grant.inject {
        let _ = write!(line, ", with the secret `{}` added as the header `{}`", rule.secret, rule.header);
    }
    for rule in &grant.swap {
        let _ = write!(line, ", with the secret `{}` where it puts it into the {}", rule.secret, rule.part.as_str());
    }
    if !grant.cidrs.is_empty() {
        let blocks: Vec<String> = grant.cidrs.iter().map(ToString::to_string).collect();
        let _ = write!(line, ", also at the addresses {}", blocks.join(", "));
    }
    line
}

fn explain_mount(mount: &Mount) -> String {
    let verb = match (mount.read, mount.write) {
        (true, true) => "read and write",
        (false, true) => "write",
        _ => "read",
    };
    format!("{verb} the directory `{}` (`{}`)", mount.from, mount.at)
}

/// A value as inline TOML. Keys of grants are bare keys; there are no nulls and no floats.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let fields: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::any_grants;
    use super::*;

    #[test]
    fn a_denial_can_print_the_lines_that_would_allow_it() {
        let grants = Grants::parse(&json!({
            "http": [{ "host": "api.github.com", "methods": ["GET", "POST"], "paths": ["/repos/**"],
                       "inject": [{ "secret": "GITHUB", "header": "Authorization", "format": "Bearer {}" }] }],
            "fs": { "read": true, "out": true },
        }))
        .unwrap();
        let alias = Alias::parse("github").unwrap();
        assert_eq!(
            grants.to_toml(&alias),
            "[plugins.github.grants]\n\
             http = [{ host = \"api.github.com\", methods = [\"GET\", \"POST\"], paths = [\"/repos/**\"], \
             inject = [{ secret = \"GITHUB\", header = \"authorization\", format = \"Bearer {}\" }] }]\n\
             fs = { read = true, out = true }\n"
        );
        assert_eq!(
            grants.to_command_line(&alias),
            "--grant 'github:http=GET+POST@https://api.github.com/repos/**,inject=GITHUB:authorization:Bearer {}' \
             --grant github:fs=read,out"
        );
        assert_eq!(
            grants.explain(),
            [
                "send GET, POST to https://api.github.com/repos/**, with the secret `GITHUB` added as the header `authorization`",
                "read the step's directory (`/step`)",
                "read and write the run's output directory (`/out`)",
            ]
        );
        assert!(Grants::default().explain().is_empty());
    }

    proptest! {
        #[test]
        fn the_toml_lines_give_the_same_grants(grants in any_grants()) {
            let text = grants.to_toml(&Alias::parse("web").unwrap());
            let document: toml::Table = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            let table = serde_json::to_value(&document["plugins"]["web"]["grants"]).unwrap();
            prop_assert_eq!(Grants::parse(&table), Ok(grants));
        }
    }
}
