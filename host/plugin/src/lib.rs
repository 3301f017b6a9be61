//! Loads, polices and runs WebAssembly components.
//!
//! It must not know documents, runs or the other adapters: it gets a reference to a plugin with its grants and
//! limits, and gives a
//! [`cofferdam_core::port::Tool`], a `Transform` or a `Condition`. Nothing is built before the first plugin is loaded.
//! Reading order:

mod bindings;

pub mod builtin;
mod error;
mod host;
mod reference;

mod artifact;
mod cache;
mod compile;
pub mod compile_child;
mod manifest;
mod scan;
mod store;
mod version;

mod engine;
mod lane;
mod leg;
mod levels;
mod limit;
mod runtime;

mod failure;
mod frozen;
mod grant;
mod import;
mod instance;
mod mount;
mod services;
mod share;
mod tap;

mod about;
mod check;
mod inspect;
pub mod machine;
mod model;
mod pure;
mod recall;
mod sink;
mod step;
mod storage;
mod tool;
mod warm;
mod worlds;

pub use about::{About, AboutError, ListedModel};
pub use artifact::{Digest, DigestError, ReadError};
pub use cache::user_key;
pub use check::{Finding, Weight, check};
pub use cofferdam_core::schema::SchemaError;
pub use compile::{CompileChild, CompileError};
pub use engine::{Allocation, Occupancy};
pub use error::{LoadError, LoadFault};
pub use host::{CacheDirs, History, HostSettings, PluginHost};
pub use import::{KeptValue, Network, namespaces_of};
pub use inspect::{Inspection, Lifetime};
pub use limit::Limit;
pub use manifest::{Capability, Import, ManifestError};
pub use model::PluginModel;
pub use recall::PluginRecall;
pub use reference::{NameOf, PluginReference, Source, SourceError};
pub use scan::{Interpreter, ScanError};
pub use sink::PluginSink;
pub use storage::PluginStorage;
pub use store::{ComponentStore, StoreError};
pub use tap::{HostCall, HostCalls, Observation, Outcome, Spent, Tap};
pub use tool::LoadedPlugin;
pub use version::{Age, Mismatch, Mismatches};

#[cfg(test)]
mod testing;
