//! Models of an embedder under any name.

use super::Builder;
use cofferdam_core::port::Model;
use std::sync::Arc;

impl Builder {
    /// Asked for every model name that the settings do not know, for a run and when one is taken up; the same name must give the
    /// same model. No answer refuses the name: another model is never taken silently. Names of plugins (`plugin:...`) never
    /// come here.
    #[must_use]
    pub fn model_resolver(mut self, resolve: impl Fn(&str) -> Option<Arc<dyn Model>> + Send + Sync + 'static) -> Self {
        self.resolver = Some(Arc::new(resolve));
        self
    }
}
