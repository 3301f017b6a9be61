//! Native tools and the directories that they work in.
//!
//! It must not know of runs, models or permissions, and it reaches files only through directory handles: no path
//! of a caller is ever given to the file system as it is. Reading order:

mod directory;
mod isolated;
mod native;
mod outputs;

mod gitignore;
mod place;
mod walk;

mod edit;
mod exec;
mod glob;
mod grep;
mod read;
mod write;

pub use directory::Directories;
pub use exec::{ExecSettings, confined};
pub use native::NativeTools;
