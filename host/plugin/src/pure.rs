//! A loaded plugin as a transform and as a condition: the ports on one side, fresh instances on the other.
//!
//! Every batch and every decision has a store of its own. What a guest answers is checked here: a list of the wrong
//! length or an index beyond the labels is a broken contract, and names the plugin and its digest.

use crate::bindings::cofferdam::types::common::{CallContext, Payload, PluginError};
use crate::bindings::condition::ConditionPluginPre;
use crate::bindings::condition::exports::cofferdam::transform::condition::Verdict as GuestVerdict;
use crate::bindings::exports::cofferdam::plugin::lifecycle::Description;
use crate::bindings::transform::TransformPluginPre;
use crate::bindings::transform::exports::cofferdam::transform::transform::{
    Item as GuestItem, Outcome as GuestOutcome,
};
use crate::failure::{Culprit, Failure};
use crate::frozen::Frozen;
use crate::instance::{Call, Ended, Guest, Identity, Prepared};
use crate::limit::{Bytes, Limit, size};
use crate::tool::LoadedPlugin;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{
    BoxFuture, Choice, Condition, Item, ItemValue, Outcome, PureContext, PureVerdict, Transform,
};
use cofferdam_core::schema::{self, Checker};
use cofferdam_core::text::clean;
use cofferdam_core::value::{self, Map};
use serde_json::Value;
use std::sync::Arc;
use wasmtime::Store;

/// Why the options of a plugin do not fit its schema.
pub(crate) fn refuse(schema: Option<&Value>, options: &Map) -> Option<String> {
    let Some(schema) = schema else {
        return (!options.is_empty()).then(|| "it takes none".to_owned());
    };
    match schema::compile(schema) {
        Ok(checker) => Checker::first_error(&checker, &Value::Object(options.clone())),
        Err(error) => Some(error.to_string()),
    }
}

impl Prepared<TransformPluginPre<Guest>> {
    /// Who it is, and what options it takes.
    pub(crate) async fn options_schema(self, call: Call) -> Ended<(Description, Option<String>)> {
        self.run(call, async |store: &mut Store<Guest>, plugin| {
            let said = plugin.cofferdam_plugin_lifecycle().call_describe(&mut *store).await?;
            let schema = plugin.cofferdam_transform_transform().call_options_schema(store).await?;
            let (id, version, summary, config_schema) = (said.id, said.version, said.summary, said.config_schema);
            Ok((Description { id, version, summary, config_schema }, schema))
        })
        .await
    }
}

impl Prepared<ConditionPluginPre<Guest>> {
    /// Who it is, and what options it takes.
    pub(crate) async fn options_schema(self, call: Call) -> Ended<(Description, Option<String>)> {
        self.run(call, async |store: &mut Store<Guest>, plugin| {
            let said = plugin.cofferdam_plugin_lifecycle().call_describe(&mut *store).await?;
            let schema = plugin.cofferdam_transform_condition().call_options_schema(store).await?;
            let (id, version, summary, config_schema) = (said.id, said.version, said.summary, said.config_schema);
            Ok((Description { id, version, summary, config_schema }, schema))
        })
        .await
    }
}

/// One pure call: for whom, and within which bounds.
struct PureCall<'p> {
    plugin: &'p LoadedPlugin,
    identity: &'p Arc<Identity>,
    function: &'static str,
    ctx: PureContext,
    frozen: Frozen,
}

impl<'p> PureCall<'p> {
    fn new(plugin: &'p LoadedPlugin, identity: &'p Arc<Identity>, function: &'static str, ctx: PureContext) -> Self {
        let frozen = Frozen::of(&ctx);
        Self { plugin, identity, function, ctx, frozen }
    }

    /// What the guest is told; all of it is the same in a repetition, the deadline too.
    fn context(&self) -> CallContext {
        let wall = u64::try_from(self.identity.limits.wall.as_millis()).unwrap_or(u64::MAX);
        CallContext {
            run_id: self.ctx.run_id.to_string(),
            step_path: self.ctx.path.to_string(),
            attempt: self.ctx.attempt,
            idempotency_key: format!("{}/{}", self.ctx.run_id, self.ctx.path),
            deadline: self.frozen.now_ms().saturating_add(wall),
            traceparent: String::new(),
            ext: Vec::new(),
        }
    }

    fn call(&self) -> Call {
        Call::pure(Arc::clone(self.identity), self.frozen.clone(), self.identity.limits.wall)
    }

    fn bound(&self) -> usize {
        size(self.identity.limits.payload_bytes)
    }

    /// Refuses what is too large before anything is instantiated.
    fn fits(&self, bytes: usize) -> Result<(), Failure> {
        let bound = self.bound();
        if bytes <= bound {
            return Ok(());
        }
        Err(Failure::Refused(format!("it would be given more than {}", Bytes(bound))))
    }

    /// Hands the call over to the guests' threads, once one is free, and waits for it.
    async fn over<T, F>(&self, work: impl FnOnce(Call) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Ended<T>> + Send + 'static,
    {
        let runtime = &self.plugin.core.runtime;
        // Its time begins here: what is pure may not fail because others wait in front of it.
        let _turn = runtime.turn().await;
        let ended = runtime.spawn(work(self.call())).await;
        ended.map_err(|panicked| Failure::Host(panicked.0))?.answer
    }

    fn culprit(&self) -> Culprit<'_> {
        Culprit { alias: &self.identity.alias, digest: self.identity.digest, function: self.function }
    }

    /// The failure as a fault; what the plugin did wrong is told to the run as well.
    fn fault(&self, failure: &Failure) -> Fault {
        let fault = self.culprit().fault(failure, &[]);
        if failure.is_misconduct() {
            self.ctx.events.observe(self.identity.failed(&fault));
        }
        fault
    }
}

impl Transform for LoadedPlugin {
    fn refuse(&self, options: &Map) -> Option<String> {
        refuse(self.about.transform_options.as_ref(), options)
    }

    fn apply<'a>(
        &'a self,
        ctx: PureContext,
        options: &'a Map,
        items: Vec<Item>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            let call = PureCall::new(self, &self.pure, "apply", ctx);
            self.apply_checked(&call, options, items).await.map_err(|failure| call.fault(&failure))
        })
    }
}

impl Condition for LoadedPlugin {
    fn refuse(&self, options: &Map) -> Option<String> {
        refuse(self.about.condition_options.as_ref(), options)
    }

    fn decide<'a>(
        &'a self,
        ctx: PureContext,
        options: &'a Map,
        view: Map,
    ) -> BoxFuture<'a, Result<PureVerdict, Fault>> {
        Box::pin(async move {
            let call = PureCall::new(self, &self.pure, "decide", ctx);
            self.decide_checked(&call, options, view).await.map_err(|failure| call.fault(&failure))
        })
    }

    fn choose<'a>(
        &'a self,
        ctx: PureContext,
        options: &'a Map,
        choice: Choice,
    ) -> BoxFuture<'a, Result<Option<usize>, Fault>> {
        Box::pin(async move {
            let call = PureCall::new(self, &self.pure, "choose", ctx);
            self.choose_checked(&call, options, choice).await.map_err(|failure| call.fault(&failure))
        })
    }
}

impl LoadedPlugin {
    async fn apply_checked(
        &self,
        call: &PureCall<'_>,
        options: &Map,
        items: Vec<Item>,
    ) -> Result<Vec<Outcome>, Failure> {
        let Some(world) = self.worlds.transform.clone() else { return Err(no_kind("transform")) };
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let (count, options) = (items.len(), json_text(options));
        let items: Vec<GuestItem> = items.into_iter().map(to_guest).collect();
        call.fits(options.len().saturating_add(items.iter().map(item_bytes).sum()))?;
        let context = call.context();
        let outcomes = call
            .over(move |guest| {
                world.run_owned(guest, move |store, plugin| {
                    Box::pin(async move {
                        let transform = plugin.cofferdam_transform_transform();
                        transform.call_apply(store, &context, &options, &items).await
                    })
                })
            })
            .await?;
        if outcomes.len() != count {
            return Err(Failure::Lie(format!("it gave {} outcomes for {count} items", outcomes.len())));
        }
        let bytes: usize = outcomes.iter().map(outcome_bytes).sum();
        if bytes > call.bound() {
            return Err(Failure::Limit(Limit::Result(call.bound())));
        }
        outcomes.into_iter().map(|outcome| from_guest(outcome, call)).collect()
    }

    async fn decide_checked(&self, call: &PureCall<'_>, options: &Map, view: Map) -> Result<PureVerdict, Failure> {
        let Some(world) = self.worlds.condition.clone() else { return Err(no_kind("condition")) };
        let (options, view) = (json_text(options), Value::Object(view).to_string());
        call.fits(options.len().saturating_add(view.len()))?;
        let context = call.context();
        let verdict = call
            .over(move |guest| {
                world.run_owned(guest, move |store, plugin| {
                    Box::pin(async move {
                        let condition = plugin.cofferdam_transform_condition();
                        condition.call_decide(store, &context, &options, &view).await
                    })
                })
            })
            .await?;
        Ok(match verdict.map_err(Failure::Own)? {
            GuestVerdict::Proceed => PureVerdict::Proceed,
            GuestVerdict::Skip(why) => PureVerdict::Skip(clean(&why)),
            GuestVerdict::Stop(why) => PureVerdict::Stop(clean(&why)),
        })
    }

    async fn choose_checked(
        &self,
        call: &PureCall<'_>,
        options: &Map,
        choice: Choice,
    ) -> Result<Option<usize>, Failure> {
        let Some(world) = self.worlds.condition.clone() else { return Err(no_kind("condition")) };
        let Choice { labels, view } = choice;
        let (options, view, count) = (json_text(options), Value::Object(view).to_string(), labels.len());
        call.fits(options.len().saturating_add(view.len()).saturating_add(labels.iter().map(String::len).sum()))?;
        let context = call.context();
        let chosen = call
            .over(move |guest| {
                world.run_owned(guest, move |store, plugin| {
                    Box::pin(async move {
                        let condition = plugin.cofferdam_transform_condition();
                        condition.call_choose(store, &context, &options, &labels, &view).await
                    })
                })
            })
            .await?;
        match chosen.map_err(Failure::Own)?.map(|index| usize::try_from(index).unwrap_or(usize::MAX)) {
            Some(index) if index >= count => Err(Failure::Lie(format!("it chose label {index} of {count}"))),
            chosen => Ok(chosen),
        }
    }
}

fn no_kind(kind: &str) -> Failure {
    Failure::Refused(format!("it is no {kind}"))
}

fn json_text(options: &Map) -> String {
    serde_json::to_string(options).expect("a JSON value can be written")
}

fn to_guest(item: Item) -> GuestItem {
    let value = match item.value {
        ItemValue::Text(text) => Payload::Text(text.to_string()),
        ItemValue::Json(value) => Payload::Json(value.to_string()),
    };
    GuestItem { id: item.id.to_string(), value, meta: "{}".to_owned() }
}

fn item_bytes(item: &GuestItem) -> usize {
    let value = match &item.value {
        Payload::Json(text) | Payload::Text(text) | Payload::Blob(text) => text.len(),
        Payload::Bytes(bytes) => bytes.len(),
    };
    value.saturating_add(item.id.len()).saturating_add(item.meta.len())
}

fn outcome_bytes(outcome: &GuestOutcome) -> usize {
    match outcome {
        GuestOutcome::Keep(item) => item_bytes(item),
        GuestOutcome::Replace(items) => items.iter().map(item_bytes).sum(),
        GuestOutcome::Drop(why) => why.len(),
        GuestOutcome::Fail(PluginError { message, .. }) => message.len(),
    }
}

fn from_guest(outcome: GuestOutcome, call: &PureCall<'_>) -> Result<Outcome, Failure> {
    Ok(match outcome {
        GuestOutcome::Keep(item) => Outcome::Keep(item_of(item)?),
        GuestOutcome::Replace(items) => Outcome::Replace(items.into_iter().map(item_of).collect::<Result<_, _>>()?),
        GuestOutcome::Drop(why) => Outcome::Drop(clean(&why)),
        GuestOutcome::Fail(error) => Outcome::Fail(call.fault(&Failure::Own(error))),
    })
}

fn item_of(item: GuestItem) -> Result<Item, Failure> {
    let value = match item.value {
        Payload::Text(text) => ItemValue::Text(text.into()),
        Payload::Json(text) => {
            let value = value::parse(&text);
            let unreadable = |error| Failure::Lie(format!("data that it gave cannot be read: {error}"));
            ItemValue::Json(Arc::new(value.map_err(unreadable)?))
        }
        Payload::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => ItemValue::Text(text.into()),
            Err(_) => return Err(Failure::Refused("it gave bytes, and only text and data can go on".to_owned())),
        },
        Payload::Blob(_) => {
            return Err(Failure::Refused("it gave a blob, and this version of Cofferdam keeps none".to_owned()));
        }
    };
    Ok(Item { id: cofferdam_core::text::clean_to(&item.id, 100).into(), value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_checked_against_the_schema_of_the_plugin() {
        let schema = json!({ "type": "object", "properties": { "most": { "type": "integer" } } });
        let options = |value: Value| value.as_object().unwrap().clone();
        assert_eq!(refuse(Some(&schema), &options(json!({ "most": 3 }))), None);
        assert!(refuse(Some(&schema), &options(json!({ "most": "3" }))).is_some());
        assert_eq!(refuse(None, &options(json!({}))), None);
        assert_eq!(refuse(None, &options(json!({ "most": 3 }))).as_deref(), Some("it takes none"));
    }
}
