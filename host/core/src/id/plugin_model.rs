//! The name of a model that a plugin has: `plugin:ALIAS/MODEL`.
//!
//! It must not know which plugins there are.

use super::Alias;
use std::fmt;

/// Most bytes of a model's own name.
const MOST_BYTES: usize = 200;

/// A model of a plugin, as documents and settings name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginModelName {
    /// The plugin.
    pub alias: Alias,
    /// What the plugin calls the model; may contain `/`.
    pub model: String,
}

impl PluginModelName {
    /// What the names of models of plugins begin with; no other name does.
    pub const PREFIX: &'static str = "plugin:";

    /// Reads a name; none when it is not that of a plugin's model.
    ///
    /// # Errors
    /// What is wrong with it, when it begins as one.
    pub fn parse(name: &str) -> Option<Result<Self, String>> {
        let rest = name.strip_prefix(Self::PREFIX)?;
        Some(Self::parse_rest(rest).map_err(|why| format!("`{name}` names no model of a plugin: {why}")))
    }

    /// Whether a model can be called this.
    #[must_use]
    pub fn is_model(name: &str) -> bool {
        !name.trim().is_empty() && name.len() <= MOST_BYTES && !name.contains(char::is_control)
    }

    fn parse_rest(rest: &str) -> Result<Self, String> {
        let (alias, model) = rest
            .split_once('/')
            .ok_or("it is written `plugin:ALIAS/MODEL`, the alias of a plugin and what that calls the model")?;
        let alias = Alias::parse(alias).map_err(|error| error.to_string())?;
        if !Self::is_model(model) {
            return Err(format!("the name of a model has 1 to {MOST_BYTES} bytes and no control characters"));
        }
        Ok(Self { alias, model: model.to_owned() })
    }
}

impl fmt::Display for PluginModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", Self::PREFIX, self.alias, self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_an_alias_and_a_model() {
        assert_eq!(PluginModelName::parse("openai/gpt-5"), None);
        for name in ["plugin:corp/small", "plugin:corp/Qwen/Qwen3-8B:q4"] {
            assert_eq!(PluginModelName::parse(name).unwrap().unwrap().to_string(), name);
        }
        for name in ["plugin:", "plugin:corp", "plugin:corp/", "plugin:/small", "plugin:Corp/small", "plugin:corp/a\nb"]
        {
            let why = PluginModelName::parse(name).unwrap().unwrap_err();
            assert!(why.starts_with(&format!("`{name}` names no model of a plugin: ")), "{why}");
        }
    }
}
