//! The plugin host: what is built once, when the first plugin is used, and how a plugin gets loaded.
//!
//! It must not read documents or settings, and it decides no grants.

use crate::about::About;
use crate::artifact::{Artifact, Digest};
use crate::cache::{Cache, Kind};
use crate::compile::{CompileChild, Compiler};
use crate::engine::{Allocation, Engine, Meter, Occupancy};
use crate::error::{LoadError, LoadFault};
use crate::grant::Rights;
use crate::import::Network;
use crate::instance::Identity;
use crate::lane::Pace;
use crate::manifest::Manifest;
use crate::mount::{self, WRITE_ONLY};
use crate::reference::{PluginReference, Source};
use crate::runtime::GuestRuntime;
use crate::scan::{Outline, scan};
use crate::services::Services;
use crate::share::Shares;
use crate::store::{ComponentStore, StoreError};
use crate::tap::Observation;
use crate::tool::{LoadedPlugin, Parts};
use crate::worlds::{Worlds, is_pure};
use bytes::Bytes;
use cofferdam_core::limits;
use cofferdam_core::policy::{FsGrant, PluginKind};
use cofferdam_core::port::{Clock, Journal, NoRedactor, Redactor, State};
use cofferdam_core::text::clean_to;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use wasmtime::component::Component;

/// Changes whenever what stands in the cache changes its meaning, or what the scan lets pass.
const CACHE_VERSION: u32 = 3;

/// What the host needs of its surroundings.
pub struct HostSettings {
    /// The wall clock of runs, for the deadlines of calls.
    pub clock: Arc<dyn Clock>,
    /// Where compiled code is kept, and the directory that holds the key which authenticates it; none keeps nothing.
    pub cache: Option<CacheDirs>,
    /// Components that were fetched from registries; none has none of them.
    pub fetched: Option<ComponentStore>,
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

impl HostSettings {
    /// A host with nothing around it but the time: it keeps nothing, and refuses what plugins ask of it.
    #[must_use]
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            cache: None,
            fetched: None,
            compile_child: None,
            network: None,
            state: None,
            blobs: None,
            redactor: Arc::new(NoRedactor),
        }
    }
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
    allocation: Allocation,
    core: Mutex<Option<Arc<Core>>>,
    kept: Arc<AtomicBool>,
    observation: Observation,
}

/// What all plugins of a process share.
pub(crate) struct Core {
    plain: Arc<Engine>,
    /// Built when the first transform or condition is loaded.
    metered: Mutex<Option<Arc<Engine>>>,
    allocation: Allocation,
    pub(crate) runtime: GuestRuntime,
    compiler: Compiler,
    cache: Option<Cache>,
    fetched: Option<ComponentStore>,
    pub(crate) clock: Arc<dyn Clock>,
    shares: Shares<Digest>,
    /// Whether every kind is metered.
    exact: bool,
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
    worlds: Worlds,
    history: History,
}

/// What a plugin is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be called: a configuration that it needs must be there.
    Use,
    /// To be looked at.
    Look,
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
        let observation = Observation::default();
        Self { settings, allocation: Allocation::default(), core: Mutex::new(None), kept: Arc::default(), observation }
    }

    /// The host with instances that get their memory like this. Left alone, it takes what the machine offers.
    #[must_use]
    pub fn with_allocation(mut self, allocation: Allocation) -> Self {
        self.allocation = allocation;
        self
    }

    /// What the engines hold now, summed; nothing before the first plugin.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.as_ref().map(|core| core.occupancy()).unwrap_or_default()
    }

    /// The same host, watched. To be said before the first plugin is loaded.
    #[must_use]
    pub fn observed(self, observation: Observation) -> Self {
        Self { observation, ..self }
    }

    /// Whether any plugin has kept a value that goes with its run, since this host was made.
    #[must_use]
    pub fn has_kept_values(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    fn services(&self, core: &Core, digest: Digest, granted: &FsGrant, base: &Path) -> Result<Services, LoadFault> {
        Ok(Services {
            network: self.settings.network.clone(),
            state: self.settings.state.clone(),
            blobs: self.settings.blobs.clone(),
            redactor: Arc::clone(&self.settings.redactor),
            clock: Arc::clone(&self.settings.clock),
            mounts: mount::open(granted, base)?.into(),
            kept: Arc::clone(&self.kept),
            observation: self.observation.clone(),
            share: core.shares.of(digest, core.plain.outer()),
        })
    }

    /// Loads a plugin: reads it, checks it, compiles it unless that was done before, and asks it what it is.
    ///
    /// # Errors
    /// What is wrong with it, and what to do. A missing grant is no error.
    pub async fn load(&self, reference: PluginReference) -> Result<Arc<LoadedPlugin>, LoadError> {
        let (alias, origin) = (reference.alias.clone(), reference.source.to_string());
        self.load_inner(reference, Purpose::Use)
            .await
            .map(|(plugin, _)| plugin)
            .map_err(|fault| LoadError::new(alias, origin, fault))
    }

    pub(crate) async fn load_inner(
        &self,
        reference: PluginReference,
        purpose: Purpose,
    ) -> Result<(Arc<LoadedPlugin>, History), LoadFault> {
        let core = self.core()?;
        let task = {
            let (core, reference) = (Arc::clone(&core), reference.clone());
            Arc::clone(&core).runtime.call(&Pace::default(), async move { core.know(&reference).await })
        };
        let known = task.await.map_err(|panicked| LoadFault::Host(panicked.0))??;
        refuse_unserved(&reference)?;
        let source = reference.source.to_string();
        let config = match purpose {
            Purpose::Look if reference.config.is_null() => Arc::from("{}"),
            Purpose::Look | Purpose::Use => known.about.config(&reference.config)?,
        };
        let asked = reference.limits;
        let [limits, pure, warm] = reference.bounds(&known.manifest)?;
        if let Some(state) = self.settings.state.as_ref().filter(|_| reference.granted.kv.is_some()) {
            // Not by the first call, whose thread may be one that makes way.
            state.prepare();
        }
        let services = self.services(&core, known.artifact.digest, &reference.granted.fs, &reference.base)?;
        let identity = Identity {
            alias: reference.alias.clone(),
            digest: known.artifact.digest,
            config: Arc::clone(&config),
            services: services.clone(),
            rights: Arc::new(Rights::new(reference.granted, reference.requested).named(reference.name_of)),
            limits,
            id: known.about.id.clone(),
        };
        let warm = Identity {
            alias: reference.alias.clone(),
            digest: known.artifact.digest,
            config: Arc::clone(&config),
            rights: Arc::clone(&identity.rights),
            limits: warm,
            services,
            id: known.about.id.clone(),
        };
        let pure = Identity {
            alias: reference.alias,
            digest: known.artifact.digest,
            config,
            // Nothing that is granted to the tool holds for what must give the same again.
            rights: Arc::default(),
            limits: pure,
            services: Services {
                observation: self.observation.clone(),
                redactor: Arc::clone(&self.settings.redactor),
                ..Services::none(Arc::clone(&self.settings.clock))
            },
            id: known.about.id.clone(),
        };
        let plugin = LoadedPlugin::new(Parts {
            worlds: known.worlds,
            core,
            clock: Arc::clone(&self.settings.clock),
            identity: Arc::new(identity),
            pure: Arc::new(pure),
            warm: Arc::new(warm),
            manifest: known.manifest,
            about: known.about,
            asked,
            source,
            trust: reference.trust,
        });
        Ok((Arc::new(plugin), known.history))
    }

    fn core(&self) -> Result<Arc<Core>, LoadFault> {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(core) = &*core {
            return Ok(Arc::clone(core));
        }
        let fresh = Arc::new(Core::new(&self.settings, self.allocation, self.observation.exact)?);
        *core = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

impl Core {
    fn new(settings: &HostSettings, allocation: Allocation, exact: bool) -> Result<Self, LoadFault> {
        let plain = engine(Meter::Plain, allocation)?;
        let runtime = GuestRuntime::start().map_err(|error| LoadFault::Host(error.to_string()))?;
        let cache = settings.cache.as_ref().and_then(|dirs| match Cache::open(&dirs.code, &dirs.state) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(%error, "the plugin cache cannot be used; plugins are compiled each time");
                None
            }
        });
        let compiler = Compiler::new(settings.compile_child.clone());
        let clock = Arc::clone(&settings.clock);
        let fetched = settings.fetched.clone();
        let (metered, shares) = (Mutex::default(), Shares::default());
        Ok(Self { plain, metered, allocation, runtime, compiler, cache, fetched, clock, shares, exact })
    }

    fn occupancy(&self) -> Occupancy {
        let metered = self.metered.lock().unwrap_or_else(PoisonError::into_inner);
        let engines = [Some(&self.plain), metered.as_ref()].into_iter().flatten();
        let (places, free): (Vec<_>, Vec<_>) = engines.map(|engine| engine.places()).unzip();
        Occupancy { slots: places.iter().sum(), free: free.iter().sum(), tasks: self.runtime.tasks() }
    }

    /// The meter of the engine that a kind runs on.
    fn meter_of(&self, kind: PluginKind) -> Meter {
        if self.exact || is_pure(kind) { Meter::Metered } else { Meter::Plain }
    }

    fn engine(&self, meter: Meter) -> Result<Arc<Engine>, LoadFault> {
        if meter == Meter::Plain {
            return Ok(Arc::clone(&self.plain));
        }
        let mut metered = self.metered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*metered {
            return Ok(Arc::clone(engine));
        }
        let fresh = engine(meter, self.allocation)?;
        *metered = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Everything about a plugin that does not depend on who uses it.
    async fn know(self: &Arc<Self>, reference: &PluginReference) -> Result<Known, LoadFault> {
        let begun = Instant::now();
        let artifact = self.read(reference)?;
        if let Some(expected) = reference.digest
            && expected != artifact.digest
        {
            return Err(LoadFault::Digest { expected, found: artifact.digest });
        }
        let key = format!("{}-{CACHE_VERSION}", artifact.digest.hex());
        let kept = self.recall(&key);
        let outline = match &kept {
            Some(kept) => kept.outline.clone(),
            None => scan(&artifact.bytes).map_err(LoadFault::Scan)?,
        };
        let manifest = Manifest::read(&outline).map_err(LoadFault::Manifest)?;
        within_size(&artifact, &manifest)?;
        let (worlds, compiled) = self.build(&artifact, &manifest).await?;
        let cached = kept.is_some() && compiled.is_none();
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let about = worlds.describe(reference, artifact.digest, &self.clock).await?;
                let kept = Kept { outline, about, compile_ms: compiled.unwrap_or_default() };
                if let (Some(cache), Ok(text)) = (&self.cache, serde_json::to_vec(&kept)) {
                    cache.store(&key, Kind::Description, &text);
                }
                kept
            }
        };
        let history = history(&artifact, cached, compiled.unwrap_or(kept.compile_ms), begun);
        Ok(Known { artifact, manifest, about: kept.about, worlds, history })
    }

    fn read(&self, reference: &PluginReference) -> Result<Artifact, LoadFault> {
        match &reference.source {
            Source::File { path, .. } => Artifact::read(path).map_err(LoadFault::Read),
            Source::Bytes(bytes) => Artifact::new(Bytes::from_owner(Arc::clone(bytes))).map_err(LoadFault::Read),
            Source::Builtin(name) => match crate::builtin::find(name) {
                Some(builtin) => Ok(Artifact::embedded(builtin)),
                None => Err(LoadFault::NoBuiltin(name.clone())),
            },
            Source::Registry(artifact) => {
                let command = format!("cofferdam plugin add {artifact} --as {}", reference.alias);
                let Some(digest) = reference.digest else { return Err(LoadFault::Unpinned { command }) };
                let absent = Err(StoreError::Absent(digest));
                let loaded = self.fetched.as_ref().map_or(absent, |fetched| fetched.load(digest));
                loaded.map_err(|cause| LoadFault::Fetched { cause, command })
            }
        }
    }

    fn recall(&self, key: &str) -> Option<Kept> {
        serde_json::from_slice(self.cache.as_ref()?.load(key, Kind::Description)?.payload()).ok()
    }

    /// The component in all its worlds, and how long compiling took if it was done.
    async fn build(
        self: &Arc<Self>,
        artifact: &Artifact,
        manifest: &Manifest,
    ) -> Result<(Worlds, Option<u64>), LoadFault> {
        let (mut worlds, mut compiled) = (Worlds::default(), None);
        for meter in [Meter::Plain, Meter::Metered] {
            let kinds: Vec<_> = manifest.kinds.iter().copied().filter(|kind| self.meter_of(*kind) == meter).collect();
            if kinds.is_empty() {
                continue;
            }
            let engine = self.engine(meter)?;
            let key = code_key(&engine, artifact.digest);
            let component = match self.recall_code(&engine, &key) {
                Some(component) => component,
                None => {
                    let (component, millis) = self.compile(&engine, &key, artifact).await?;
                    compiled = Some(compiled.unwrap_or(0) + millis);
                    component
                }
            };
            worlds.link(&engine, &component, manifest, &kinds)?;
        }
        Ok((worlds, compiled))
    }

    fn recall_code(&self, engine: &Engine, key: &str) -> Option<Component> {
        let entry = self.cache.as_ref()?.load(key, Kind::Code)?;
        match deserialize(engine.wasm(), entry.payload()) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, "cached code does not fit this engine and is built again");
                None
            }
        }
    }

    async fn compile(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        key: &str,
        artifact: &Artifact,
    ) -> Result<(Component, u64), LoadFault> {
        let begun = Instant::now();
        let bytes: Arc<[u8]> = Arc::from(&*artifact.bytes);
        let code = self.compiler.compile(engine, bytes).await.map_err(LoadFault::Compile)?;
        // It was compiled for this very engine: what does not fit is the size of its parts in the pool.
        let component = deserialize(engine.wasm(), &code)
            .map_err(|error| LoadFault::Parts(clean_to(&format!("{error:#}"), limits::PLUGIN_MESSAGE_BYTES)))?;
        if let Some(cache) = &self.cache {
            cache.store(key, Kind::Code, &code);
        }
        Ok((component, millis(begun)))
    }
}

fn engine(meter: Meter, allocation: Allocation) -> Result<Arc<Engine>, LoadFault> {
    Engine::new(meter, allocation).map(Arc::new).map_err(|error| LoadFault::Host(format!("{error:#}")))
}

/// Under what the code of a component is kept: it fits one engine, which the key names.
fn code_key(engine: &Engine, digest: Digest) -> String {
    let mut hasher = DefaultHasher::new();
    engine.wasm().precompile_compatibility_hash().hash(&mut hasher);
    CACHE_VERSION.hash(&mut hasher);
    format!("{}-{:016x}-{}", digest.hex(), hasher.finish(), engine.meter().as_str())
}

fn within_size(artifact: &Artifact, manifest: &Manifest) -> Result<(), LoadFault> {
    let most = manifest.kinds.iter().copied().map(|kind| kind.limits().component_bytes).min().unwrap_or(u64::MAX);
    if artifact.bytes.len() as u64 > most { Err(LoadFault::Size(most)) } else { Ok(()) }
}

/// Loads machine code that this process compiled, or that the cache has authenticated.
#[expect(unsafe_code, reason = "wasmtime cannot check machine code; the cache's MAC does, before this is called")]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` comes from our own compiler, in this process, in a child of it, or earlier, in which case it
    // was authenticated under a key that only our user can read.
    unsafe { Component::deserialize(engine, code) }
}

/// Grants that cannot be kept are refused, not ignored.
fn refuse_unserved(reference: &PluginReference) -> Result<(), LoadFault> {
    let fs = &reference.granted.fs;
    if fs.write && !fs.read { Err(LoadFault::Unserved(WRITE_ONLY)) } else { Ok(()) }
}

fn history(artifact: &Artifact, cached: bool, compile_ms: u64, begun: Instant) -> History {
    let load_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    History { size_bytes: artifact.bytes.len(), cached, compile_ms, load_us }
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
