//! Options of models that hold for every run.

use super::Builder;
use cofferdam_core::model_options::ModelOptions;

impl Builder {
    /// Options of the requests to models of every run. What a document says beats them, then an agent, then the run. A run that
    /// is taken up again keeps those that it was started with.
    #[must_use]
    pub fn model_options(mut self, options: ModelOptions) -> Self {
        self.model_options = options;
        self
    }
}
