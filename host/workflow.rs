//! A workflow as an embedder holds it: loaded, checked, ready to run any number of times at once.

use crate::error::Error;
use crate::sources::FileSources;
use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::port::Sources;
use cofferdam_core::spec;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cofferdam_core::spec::InputText;

/// A document that may run.
#[derive(Clone)]
pub struct Workflow {
    pub(crate) inner: Arc<spec::workflow::Workflow>,
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) base: PathBuf,
    /// The document's file, with no link in its path; none when it was read from text or a pipe.
    pub(crate) file: Option<PathBuf>,
    warnings: Diagnostics,
}

impl Workflow {
    /// Loads a document from a file, YAML or JSON.
    ///
    /// # Errors
    /// Every fault of the document and of the files it names, with place and hint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let sources = FileSources::new(path.parent().unwrap_or_else(|| Path::new(".")));
        let origin = path.display().to_string();
        let loaded = spec::load(&origin, &sources)?;
        let file = std::fs::canonicalize(path).ok().filter(|path| path.is_file());
        Ok(Self::from_loaded(loaded, sources, file))
    }

    /// Reads a document from text. The files it names are below `base`.
    ///
    /// # Errors
    /// Every fault of the document and of the files it names, with place and hint.
    pub fn parse(text: &str, base: impl AsRef<Path>) -> Result<Self, Error> {
        let sources = FileSources::new(base.as_ref());
        let loaded = spec::parse(text, "workflow", &sources)?;
        Ok(Self::from_loaded(loaded, sources, None))
    }

    fn from_loaded(loaded: spec::Loaded, sources: FileSources, file: Option<PathBuf>) -> Self {
        let base = sources.base().to_owned();
        Self { inner: Arc::new(loaded.workflow), sources: Arc::new(sources), base, file, warnings: loaded.warnings }
    }

    /// The document's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The checked document.
    #[must_use]
    pub fn document(&self) -> &spec::workflow::Workflow {
        &self.inner
    }

    /// What is legal and perhaps not meant.
    #[must_use]
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
}
