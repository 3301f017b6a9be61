//! A workflow as an embedder holds it: loaded, checked, ready to run any number of times at once.

use crate::error::Error;
use crate::sources::{FileSources, WithRoot};
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
    /// Loads a document from a file, YAML or JSON. The path is taken as it is, also when it is a link, a pipe or standard
    /// input; the files that the document names must be below the path's directory.
    ///
    /// # Errors
    /// Every fault of the document and of the files it names, with place and hint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let sources = FileSources::new(path.parent().unwrap_or_else(|| Path::new(".")));
        let origin = path.display().to_string();
        let loaded = spec::load(&origin, &WithRoot::new(path, &sources))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_may_be_a_link_or_a_pipe_but_not_a_directory() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let real = elsewhere.path().join("real.yaml");
        std::fs::write(&real, "name: linked\nsteps: [{ id: a }]\n").unwrap();
        let link = folder.path().join("link.yaml");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let linked = Workflow::load(&link).unwrap();
        assert_eq!((linked.name(), &*linked.base), ("linked", folder.path()));
        assert_eq!(linked.file, std::fs::canonicalize(&real).ok());
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"name: piped\nsteps: [{ id: a }]\n").unwrap();
        drop(writer);
        let pipe = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let piped = Workflow::load(&pipe).unwrap();
        assert_eq!((piped.name(), piped.file.as_deref()), ("piped", None));
        let refused = Workflow::load(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("directory"), "{refused}");
    }

    #[test]
    fn files_that_a_document_names_cannot_be_links_that_lead_out() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("secret.md"), "secret").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("secret.md"), folder.path().join("text.md")).unwrap();
        let document = folder.path().join("w.yaml");
        std::fs::write(&document, "name: w\nsteps: [{ id: a, instructions: '@text.md' }]\n").unwrap();
        assert!(Workflow::load(&document).is_err());
    }
}
