//! Where texts come from: the arguments themselves, a file, or several files.
//! One file that cannot be read is an error; of several it is skipped and listed.

use cofferdam_sdk::{Context, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// Held in memory whole, beside what is found in it.
pub(crate) const MOST_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Exactly one of `text` and `path`.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct One {
    /// The text itself.
    #[serde(default)]
    text: Option<String>,
    /// A file, relative to the step's directory.
    #[serde(default)]
    path: Option<String>,
}

/// Exactly one of `text`, `path` and `paths`.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Several {
    #[serde(flatten)]
    one: One,
    /// Files, relative to the step's directory.
    #[serde(default)]
    paths: Option<Vec<String>>,
}

/// A text and the file it is from.
pub(crate) struct Text {
    pub(crate) path: Option<String>,
    pub(crate) text: String,
}

/// Texts that were read, and files that were not.
pub(crate) struct Load {
    pub(crate) texts: Vec<Text>,
    pub(crate) skipped: Vec<Skipped>,
}

/// A file that was not read.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Skipped {
    pub(crate) path: String,
    /// What went wrong.
    pub(crate) reason: String,
}

impl One {
    /// Reads the text.
    ///
    /// # Errors
    ///
    /// No source or both, a file that cannot be read or is not text.
    pub(crate) fn load(self, ctx: &Context) -> Result<Text> {
        match (self.text, self.path) {
            (Some(text), None) => Ok(Text { path: None, text }),
            (None, Some(path)) => {
                let text = ctx.step().read_text(&path, MOST_FILE_BYTES)?;
                Ok(Text { path: Some(path), text })
            }
            _ => Err(Error::invalid_input("give exactly one of `text` and `path`")),
        }
    }
}

impl Several {
    /// Reads the texts.
    ///
    /// # Errors
    ///
    /// No source or several, no directory at all, a single file that cannot be
    /// read.
    pub(crate) fn load(self, ctx: &Context) -> Result<Load> {
        let Some(paths) = self.paths else {
            return Ok(Load { texts: vec![self.one.load(ctx)?], skipped: Vec::new() });
        };
        if self.one.text.is_some() || self.one.path.is_some() {
            return Err(Error::invalid_input("give exactly one of `text`, `path` and `paths`"));
        }
        let directory = ctx.step();
        let mut load = Load { texts: Vec::new(), skipped: Vec::new() };
        for path in paths {
            match directory.read_text(&path, MOST_FILE_BYTES) {
                Ok(text) => load.texts.push(Text { path: Some(path), text }),
                Err(error) if error.code() == Some("no_directory") => return Err(error),
                Err(error) => {
                    load.skipped.push(Skipped { path, reason: error.message().to_owned() });
                }
            }
        }
        Ok(load)
    }
}
