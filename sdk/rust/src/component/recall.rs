//! A retrieval memory's exports.

use super::bindings::cofferdam::types::common::{CallContext, PluginError};
use super::bindings::recall::exports::cofferdam::recall::recall as wit;
use super::{Host, error_out, info};
use crate::context::Context;
use crate::error::Result;
use crate::recall::{Hit, Memo, Recall, RecallPlugin, Search};

impl<P: RecallPlugin> wit::Guest for P {
    fn upsert(ctx: CallContext, space: String, items: Vec<wit::Item>) -> Result<(), PluginError> {
        let ctx = Context::new(info(ctx), Host);
        let memos: Result<Vec<Memo>> = items.into_iter().map(memo_in).collect();
        memos.and_then(|memos| P::Recall::upsert(&ctx, &space, memos)).map_err(|error| error_out(&error))
    }

    fn search(
        ctx: CallContext,
        space: String,
        query: String,
        limit: u32,
        filter: String,
    ) -> Result<Vec<wit::Hit>, PluginError> {
        let ctx = Context::new(info(ctx), Host);
        let found = serde_json::from_str(&filter)
            .map_err(Into::into)
            .and_then(|filter| P::Recall::search(&ctx, &space, &Search { query, limit, filter }));
        found.map(|hits| hits.into_iter().map(hit_out).collect()).map_err(|error| error_out(&error))
    }

    fn forget(ctx: CallContext, space: String, ids: Vec<String>) -> Result<u32, PluginError> {
        P::Recall::forget(&Context::new(info(ctx), Host), &space, ids).map_err(|error| error_out(&error))
    }
}

fn memo_in(item: wit::Item) -> Result<Memo> {
    Ok(Memo { id: item.id, text: item.text, meta: serde_json::from_str(&item.meta)? })
}

fn hit_out(hit: Hit) -> wit::Hit {
    let Hit { memo: Memo { id, text, meta }, score } = hit;
    wit::Hit { item: wit::Item { id, text, meta: meta.to_string() }, score }
}
