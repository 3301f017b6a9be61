//! What plugins of documents may do.

use super::Builder;
use crate::grants::ProjectPlugin;
use cofferdam_core::id::Alias;
use cofferdam_core::policy::{Grants, Trust};

impl Builder {
    /// What a plugin may do that documents have under this alias, and from this source alone: `./scan.wasm` (relative to the
    /// project, without one to the document), `builtin:text`. It stands beside [`Self::grants`], in whatever order both are called, where there is also a way to
    /// name a digest ([`GrantPolicy::with_project_plugin`]).
    ///
    /// [`GrantPolicy::with_project_plugin`]: crate::GrantPolicy::with_project_plugin
    #[must_use]
    pub fn plugin(mut self, alias: Alias, source: impl Into<String>, grants: Grants) -> Self {
        let plugin = ProjectPlugin { source: source.into(), digest: None, grants, trust: Trust::default() };
        self.plugins.push((alias, plugin));
        self
    }
}
