//! Which tools an agent may use.

use crate::id::ToolName;

/// Which tools an agent may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolFilter {
    /// Patterns that allow; none = all that the run offers. A final `*` matches any rest.
    pub allow: Option<Vec<String>>,
    /// Patterns that forbid; they win.
    pub deny: Vec<String>,
}

impl ToolFilter {
    /// Whether the tool may be used.
    #[must_use]
    pub fn admits(&self, tool: &ToolName) -> bool {
        let name = tool.to_string();
        let any = |patterns: &[String]| patterns.iter().any(|pattern| pattern_matches(pattern, &name));
        !any(&self.deny) && self.allow.as_deref().is_none_or(any)
    }
}

/// Whether a tool pattern (`read`, `github.*`, `*`) matches a tool's name.
#[must_use]
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        // The name that zenflow has for it.
        None => pattern == name || pattern == "bash" && name == "exec",
    }
}
