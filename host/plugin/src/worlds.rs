//! A component matched with each world that it is of: the tool, the transform, the condition.
//!
//! The pure kinds run on the metered engine, the others on the plain one. It must not know runs or grants.

use crate::about::About;
use crate::bindings::ServedPre;
use crate::bindings::condition::ConditionPluginPre;
use crate::bindings::exports::cofferdam::plugin::lifecycle::Description;
use crate::bindings::model::ModelPluginPre;
use crate::bindings::model::exports::cofferdam::model::model::ModelDef;
use crate::bindings::recall::RecallPluginPre;
use crate::bindings::sink::SinkPluginPre;
use crate::bindings::storage::StoragePluginPre;
use crate::bindings::transform::TransformPluginPre;
use crate::engine::Engine;
use crate::error::LoadFault;
use crate::failure::Culprit;
use crate::frozen::Frozen;
use crate::instance::{Call, Ended, Guest, Identity, Prepared, SelfDescription};
use crate::manifest::Manifest;
use crate::reference::PluginReference;
use crate::services::Services;
use crate::version;
use cofferdam_core::limits;
use cofferdam_core::policy::{KindLimits, PluginKind};
use cofferdam_core::port::Clock;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::Component;

/// What a component can be instantiated as.
#[derive(Clone, Default)]
pub(crate) struct Worlds {
    pub(crate) tool: Option<Prepared<ServedPre<Guest>>>,
    pub(crate) transform: Option<Prepared<TransformPluginPre<Guest>>>,
    pub(crate) condition: Option<Prepared<ConditionPluginPre<Guest>>>,
    pub(crate) storage: Option<Prepared<StoragePluginPre<Guest>>>,
    pub(crate) sink: Option<Prepared<SinkPluginPre<Guest>>>,
    pub(crate) model: Option<Prepared<ModelPluginPre<Guest>>>,
    pub(crate) recall: Option<Prepared<RecallPluginPre<Guest>>>,
}

/// Whether what a kind gives may depend on nothing but what it is given.
pub(crate) fn is_pure(kind: PluginKind) -> bool {
    matches!(kind, PluginKind::Transform | PluginKind::Condition)
}

impl Worlds {
    /// Matches the component's imports and exports with ours, types included, for these of its kinds.
    pub(crate) fn link(
        &mut self,
        engine: &Arc<Engine>,
        component: &Component,
        manifest: &Manifest,
        kinds: &[PluginKind],
    ) -> Result<(), LoadFault> {
        let interface = |error: wasmtime::Error| LoadFault::Interface {
            reason: cofferdam_core::text::clean_to(&format!("{error:#}"), 500),
            later: version::later(manifest.interfaces()),
        };
        let pre = || engine.linker().instantiate_pre(component).map_err(interface);
        let engine_of = || Arc::clone(engine);
        for kind in kinds.iter().copied() {
            match kind {
                PluginKind::Tool => {
                    let world = ServedPre::new(pre()?).map_err(interface)?;
                    self.tool = Some(Prepared { engine: engine_of(), world });
                }
                PluginKind::Transform => {
                    let world = TransformPluginPre::new(pre()?).map_err(interface)?;
                    self.transform = Some(Prepared { engine: engine_of(), world });
                }
                PluginKind::Condition => {
                    let world = ConditionPluginPre::new(pre()?).map_err(interface)?;
                    self.condition = Some(Prepared { engine: engine_of(), world });
                }
                PluginKind::Storage => {
                    let world = StoragePluginPre::new(pre()?).map_err(interface)?;
                    self.storage = Some(Prepared { engine: engine_of(), world });
                }
                PluginKind::Sink => {
                    let world = SinkPluginPre::new(pre()?).map_err(interface)?;
                    self.sink = Some(Prepared { engine: engine_of(), world });
                }
                PluginKind::Model => {
                    let world = ModelPluginPre::new(pre()?).map_err(interface)?;
                    self.model = Some(Prepared { engine: engine_of(), world });
                }
                PluginKind::Recall => {
                    let world = RecallPluginPre::new(pre()?).map_err(interface)?;
                    self.recall = Some(Prepared { engine: engine_of(), world });
                }
            }
        }
        Ok(())
    }

    /// Asks the plugin what it is as each of its kinds, with everything denied and little time.
    pub(crate) async fn describe(
        &self,
        reference: &PluginReference,
        digest: crate::Digest,
        clock: &Arc<dyn Clock>,
    ) -> Result<About, LoadFault> {
        let asked = Asked { reference, digest, clock };
        let mut said: Option<SelfDescription> = None;
        if let Some(world) = self.tool.clone() {
            said = Some(asked.answer("list-tools", world.describe(asked.call(PluginKind::Tool)).await)?);
        }
        if let Some(world) = self.transform.clone() {
            let options = world.options_schema(asked.call(PluginKind::Transform)).await;
            let (description, options) = asked.answer("options-schema", options)?;
            said.get_or_insert_with(|| SelfDescription::of(description)).transform_options = options;
        }
        if let Some(world) = self.condition.clone() {
            let options = world.options_schema(asked.call(PluginKind::Condition)).await;
            let (description, options) = asked.answer("options-schema", options)?;
            said.get_or_insert_with(|| SelfDescription::of(description)).condition_options = options;
        }
        if let Some(world) = self.model.clone() {
            let (description, models) = asked.answer("list-models", world.list(asked.call(PluginKind::Model)).await)?;
            said.get_or_insert_with(|| SelfDescription::of(description)).models = models;
        }
        if said.is_none() {
            said = self.describe_warm(&asked).await?.map(SelfDescription::of);
        }
        let said = said.ok_or_else(|| LoadFault::Host("a plugin of no kind was described".to_owned()))?;
        About::check(said).map_err(LoadFault::About)
    }

    /// What a plugin says that serves the host, when it says nothing as another kind.
    async fn describe_warm(&self, asked: &Asked<'_>) -> Result<Option<Description>, LoadFault> {
        let function = "describe";
        if let Some(world) = self.storage.clone() {
            return asked.answer(function, world.describe(asked.call(PluginKind::Storage)).await).map(Some);
        }
        if let Some(world) = self.sink.clone() {
            return asked.answer(function, world.describe(asked.call(PluginKind::Sink)).await).map(Some);
        }
        if let Some(world) = self.recall.clone() {
            return asked.answer(function, world.describe(asked.call(PluginKind::Recall)).await).map(Some);
        }
        Ok(None)
    }
}

macro_rules! described {
    ($($world:ty),*) => {$(
        impl Prepared<$world> {
            async fn describe(self, call: Call) -> Ended<Description> {
                self.run(call, async |store: &mut Store<Guest>, plugin| {
                    let said = plugin.cofferdam_plugin_lifecycle().call_describe(store).await?;
                    let (id, version, summary, config_schema) =
                        (said.id, said.version, said.summary, said.config_schema);
                    Ok(Description { id, version, summary, config_schema })
                })
                .await
            }
        }
    )*};
}

described!(StoragePluginPre<Guest>, SinkPluginPre<Guest>, RecallPluginPre<Guest>);

impl Prepared<ModelPluginPre<Guest>> {
    /// What the plugin is, and the models that it lists.
    async fn list(self, call: Call) -> Ended<(Description, Vec<ModelDef>)> {
        self.run(call, async |store: &mut Store<Guest>, plugin| {
            let said = plugin.cofferdam_plugin_lifecycle().call_describe(&mut *store).await?;
            let (id, version, summary, config_schema) = (said.id, said.version, said.summary, said.config_schema);
            let models = plugin.cofferdam_model_model().call_list_models(store).await?;
            Ok((Description { id, version, summary, config_schema }, models))
        })
        .await
    }
}

/// Who is asked.
struct Asked<'r> {
    reference: &'r PluginReference,
    digest: crate::Digest,
    clock: &'r Arc<dyn Clock>,
}

impl Asked<'_> {
    fn call(&self, kind: PluginKind) -> Call {
        let wall =
            Duration::from_millis(limits::PLUGIN_DESCRIBE_MS).min(self.reference.limits.wall.unwrap_or(Duration::MAX));
        let identity = Arc::new(Identity {
            alias: self.reference.alias.clone(),
            digest: self.digest,
            config: Arc::from("{}"),
            rights: Arc::default(),
            limits: KindLimits { wall, ..kind.limits() },
            services: Services::none(Arc::clone(self.clock)),
            id: String::new(),
        });
        if is_pure(kind) { Call::pure(identity, Frozen::outside(), wall) } else { Call::new(identity, None, wall) }
    }

    fn answer<T>(&self, function: &str, ended: Ended<T>) -> Result<T, LoadFault> {
        ended.answer.map_err(|failure| {
            let culprit = Culprit { alias: &self.reference.alias, digest: self.digest, function };
            LoadFault::Describe(Box::new(culprit.fault(&failure, &[])))
        })
    }
}
