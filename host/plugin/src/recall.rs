//! A loaded plugin as a retrieval memory.

use crate::bindings::cofferdam::types::common::{CallContext, PluginError};
use crate::bindings::recall::exports::cofferdam::recall::recall::{Hit as GuestHit, Item};
use crate::bindings::recall::{RecallPlugin, RecallPluginPre};
use crate::failure::Failure;
use crate::instance::{Guest, Working};
use crate::tool::LoadedPlugin;
use crate::warm::{Opens, Warm};
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, Clock, Hit, Memo, Recall, Search};
use cofferdam_core::value::{self, Map};
use serde_json::Value;
use std::sync::Arc;
use wasmtime::Store;

type Pre = RecallPluginPre<Guest>;

impl Opens for Pre {
    type Opened = ();

    fn open<'s>(_: &'s mut Store<Guest>, _: &'s RecallPlugin, _: String) -> Working<'s, Result<(), PluginError>> {
        Box::pin(async { Ok(Ok(())) })
    }
}

/// A plugin that keeps texts and finds them again.
pub struct PluginRecall {
    warm: Warm<Pre>,
    clock: Arc<dyn Clock>,
}

impl LoadedPlugin {
    /// The plugin as a retrieval memory.
    ///
    /// # Errors
    /// When it is none, or does not start.
    pub async fn recall(&self) -> Result<PluginRecall, Fault> {
        let Some(world) = self.worlds.recall.clone() else { return Err(self.is_no("recall")) };
        let warm = Warm::new(Arc::clone(&self.core), world, Arc::clone(&self.warm));
        warm.opened().await?;
        Ok(PluginRecall { warm, clock: Arc::clone(&self.clock) })
    }
}

impl PluginRecall {
    fn context(&self) -> CallContext {
        let deadline = self.clock.now().after(self.warm.identity().limits.wall);
        CallContext {
            run_id: String::new(),
            step_path: String::new(),
            attempt: 1,
            idempotency_key: String::new(),
            deadline: u64::try_from(deadline.as_millis()).unwrap_or(0),
            traceparent: String::new(),
            ext: Vec::new(),
        }
    }
}

fn hits(found: Vec<GuestHit>, limit: usize) -> Result<Vec<Hit>, Failure> {
    if found.len() > limit {
        return Err(Failure::Lie(format!("it found {} texts where at most {limit} were asked", found.len())));
    }
    let hit = |GuestHit { item, score }: GuestHit| {
        if !(0.0..=1.0).contains(&score) {
            return Err(Failure::Lie(format!("the score {score} is not between 0 and 1")));
        }
        let Ok(Value::Object(meta)) = value::parse(&item.meta) else {
            return Err(Failure::Lie("the data of a text is no JSON object".to_owned()));
        };
        Ok(Hit { memo: Memo { id: item.id, text: item.text, meta }, score })
    };
    found.into_iter().map(hit).collect()
}

fn text_of(map: &Map) -> String {
    serde_json::to_string(map).unwrap_or_else(|_| "{}".to_owned())
}

impl Recall for PluginRecall {
    fn upsert<'a>(&'a self, space: &'a str, memos: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>> {
        let (context, space) = (self.context(), space.to_owned());
        let items: Vec<Item> =
            memos.into_iter().map(|memo| Item { id: memo.id, text: memo.text, meta: text_of(&memo.meta) }).collect();
        Box::pin(self.warm.call(
            "upsert",
            move |store, plugin| {
                Box::pin(
                    async move { plugin.cofferdam_recall_recall().call_upsert(store, &context, &space, &items).await },
                )
            },
            Ok,
        ))
    }

    fn search<'a>(&'a self, space: &'a str, search: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>> {
        let (context, space) = (self.context(), space.to_owned());
        let Search { query, limit, filter } = search;
        let (most, filter) = (u32::try_from(limit).unwrap_or(u32::MAX), text_of(&filter));
        Box::pin(self.warm.call(
            "search",
            move |store, plugin| {
                Box::pin(async move {
                    let recall = plugin.cofferdam_recall_recall();
                    recall.call_search(store, &context, &space, &query, most, &filter).await
                })
            },
            move |found| hits(found, limit),
        ))
    }

    fn forget<'a>(&'a self, space: &'a str, ids: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>> {
        let (context, space, most) = (self.context(), space.to_owned(), ids.len());
        Box::pin(self.warm.call(
            "forget",
            move |store, plugin| {
                Box::pin(
                    async move { plugin.cofferdam_recall_recall().call_forget(store, &context, &space, &ids).await },
                )
            },
            move |forgotten| match usize::try_from(forgotten).unwrap_or(usize::MAX) {
                // No ids at all are all texts.
                count if count <= most || most == 0 => Ok(count),
                count => Err(Failure::Lie(format!("it forgot {count} texts of {most}"))),
            },
        ))
    }
}
