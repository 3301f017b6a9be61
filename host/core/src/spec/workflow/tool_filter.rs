//! Which tools an agent may use.

use crate::id::ToolName;
use crate::memory::{self, MemoryAccess};

/// Which tools an agent may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolFilter {
    /// Patterns that allow; none = all that the run offers. A final `*` matches any rest.
    pub allow: Option<Vec<String>>,
    /// Patterns that forbid; they win.
    pub deny: Vec<String>,
    /// What it may do with the shared memory, where that is said: then its tools need not be named. Else whoever is
    /// given them by name may use them as they are.
    pub memory: Option<MemoryAccess>,
}

impl ToolFilter {
    /// Whether the tool may be used.
    #[must_use]
    pub fn admits(&self, tool: &ToolName) -> bool {
        let name = tool.to_string();
        let any = |patterns: &[String]| patterns.iter().any(|pattern| pattern_matches(pattern, &name));
        let remembers = memory::is_tool(tool) && self.memory.as_ref().is_some_and(|memory| memory.offers(&name));
        !any(&self.deny) && (remembers || self.allow.as_deref().is_none_or(any))
    }

    /// Whether the agent shall have a tool of the run itself: it must be meant, to have all tools is not enough.
    #[must_use]
    pub fn means(&self, tool: &ToolName) -> bool {
        let meant = |pattern: &String| pattern != "*" && pattern_matches(pattern, tool.local().as_str());
        match &self.memory {
            Some(memory) if memory::is_tool(tool) => memory.offers(tool.local().as_str()),
            _ => self.allow.iter().flatten().any(meant),
        }
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
