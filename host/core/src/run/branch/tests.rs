//! Branches of small runs, by hand.

use crate::port::{SourceError, SourceFile, Sources};
use crate::spec::{self, workflow::Workflow};
use serde_json::Value;
use std::sync::Arc;

/// The workflow of a document.
pub(crate) fn workflow(document: &Value) -> Arc<Workflow> {
    struct Nothing;
    impl Sources for Nothing {
        fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
            Err(SourceError::Missing(path.to_owned()))
        }
    }
    let loaded = spec::parse(&document.to_string(), "w.json", &Nothing).unwrap_or_else(|found| panic!("{found}"));
    Arc::new(loaded.workflow)
}
