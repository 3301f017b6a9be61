//! The plugin host: what is built once, when the first plugin is used, and how a plugin gets loaded.
//!
//! It must not read documents or settings, and it decides no grants.

use crate::about::About;
use crate::artifact::{Artifact, Digest};
use crate::bindings::ServedPre;
use crate::cache::{Cache, Kind};
use crate::compile::{CompileChild, Compiler};
use crate::engine::Engine;
use crate::error::{LoadError, LoadFault};
use crate::failure::{Culprit, Failure};
use crate::grant::Rights;
use crate::import::Network;
use crate::instance::{Call, Ended, Identity, Prepared, SelfDescription};
use crate::manifest::Manifest;
use crate::mount::{self, WRITE_ONLY};
use crate::reference::{PluginReference, Source};
use crate::runtime::GuestRuntime;
use crate::scan::{Outline, scan};
use crate::services::Services;
use crate::tool::{LoadedPlugin, Parts};
use cofferdam_core::policy::{FsGrant, KindLimits, PluginKind};
use cofferdam_core::port::{Clock, Journal, Redactor, State};
use cofferdam_core::schema;
use cofferdam_core::{limits, value};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wasmtime::component::Component;

/// Changes whenever what stands in the cache changes its meaning, or what the scan lets pass.
const CACHE_VERSION: u32 = 1;

/// What the host needs of its surroundings.
pub struct HostSettings {
    /// The wall clock of runs, for the deadlines of calls.
    pub clock: Arc<dyn Clock>,
    /// Where compiled code is kept, and the directory that holds the key which authenticates it; none keeps nothing.
    pub cache: Option<CacheDirs>,
    /// How to compile in another process; none compiles in this one.
    pub compile_child: Option<CompileChild>,
    /// How granted requests leave; none refuses them all.
    pub network: Option<Network>,
    /// Where values of plugins are kept; none refuses them all.
    pub state: Option<Arc<dyn State>>,
    /// Where blobs are kept; none refuses them all.
    pub blobs: Option<Arc<dyn Journal>>,
    /// Knows what must not be written to a log.
    pub redactor: Arc<dyn Redactor>,
}

/// The directories of the cache. Both are made when missing, and closed to other users.
#[derive(Clone, Debug)]
pub struct CacheDirs {
    /// Compiled code; may be deleted at any time.
    pub code: PathBuf,
    /// The key. Whoever reads it can forge compiled code.
    pub state: PathBuf,
}

/// Loads plugins. Creating one starts nothing.
pub struct PluginHost {
    settings: HostSettings,
    core: Mutex<Option<Arc<Core>>>,
    kept: Arc<AtomicBool>,
}

/// What all plugins of a process share.
pub(crate) struct Core {
    engine: Arc<Engine>,
    pub(crate) runtime: GuestRuntime,
    compiler: Compiler,
    cache: Option<Cache>,
    compatibility: u64,
    clock: Arc<dyn Clock>,
}

/// What the cache keeps of a plugin besides its code.
#[derive(Serialize, Deserialize)]
struct Kept {
    outline: Outline,
    about: About,
    compile_ms: u64,
}

/// A plugin as it came from its source, before grants matter.
struct Known {
    artifact: Artifact,
    manifest: Manifest,
    about: About,
    pre: ServedPre<crate::instance::Guest>,
    history: History,
}

/// How a plugin got to be ready.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct History {
    /// Size of the component in bytes.
    pub size_bytes: usize,
    /// Whether compiled code was found in the cache.
    pub cached: bool,
    /// How long compiling took when it was done, in milliseconds.
    pub compile_ms: u64,
    /// How long this load took, in microseconds.
    pub load_us: u64,
}

impl PluginHost {
    /// A host with these settings. Threads, engine and directories come with the first plugin.
    #[must_use]
    pub fn new(settings: HostSettings) -> Self {
        Self { settings, core: Mutex::new(None), kept: Arc::default() }
    }

    /// Whether any plugin has kept a value that goes with its run, since this host was made.
    #[must_use]
    pub fn has_kept_values(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    fn services(&self, granted: &FsGrant, base: &Path) -> Result<Services, LoadFault> {
        Ok(Services {
            network: self.settings.network.clone(),
            state: self.settings.state.clone(),
            blobs: self.settings.blobs.clone(),
            redactor: Arc::clone(&self.settings.redactor),
            clock: Arc::clone(&self.settings.clock),
            mounts: mount::open(granted, base)?.into(),
            kept: Arc::clone(&self.kept),
        })
    }

    /// Loads a plugin: reads it, checks it, compiles it unless that was done before, and asks it what it is.
    ///
    /// # Errors
    /// What is wrong with it, and what to do. A missing grant is no error.
    pub async fn load(&self, reference: PluginReference) -> Result<Arc<LoadedPlugin>, LoadError> {
        let (alias, origin) = (reference.alias.clone(), reference.source.to_string());
        self.load_inner(reference).await.map(|(plugin, _)| plugin).map_err(|fault| LoadError::new(alias, origin, fault))
    }

    pub(crate) async fn load_inner(
        &self,
        reference: PluginReference,
    ) -> Result<(Arc<LoadedPlugin>, History), LoadFault> {
        let core = self.core()?;
        let limits = reference.limits.apply(PluginKind::Tool).map_err(LoadFault::Limits)?;
        refuse_unserved(&reference)?;
        let task = {
            let (core, reference) = (Arc::clone(&core), reference.clone());
            Arc::clone(&core).runtime.spawn(async move { core.know(&reference).await })
        };
        let known = task.await.map_err(|panicked| LoadFault::Host(panicked.0))??;
        let source = reference.source.to_string();
        let config = config(&known.about, &reference.config)?;
        let identity = Identity {
            alias: reference.alias,
            digest: known.artifact.digest,
            config,
            services: self.services(&reference.granted.fs, &reference.base)?,
            rights: Arc::new(Rights::new(reference.granted, reference.requested)),
            limits,
            id: known.about.id.clone(),
        };
        let plugin = LoadedPlugin::new(Parts {
            prepared: Prepared { engine: Arc::clone(&core.engine), pre: known.pre },
            core,
            clock: Arc::clone(&self.settings.clock),
            identity: Arc::new(identity),
            manifest: known.manifest,
            about: known.about,
            source,
        });
        Ok((Arc::new(plugin), known.history))
    }

    fn core(&self) -> Result<Arc<Core>, LoadFault> {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(core) = &*core {
            return Ok(Arc::clone(core));
        }
        let fresh = Arc::new(Core::new(&self.settings)?);
        *core = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

impl Core {
    fn new(settings: &HostSettings) -> Result<Self, LoadFault> {
        let engine = Engine::new().map_err(|error| LoadFault::Host(format!("{error:#}")))?;
        let runtime = GuestRuntime::start().map_err(|error| LoadFault::Host(error.to_string()))?;
        let cache = settings.cache.as_ref().and_then(|dirs| match Cache::open(&dirs.code, &dirs.state) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(%error, "the plugin cache cannot be used; plugins are compiled each time");
                None
            }
        });
        let mut hasher = DefaultHasher::new();
        engine.wasm().precompile_compatibility_hash().hash(&mut hasher);
        CACHE_VERSION.hash(&mut hasher);
        Ok(Self {
            compatibility: hasher.finish(),
            engine: Arc::new(engine),
            runtime,
            compiler: Compiler::new(settings.compile_child.clone()),
            cache,
            clock: Arc::clone(&settings.clock),
        })
    }

    /// Everything about a plugin that does not depend on who uses it.
    async fn know(self: &Arc<Self>, reference: &PluginReference) -> Result<Known, LoadFault> {
        let begun = Instant::now();
        let artifact = read(&reference.source)?;
        if let Some(expected) = reference.digest
            && expected != artifact.digest
        {
            return Err(LoadFault::Digest { expected, found: artifact.digest });
        }
        let key = format!("{}-{:016x}", artifact.digest.hex(), self.compatibility);
        if let Some((kept, component)) = self.recall(&key) {
            let manifest = Manifest::read(&kept.outline).map_err(LoadFault::Manifest)?;
            let pre = self.link(&component)?;
            let history = history(&artifact, true, kept.compile_ms, begun);
            return Ok(Known { artifact, manifest, about: kept.about, pre, history });
        }
        let outline = scan(&artifact.bytes).map_err(LoadFault::Scan)?;
        let manifest = Manifest::read(&outline).map_err(LoadFault::Manifest)?;
        manifest.require_tool().map_err(LoadFault::Manifest)?;
        let (component, compile_ms) = self.compile(&key, &artifact).await?;
        let pre = self.link(&component)?;
        let about = self.describe(reference, artifact.digest, &pre).await?;
        let kept = Kept { outline, about, compile_ms };
        if let (Some(cache), Ok(text)) = (&self.cache, serde_json::to_vec(&kept)) {
            cache.store(&key, Kind::Description, &text);
        }
        let history = history(&artifact, false, compile_ms, begun);
        Ok(Known { artifact, manifest, about: kept.about, pre, history })
    }

    fn recall(&self, key: &str) -> Option<(Kept, Component)> {
        let cache = self.cache.as_ref()?;
        let kept = serde_json::from_slice(cache.load(key, Kind::Description)?.payload()).ok()?;
        Some((kept, self.recall_code(key)?))
    }

    fn recall_code(&self, key: &str) -> Option<Component> {
        let entry = self.cache.as_ref()?.load(key, Kind::Code)?;
        match deserialize(self.engine.wasm(), entry.payload()) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, "cached code does not fit this engine and is built again");
                None
            }
        }
    }

    async fn compile(self: &Arc<Self>, key: &str, artifact: &Artifact) -> Result<(Component, u64), LoadFault> {
        if let Some(component) = self.recall_code(key) {
            return Ok((component, 0));
        }
        let begun = Instant::now();
        let bytes: Arc<[u8]> = Arc::from(&*artifact.bytes);
        let code = self.compiler.compile(&self.engine, bytes).await.map_err(LoadFault::Compile)?;
        let component =
            deserialize(self.engine.wasm(), &code).map_err(|error| LoadFault::Host(format!("{error:#}")))?;
        if let Some(cache) = &self.cache {
            cache.store(key, Kind::Code, &code);
        }
        Ok((component, millis(begun)))
    }

    /// Matches the component's imports and exports with ours, types included.
    fn link(&self, component: &Component) -> Result<ServedPre<crate::instance::Guest>, LoadFault> {
        let interface =
            |error: wasmtime::Error| LoadFault::Interface(cofferdam_core::text::clean_to(&format!("{error:#}"), 500));
        let pre = self.engine.linker().instantiate_pre(component).map_err(interface)?;
        ServedPre::new(pre).map_err(interface)
    }

    /// Asks the plugin what it is, with everything denied and little time.
    async fn describe(
        &self,
        reference: &PluginReference,
        digest: Digest,
        pre: &ServedPre<crate::instance::Guest>,
    ) -> Result<About, LoadFault> {
        let identity = Identity {
            alias: reference.alias.clone(),
            digest,
            config: Arc::from("{}"),
            rights: Arc::default(),
            limits: PluginKind::Tool.limits(),
            services: Services::none(Arc::clone(&self.clock)),
            id: String::new(),
        };
        let wall =
            Duration::from_millis(limits::PLUGIN_DESCRIBE_MS).min(reference.limits.wall.unwrap_or(Duration::MAX));
        let limits = KindLimits { wall, ..identity.limits };
        let call = Call::new(Arc::new(Identity { limits, ..identity }), None, wall);
        let prepared = Prepared { engine: Arc::clone(&self.engine), pre: pre.clone() };
        let Ended { answer, .. } = prepared.describe(call).await;
        let said: Result<SelfDescription, Failure> = answer;
        let said = said.map_err(|failure| {
            let culprit = Culprit { alias: &reference.alias, digest, function: "list-tools" };
            LoadFault::Describe(Box::new(culprit.fault(&failure, &[])))
        })?;
        About::check(said).map_err(LoadFault::About)
    }
}

/// Loads machine code that this process compiled, or that the cache has authenticated.
#[expect(unsafe_code, reason = "wasmtime cannot check machine code; the cache's MAC does, before this is called")]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` comes from our own compiler, in this process, in a child of it, or earlier, in which case it
    // was authenticated under a key that only our user can read.
    unsafe { Component::deserialize(engine, code) }
}

fn read(source: &Source) -> Result<Artifact, LoadFault> {
    match source {
        Source::File { path, .. } => Artifact::read(path).map_err(LoadFault::Read),
        Source::Bytes(bytes) => Artifact::owned(bytes.to_vec()).map_err(LoadFault::Read),
        Source::Builtin(name) => match crate::builtin::find(name) {
            Some(builtin) => Ok(Artifact::embedded(builtin)),
            None => Err(LoadFault::NoBuiltin(name.clone())),
        },
    }
}

/// Grants that cannot be kept are refused, not ignored.
fn refuse_unserved(reference: &PluginReference) -> Result<(), LoadFault> {
    let fs = &reference.granted.fs;
    if fs.write && !fs.read { Err(LoadFault::Unserved(WRITE_ONLY)) } else { Ok(()) }
}

/// The configuration as text, valid for the schema that the plugin gave.
fn config(about: &About, config: &Value) -> Result<Arc<str>, LoadFault> {
    let given = if config.is_null() { Value::Object(value::Map::new()) } else { config.clone() };
    let Some(schema) = &about.config_schema else {
        let empty = given.as_object().is_some_and(value::Map::is_empty);
        return if empty { Ok(Arc::from("{}")) } else { Err(LoadFault::NoConfig) };
    };
    let checker = schema::compile(schema).map_err(|error| LoadFault::Config(error.to_string()))?;
    match checker.first_error(&given) {
        Some(error) => Err(LoadFault::Config(error)),
        None => Ok(Arc::from(given.to_string())),
    }
}

fn history(artifact: &Artifact, cached: bool, compile_ms: u64, begun: Instant) -> History {
    let load_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    History { size_bytes: artifact.bytes.len(), cached, compile_ms, load_us }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
